"""Sampling a surface: its padded bounding box, and signed distances of points in it.

Lengths are in units of half of the padded box's longest side, unless said otherwise.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import Limits
from ..signals import ColourSamples, SurfaceSamples
from .formats.paint import Paint
from .surface.search import Faces, Surface
from .surface.sheet import MOST_HOLES, find_strays, measure_holes
from .triangles import Array, drop_unused, measure_box, read_painted

#: The box is padded on every side by this share of its longest side.
PADDING = 0.05
#: Distances are clamped to this, and divided by it.
CLAMP = 0.1
#: Scales of the Laplace noise that spreads points around the surface, for half of them each.
NOISE = (0.02, 0.004)
#: Scales of the Gauss noise that spreads exact points around the surface.
SPREADS = (0.06, 0.03, 0.015, 0.0075)
#: Scale of that around the points at which colours are learnt.
COLOUR_NOISE = 0.001
#: This part of the pool is drawn uniformly over the padded box, the rest around the surface.
UNIFORM_PART = 4
#: Points held out for evaluation, and points on the surface.
EVALUATION_POINTS, SURFACE_POINTS = 1 << 17, 1 << 14
#: Points on the surface below which it is asked whether there is a body.
THICKNESS_POINTS = 1 << 12


@dataclass(frozen=True)
class Box:
    """Where a surface lies: ``(point - centre) / unit`` is in [-1, 1] along the longest side.

    ``extent`` ``[3]`` is half of each side of the padded box after that; ``diagonal`` is that of
    the box without padding, in the mesh's own units.
    """

    centre: Array
    unit: float
    extent: Array
    diagonal: float


class Pool(NamedTuple):
    """Points ``[n, 3]`` and values ``[n, 1]`` as in :class:`~intfit.signals.DistanceSamples`."""

    points: NDArray[np.float32]
    targets: NDArray[np.float32]
    evaluation_points: NDArray[np.float32]
    evaluation_targets: NDArray[np.float32]
    surface_points: NDArray[np.float32]


class Original(NamedTuple):
    """A mesh's surface, moved and scaled as its ``box`` says, and how much of it is ``holes``.

    ``notes`` tell what was changed.
    """

    box: Box
    surface: Surface
    holes: float
    paint: Paint | None
    notes: list[str]


def read_surface(data: bytes, suffix: str, limits: Limits) -> Original:
    """Read a mesh file, and leave out what little of it would make a sheet of a body.

    Raises:
        MediaError: as :func:`.read_painted` and :func:`fit_box`.
    """
    vertices, faces, notes, paint = read_painted(data, suffix, limits)
    box, surface = _place(vertices, faces)
    holes = measure_holes(surface)
    if holes <= MOST_HOLES:
        return Original(box, surface, holes, paint, notes)
    sheet = "open, and kept as a sheet: its two sides come back as two layers of faces"
    stray, share = find_strays(surface)
    strays = f"{np.count_nonzero(stray)} of {len(faces)} faces"
    if share > MOST_HOLES:
        notes.append(
            f"{sheet}. Without {strays}, in parts that enclose nothing, it would be a body"
        )
    elif not share:
        notes.append(sheet)
    else:
        notes.append(f"{strays}, in parts that enclose nothing, left out")
        kept = np.flatnonzero(~stray)
        box, surface = _place(*drop_unused(vertices, faces[kept]))
        holes = measure_holes(surface)
        paint = None if paint is None else paint.select(kept, np.zeros(len(kept), bool))
    return Original(box, surface, holes, paint, notes)


def _place(vertices: Array, faces: Faces) -> tuple[Box, Surface]:
    """The box of a mesh, and its surface in that."""
    box = fit_box(vertices)
    return box, Surface((vertices - box.centre) / box.unit, faces)


def fit_box(vertices: Array) -> Box:
    """The padded box of a surface. Its numbers are rounded, so that a header holds them exactly.

    Raises:
        MediaError: if the surface has no extent, or one too large to compute with.
    """
    _, half = measure_box(vertices)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    unit = _round_to(half * (1 + 2 * PADDING), half)
    centre = np.array([_round_to(value, half) for value in (low + high) / 2])
    extent = np.round((high - low) / 2 / unit + (1 - 1 / (1 + 2 * PADDING)), 4)
    return Box(centre, unit, extent, half * float(np.linalg.norm((high - low) / half)))


def _round_to(value: float, size: float) -> float:
    """``value`` rounded to about a millionth of ``size``."""
    return round(float(value), 6 - math.floor(math.log10(size)))


def draw_pool(
    surface: Surface,
    extent: Array,
    *,
    count: int,
    rng: np.random.Generator,
    thickness: float | None = None,
) -> Pool:
    """Draw a pool of ``count`` signed distances from a surface in its :class:`Box`.

    From a sheet that is given half of a ``thickness``, the distance is that from the body of all
    places nearer to it.

    Raises:
        MediaError: if the surface encloses nothing.
    """
    held_out = rng.uniform(-extent, extent, (EVALUATION_POINTS, 3))
    uniform = count // UNIFORM_PART
    near = _draw_near_surface(surface, count - uniform, rng, thickness or 0.0)
    points = np.concatenate([near, rng.uniform(-extent, extent, (uniform, 3))])
    if thickness is not None:
        return _measure_sheet(surface, points, held_out, thickness, rng)
    occupied, inside = np.split(
        surface.find_inside(np.concatenate([held_out, points])), [len(held_out)]
    )
    if np.count_nonzero(inside[: len(near)]) < len(near) / 1000:
        raise MediaError("encloses nothing: an open surface has no inside to fit")
    distances = surface.measure_distances(points, most=CLAMP) / CLAMP
    targets = distances * np.where(inside, -1, 1)
    occupancy = np.where(occupied, -1.0, 1.0)
    return Pool(
        points.astype(np.float32),
        targets[:, None].astype(np.float32),
        held_out.astype(np.float32),
        occupancy[:, None].astype(np.float32),
        surface.draw_points(SURFACE_POINTS, rng)[1].astype(np.float32),
    )


def _measure_sheet(
    surface: Surface, points: Array, held_out: Array, thickness: float, rng: np.random.Generator
) -> Pool:
    distances = surface.measure_distances(points, most=CLAMP + thickness) - thickness
    occupied = surface.measure_distances(held_out, most=2 * thickness) < thickness
    occupancy = np.where(occupied, -1.0, 1.0)
    on_surface = _draw_offset(surface, SURFACE_POINTS, rng, thickness)
    return Pool(
        points.astype(np.float32),
        (distances / CLAMP)[:, None].astype(np.float32),
        held_out.astype(np.float32),
        occupancy[:, None].astype(np.float32),
        on_surface.astype(np.float32),
    )


def draw_exact(
    surface: Surface, extent: Array, on: int, around: int, *, seed: int, thickness: float | None
) -> SurfaceSamples:
    """``on`` points on a surface in its :class:`Box`, ``around`` uniform ones in it.

    And as many spread around the surface by noise of each of :data:`SPREADS`. Of a sheet that is
    given half of a ``thickness``, it is the sides of that.
    """
    rng = np.random.default_rng(seed)
    points = [rng.uniform(-extent, extent, (around, 3))]
    for scale in SPREADS:
        noise = rng.normal(size=(around, 3)) * scale
        points.append(_draw_offset(surface, around, rng, thickness or 0.0) + noise)
    off = np.concatenate(points)
    distances = surface.measure_distances(off)
    if thickness is None:
        distances = np.where(surface.find_inside(off), -distances, distances)
    else:
        distances = distances - thickness
    return SurfaceSamples(_draw_offset(surface, on, rng, thickness or 0.0), off, distances)


def draw_colours(
    surface: Surface, paint: Paint, *, count: int, rng: np.random.Generator
) -> ColourSamples | None:
    """Draw ``count`` points near a surface with their colours; None where it has only one."""
    faces, places = surface.draw_points(count + EVALUATION_POINTS, rng)
    targets = 2 * paint.sample(faces, surface.find_weights(faces, places)) - 1
    if np.ptp(targets, axis=0).max() < 2 / 255:
        return None
    points = places.astype(np.float32)
    # a decoded surface lies a little beside the original
    points[:count] += rng.laplace(size=(count, 3)) * COLOUR_NOISE
    return ColourSamples(points[:count], targets[:count], points[count:], targets[count:])


def measure_thin_part(surface: Surface, depth: float) -> float:
    """The share of a surface's area with no body at ``depth`` below it, on neither side."""
    rng = np.random.default_rng(2)
    chosen, points = surface.draw_points(THICKNESS_POINTS, rng)
    normals = surface.normals[chosen]
    steps = depth * normals / np.linalg.norm(normals, axis=1, keepdims=True)
    below = surface.find_inside(np.concatenate([points - steps, points + steps]))
    return 1 - float(np.count_nonzero(below.reshape(2, -1).any(axis=0))) / len(points)


def _draw_offset(surface: Surface, count: int, rng: np.random.Generator, thickness: float) -> Array:
    """``count`` points ``[count, 3]`` on the surface, or by ``thickness`` off either side of it."""
    faces, points = surface.draw_points(count, rng)
    if not thickness:
        return points
    normals = surface.normals[faces]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    sides = rng.choice([-thickness, thickness], (count, 1))
    return np.asarray(points + sides * normals / lengths)


def _draw_near_surface(
    surface: Surface, count: int, rng: np.random.Generator, thickness: float
) -> Array:
    """``count`` points ``[count, 3]`` spread around the surface, or a sheet's sides, by noise."""
    scale = np.repeat(NOISE, [count - count // 2, count // 2])[:, None]
    noise = rng.laplace(size=(count, 3)) * scale
    return np.asarray(_draw_offset(surface, count, rng, thickness) + noise)
