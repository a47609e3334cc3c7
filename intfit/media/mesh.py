"""Surfaces: any triangles trimesh reads, fitted as a signed distance."""

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import igl
import numpy as np
import trimesh
from numpy.typing import NDArray

from .. import metrics
from ..errors import MediaError, UsageError
from ..signals import DistanceSamples, Evaluate

DEFAULT_SUFFIX = ".ply"
LOSSLESS = frozenset({".ply", ".obj", ".stl", ".off", ".glb"})
METRICS = ("iou", "mean_distance", "max_distance")
NOT_KEPT = "shape only: connectivity, UVs, colours and materials are not kept"

#: The box is padded by this share of its longest side, so that the surface lies inside it.
PADDING = 0.05
#: Distances are clamped to this share of the longest half side, and divided by it.
CLAMP = 0.1
#: Laplace noise around the surface, shares of the longest half side; a quarter of the pool is
#: drawn uniformly instead (RESEARCH: half to three quarters near the surface).
NOISE = (0.02, 0.004)
#: Points held out to measure on: uniform ones, and ones on the surface.
CHECK, ON = 1 << 17, 1 << 14
#: Points of a decode that are evaluated at once.
CHUNK = 1 << 16
RESOLUTION = 256
MAX_RESOLUTION = 1024
#: Pieces of a decoded surface whose box diagonal is below this share of the whole's are taken for
#: fragments of the fit and removed.
FRAGMENT = 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """What to decode: ``resolution`` cells along the longest side, or cells of ``voxel`` units."""

    resolution: int | None = None
    voxel: float | None = None


def suffixes() -> frozenset[str]:
    """Suffixes of the formats written."""
    return LOSSLESS


def _file_type(data: bytes, suffix: str) -> str | None:
    """The format of these bytes, by content where it tells, else by ``suffix``."""
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


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether these bytes look like a mesh; ``suffix`` decides where they do not tell."""
    return _file_type(data, suffix) is not None


def surface(data: bytes, suffix: str) -> tuple[Array, NDArray[np.int64], list[str]]:
    """Vertices ``[V, 3]``, triangles ``[F, 3]`` and notes of a mesh file; scenes are merged.

    Degenerate and repeated triangles are dropped: the winding number would count them twice.

    Raises:
        MediaError: if it cannot be read, has no triangles, or has vertices that are not numbers.
    """
    file_type = _file_type(data, suffix)
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
    # Vertices nobody uses must not stretch the box.
    vertices, faces = vertices[used], np.searchsorted(used, faces)
    notes = []
    corners = vertices[faces]
    with np.errstate(over="ignore", invalid="ignore"):
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sound = np.isfinite(normals).all(axis=1) & (np.abs(normals).max(axis=1) > 0)
    _, first = np.unique(_canonical(corners), axis=0, return_index=True)
    single = np.zeros(len(faces), bool)
    single[first] = True
    dropped = int(np.count_nonzero(~(sound & single)))
    faces = np.ascontiguousarray(faces[sound & single])
    if not len(faces):
        raise MediaError("has no triangles of any area")
    if dropped:
        notes.append(f"{dropped} degenerate or repeated faces dropped")
    return vertices, faces, notes


def _canonical(corners: Array) -> Array:
    """Triangles ``[F, 3, 3]`` as rows ``[F, 9]`` that do not depend on the order of the corners."""
    order = np.lexsort(corners.transpose(2, 0, 1)[::-1], axis=-1)
    return np.asarray(np.take_along_axis(corners, order[..., None], axis=1).reshape(-1, 9))


def _distances(points: Array, vertices: Array, faces: NDArray[np.int64]) -> Array:
    """Unsigned distances ``[B]`` of points ``[B, 3]`` from the triangles."""
    squared = igl.point_mesh_squared_distance(points, vertices, faces)[0]
    return np.asarray(np.sqrt(squared), np.float64)


def _inside(points: Array, vertices: Array, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Occupancy ``[B]`` by the fast winding number (Barill et al. 2018): robust to holes and soups.

    Its magnitude counts, so that a surface turned inside out is as good.
    """
    winding = np.asarray(igl.fast_winding_number(vertices, faces, points))
    return np.asarray(np.abs(winding) > 0.5)


