"""Surfaces: any triangles trimesh reads, fitted as signed distances."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import trimesh
from numpy.typing import NDArray

from .. import metrics
from ..errors import MediaError
from ..limits import USUAL, Limits
from ..signals import DistanceSamples, Evaluate
from .formats import detect_format
from .formats.labels import read_labels, write_labels
from .formats.writing import TOLERANCE, measure_loss, write_ply
from .isosurface import extract_surface, remove_fragments
from .protocol import NONE
from .sampling import (
    CLAMP,
    PADDING,
    draw_colours,
    draw_exact,
    draw_pool,
    read_surface,
)  # fmt: skip
from .surface.comparison import compare_colours, compare_surfaces
from .surface.creases import measure_sides
from .surface.decoded import DecodedSurface, Palette
from .surface.grid import (
    UNSEEN,
    check_thickness,
    choose_grid,
    extract_native,
    measure_diagonal,
)
from .surface.output import note_faces, write_decoded
from .surface.search import Surface
from .surface.sheet import HALF_THICKNESS, MOST_HOLES, move_to_middle
from .surface.simplification import measure_deviation, simplify, simplify_within
from .surface.trimming import FEWEST_HOLES, draw_trim, trim
from .triangles import measure_box, read_painted

read_metadata = read_labels
DEFAULT_SUFFIX = ".ply"
LOSSLESS = frozenset({".ply", ".obj", ".stl", ".off", ".glb"})
METRICS = (
    "iou", "mean_distance", "max_distance", "normal_error", "f_score", "faces", "colour_psnr",
)  # fmt: skip
NOT_KEPT = "shape only: connectivity, UVs and materials are not kept"
COLOURS_KEPT = "shape and colours: connectivity, UVs and other materials are not kept"
#: Points that two bodies or surfaces are compared at.
COMPARED_POINTS = 1 << 17
#: Points of the pool that a surface is sampled at.
POOL = 1 << 18
#: The share of a fit's distance from the original that simplifying may add.
DESERVED = 0.25


@dataclass(frozen=True)
class Target:
    """What to decode: ``resolution`` cells along the longest side, or cells of side ``voxel``.

    The latter in the mesh's own units. Without either, :data:`.grid.RESOLUTION` cells, or more
    where these are too coarse. ``faces`` are the most that the result may have; with
    ``tolerance``, it has as few as are within that mean distance, in % of the box diagonal, from
    the surface in all of the grid's faces. Without ``resolution``, ``voxel`` and these,
    :data:`DESERVED` of the distance between the field and the original is the tolerance, where the
    facts say that distance. ``texture`` is the longer side, in pixels, of the texture of a GLB
    file. What the original did not have is cut away, unless it must be ``watertight``.
    """

    resolution: int | None = None
    voxel: float | None = None
    faces: int | None = None
    tolerance: float | None = None
    texture: int | None = None
    watertight: bool | None = None


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
    box, surface, holes, paint, notes = read_surface(data, suffix, limits)
    thickness = HALF_THICKNESS if holes > MOST_HOLES else None
    if thickness is None:
        notes += check_thickness(surface)
    rng = np.random.default_rng(seed)
    samples = draw_pool(surface, box.extent, count=pool, rng=rng, thickness=thickness)
    sides = None
    if thickness is None:
        sides = measure_sides(surface, samples.points.astype(np.float64), most=CLAMP)
    colours = None if paint is None else draw_colours(surface, paint, count=pool, rng=rng)
    clamp = 100 * CLAMP * box.unit / box.diagonal
    facts = {
        "centre": box.centre.tolist(),
        "unit": box.unit,
        "extent": box.extent.tolist(),
        "vertices": len(surface.vertices),
        "faces": len(surface.faces),
    }
    if paint is not None and colours is not None:
        facts["texture"] = paint.texture_size
    if thickness is not None:
        facts["thickness"] = thickness

    def measure_distance(evaluate: Evaluate, trim: Evaluate | None = None) -> float:
        estimate = clamp * float(np.abs(evaluate(samples.surface_points)).mean())
        around_origin = facts | {"centre": [0.0] * 3, "unit": 1.0, "mean_distance": estimate}
        try:
            parts = {} if trim is None else {"trim": trim}
            decoded = render(_Parted(evaluate, parts), around_origin, Target(), limits=limits)
        except MediaError:  # no surface
            return 100.0
        found = Surface(np.asarray(decoded.vertices), np.asarray(decoded.faces))
        return compare_surfaces(found, surface, points=COMPARED_POINTS).mean

    return DistanceSamples(
        *samples,
        clamp=clamp,
        measure_distance=measure_distance,
        draw=partial(draw_exact, surface, box.extent, seed=seed, thickness=thickness),
        facts=facts,
        notes=(*notes, NOT_KEPT if colours is None else COLOURS_KEPT),
        colours=colours,
        sides=sides,
        draw_trim=cache(partial(draw_trim, surface, box.extent, seed=seed, percent=clamp / CLAMP))
        if thickness is None and holes > FEWEST_HOLES
        else None,
    )


@dataclass(frozen=True)
class _Parted:
    """A field and its parts by name, as :class:`intfit.field.Field` has them."""

    evaluate: Evaluate
    parts: Mapping[str, Evaluate]

    def __call__(self, coords: NDArray[np.floating]) -> NDArray[np.float32]:
        return self.evaluate(coords)

    def part(self, name: str) -> Evaluate | None:
        return self.parts.get(name)


def count_samples(facts: dict[str, Any]) -> int:
    """Faces of the original; 0 where the header does not say."""
    faces = facts.get("faces")
    return faces if type(faces) is int and faces > 0 else 0


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of the original as float32 coordinates and 32-bit indices, three to a row."""
    return int(12 * (facts.get("vertices", 0) + facts.get("faces", 0)))


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """``bytes_per_1000_faces``, and that rate of a file of ``size`` bytes."""
    return "bytes_per_1000_faces", 1000 * size / max(1, count_samples(facts))


