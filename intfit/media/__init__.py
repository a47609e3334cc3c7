"""The media: which reader takes which bytes. A new medium is a module here and a line below."""

import importlib
from types import ModuleType

from ..errors import MediaError

#: In the order in which they are tried: each knows its own by content, meshes last because text
#: formats tell least. Loaded when first needed: trimesh alone takes a second.
KINDS = ("image", "audio", "mesh")


def medium(kind: str) -> ModuleType:
    """The module of a kind in :data:`KINDS`: ``read``, ``render``, ``write``, ``distortion``."""
    if kind not in KINDS:
        raise MediaError(f"not a medium this version knows: {kind!r}")
    return importlib.import_module(f".{kind}", __name__)


def sniff(data: bytes, suffix: str) -> str:
    """The kind of these bytes. Content decides; ``suffix`` helps only where it does not tell.

    Raises:
        MediaError: if they are no medium.
    """
    if not data:
        raise MediaError("the file is empty")
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < len(data):
        raise MediaError("a safetensors file already: did you mean 'intfit decode'?")
    for kind in KINDS[:2]:
        if medium(kind).accepts(data):
            return kind
    if medium("mesh").accepts(data, suffix):
        return "mesh"
    raise MediaError(
        "not an image, a recording or a mesh that can be read; --kind names the medium"
    )
