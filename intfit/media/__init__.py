"""The media: which reader takes which bytes. A new medium is a module here and a line below."""

import importlib
from types import ModuleType

from ..coding.header import KINDS
from ..errors import MediaError


def medium(kind: str) -> ModuleType:
    """The module of a kind in :data:`KINDS`, loaded when first needed: trimesh takes a second.

    It has ``read`` (bytes to a signal), ``render`` (a field to samples), ``write`` (samples to
    bytes), ``comparison`` (with an original), and what they need to agree on.
    """
    check_kind(kind)
    return importlib.import_module(f".{kind}", __name__)


def check_kind(kind: str) -> None:
    """Raise MediaError unless ``kind`` is in :data:`KINDS`."""
    if kind not in KINDS:
        raise MediaError(f"medium {kind[:80]!r} is not one this version knows")


def sniff(data: bytes, suffix: str) -> str:
    """The kind of these bytes. Content decides; ``suffix`` helps only where it does not tell.

    Raises:
        MediaError: if they are no medium.
    """
    if not data:
        raise MediaError("the file is empty")
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < len(data):
        raise MediaError("a safetensors file already: did you mean 'intfit decode'?")
    for kind in KINDS:
        if medium(kind).accepts(data, suffix):
            return kind
    raise MediaError(
        "not an image, a recording or a mesh that can be read; --kind names the medium"
    )
