"""Surfaces that enclose nothing: given a thickness to be fitted, and decoded to their middle.

A sheet becomes the body of all places nearer to it than half of its thickness. Each vertex of that
body's surface is then moved inwards by as much, where the two sides meet.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...signals import Evaluate
from .search import Array, Faces, Surface
from .winding import Marks, link_faces, measure_blur, number_places

#: Half of the thickness, in units of half of the padded box's longest side: some two cells of the
#: usual grid.
HALF_THICKNESS = 0.016
#: A surface is a sheet where what would close its holes has more than this share of its area. Parts
#: that are sheets, beside a body, may have as much, and are then left out.
MOST_HOLES = 0.1
#: Points that are evaluated at once.
CHUNK = 1 << 16


def find_open_edges(surface: Surface) -> tuple[Array, Faces, Faces]:
    """The edges that belong to more faces in one direction than in the other.

    Places ``[P, 3]``, and of each edge which of them it runs from and to, both ``[E]``. Vertices at
    the same place are one.
    """
    return _find_open_edges(surface, number_places(surface.vertices)[surface.faces])


def _find_open_edges(surface: Surface, places: Faces) -> tuple[Array, Faces, Faces]:
    """As :func:`find_open_edges`, where corners ``[F, 3]`` are one if their ``places`` are."""
    start, end = places.reshape(-1), np.roll(places, -1, axis=1).reshape(-1)
    count = int(places.max()) + 1
    forward = coo_array((np.ones(len(start)), (start, end)), shape=(count, count)).tocsr()
    border = (forward - forward.T).tocoo()
    open_edges = border.data > 0
    where = np.zeros((count, 3))
    where[places.reshape(-1)] = surface.vertices[surface.faces.reshape(-1)]
    return where, border.row[open_edges].astype(np.int64), border.col[open_edges].astype(np.int64)


def measure_holes(surface: Surface) -> float:
    """The area of the caps of all holes, as a share of the surface's; 0 where it is closed.

    Of each loop of open edges it is the length of its vector area: exact where the loop is flat.
    """
    if surface.closed:
        return 0.0
    places = number_places(surface.vertices)[surface.faces]
    caps = _measure_caps(surface, places, np.zeros(int(places.max()) + 1, np.int64))
    return float(caps.sum() / _measure_areas(surface).sum())


def _measure_caps(surface: Surface, places: Faces, part: Faces) -> Array:
    """The area of the caps of each part; ``part`` is that of each of the ``places``."""
    where, start, end = _find_open_edges(surface, places)
    shape = (len(where), len(where))
    graph = coo_array((np.ones(len(start)), (start, end)), shape=shape)
    loops, loop = connected_components(graph, directed=False)
    halves = np.cross(where[start], where[end]) / 2
    caps = np.linalg.norm([np.bincount(loop[start], half, loops) for half in halves.T], axis=0)
    owner = np.zeros(loops, np.int64)
    owner[loop] = part
    return np.asarray(np.bincount(owner, caps, int(part.max()) + 1), np.float64)


def _measure_areas(surface: Surface) -> Array:
    return np.asarray(np.linalg.norm(surface.normals, axis=1) / 2)


def find_strays(surface: Surface) -> tuple[Marks, float]:
    """Which faces ``[F]`` belong to parts that are sheets, beside others that are bodies.

    And the share of the area that they have, in [0, 1). Parts share no edge of exactly two faces.
    None are where all are sheets, or where these close holes of the others.
    """
    count = len(surface.faces)
    places = number_places(surface.vertices)[surface.faces]
    links = link_faces(places)[0]
    graph = coo_array((np.ones(len(links)), tuple(links.T)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    # parts that meet at a place are apart there
    keys = places + (int(places.max()) + 1) * label.astype(np.int64)[:, None]
    kept, apart = np.unique(keys, return_inverse=True)
    caps = _measure_caps(surface, apart.reshape(count, 3), kept // (int(places.max()) + 1))
    areas = _measure_areas(surface)
    stray = (caps > MOST_HOLES * np.bincount(label, areas))[label]
    if stray.any() and not stray.all():
        before = measure_blur(surface.vertices, surface.faces)
        after = measure_blur(surface.vertices, surface.faces[~stray])
        if after < before:
            return stray, float(areas[stray].sum() / areas.sum())
    return np.zeros(count, bool), 0.0


def move_to_middle(evaluate: Evaluate, points: Array, thickness: float, cell: float) -> Array:
    """Points ``[B, 3]`` on the surface of a thickened sheet, moved by ``thickness`` to its middle.

    Along the field's gradient, measured over ``cell``.
    """
    moved = np.empty_like(points)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * cell / 2
    for first in range(0, len(points), CHUNK):
        part = points[first : first + CHUNK]
        around = (part[:, None] + steps).reshape(-1, 3)
        values = evaluate(around.astype(np.float32)).reshape(-1, 2, 3).astype(np.float64)
        gradient = values[:, 0] - values[:, 1]
        length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
        moved[first : first + CHUNK] = part - thickness * gradient / length
    return moved
