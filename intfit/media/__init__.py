"""The media: which module reads and writes which bytes.

A new medium is a module that offers what :class:`.protocol.Medium` asks for, a loader below, and a
line in :data:`~intfit.coding.header.KINDS`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..coding.header import KINDS
from ..errors import MediaError
from ..signals import DistanceSamples, Grid
from .protocol import AnyMedium, Medium

if TYPE_CHECKING:
    import trimesh
    from numpy.typing import NDArray

    from . import audio, image, mesh

# Modules are imported when first needed: trimesh alone takes close to a second.


def _load_image() -> "Medium[Grid, image.Target, NDArray[Any]]":
    from . import image

    return image


def _load_audio() -> "Medium[Grid, audio.Target, NDArray[Any]]":
    from . import audio

    return audio


def _load_mesh() -> "Medium[DistanceSamples, mesh.Target, trimesh.Trimesh]":
    from . import mesh

    return mesh


_LOADERS: dict[str, Callable[[], AnyMedium]] = {
    "image": _load_image,
    "audio": _load_audio,
    "mesh": _load_mesh,
}


def medium(kind: str) -> AnyMedium:
    """The module of a kind of medium, imported when first asked for.

    Raises:
        MediaError: if ``kind`` is not in :data:`~intfit.coding.header.KINDS`.
    """
    check_kind(kind)
    return _LOADERS[kind]()


def check_kind(kind: str) -> None:
    """Raise MediaError unless ``kind`` is in :data:`~intfit.coding.header.KINDS`."""
    if kind not in KINDS:
        raise MediaError(f"medium {kind[:80]!r} is not one this version knows")


def sniff(data: bytes, suffix: str) -> str:
    """The kind of medium of these bytes.

    Their content decides; ``suffix``, that of the file's name, helps only where it does not.

    Raises:
        MediaError: if they are no medium that can be read.
    """
    if not data:
        raise MediaError("the file is empty")
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < len(data):
        raise MediaError("a safetensors file already: did you mean 'intfit decode'?")
    for kind in KINDS:
        if medium(kind).accepts(data, suffix):
            return kind
    raise MediaError(
        "not an image, a recording or a mesh that can be read: damaged, or of another format "
        "(--kind says what it is, if it is one)"
    )
