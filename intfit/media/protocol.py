"""What every medium's module offers."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..limits import USUAL, Limits
from ..signals import Evaluate, Signal

#: How people call metadata whose names are not words.
CALLED = {"exif": "EXIF", "xmp": "XMP", "dpi": "DPI", "name": "names"}
#: No metadata.
NONE: Mapping[str, str] = MappingProxyType({})


def name_all(metadata: Iterable[str]) -> str:
    """Metadata by name, in a phrase."""
    return ", ".join(CALLED.get(name, name) for name in metadata)


def note_lost(metadata: Iterable[str], suffix: str) -> tuple[str, ...]:
    """The note on ``metadata``, by name, that a file of a format lacks; none where there are none.

    ``suffix`` is the format's, with its dot.
    """
    lost = name_all(sorted(metadata))
    return (f"{suffix} does not keep {lost}",) if lost else ()


#: The signal that a medium is read into.
SignalT = TypeVar("SignalT", bound=Signal)
#: What to decode: the medium's own dataclass of size, part and rate.
TargetT = TypeVar("TargetT")
#: What a field is rendered to, before it becomes a file: an array or a mesh.
RenderedT = TypeVar("RenderedT")


class Medium(Protocol[SignalT, TargetT, RenderedT]):
    """A module of this package that reads, renders and writes one medium.

    ``facts`` are what a file's header keeps to write the medium back: JSON values by name, as the
    reader found them. ``suffix`` is that of a file's name, with its dot.
    """

    @property
    def DEFAULT_SUFFIX(self) -> str:  # noqa: N802
        """The format to write where nothing says which; it loses nothing."""

    @property
    def LOSSLESS(self) -> frozenset[str]:  # noqa: N802
        """Suffixes of formats that lose nothing."""

    @property
    def METRICS(self) -> tuple[str, ...]:  # noqa: N802
        """Names of the distortions that :meth:`compare_with` measures."""

    @property
    def Target(self) -> Callable[..., TargetT]:  # noqa: N802
        """What to decode, by keyword; without any, all of the medium at its native resolution."""

    def accepts(self, data: bytes, suffix: str = "") -> bool:
        """Whether these bytes look like this medium, sound or not.

        ``suffix`` decides only where the content does not.
        """

    def read(
        self, data: bytes, *, suffix: str = "", seed: int = 0, limits: Limits = USUAL
    ) -> SignalT:
        """Read a file's bytes; ``seed`` seeds the draws of a medium that is sampled.

        Raises:
            MediaError: if they cannot be read, or hold nothing to fit.
        """

    def read_metadata(self, data: bytes) -> dict[str, str]:
        """What a file holds besides its samples, as texts by name; of a damaged one, nothing."""

    def check_limits(self, facts: dict[str, Any], limits: Limits) -> None:
        """Raise MediaError where a medium with sound facts is larger than allowed."""

    def count_samples(self, facts: dict[str, Any]) -> int:
        """Samples of the original: pixels, samples of each channel, or faces."""

    def raw_size(self, facts: dict[str, Any]) -> int:
        """Bytes of the original's samples, uncompressed."""

    def rate(self, facts: dict[str, Any], size: int) -> tuple[str, float]:
        """The rate of a file of ``size`` bytes, and before it the name of its unit."""

    def render(
        self,
        evaluate: Evaluate,
        facts: dict[str, Any],
        target: TargetT,
        *,
        limits: Limits = USUAL,
    ) -> RenderedT:
        """Evaluate a field wherever ``target`` has samples.

        Raises:
            UsageError: if the target lies outside the medium, or is absurdly large.
            MediaError: if the field holds nothing that can be rendered.
        """

    def describe(
        self, rendered: RenderedT, facts: dict[str, Any], target: TargetT, *, written: bytes = b""
    ) -> str:
        """The size of what was rendered, in a phrase: 640 x 480.

        Some formats change it: of the ``written`` file, where it is given.
        """

    def check_format(self, suffix: str) -> str:
        """The name that the writing library has for the format ``suffix`` names.

        Raises:
            MediaError: if it cannot be written.
        """

    def write(
        self,
        rendered: RenderedT,
        facts: dict[str, Any],
        target: TargetT,
        suffix: str,
        *,
        metadata: Mapping[str, str] = NONE,
    ) -> tuple[bytes, tuple[str, ...]]:
        """The bytes of a file of the format ``suffix`` names, and notes on what it cannot hold.

        ``metadata`` are those of :meth:`read_metadata`.

        Raises:
            MediaError: if the format cannot be written, or cannot hold this.
        """

    def compare_with(
        self,
        data: bytes,
        facts: dict[str, Any],
        *,
        suffix: str = "",
        limits: Limits = USUAL,
    ) -> Callable[[RenderedT], dict[str, float | None]]:
        """Read the original in ``data``; the result measures how far a rendered medium is from it.

        It gives a value for each of :attr:`METRICS`, None where it is not defined.

        Raises:
            MediaError: if the original cannot be read, or is not of the size that ``facts`` say.
        """

    def draw_selection(self, signal: SignalT, indices: NDArray[np.int64]) -> tuple[bytes, str]:
        """A file that shows which of the signal's samples are at ``indices``, and its suffix."""


#: A medium whose kind is known only at run time.
AnyMedium = Medium[Any, Any, Any]