def check_limits(facts: dict[str, Any], limits: Limits) -> None:
    """A surface's size follows from the resolution it is decoded at: see :func:`render`."""


def render(
    evaluate: Evaluate, facts: dict[str, Any], target: Target, *, limits: Limits = USUAL
) -> DecodedSurface:
    """The field's zero level as triangles, in the original's place and scale.

    By marching cubes, or where the field has creases, dual contouring.
    ``metadata["fragments"]`` counts small pieces that were removed; ``metadata["unseen"]`` is about
    the share of the surface that is too thin for the cells. Where that is large, the native
    resolution is refined; where it would be finer still but for too many faces,
    ``metadata["too_coarse"]`` is that resolution, and 0 elsewhere. ``metadata["grid_faces"]`` are
    those before simplifying, and ``metadata["deviation"]`` is the mean distance from them, in % of
    the box diagonal; ``metadata["trimmed"]`` tells whether holes of the original are open.

    Raises:
        UsageError: if the resolution is out of range.
        MediaError: if the field has no surface, or one larger than allowed.
    """
    part = getattr(evaluate, "part", dict[str, Evaluate]().get)
    distance = part("distance") or evaluate
    extract = partial(
        extract_surface,
        distance,
        extent=facts["extent"],
        limits=limits,
        differentiate=part("gradient"),
    )
    asked = target.resolution, target.voxel
    if asked == (None, None):
        vertices, faces, unseen, cell, too_coarse = extract_native(extract, distance, facts)
    else:
        counts, cell = choose_grid(facts, *asked)
        (vertices, faces, unseen), too_coarse = extract(counts, cell), 0
    cut = None if target.watertight else part("trim")
    if cut is not None:
        vertices, faces = trim(vertices, faces, cut)
    mesh = remove_fragments(trimesh.Trimesh(vertices, faces, process=False))
    simplified = _simplify(
        Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces)), facts, target
    )
    centre, unit = np.array(facts["centre"]), facts["unit"]
    vertices = simplified.surface.vertices
    if (thickness := facts.get("thickness")) is not None:
        vertices = move_to_middle(distance, vertices, thickness, cell)
    vertices = vertices * unit + centre
    result = DecodedSurface(vertices, simplified.surface.faces, process=False)
    result.metadata.update(
        fragments=mesh.metadata["fragments"],
        unseen=unseen,
        too_coarse=too_coarse,
        grid_faces=len(mesh.faces),
        deviation=simplified.deviation,
        trimmed=cut is not None,
    )
    if (colours := part("colours")) is not None:
        result.palette = Palette(colours, centre, unit)
    return result


class _Simplified(NamedTuple):
    """A surface, and its mean distance from that in all faces, in % of the box diagonal."""

    surface: Surface
    deviation: float


