"""Surfaces: any triangles trimesh reads, fitted as signed distances."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from .. import metrics
from ..errors import MediaError, UsageError
from ..limits import USUAL, Limits
from ..signals import DistanceSamples, Evaluate
from .formats import detect_format
from .formats.writing import TOLERANCE, measure_loss, write_ply, write_surface
from .isosurface import COARSEST, NoSurfaceError, extract_surface, remove_fragments
from .protocol import NONE
from .sampling import CLAMP, PADDING, draw_pool, fit_box, measure_thin_part
from .triangles import COMPARED_POINTS, Array, Faces, compare_surfaces, measure_box, read_triangles
from .winding import find_inside

DEFAULT_SUFFIX = ".ply"
LOSSLESS = frozenset({".ply", ".obj", ".stl", ".off", ".glb"})
METRICS = ("iou", "mean_distance", "max_distance")
NOT_KEPT = "shape only: connectivity, UVs, colours and materials are not kept"
#: Points of the pool that a surface is sampled at.
POOL = 1 << 18
#: Cells along the longest side: by default, and at the most.
RESOLUTION, MAX_RESOLUTION = 256, 1024
#: With more of the surface than this too thin for its cells, the default grid is refined, as long
#: as it has at most this many cells.
UNSEEN, REFINED_CELLS = 0.05, 1 << 28
#: A surface is refused if more of it than this is thinner than a cell of the finest grid.
MOST_THIN = 0.5
#: A depth below a surface at which any body has an inside.
NEXT_TO_SURFACE = 1e-6


@dataclass(frozen=True)
class Target:
    """What to decode: ``resolution`` cells along the longest side, or cells of side ``voxel``.

    The latter in the mesh's own units. Without either, :data:`RESOLUTION` cells.
    """

    resolution: int | None = None
    voxel: float | None = None


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether these bytes look like a mesh; ``suffix`` decides where they do not tell."""
    return detect_format(data, suffix) is not None


def read(
    data: bytes, *, suffix: str = "", seed: int = 0, limits: Limits = USUAL, pool: int = POOL
) -> DistanceSamples:
    """``pool`` signed-distance samples of a mesh file, drawn from ``seed``.

    Raises:
        MediaError: as :func:`.read_triangles`, and if the surface encloses nothing.
    """
    vertices, faces, notes = read_triangles(data, suffix, limits)
    box = fit_box(vertices, faces)
    vertices = np.ascontiguousarray((vertices - box.centre) / box.unit)
    notes += _check_thickness(vertices, faces)
    rng = np.random.default_rng(seed)
    samples = draw_pool(vertices, faces, box.extent, count=pool, rng=rng)
    facts = {
        "centre": box.centre.tolist(),
        "unit": box.unit,
        "extent": box.extent.tolist(),
        "vertices": len(vertices),
        "faces": len(faces),
    }

    def measure_distance(evaluate: Evaluate) -> float:
        around_origin = facts | {"centre": [0.0] * 3, "unit": 1.0}
        try:
            decoded = render(evaluate, around_origin, Target(), limits=limits)
        except MediaError:  # no surface
            return 100.0
        found = np.asarray(decoded.vertices), np.asarray(decoded.faces)
        return compare_surfaces(*found, vertices, faces)[0]

    return DistanceSamples(
        *samples,
        clamp=100 * CLAMP * box.unit / box.diagonal,
        measure_distance=measure_distance,
        facts=facts,
        notes=(*notes, NOT_KEPT),
    )


def _check_thickness(vertices: Array, faces: Faces) -> list[str]:
    """A note where much of a surface is thinner than the cells it will be decoded in.

    Raises:
        MediaError: if most of it is thinner than the finest ones.
    """
    thin = measure_thin_part(vertices, faces, 2 / MAX_RESOLUTION)
    # an open surface has nothing below it at any depth: that is another fault
    if thin > MOST_THIN and measure_thin_part(vertices, faces, NEXT_TO_SURFACE) <= MOST_THIN:
        raise MediaError(
            f"too thin to come back: {100 * thin:.0f} % of its surface belongs to parts thinner "
            f"than 1/{MAX_RESOLUTION} of its size"
        )
    thin = measure_thin_part(vertices, faces, 2 / RESOLUTION)
    if thin <= UNSEEN:
        return []
    return [
        f"{100 * thin:.0f} % of its surface belongs to parts thinner than 1/{RESOLUTION} of its "
        "size: decoding takes a finer grid, and may lose them"
    ]


def count_samples(facts: dict[str, Any]) -> int:
    """Faces of the original; 0 where the header does not say."""
    faces = facts.get("faces")
    return faces if type(faces) is int and faces > 0 else 0


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of the original as float32 coordinates and 32-bit indices, three to a row."""
    return int(12 * (facts["vertices"] + facts["faces"]))


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """``bytes_per_1000_faces``, and that rate of a file of ``size`` bytes."""
    return "bytes_per_1000_faces", 1000 * size / max(1, count_samples(facts))


def choose_grid(facts: dict[str, Any], target: Target) -> tuple[NDArray[np.int64], float]:
    """Cells along each axis ``[3]``, multiples of the coarsest block, and the side of a cell.

    The side is in the field's coordinates, whose longest side spans [-1, 1].

    Raises:
        UsageError: if the resolution is out of range.
    """
    extent = np.array(facts["extent"])
    side = float(2 * extent.max())
    cell = (
        target.voxel / facts["unit"] if target.voxel else side / (target.resolution or RESOLUTION)
    )
    resolution = round(min(side / cell, 1e9))
    if not 8 <= resolution <= MAX_RESOLUTION:
        raise UsageError(f"a resolution of {resolution} is outside 8..{MAX_RESOLUTION}")
    counts = COARSEST * np.ceil(2 * extent / cell / COARSEST).astype(np.int64)
    return counts, cell


def check_limits(facts: dict[str, Any], limits: Limits) -> None:
    """A surface's size follows from the resolution it is decoded at: see :func:`render`."""