def read(data: bytes, *, suffix: str = "", pool: int = 1 << 18, seed: int = 0) -> DistanceSamples:
    """A pool of ``pool`` signed-distance samples of a mesh file.

    Raises:
        MediaError: as :func:`surface`, and if the surface encloses nothing.
    """
    vertices, faces, notes = surface(data, suffix)
    low, high = vertices[faces].min(axis=(0, 1)), vertices[faces].max(axis=(0, 1))
    half = float((high - low).max() / 2)
    if not (np.isfinite(half) and half > 0):
        raise MediaError("its box has no size, or one too large to compute with")
    # The longest side, padding included, spans [-1, 1]. Rounded before use, so that what stands in
    # the header is short and exact.
    unit = _rounded(half * (1 + 2 * PADDING), half)
    centre = np.array([_rounded(value, half) for value in (low + high) / 2])
    extent = np.round((high - low) / 2 / unit + (1 - 1 / (1 + 2 * PADDING)), 4)
    vertices = np.ascontiguousarray((vertices - centre) / unit)
    rng = np.random.default_rng(seed)
    check = rng.uniform(-extent, extent, (CHECK, 3))
    occupied = _inside(check, vertices, faces)
    near = _near(vertices, faces, pool - pool // 4, rng)
    points = np.concatenate([near, rng.uniform(-extent, extent, (pool // 4, 3))])
    inside = _inside(points, vertices, faces)
    if np.count_nonzero(inside[: len(near)]) < len(near) / 1000:
        raise MediaError("encloses nothing: an open surface has no inside to fit")
    distances = _distances(points, vertices, faces) / CLAMP
    targets = np.minimum(distances, 1) * np.where(inside, -1, 1)
    occupancy = np.where(occupied, -1.0, 1.0)
    facts = {
        "centre": centre.tolist(),
        "unit": unit,
        "extent": extent.tolist(),
        "vertices": len(vertices),
        "faces": len(faces),
    }

    def measure_distance(evaluate: Evaluate) -> float:
        try:
            decoded = render(evaluate, facts, Target())
        except MediaError:  # no surface
            return 100.0
        return _apart(decoded, vertices * unit + centre, faces)[0]

    return DistanceSamples(
        points.astype(np.float32),
        targets[:, None].astype(np.float32),
        check.astype(np.float32),
        occupancy[:, None].astype(np.float32),
        _on(vertices, faces, ON, rng).astype(np.float32),
        clamp=100 * CLAMP * unit / float(np.linalg.norm(high - low)),
        measure_distance=measure_distance,
        facts=facts,
        notes=(*notes, NOT_KEPT),
    )


def _rounded(value: float, size: float) -> float:
    """``value`` to a millionth of ``size``, the half side of a box."""
    return round(float(value), 6 - math.floor(math.log10(size)))


def _on(vertices: Array, faces: NDArray[np.int64], count: int, rng: np.random.Generator) -> Array:
    """``count`` points ``[count, 3]`` on the surface, evenly over its area."""
    corners = vertices[faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    chosen = corners[rng.choice(len(faces), count, p=area / area.sum())]
    # uniform over a triangle: fold the unit square along its diagonal
    weights = rng.uniform(size=(count, 2, 1))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    edges = chosen[:, 1:] - chosen[:, :1]
    return np.asarray(chosen[:, 0] + (weights * edges).sum(axis=1))


def _near(vertices: Array, faces: NDArray[np.int64], count: int, rng: np.random.Generator) -> Array:
    """``count`` points spread around the surface by Laplace noise."""
    scale = np.repeat(NOISE, [count - count // 2, count // 2])[:, None]
    noise = rng.laplace(size=(count, 3)) * scale
    return np.asarray(_on(vertices, faces, count, rng) + noise)


def check_facts(facts: dict[str, Any]) -> None:
    """Raise MediaError unless a header's facts are those of a surface."""

    def numbers(key: str, low: float, high: float) -> bool:
        values = facts.get(key)
        return (
            isinstance(values, list)
            and len(values) == 3
            and all(isinstance(v, float) and low < v < high for v in values)
        )

    unit = facts.get("unit")
    if not (
        numbers("centre", -1e300, 1e300)
        and numbers("extent", 0.05, 1.001)
        and isinstance(unit, float)
        and 0 < unit < 1e300
    ):
        raise MediaError("damaged: the header does not describe a surface")


def count_samples(facts: dict[str, Any]) -> int:
    """Faces of the original; 0 where a header does not say."""
    faces = facts.get("faces")
    return faces if type(faces) is int and faces > 0 else 0


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of vertices and faces in a binary file: three floats, three indices of four bytes."""
    return int(12 * (facts["vertices"] + facts["faces"]))


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """Bytes for a thousand of the original's faces, of a file of ``size`` bytes."""
    return "bytes_per_1000_faces", 1000 * size / max(1, count_samples(facts))


def _grid(facts: dict[str, Any], target: Target) -> tuple[NDArray[np.int64], float]:
    """Cells along each axis (a multiple of the coarsest block), and their side."""
    extent = np.array(facts["extent"])
    side = float(2 * extent.max())
    cell = (
        target.voxel / facts["unit"] if target.voxel else side / (target.resolution or RESOLUTION)
    )
    resolution = round(min(side / cell, 1e9))
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise UsageError(f"a resolution of {resolution} is outside 8..{MAX_RESOLUTION}")
    coarse = COARSE * np.ceil(2 * extent / cell / COARSE).astype(np.int64)
    return coarse, cell


#: Cells along the side of the blocks a decode begins with; a power of two.
COARSE = 8
#: A block is searched if the field at its centre is below this many times the distance from there
#: to a corner: 1 for an exact distance, more for one that was fitted.
SLACK = 2.0


def sample(evaluate: Evaluate, counts: NDArray[np.int64], cell: float) -> NDArray[np.float32]:
    """The field at the centres of a grid of cells ``[X, Y, Z]`` around the origin, coarse to fine.

    Starts from blocks of ``COARSE`` cells and halves only those near the surface; cells elsewhere
    keep their block's value, whose sign is right and whose size says it is far.
    """
    side = COARSE
    # A block must be so small that the clamped distance at its centre still tells whether the
    # surface crosses it.
    while side > 1 and ((side - 1) * 3**0.5 / 2 + 1) * cell > 0.9 * CLAMP:
        side //= 2
    shape = counts // side
    values = np.zeros(shape, np.float32)
    active = np.ones(shape, bool)
    while True:
        where = np.argwhere(active)
        centres = (where + 0.5 - np.array(values.shape) / 2) * (side * cell)
        found = np.empty(len(where), np.float32)
        for first in range(0, len(where), CHUNK):
            points = centres[first : first + CHUNK].astype(np.float32)
            found[first : first + CHUNK] = evaluate(points)[:, 0]
        values[active] = found
        if side == 1:
            return values
        reach = SLACK * side * cell * np.sqrt(3) / 2 / CLAMP
        # at a clamp's distance the fitted field no longer tells how far
        active &= np.abs(values) < max(min(reach, 0.9), 0.05)
        side //= 2
        for axis in range(3):
            values, active = (np.repeat(array, 2, axis=axis) for array in (values, active))


def render(evaluate: Evaluate, facts: dict[str, Any], target: Target) -> trimesh.Trimesh:
    """The field's zero level as triangles (marching cubes), in the original's place and scale.

    Raises:
        UsageError: for a resolution out of range.
        MediaError: if the field has no surface.
    """
    from skimage.measure import marching_cubes

    counts, cell = _grid(facts, target)
    values = sample(evaluate, counts, cell)
    # Outside the padded box is outside the body. The field was never fitted there, and what
    # touches the border must be closed.
    for axis, reach in enumerate(facts["extent"]):
        count = values.shape[axis]
        beyond = np.abs((np.arange(count) + 0.5 - count / 2) * cell) > reach
        beyond[[0, -1]] = True
        part = np.moveaxis(values, axis, 0)
        part[beyond] = np.maximum(part[beyond], 1e-3)
    if values.min() >= 0:
        raise MediaError("the network holds no surface")
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    vertices = (vertices.astype(np.float64) + 0.5 - counts / 2) * cell
    vertices = vertices * facts["unit"] + np.array(facts["centre"])
    return without_fragments(trimesh.Trimesh(vertices, faces.astype(np.int64), process=False))


def without_fragments(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh less its specks; ``metadata["fragments"]`` counts those removed."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges, count = mesh.edges, len(mesh.vertices)
    links = coo_array((np.ones(len(edges), bool), edges.T), shape=(count, count))
    pieces, label = connected_components(links, directed=False)
    mesh.metadata["fragments"] = 0
    if pieces == 1:
        return mesh
    low = np.full((pieces, 3), np.inf)
    high = np.full((pieces, 3), -np.inf)
    np.minimum.at(low, label, mesh.vertices)
    np.maximum.at(high, label, mesh.vertices)
    sizes = np.linalg.norm(high - low, axis=1)
    keep = sizes >= FRAGMENT * mesh.scale
    keep[np.argmax(sizes)] = True
    mesh.update_faces(keep[label[mesh.faces[:, 0]]])
    mesh.remove_unreferenced_vertices()
    mesh.metadata["fragments"] = int(np.count_nonzero(~keep))
    return mesh


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = ""
) -> Callable[[trimesh.Trimesh], dict[str, float | None]]:
    """Measures how far a surface is from the original in ``data``.

    IoU of occupancies by winding number at 2^17 uniform points of the padded box; mean and maximal
    point-to-surface distance (% of the diagonal) from 2^17 points of either surface to the other:
    the mean of the two means, the larger of the maxima.

    Raises:
        MediaError: if the original cannot be read.
    """
    vertices, faces, _ = surface(data, suffix)
    return lambda decoded: _compared(decoded, vertices, faces)


def _compared(
    decoded: trimesh.Trimesh, vertices: Array, faces: NDArray[np.int64]
) -> dict[str, float | None]:
    others, triangles = np.asarray(decoded.vertices), np.asarray(decoded.faces)
    rng = np.random.default_rng(1)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    padding = PADDING * (high - low).max()
    points = rng.uniform(low - padding, high + padding, (CHECK, 3))
    overlap = metrics.iou(_inside(points, vertices, faces), _inside(points, others, triangles))
    mean, most = _apart(decoded, vertices, faces)
    return {"iou": overlap, "mean_distance": mean, "max_distance": most}


def _apart(
    decoded: trimesh.Trimesh, vertices: Array, faces: NDArray[np.int64]
) -> tuple[float, float]:
    """Mean and maximal distance of two surfaces, both ways, in % of the second's diagonal."""
    others, triangles = np.asarray(decoded.vertices), np.asarray(decoded.faces)
    rng = np.random.default_rng(1)
    there = _distances(_on(others, triangles, CHECK, rng), vertices, faces)
    back = _distances(_on(vertices, faces, CHECK, rng), others, triangles)
    diagonal = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    return (
        100 * float(there.mean() + back.mean()) / 2 / diagonal,
        100 * float(max(there.max(), back.max())) / diagonal,
    )


def describe(mesh: trimesh.Trimesh, facts: dict[str, Any], target: Target) -> str:
    """What was rendered, in a phrase."""
    return f"{len(mesh.faces)} faces"


def check_format(suffix: str) -> str:
    """Trimesh's name of the format ``suffix`` names.

    Raises:
        MediaError: if it is not one of :data:`LOSSLESS`.
    """
    if suffix.lower() not in LOSSLESS:
        raise MediaError(f"cannot write meshes as {suffix!r}: try .ply, .obj, .stl, .off or .glb")
    return suffix.lower()[1:]


def write(
    mesh: trimesh.Trimesh, facts: dict[str, Any], target: Target, suffix: str
) -> tuple[bytes, tuple[str, ...]]:
    """A mesh file of the format ``suffix`` names, and notes.

    Raises:
        MediaError: as :func:`check_format`.
    """
    exported = mesh.export(file_type=check_format(suffix))
    fragments = mesh.metadata.get("fragments")
    notes = (f"{fragments} floating fragments removed",) if fragments else ()
    return exported.encode() if isinstance(exported, str) else bytes(exported), notes


def draw_selection(signal: DistanceSamples, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PLY point cloud of the samples at ``indices``, in the mesh's place; and its suffix."""
    points = signal.points[indices].astype(np.float64) * signal.facts["unit"]
    exported = trimesh.PointCloud(points + np.array(signal.facts["centre"])).export(file_type="ply")
    return bytes(exported), ".ply"