def _simplify(surface: Surface, facts: dict[str, Any], target: Target) -> _Simplified:
    """A surface in the field's coordinates with as many faces as the target asks for."""
    percent = 100 / measure_diagonal(facts)
    if target.faces is not None:
        found = simplify(surface, target.faces)
        return _Simplified(found, percent * measure_deviation(found, surface))
    tolerance = target.tolerance
    if tolerance is None and target.resolution is None and target.voxel is None:
        tolerance = DESERVED * facts.get("mean_distance", 0.0)
    if not tolerance:
        return _Simplified(surface, 0.0)
    # where the original had colours at its vertices, they are written at as many at least
    fewest = count_samples(facts) if facts.get("texture") == 0 else 0
    found, deviation = simplify_within(surface, tolerance / percent, fewest=fewest)
    return _Simplified(found, percent * deviation)


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = "", limits: Limits = USUAL
) -> Callable[[trimesh.Trimesh], dict[str, float | None]]:
    """Read the original; the result takes a mesh to its IoU and distances.

    IoU of the two bodies (None of a sheet), by winding number at 2^17 uniform points of the
    original's padded box; the others as in :func:`.compare_surfaces`, and the number of
    ``faces`` that were compared; ``colour_psnr`` in dB, of colours at points of the original and
    at the nearest ones of the other surface, where both have colours.

    Raises:
        MediaError: if the original cannot be read.
    """
    vertices, faces, _, paint = read_painted(data, suffix, limits)
    centre, size = measure_box(vertices)
    original = Surface((vertices - centre) / size, faces)

    def compare(decoded: trimesh.Trimesh) -> dict[str, float | None]:
        other = Surface((np.asarray(decoded.vertices) - centre) / size, np.asarray(decoded.faces))
        rng = np.random.default_rng(1)
        low, high = original.vertices.min(axis=0), original.vertices.max(axis=0)
        padding = PADDING * (high - low).max()
        points = rng.uniform(low - padding, high + padding, (COMPARED_POINTS, 3))
        inside, decoded_inside = original.find_inside(points), other.find_inside(points)
        found = compare_surfaces(
            other, original, points=COMPARED_POINTS, two_sided="thickness" in facts
        )
        palette: Palette | None = getattr(decoded, "palette", None)
        return {
            "iou": None if facts.get("thickness") else metrics.iou(inside, decoded_inside),
            "mean_distance": found.mean,
            "max_distance": found.greatest,
            "normal_error": found.normal_error,
            "f_score": found.f_score,
            "faces": len(other.faces),
            "colour_psnr": None
            if paint is None or palette is None
            else compare_colours(
                other,
                original,
                paint,
                lambda points: palette.at(points * size + centre),
                points=COMPARED_POINTS,
            ),
        }

    return compare


def describe(
    mesh: trimesh.Trimesh, facts: dict[str, Any], target: Target, *, written: bytes = b""
) -> str:
    """Number of faces, in a phrase; where it was simplified, how far that moved the surface."""
    if not mesh.metadata.get("deviation"):
        return f"{len(mesh.faces)} faces"
    moved = f"{mesh.metadata['deviation']:.2g} % of the diagonal"
    return f"{len(mesh.faces)} faces, within {moved} of the grid's {mesh.metadata['grid_faces']}"


def check_format(suffix: str) -> str:
    """The name of the format that ``suffix`` names.

    Raises:
        MediaError: if it is not one of :data:`LOSSLESS`.
    """
    if suffix.lower() not in LOSSLESS:
        raise MediaError(f"cannot write meshes as {suffix!r}: try .ply, .obj, .stl, .off or .glb")
    return suffix.lower()[1:]


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
    format_ = check_format(suffix)
    data, notes = write_decoded(mesh, format_, facts, texture=target.texture)
    data, lost = write_labels(data, format_, metadata)
    fragments, unseen = mesh.metadata.get("fragments"), mesh.metadata.get("unseen", 0.0)
    if fragments:
        notes = (f"{fragments} floating fragments removed", *notes)
    if resolution := mesh.metadata.get("too_coarse"):
        finer = f"a finer one has very many faces, and --resolution {2 * resolution} gives them"
        notes = (*notes, f"decoded in a grid of {resolution} cells: {finer}")
    elif unseen > UNSEEN:
        thin = f"about {100 * unseen:.0f} % of the surface is thinner than a cell and missing"
        notes = (*notes, f"{thin}: try a higher --resolution")
    return data, (*notes, *lost, *note_faces(mesh, facts, count_samples(facts)))


def draw_selection(signal: DistanceSamples, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PLY point cloud of the points at ``indices``, in the mesh's place; and its suffix."""
    points = signal.points[indices].astype(np.float64) * signal.facts["unit"]
    points += np.array(signal.facts["centre"])
    if measure_loss(points) > TOLERANCE:
        return write_ply(points), ".ply"
    return bytes(trimesh.PointCloud(points).export(file_type="ply")), ".ply"
