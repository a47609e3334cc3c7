"""Triangles: read from mesh files, and checked.

A mesh is ``vertices`` ``[V, 3]`` and ``faces`` ``[F, 3]``, the indices of each triangle's corners.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import USUAL, Limits
from .formats import read_file
from .formats.paint import Paint
from .surface.winding import compute_normals, number_places, orient_faces

#: Triangles that are looked at once.
CHUNK = 1 << 18
#: Bounds on half of a box's longest side: a double holds what is computed from it.
SMALLEST, LARGEST = 1e-290, 1e290

Array = NDArray[np.float64]
Faces = NDArray[np.int64]


def read_triangles(
    data: bytes, suffix: str, limits: Limits = USUAL
) -> tuple[Array, Faces, list[str]]:
    """Vertices, faces and notes of a mesh file, as :func:`read_painted` without colours."""
    return read_painted(data, suffix, limits)[:3]


def read_painted(
    data: bytes, suffix: str, limits: Limits = USUAL
) -> tuple[Array, Faces, list[str], Paint | None]:
    """Vertices, faces, notes and colours of a mesh file; the parts of a scene are merged.

    Degenerate and repeated triangles are dropped: the winding number would count them twice. Faces
    that are wound against their neighbours are turned round.

    Raises:
        MediaError: if it cannot be read, has no triangles, has vertices that are not numbers, holds
            more than allowed, or is wound in a way that leaves open what is inside.
    """
    mesh = read_file(data, suffix, limits)
    vertices, faces, notes = mesh.vertices, mesh.faces, list(mesh.notes)
    if not len(faces):
        raise MediaError("has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MediaError("damaged mesh: a face names a vertex that is not there")
    vertices, faces = drop_unused(vertices, faces)
    if not np.isfinite(vertices).all():
        raise MediaError("has vertices that are not numbers (NaN or infinite)")
    places = number_places(vertices)
    kept = np.flatnonzero(_have_area(vertices, faces))
    kept = kept[_are_first(np.sort(places[faces[kept]], axis=1))]
    dropped = len(faces) - len(kept)
    faces = np.ascontiguousarray(faces[kept])
    if not len(faces):
        raise MediaError("has no triangles of any area")
    if dropped:
        notes.append(f"{dropped} degenerate or repeated faces dropped")
    centre, size = measure_box(vertices)
    before = faces
    faces, turned = orient_faces((vertices - centre) / size, faces, places)
    paint = mesh.paint
    if paint is not None:
        paint = paint.select(kept, (faces != before).any(axis=1))
    if turned:
        notes.append(f"{turned} faces were wound against the others, and turned")
    return vertices, faces, notes, paint


def drop_unused(vertices: Array, faces: Faces) -> tuple[Array, Faces]:
    """The same without vertices of no triangle, which must not enlarge the bounding box."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    if used.all():
        return vertices, faces
    return vertices[used], (np.cumsum(used) - 1)[faces]


def _have_area(vertices: Array, faces: Faces) -> NDArray[np.bool_]:
    """Which triangles have an area that can be computed with, ``[F]``."""
    sound = np.empty(len(faces), bool)
    # a power of two, so that scaling rounds nothing
    exponent = np.frexp(np.abs(vertices).max())[1] if len(vertices) else 0
    for first in range(0, len(faces), CHUNK):
        corners = np.ldexp(vertices[faces[first : first + CHUNK]], -exponent)
        sound[first : first + CHUNK] = np.abs(compute_normals(corners)).max(axis=1) > 0
    return sound


def _are_first(rows: Faces) -> NDArray[np.bool_]:
    """Which rows ``[n, 3]`` are not the same as one before them, ``[n]``."""
    order = np.lexsort(rows.T)
    in_order = rows[order]
    first = np.ones(len(rows), bool)
    first[order[1:]] = (in_order[1:] != in_order[:-1]).any(axis=1)
    return first


def measure_box(vertices: Array) -> tuple[Array, float]:
    """The centre ``[3]`` of the bounding box of vertices, and half of its longest side.

    Raises:
        MediaError: if the box has no size, or one too large to compute with.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    with np.errstate(over="ignore"):
        half = float((high - low).max() / 2)
    if not SMALLEST < half < LARGEST:
        raise MediaError("its box has no size, or one too large to compute with")
    return low / 2 + high / 2, half
