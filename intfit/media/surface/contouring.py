"""Dual contouring (Ju et al. 2002): triangles of a field's zero level that keep its creases.

A cube between eight samples that the surface crosses gets one vertex, where the planes through the
crossings of its edges meet: on a crease, if there is one. Marching cubes puts vertices on edges
only, and cuts creases off. Lengths are those of the grid, in cells.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .search import Array, Faces

#: Evaluations that a crossing of an edge is found in.
ROUNDS = 4
#: Points, cubes or edges that are worked on at once.
CHUNK = 1 << 16
#: Planes that meet at a smaller angle than this, as a share of the largest eigenvalue of their
#: normals' second moments, do not tell where: the vertex stays at the mean of the crossings.
FLAT = 0.05

#: A field and its gradient at points ``[B, 3]`` in cells: values ``[B]``, gradients ``[B, 3]``.
Differentiate = Callable[[Array], tuple[Array, Array]]


def contour(values: NDArray[np.float32], differentiate: Differentiate) -> tuple[Array, Faces]:
    """Vertices ``[V, 3]`` and faces ``[F, 3]`` of the zero level of ``values`` ``[X, Y, Z]``.

    Samples at the grid's border are positive. Sample (i, j, k) lies at that point. Faces look to
    where the field is positive.
    """
    starts, axes, rising = _find_crossed_edges(values)
    points, normals = _find_crossings(values, starts, axes, differentiate)
    cubes, corners = _find_cubes(starts, axes, values.shape)
    vertices = _place_vertices(cubes, corners, points, normals)
    faces = [
        _make_faces(vertices, corners[part], points[part], axes[part], rising[part])
        for part in _split(len(starts))
    ]
    return vertices, np.concatenate(faces)


def _split(count: int) -> Iterator[slice]:
    """Parts of ``count`` rows, so that what is computed from them takes little memory."""
    for first in range(0, count, CHUNK):
        yield slice(first, first + CHUNK)


def _find_crossed_edges(values: NDArray[np.float32]) -> tuple[Faces, Faces, NDArray[np.bool_]]:
    """Edges along which the sign changes: their first samples ``[E, 3]``, their axes ``[E]``.

    And whether the field rises along them.
    """
    inside = values < 0
    starts, axes = [], []
    for axis in range(3):
        before = inside[tuple(slice(0, -1 if other == axis else None) for other in range(3))]
        after = inside[tuple(slice(1 if other == axis else 0, None) for other in range(3))]
        found = np.stack(np.nonzero(before != after), axis=1)
        starts.append(found)
        axes.append(np.full(len(found), axis))
    start = np.concatenate(starts)
    return start, np.concatenate(axes), inside[tuple(start.T)]


def _find_crossings(
    values: NDArray[np.float32], starts: Faces, axes: Faces, differentiate: Differentiate
) -> tuple[Array, Array]:
    """Where edges cross the surface ``[E, 3]``, and its unit normals there, ``[E, 3]``.

    By Newton's method, within bounds that each evaluation narrows. A step that leaves them is at a
    kink of the field, and bisection gets past it.
    """
    points, normals = np.empty((len(starts), 3)), np.empty((len(starts), 3))
    for part in _split(len(starts)):
        start, axis = starts[part], axes[part]
        step = np.eye(3)[axis]
        at_low = values[tuple(start.T)].astype(np.float64)
        at_high = values[tuple((start + step.astype(np.int64)).T)].astype(np.float64)
        share = at_low / (at_low - at_high)
        low, high = np.zeros(len(start)), np.ones(len(start))
        for _ in range(ROUNDS):
            value, gradient = differentiate(start + share[:, None] * step)
            same = (value < 0) == (at_low < 0)
            low, high = np.where(same, share, low), np.where(same, high, share)
            slope = (gradient * step).sum(axis=1)
            found = share - value / np.where(slope == 0, 1e-12, slope)
            share = np.where((found >= low) & (found <= high), found, (low + high) / 2)
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        points[part] = start + share[:, None] * step
        normals[part] = gradient / np.maximum(length, 1e-12)
    return points, normals


def _find_cubes(
    starts: Faces, axes: Faces, shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], Faces]:
    """The cubes' first samples ``[C, 3]``, and of each edge its four cubes ``[E, 4]``.

    These go round the edge: counterclockwise where one looks against its direction.
    """
    around = np.zeros((3, 4, 3), np.int64)
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        around[axis, :, one] = [-1, 0, 0, -1]
        around[axis, :, other] = [-1, -1, 0, 0]
    places = starts[:, None] + around[axes]
    flat = np.ravel_multi_index(tuple(np.moveaxis(places, 2, 0)), shape)
    cubes, corners = np.unique(flat, return_inverse=True)
    return np.stack(np.unravel_index(cubes, shape), axis=1), corners.reshape(-1, 4)


def _place_vertices(cubes: Faces, corners: Faces, points: Array, normals: Array) -> Array:
    """A vertex ``[C, 3]`` for each cube: within it, and nearest to all planes of its crossings.

    Of the places that are equally near, that nearest to the mean of the crossings.
    """
    count, cube = len(cubes), corners.reshape(-1)

    def add_up(each: Array) -> Array:
        return np.asarray(np.bincount(cube, np.repeat(each, 4), count), np.float64)

    crossings = np.bincount(cube, minlength=count)
    mean = np.stack([add_up(part) for part in points.T], axis=1) / crossings[:, None]
    moments = np.empty((count, 3, 3))
    for one in range(3):
        for other in range(one, 3):
            moments[:, one, other] = add_up(normals[:, one] * normals[:, other])
            moments[:, other, one] = moments[:, one, other]
    along = (normals * points).sum(axis=1)
    wanted = np.stack([add_up(part * along) for part in normals.T], axis=1)
    wanted -= np.einsum("cij,cj->ci", moments, mean)
    for part in _split(count):
        sizes, directions = np.linalg.eigh(moments[part])
        told = sizes > FLAT * sizes[:, -1:]
        shares = np.where(told, np.einsum("cji,cj->ci", directions, wanted[part]), 0)
        shares /= np.where(told, sizes, 1)
        mean[part] += np.einsum("cij,cj->ci", directions, shares)
    return mean.clip(cubes, cubes + 1)


def _make_faces(
    vertices: Array, corners: Faces, points: Array, axes: Faces, rising: NDArray[np.bool_]
) -> Faces:
    """Two triangles for each edge, ``[2 * E, 3]``: its four cubes' vertices, cut along a diagonal.

    Along that which passes nearer to the edge's crossing, where the surface is known to be.
    """
    quads = np.where(rising[:, None], corners, corners[:, ::-1])
    rows = np.arange(len(quads))
    order = (axes[:, None] + np.array([1, 2, 0])) % 3  # across the edge, across it, along it
    local = np.take_along_axis(vertices[quads], order[:, None], axis=2)
    local -= np.take_along_axis(points, order, axis=1)[:, None]
    first, second = _height(local, 0), _height(local, 1)
    chosen = np.where(second < first, 1, 0)
    turned = quads[rows[:, None], (chosen[:, None] + np.arange(4)) % 4]
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])


def _height(quads: Array, start: int) -> Array:
    """How far from the origin quads ``[E, 4, 3]``, cut from corner ``start``, cross the z axis."""
    one, middle, other, last = (quads[:, (start + i) % 4] for i in range(4))
    side = _cross(other - one, -one) > 0
    third = np.where(side[:, None], last, middle)
    across, beyond = other - one, third - one
    area = _cross(across, beyond)
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    along, up = _cross(-one, beyond) / area, _cross(across, -one) / area
    return np.asarray(np.abs(one[:, 2] + along * across[:, 2] + up * beyond[:, 2]))


def _cross(one: Array, other: Array) -> Array:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
