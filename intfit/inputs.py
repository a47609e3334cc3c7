"""What a caller hands to the Python API: paths, a file's bytes, or arrays. Needs no NumPy."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .media.arrays import Arrays

#: A file's path; a file by its path or its bytes. A string is a path.
FilePath = str | os.PathLike[str]
File = FilePath | bytes


@dataclass(frozen=True)
class Input:
    """A medium as the bytes of a file; ``suffix`` and ``kind`` say what it is, where known.

    ``notes`` are for the person: what an array was converted to.
    """

    data: bytes
    suffix: str = ""
    kind: str | None = None
    notes: tuple[str, ...] = ()


def read_file(source: File) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: if it cannot be read.
    """
    return Path(source).read_bytes() if isinstance(source, str | os.PathLike) else source


def read_source(source: "File | Arrays", *, suffix: str = "", rate: int | None = None) -> Input:
    """A medium as the bytes of a file; an array as those of a format that loses nothing of it.

    ``suffix`` is that of a file given as bytes; a path has its own. ``rate`` in Hz belongs to
    samples, and tells them from pixels.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if an array has not the shape or the type of a medium.
    """
    if isinstance(source, str | os.PathLike):
        return Input(read_file(source), suffix or Path(source).suffix)
    if isinstance(source, bytes):
        return Input(source, suffix)
    from .media import arrays  # NumPy takes a tenth of a second

    if isinstance(source, tuple):
        return Input(arrays.mesh_file(*arrays.check_mesh(source)), ".ply", "mesh")
    if rate is not None:
        return Input(arrays.sound_file(source, rate), ".wav", "audio")
    data, notes = arrays.picture_file(source)
    return Input(data, ".tif", "image", notes)