def render(
    evaluate: Evaluate, facts: dict[str, Any], target: Target, *, limits: Limits = USUAL
) -> trimesh.Trimesh:
    """The field's zero level as triangles (marching cubes), in the original's place and scale.

    ``metadata["fragments"]`` counts small pieces that were removed; ``metadata["unseen"]`` is about
    the share of the surface that is too thin for the cells. Where that is large, the native
    resolution is refined.

    Raises:
        UsageError: if the resolution is out of range.
        MediaError: if the field has no surface, or one larger than allowed.
    """
    vertices, faces, unseen = _extract(evaluate, facts, target, limits)
    vertices = vertices * facts["unit"] + np.array(facts["centre"])
    mesh = remove_fragments(trimesh.Trimesh(vertices, faces, process=False))
    mesh.metadata["unseen"] = unseen
    return mesh


def _extract(
    evaluate: Evaluate, facts: dict[str, Any], target: Target, limits: Limits
) -> tuple[Array, Faces, float]:
    """What :func:`.extract_surface` gives; by default finer where the usual grid is too coarse.

    Plates, rods and shells thinner than a cell pass between the points at which a grid samples the
    field.
    """
    native = target.resolution is None and target.voxel is None
    resolution = RESOLUTION
    counts, cell = choose_grid(facts, target)
    found: tuple[Array, Faces, float] | MediaError
    try:
        found = extract_surface(evaluate, counts, cell, facts["extent"], limits)
    except NoSurfaceError as error:
        found = error
    while native and resolution < MAX_RESOLUTION:
        if isinstance(found, tuple) and found[2] <= UNSEEN:
            break
        resolution *= 2
        counts, cell = choose_grid(facts, Target(resolution))
        if np.prod(counts) > REFINED_CELLS:
            break
        try:
            found = extract_surface(evaluate, counts, cell, facts["extent"], limits)
        except MediaError as error:
            found = error if isinstance(found, MediaError) else found
    if isinstance(found, MediaError):
        raise found
    return found


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = "", limits: Limits = USUAL
) -> Callable[[trimesh.Trimesh], dict[str, float | None]]:
    """Read the original; the result takes a mesh to its IoU and distances.

    IoU of the two bodies, by winding number at 2^17 uniform points of the original's padded box;
    ``mean_distance`` and ``max_distance`` as in :func:`.compare_surfaces`.

    Raises:
        MediaError: if the original cannot be read.
    """
    vertices, faces, _ = read_triangles(data, suffix, limits)
    centre, size = measure_box(vertices)
    vertices = (vertices - centre) / size

    def compare(decoded: trimesh.Trimesh) -> dict[str, float | None]:
        others = (np.asarray(decoded.vertices) - centre) / size
        triangles = np.asarray(decoded.faces)
        rng = np.random.default_rng(1)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        padding = PADDING * (high - low).max()
        points = rng.uniform(low - padding, high + padding, (COMPARED_POINTS, 3))
        inside = find_inside(points, vertices, faces)
        decoded_inside = find_inside(points, others, triangles)
        mean, greatest = compare_surfaces(others, triangles, vertices, faces)
        return {
            "iou": metrics.iou(inside, decoded_inside),
            "mean_distance": mean,
            "max_distance": greatest,
        }

    return compare


def describe(
    mesh: trimesh.Trimesh, facts: dict[str, Any], target: Target, *, written: bytes = b""
) -> str:
    """Number of faces, in a phrase."""
    return f"{len(mesh.faces)} faces"


def check_format(suffix: str) -> str:
    """The name of the format that ``suffix`` names.

    Raises:
        MediaError: if it is not one of :data:`LOSSLESS`.
    """
    if suffix.lower() not in LOSSLESS:
        raise MediaError(f"cannot write meshes as {suffix!r}: try .ply, .obj, .stl, .off or .glb")
    return suffix.lower()[1:]


def read_metadata(data: bytes) -> dict[str, str]:
    """Nothing: what mesh files hold besides triangles is not kept."""
    return {}


def write(
    mesh: trimesh.Trimesh,
    facts: dict[str, Any],
    target: Target,
    suffix: str,
    *,
    metadata: Mapping[str, str] = NONE,
) -> tuple[bytes, tuple[str, ...]]:
    """A mesh file of the format ``suffix`` names, and notes.

    Raises:
        MediaError: as :func:`check_format`, and if the format cannot hold the coordinates.
    """
    data, notes = write_surface(
        mesh, check_format(suffix), centre=np.array(facts["centre"]), unit=facts["unit"]
    )
    fragments, unseen = mesh.metadata.get("fragments"), mesh.metadata.get("unseen", 0.0)
    if fragments:
        notes = (f"{fragments} floating fragments removed", *notes)
    if unseen > UNSEEN:
        thin = f"about {100 * unseen:.0f} % of the surface is thinner than a cell and missing"
        notes = (*notes, f"{thin}: try a higher --resolution")
    return data, notes


def draw_selection(signal: DistanceSamples, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PLY point cloud of the points at ``indices``, in the mesh's place; and its suffix."""
    points = signal.points[indices].astype(np.float64) * signal.facts["unit"]
    points += np.array(signal.facts["centre"])
    if measure_loss(points) > TOLERANCE:
        return write_ply(points), ".ply"
    return bytes(trimesh.PointCloud(points).export(file_type="ply")), ".ply"
