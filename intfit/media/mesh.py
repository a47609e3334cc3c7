"""Surfaces: any triangles trimesh reads, fitted as signed distances."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from .. import metrics
from ..errors import MediaError, UsageError
from ..limits import USUAL, Limits
from ..signals import DistanceSamples, Evaluate
from .isosurface import COARSEST, extract_surface, remove_fragments
from .sampling import CLAMP, PADDING, draw_pool, fit_box
from .triangles import (
    COMPARED_POINTS,
    compare_surfaces,
    detect_format,
    find_inside,
    read_triangles,
)

DEFAULT_SUFFIX = ".ply"
LOSSLESS = frozenset({".ply", ".obj", ".stl", ".off", ".glb"})
METRICS = ("iou", "mean_distance", "max_distance")
NOT_KEPT = "shape only: connectivity, UVs, colours and materials are not kept"
#: Points of the pool that a surface is sampled at.
POOL = 1 << 18
#: Cells along the longest side: by default, and at the most.
RESOLUTION, MAX_RESOLUTION = 256, 1024


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
    vertices, faces, notes = read_triangles(data, suffix)
    box = fit_box(vertices, faces)
    vertices = np.ascontiguousarray((vertices - box.centre) / box.unit)
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
        try:
            decoded = render(evaluate, facts, Target())
        except MediaError:  # no surface
            return 100.0
        return compare_surfaces(decoded, vertices * box.unit + box.centre, faces)[0]

    return DistanceSamples(
        *samples,
        clamp=100 * CLAMP * box.unit / box.diagonal,
        measure_distance=measure_distance,
        facts=facts,
        notes=(*notes, NOT_KEPT),
    )


def check_facts(facts: dict[str, Any]) -> None:
    """Raise MediaError unless a header's facts are those of a surface."""

    def has_vector(key: str, low: float, high: float) -> bool:
        values = facts.get(key)
        return (
            isinstance(values, list)
            and len(values) == 3
            and all(isinstance(v, float) and low < v < high for v in values)
        )

    unit = facts.get("unit")
    if not (
        has_vector("centre", -1e300, 1e300)
        and has_vector("extent", 0.05, 1.001)
        and isinstance(unit, float)
        and 0 < unit < 1e300
    ):
        raise MediaError("damaged: the header does not describe a surface")


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

    ``metadata["fragments"]`` counts small pieces that were removed.

    Raises:
        UsageError: if the resolution is out of range.
        MediaError: if the field has no surface.
    """
    counts, cell = choose_grid(facts, target)
    vertices, faces = extract_surface(evaluate, counts, cell, facts["extent"])
    vertices = vertices * facts["unit"] + np.array(facts["centre"])
    return remove_fragments(trimesh.Trimesh(vertices, faces, process=False))


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = "", limits: Limits = USUAL
) -> Callable[[trimesh.Trimesh], dict[str, float | None]]:
    """Read the original; the result takes a mesh to its IoU and distances.

    IoU of the two bodies, by winding number at 2^17 uniform points of the original's padded box;
    ``mean_distance`` and ``max_distance`` as in :func:`.compare_surfaces`.

    Raises:
        MediaError: if the original cannot be read.
    """
    vertices, faces, _ = read_triangles(data, suffix)

    def compare(decoded: trimesh.Trimesh) -> dict[str, float | None]:
        rng = np.random.default_rng(1)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        padding = PADDING * (high - low).max()
        points = rng.uniform(low - padding, high + padding, (COMPARED_POINTS, 3))
        inside = find_inside(points, vertices, faces)
        decoded_inside = find_inside(
            points, np.asarray(decoded.vertices), np.asarray(decoded.faces)
        )
        mean, greatest = compare_surfaces(decoded, vertices, faces)
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
    """A PLY point cloud of the points at ``indices``, in the mesh's place; and its suffix."""
    points = signal.points[indices].astype(np.float64) * signal.facts["unit"]
    exported = trimesh.PointCloud(points + np.array(signal.facts["centre"])).export(file_type="ply")
    return bytes(exported), ".ply"
