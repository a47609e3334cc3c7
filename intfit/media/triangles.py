"""Triangles: read from mesh files, sampled, and measured.

A mesh is ``vertices`` ``[V, 3]`` and ``faces`` ``[F, 3]``, the indices of each triangle's corners.
"""

import io
import re

import igl
import numpy as np
import trimesh
from numpy.typing import NDArray

from ..errors import MediaError

#: Points that two surfaces are compared at, on each of them.
COMPARED_POINTS = 1 << 17

Array = NDArray[np.float64]
Faces = NDArray[np.int64]


def detect_format(data: bytes, suffix: str) -> str | None:
    """Trimesh's name of the format of these bytes; None where they are no mesh.

    By content where it tells, else by ``suffix``.
    """
    head = data[:1024]
    if head[:4] == b"ply\n" or head[:5] == b"ply\r\n":
        return "ply"
    if head[:4] == b"glTF":
        return "glb"
    if re.match(rb"\s*(C|N|ST|4|n)*OFF\s", head):
        return "off"
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return "stl"
    if re.match(rb"\s*solid\b", head) and b"facet" in data[:4096]:
        return "stl_ascii"
    if re.search(rb"^(v|vn|vt)[ \t]+[-+.\d]", data[: 1 << 16], re.MULTILINE):
        return "obj"
    known = suffix.lower().lstrip(".")
    return known if known in trimesh.available_formats() else None


def read_triangles(data: bytes, suffix: str) -> tuple[Array, Faces, list[str]]:
    """Vertices, faces and notes of a mesh file; the parts of a scene are merged.

    Degenerate and repeated triangles are dropped: the winding number would count them twice.

    Raises:
        MediaError: if it cannot be read, has no triangles, or has vertices that are not numbers.
    """
    file_type = detect_format(data, suffix)
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=file_type, process=False)
        mesh = scene.to_mesh()
        vertices = np.ascontiguousarray(mesh.vertices, np.float64)
        faces = np.ascontiguousarray(mesh.faces, np.int64)
    except Exception as error:  # trimesh's loaders raise whatever their parsers raise
        raise MediaError(f"damaged mesh: {error or type(error).__name__}") from None
    if not len(faces):
        raise MediaError("has no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MediaError("damaged mesh: a face names a vertex that is not there")
    used = np.unique(faces)
    if not np.isfinite(vertices[used]).all():
        raise MediaError("has vertices that are not numbers (NaN or infinite)")
    # Vertices of no triangle must not enlarge the bounding box.
    vertices, faces = vertices[used], np.searchsorted(used, faces)
    notes = []
    corners = vertices[faces]
    with np.errstate(over="ignore", invalid="ignore"):
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sound = np.isfinite(normals).all(axis=1) & (np.abs(normals).max(axis=1) > 0)
    _, first = np.unique(_sort_corners(corners), axis=0, return_index=True)
    single = np.zeros(len(faces), bool)
    single[first] = True
    dropped = int(np.count_nonzero(~(sound & single)))
    faces = np.ascontiguousarray(faces[sound & single])
    if not len(faces):
        raise MediaError("has no triangles of any area")
    if dropped:
        notes.append(f"{dropped} degenerate or repeated faces dropped")
    return vertices, faces, notes


def _sort_corners(corners: Array) -> Array:
    """Triangles ``[F, 3, 3]`` as rows ``[F, 9]`` that do not depend on the order of the corners."""
    order = np.lexsort(corners.transpose(2, 0, 1)[::-1], axis=-1)
    return np.asarray(np.take_along_axis(corners, order[..., None], axis=1).reshape(-1, 9))


def measure_distances(points: Array, vertices: Array, faces: Faces) -> Array:
    """Unsigned distances ``[B]`` of points ``[B, 3]`` from the nearest triangle."""
    squared = igl.point_mesh_squared_distance(points, vertices, faces)[0]
    return np.asarray(np.sqrt(squared), np.float64)


def find_inside(points: Array, vertices: Array, faces: Faces) -> NDArray[np.bool_]:
    """Which of the points ``[B, 3]`` lie inside the surface, ``[B]``.

    By the fast winding number (Barill et al. 2018), which copes with holes and with triangles that
    share no vertices. Its absolute value counts, so that a surface turned inside out gives the
    same.
    """
    winding = np.asarray(igl.fast_winding_number(vertices, faces, points))
    return np.asarray(np.abs(winding) > 0.5)


def draw_on_surface(vertices: Array, faces: Faces, count: int, rng: np.random.Generator) -> Array:
    """``count`` points ``[count, 3]`` drawn uniformly over the area of the surface."""
    corners = vertices[faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    drawn = corners[rng.choice(len(faces), count, p=area / area.sum())]
    # Uniform over a triangle: half of the unit square is folded onto the other along its diagonal.
    weights = rng.uniform(size=(count, 2, 1))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    edges = drawn[:, 1:] - drawn[:, :1]
    return np.asarray(drawn[:, 0] + (weights * edges).sum(axis=1))


def compare_surfaces(
    decoded: trimesh.Trimesh, vertices: Array, faces: Faces
) -> tuple[float, float]:
    """Mean and maximal distance between a decoded surface and the original.

    From points on either surface to the other one: the mean of the two means, the larger of the
    two maxima; in % of the diagonal of the original's bounding box.
    """
    others, triangles = np.asarray(decoded.vertices), np.asarray(decoded.faces)
    rng = np.random.default_rng(1)
    on_decoded = draw_on_surface(others, triangles, COMPARED_POINTS, rng)
    to_original = measure_distances(on_decoded, vertices, faces)
    on_original = draw_on_surface(vertices, faces, COMPARED_POINTS, rng)
    to_decoded = measure_distances(on_original, others, triangles)
    diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    return (
        100 * float(to_original.mean() + to_decoded.mean()) / 2 / diagonal,
        100 * float(max(to_original.max(), to_decoded.max())) / diagonal,
    )
