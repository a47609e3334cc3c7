"""STL: binary and ASCII."""

import re

import numpy as np

from ...limits import Limits
from .polygons import Mesh, cut_polygons, damaged, parse_numbers

#: Bytes before the facets of a binary file (the last four count them), and of a facet.
HEADER, FACET = 84, 50
#: What writers that do not know the number of facets in advance leave as their count.
UNKNOWN = (0, 0xFFFFFFFF)
#: Facets beyond those counted that tell whether they are facets.
TOLD_BY = 1000

_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def is_exact(data: bytes) -> bool:
    """Whether these bytes are exactly as long as their count of facets asks for."""
    return len(data) >= HEADER and len(data) == HEADER + FACET * _count(data)


def _count(data: bytes) -> int:
    return int.from_bytes(data[80:HEADER], "little")


def read(data: bytes, limits: Limits) -> Mesh:
    """The triangles of an STL file: vertices that they share stand once for each.

    Raises:
        MediaError: if it is damaged, or holds more than allowed.
    """
    if not is_exact(data) and re.match(rb"\s*(solid|facet)\b", data, re.IGNORECASE):
        head = data[: 1 << 16].lower()
        if b"facet" in head or b"endsolid" in head:
            return _read_text(data, limits)
    return _read_binary(data, limits)


def _read_binary(data: bytes, limits: Limits) -> Mesh:
    if len(data) < HEADER:
        raise damaged("it is too short for an STL file")
    declared, held = _count(data), (len(data) - HEADER) // FACET
    notes = []
    exact = (len(data) - HEADER) % FACET == 0
    too_few = declared < held and exact and _are_facets(data, declared, held)
    if declared > held or (declared in UNKNOWN and held) or too_few:
        # cut short, unless it ends where a facet does: then the count is what is wrong
        if not exact or not held:
            raise damaged(f"it declares {declared} triangles and holds {held}")
        notes.append(f"its header counts {declared} triangles, it holds {held}: all were read")
        declared = held
    limits.check_cells(declared, "faces")
    facets = np.frombuffer(data, _FACET, declared, HEADER)
    with np.errstate(invalid="ignore"):  # NaN is refused later
        vertices = facets["corners"].reshape(-1, 3).astype(np.float64)
    return Mesh(vertices, np.arange(3 * declared).reshape(-1, 3), notes)


def _are_facets(data: bytes, first: int, end: int) -> bool:
    """Whether what lies beyond the facets that are counted are facets, too, and no padding."""
    rest = np.frombuffer(data, _FACET, min(end - first, TOLD_BY), HEADER + FACET * first)
    corners = rest["corners"]
    moved = (corners != corners[:, :1]).any(axis=(1, 2))
    return bool(np.isfinite(corners).all() and moved.all() and not rest["attributes"].any())


def _read_text(data: bytes, limits: Limits) -> Mesh:
    lines = re.findall(rb"^[ \t]*(vertex[ \t][^\r\n]*|endloop|endfacet)", data.lower(), re.M)
    limits.check_cells(len(lines) // 4, "faces")
    is_vertex = np.fromiter((line.startswith(b"vertex") for line in lines), bool, len(lines))
    loops = np.cumsum(~is_vertex)  # vertices between two ends belong together
    numbers = parse_numbers(b" ".join(line[6:] for line in lines if line.startswith(b"vertex")))
    count = int(np.count_nonzero(is_vertex))
    if len(numbers) != 3 * count:
        raise damaged("a vertex has more or fewer than three coordinates")
    corners = np.bincount(loops[is_vertex]) if count else np.zeros(0, np.int64)
    corners = corners[corners > 0].astype(np.int64)
    if count and (not len(lines) or is_vertex[-1] or corners.min() < 3):
        raise damaged("it ends within a facet, or has one of fewer than three vertices")
    notes = [] if b"endsolid" in data[-4096:].lower() else ["its last line, endsolid, is missing"]
    faces = cut_polygons(np.arange(count), corners, limits)
    return Mesh(numbers.reshape(-1, 3), faces, notes)
