"""What every reader of a mesh file needs: rows of numbers, and polygons cut into triangles."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError
from ...limits import Limits
from .paint import Paint

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Vertices ``[V, 3]``, faces ``[F, 3]`` (not checked against them), notes, and colours.

    The corners of ``paint`` are as they stand in the file: those of ``faces``.
    """

    vertices: Array
    faces: Indices
    notes: list[str] = field(default_factory=list)
    paint: Paint | None = None


def damaged(reason: str) -> MediaError:
    """The error of a file that contradicts itself or its format."""
    return MediaError(f"damaged mesh: {reason}")


def to_indices(values: NDArray[Any]) -> Indices:
    """Numbers read from a file as integers.

    Raises:
        MediaError: if one of them is no integer, or beyond what a double holds exactly.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 8 and (values >= 1 << 53).any():
        raise damaged("an index is out of range")
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            sound = (np.abs(values) < 2.0**53) & (np.floor(values) == values)
        if not sound.all():
            raise damaged("an index is not a whole number")
    return values.astype(np.int64)


def parse_numbers(text: bytes) -> Array:
    """All numbers of a text of numbers and white space.

    Raises:
        MediaError: if something in it is no number.
    """
    try:
        return np.fromstring(text, dtype=np.float64, sep=" ")
    except ValueError:
        raise damaged("it holds words where numbers should be") from None


class Rows:
    """Lines of numbers, read column by column: a column may be a list with its length before it."""

    def __init__(self, lines: list[bytes], what: str) -> None:
        lengths = np.fromiter((len(line.split()) for line in lines), np.int64, len(lines))
        self._values = parse_numbers(b" ".join(lines))
        if len(self._values) != lengths.sum():
            raise damaged("it holds words where numbers should be")
        self._ends = np.cumsum(lengths)
        self._at = self._ends - lengths
        self._what = what

    def _check(self, ends: Indices) -> None:
        if (ends > self._ends).any():
            raise damaged(f"a line of its {self._what} is too short")

    def column(self) -> Array:
        """The next number of each line ``[n]``."""
        self._check(self._at + 1)
        taken: Array = self._values[self._at]
        self._at = self._at + 1
        return taken

    def lists(self) -> tuple[Indices, Indices]:
        """The next list of each line: all of their numbers in one row, and how many of each."""
        counts = to_indices(self.column())
        if (counts < 0).any():
            raise damaged("a list of negative length")
        # a length beyond the file must not overflow
        self._check(self._at + np.minimum(counts, 1 << 40))
        taken = self._values[expand(self._at, counts)]
        self._at = self._at + counts
        return to_indices(taken), counts


def expand(starts: Indices, counts: Indices) -> Indices:
    """``starts[i], starts[i] + 1, ...``, ``counts[i]`` of them, one row after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def cut_polygons(corners: Indices, counts: Indices, limits: Limits) -> Indices:
    """Triangles ``[F, 3]`` of polygons: ``counts`` of the ``corners`` each, as fans.

    Polygons of fewer than three corners have none.

    Raises:
        MediaError: if they are more than allowed.
    """
    limits.check_cells(int(np.maximum(counts - 2, 0).sum()), "faces")
    if (counts == 3).all():
        return corners.reshape(-1, 3)
    if (counts == 4).all():
        quads = corners.reshape(-1, 4)
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [2, 3, 0]]])
    cut = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, cut)
    second = expand(np.cumsum(counts) - counts, cut) + 1
    return np.asarray(corners[np.stack([first, second, second + 1], axis=1)])


def cut_strip(corners: Indices) -> Indices:
    """The triangles ``[F, 3]`` of a triangle strip, all wound like its first, without area-less."""
    if len(corners) < 3:
        return np.zeros((0, 3), np.int64)
    faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    faces[1::2] = faces[1::2, [1, 0, 2]]
    proper = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    return np.asarray(faces[proper])
