"""Trimmed surfaces: what a field closes is cut away where the original was open.

A signed distance has no border: it spans the holes of an open surface with caps. A second field,
the trim, is positive on the caps and negative on the surface, and the zero level between them is
the border. It is learnt from points of the closed surface, whose distance from the border is known.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...errors import MediaError
from ...signals import Coordinates, Evaluate, Floats, TrimSamples
from ..isosurface import extract_surface
from ..sampling import CLAMP
from .grid import choose_grid
from .search import Array, Faces, Surface
from .sheet import find_open_edges

#: Caps of less than this share of a surface's area are left alone.
FEWEST_HOLES = 1e-4
#: Cells along the longest side of the grid that the closed surface is found on.
RESOLUTION = 128
#: The trim is the distance from the border in units of this, cut off beyond.
TRIM_CLAMP = 0.1
#: Points to learn from and to measure by, and of how many the former are chosen: the nearer to the
#: border, the likelier, in proportion to 1 / (FOCUS + the distance).
LEARNT, MEASURED, DRAWN, FOCUS = 1 << 16, 1 << 16, 3 << 16, 0.02
#: Open edges are searched at points no farther from each other than this share of the clamp.
SPACING = 0.02
#: Halvings in the search for the place where an edge of a triangle crosses the border.
HALVINGS = 10


def draw_trim(surface: Surface, extent: Array, *, seed: int, percent: float) -> TrimSamples | None:
    """Points of a surface with holes and of their caps, as :class:`.TrimSamples` has them.

    ``percent`` is what a length of 1 is in % of the box diagonal. None where no cap is found.
    """
    rng = np.random.default_rng(seed)
    facts = {"extent": extent.tolist(), "unit": 1.0}

    def measure(coords: Coordinates) -> Floats:
        points = coords.astype(np.float64)
        distances = surface.measure_distances(points, most=CLAMP) / CLAMP
        signed = np.where(surface.find_inside(points), -distances, distances)
        return signed[:, None].astype(np.float32)

    counts, cell = choose_grid(facts, RESOLUTION)
    try:
        vertices, faces, _ = extract_surface(measure, counts, cell, extent=extent.tolist())
    except MediaError:
        return None
    closed = Surface(vertices, faces)
    border, spacing = _draw_border(surface)

    def locate(points: Array) -> Array:
        """Signed distances from the border, positive on caps: there, the border is nearest."""
        away, _, nearest = surface.find_nearest(points)
        beyond = border.query(nearest)[0] <= spacing
        return np.where(beyond, away, -border.query(points)[0])

    drawn = closed.draw_points(DRAWN, rng)[1]
    located = locate(drawn)
    if not (located > 0).any():
        return None
    chances = 1 / (FOCUS + np.abs(located))
    chosen = rng.choice(len(drawn), LEARNT, p=chances / chances.sum())
    measured = drawn[:MEASURED]
    targets = (located / TRIM_CLAMP)[:, None]
    return TrimSamples(
        drawn[chosen].astype(np.float32),
        targets[chosen].clip(-1, 1).astype(np.float32),
        measured.astype(np.float32),
        targets[:MEASURED].astype(np.float32),
        percent * TRIM_CLAMP,
    )


def _draw_border(surface: Surface) -> tuple[cKDTree, float]:
    """A search tree of points along the open edges, and how far these are from each other."""
    where, start, end = find_open_edges(surface)
    spacing = SPACING * TRIM_CLAMP
    first, last = where[start], where[end]
    counts = np.ceil(np.linalg.norm(last - first, axis=1) / spacing).astype(np.int64) + 1
    edge = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = ((place + 0.5) / counts[edge])[:, None]
    return cKDTree(first[edge] * (1 - share) + last[edge] * share), spacing


def trim(vertices: Array, faces: Faces, evaluate: Evaluate) -> tuple[Array, Faces]:
    """Triangles without what lies where a trim is positive, cut along its zero level."""

    def is_kept(points: Array) -> NDArray[np.bool_]:
        return evaluate(points.astype(np.float32))[:, 0] < 0

    kept = is_kept(vertices)
    if kept.all():
        return vertices, faces
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges = np.unique(edges[kept[edges[:, 0]] != kept[edges[:, 1]]], axis=0)
    one, other = np.where(kept[edges[:, :1]], edges, edges[:, ::-1]).T
    inner, outer = vertices[one], vertices[other]
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        inside = is_kept(middle)[:, None]
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    keys = edges[:, 0] * len(vertices) + edges[:, 1]

    def cross(one: Faces, other: Faces) -> Faces:
        """The numbers of the new vertices on the edges between these."""
        key = np.minimum(one, other) * len(vertices) + np.maximum(one, other)
        return len(vertices) + np.searchsorted(keys, key)

    corners = kept[faces].sum(axis=1)
    parts = [faces[corners == 3]]
    for count in (1, 2):
        cut = faces[corners == count]
        # the corner that differs from the others comes first
        alone = (kept[cut] == (count == 1)).argmax(axis=1)
        turned = (alone[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(cut, turned, axis=1).T
        ab, ac = cross(a, b), cross(a, c)
        if count == 1:
            parts.append(np.stack([a, ab, ac], axis=1))
        else:
            parts += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    left = np.concatenate(parts)
    if not len(left):
        raise MediaError(
            "the network of its border cuts away all of the surface: decode --watertight keeps it"
        )
    used, numbers = np.unique(left, return_inverse=True)
    return np.concatenate([vertices, inner])[used], numbers.reshape(left.shape)
