"""Surfaces that enclose nothing: given a thickness to be fitted, and decoded to their middle.

A sheet becomes the body of all places nearer to it than half of its thickness. Each vertex of that
body's surface is then moved inwards by as much, where the two sides meet.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...signals import Evaluate
from .search import Array, Faces, Surface
from .winding import number_places

#: Half of the thickness, in units of half of the padded box's longest side: some two cells of the
#: usual grid.
HALF_THICKNESS = 0.016
#: A surface is a sheet where what would close its holes has more than this share of its area.
MOST_HOLES = 0.1
#: Points that are evaluated at once.
CHUNK = 1 << 16


def find_open_edges(surface: Surface) -> tuple[Array, Faces, Faces]:
    """The edges that belong to more faces in one direction than in the other.

    Places ``[P, 3]``, and of each edge which of them it runs from and to, both ``[E]``. Vertices at
    the same place are one.
    """
    places = number_places(surface.vertices)[surface.faces]
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
    where, start, end = find_open_edges(surface)
    count = len(where)
    _, loop = connected_components(
        coo_array((np.ones(len(start)), (start, end)), shape=(count, count)), directed=False
    )
    parts = np.cross(where[start], where[end]) / 2
    loops = [np.bincount(loop[start], part) for part in parts.T]
    caps = float(np.linalg.norm(loops, axis=0).sum())
    return caps / float(np.linalg.norm(surface.normals, axis=1).sum() / 2)


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
