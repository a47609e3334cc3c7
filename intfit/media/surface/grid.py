"""The grid that a field is extracted on, and surfaces that are too thin for it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError, UsageError
from ...signals import Evaluate
from ..isosurface import COARSEST, NoSurfaceError
from ..sampling import CLAMP, PADDING, SURFACE_POINTS, measure_thin_part
from .search import Array, Faces, Surface

#: Cells along the longest side: by default, and at the most.
RESOLUTION, MAX_RESOLUTION = 256, 1024
#: With more of the surface than this too thin for its cells, the default grid is refined, as long
#: as it has at most this many cells, and presumably at most this many faces.
UNSEEN, REFINED_CELLS, REFINED_FACES = 0.05, 1 << 30, 1 << 22
#: The same where its triangles are farther from the field's surface than this share of the distance
#: of that from the original.
CUT_OFF = 0.5
#: A fit that is farther from the original than this share of a cell deserves no finer cells: they
#: would show what the fit has made up.
#: And a coarser grid where it has more faces than this: bodies seldom have half as many.
ROUGH, ROUGH_FACES = 0.25, 1 << 20
#: A surface is refused if more of it than this is thinner than a cell of the finest grid.
MOST_THIN = 0.5
#: A depth below a surface at which any body has an inside.
NEXT_TO_SURFACE = 1e-6

#: Vertices ``[V, 3]``, faces ``[F, 3]``, and about which share of the surface passed unseen.
Extracted = tuple[Array, Faces, float]


class Native(NamedTuple):
    """The same, the side of the cells of the grid that it is of, and whether it is too coarse.

    ``too_coarse`` are the cells along the longest side of a grid that would be finer, if that did
    not give too many faces; else 0.
    """

    vertices: Array
    faces: Faces
    unseen: float
    cell: float
    too_coarse: int


def choose_grid(
    facts: dict[str, Any], resolution: int | None = None, voxel: float | None = None
) -> tuple[NDArray[np.int64], float]:
    """Cells along each axis ``[3]``, multiples of the coarsest block, and the side of a cell.

    For ``resolution`` cells along the longest side (None: :data:`RESOLUTION`), or cells of side
    ``voxel`` in the mesh's own units. The side is in the field's coordinates, whose longest side
    spans [-1, 1].

    Raises:
        UsageError: if the resolution is out of range.
    """
    extent = np.array(facts["extent"])
    side = float(2 * extent.max())
    cell = voxel / facts["unit"] if voxel else side / (resolution or RESOLUTION)
    found = round(min(side / cell, 1e9))
    if not 8 <= found <= MAX_RESOLUTION:
        given = f"--resolution {resolution}"
        if voxel:
            given = f"--voxel {voxel:g} makes {found} cells along the longest side, which"
        raise UsageError(f"{given} is outside 8 to {MAX_RESOLUTION}")
    counts = COARSEST * np.ceil(2 * extent / cell / COARSEST).astype(np.int64)
    return counts, cell


def measure_diagonal(facts: dict[str, Any]) -> float:
    """The diagonal of a surface's box without its padding, in the field's coordinates."""
    padding = 1 - 1 / (1 + 2 * PADDING)
    return float(2 * np.linalg.norm(np.maximum(np.array(facts["extent"]) - padding, 0)))


def extract_native(
    extract: Callable[[NDArray[np.int64], float], Extracted],
    evaluate: Evaluate,
    facts: dict[str, Any],
) -> Native:
    """What ``extract`` gives for a grid; for a finer one where the usual grid is too coarse.

    Plates, rods and shells thinner than a cell pass between the points at which a grid samples the
    field, and of thicker ones corners are cut off: a grid is too coarse where its triangles lie
    farther from the zero level of the field, ``evaluate``, than :data:`CUT_OFF` of the distance
    between that and the original. It stays too coarse where a finer one would be too large. A fit
    that is rougher than :data:`ROUGH` of the cells has no use for finer ones, and gets coarser ones
    where it is mostly foam, with more than :data:`ROUGH_FACES`.

    Raises:
        MediaError: as ``extract``.
    """
    resolution, enough = RESOLUTION, False
    counts, cell = choose_grid(facts)
    accuracy = facts.get("mean_distance", 0.0) / 100 * measure_diagonal(facts)
    found: Extracted | MediaError
    try:
        found = extract(counts, cell)
    except NoSurfaceError as error:
        found = error
    if accuracy > ROUGH * cell and isinstance(found, tuple):
        while len(found[1]) > ROUGH_FACES:
            resolution //= 2
            counts, cell = choose_grid(facts, resolution)
            found = extract(counts, cell)
        return Native(*found, cell, 0 if resolution == RESOLUTION else resolution)
    while resolution < MAX_RESOLUTION:
        if isinstance(found, tuple):
            enough = accuracy > ROUGH * cell
            enough = enough or (found[2] <= UNSEEN and _is_near(found, evaluate, facts))
            # halved cells give four times the faces, and some where there were none
            if enough or 4 * len(found[1]) / max(1 - found[2], 0.01) > REFINED_FACES:
                break
        counts, finer = choose_grid(facts, 2 * resolution)
        if np.prod(counts) > REFINED_CELLS:
            break
        try:
            found, cell = extract(counts, finer), finer
        except MediaError as error:
            if isinstance(found, tuple):  # too many cells: what there is will do
                break
            found = error
        resolution *= 2
    if isinstance(found, MediaError):
        raise found
    return Native(*found, cell, 0 if enough or resolution == MAX_RESOLUTION else resolution)


def _is_near(found: Extracted, evaluate: Evaluate, facts: dict[str, Any]) -> bool:
    """Whether triangles lie near enough to the field's zero level."""
    if not (allowed := CUT_OFF * facts.get("mean_distance", 0.0)):
        return True
    points = Surface(*found[:2]).draw_points(SURFACE_POINTS, np.random.default_rng(5))[1]
    distances = CLAMP * np.abs(evaluate(points.astype(np.float32))[:, 0])
    return bool(100 * distances.mean() <= allowed * measure_diagonal(facts))


def check_thickness(surface: Surface) -> list[str]:
    """A note where much of a surface is thinner than the cells it will be decoded in.

    Raises:
        MediaError: if most of it is thinner than the finest ones.
    """
    thin = measure_thin_part(surface, 2 / MAX_RESOLUTION)
    # an open surface has nothing below it at any depth: that is another fault
    if thin > MOST_THIN and measure_thin_part(surface, NEXT_TO_SURFACE) <= MOST_THIN:
        raise MediaError(
            f"too thin to come back: {100 * thin:.0f} % of its surface belongs to parts thinner "
            f"than 1/{MAX_RESOLUTION} of its size"
        )
    thin = measure_thin_part(surface, 2 / RESOLUTION)
    if thin <= UNSEEN:
        return []
    return [
        f"{100 * thin:.0f} % of its surface belongs to parts thinner than 1/{RESOLUTION} of its "
        "size: decoding takes a finer grid, and may lose them"
    ]
