"""Mesh files: positions and faces of each format, and nothing else of it.

The readers take the bytes alone. None opens another file (a texture, a material, a buffer), runs a
program or unpacks an archive, and each checks the sizes that a file declares against the bytes it
has, and against what is allowed, before it makes an array of them.
"""

import re
from collections.abc import Callable

from ...errors import MediaError
from ...limits import Limits
from . import gltf, obj, off, ply, stl
from .polygons import Mesh

#: Readers by the name of the format, which is its suffix without the dot.
READERS: dict[str, Callable[[bytes, Limits], Mesh]] = {
    "ply": ply.read,
    "obj": obj.read,
    "stl": stl.read,
    "off": off.read,
    "glb": gltf.read,
    "gltf": gltf.read,
}

#: What some programs put before text.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def detect_format(data: bytes, suffix: str) -> str | None:
    """The name in :data:`READERS` of the format of these bytes; None where they are no mesh.

    By content where it tells, else by ``suffix``.
    """
    data = data.removeprefix(BYTE_ORDER_MARK)
    head = data[:1024]
    if re.match(rb"ply[ \t]*[\r\n]", head):
        return "ply"
    if head[:4] == b"glTF":
        return "glb"
    if off.HEADER.match(head):
        return "off"
    if stl.is_exact(data):
        return "stl"
    if re.match(rb"\s*solid\b", head, re.IGNORECASE) and b"facet" in data[:4096].lower():
        return "stl"
    if re.match(rb"\s*\{", head) and b'"asset"' in data:
        return "gltf"
    if re.search(rb"^[ \t]*(v|vn|vt)[ \t]+[-+.\d]", data[: 1 << 16], re.MULTILINE):
        return "obj"
    known = suffix.lower().lstrip(".")
    return known if known in READERS else None


def read_file(data: bytes, suffix: str, limits: Limits) -> Mesh:
    """The vertices and faces of a mesh file, as they stand in it.

    Faces of more than three corners become fans of triangles; the parts of a scene are merged.

    Raises:
        MediaError: if the file is of no known format, is damaged, or holds more than allowed.
    """
    data = data.removeprefix(BYTE_ORDER_MARK)
    name = detect_format(data, suffix)
    if name is None:
        raise MediaError("not a mesh that can be read: try .ply, .obj, .stl, .off or .glb")
    try:
        return READERS[name](data, limits)
    except MediaError:
        raise
    except MemoryError:
        raise MediaError("too large for this machine's memory") from None
    except Exception as error:  # whatever a damaged file makes NumPy raise
        raise MediaError(f"damaged mesh: {name.upper()} ({type(error).__name__})") from error
