"""Triangles of a field's zero level, by marching cubes or by dual contouring.

Dual contouring (Ju et al. 2002) keeps creases. A cube between eight samples that the surface
crosses gets one vertex, where the planes through the crossings of its edges meet: on a crease, if
there is one. Marching cubes (Lewiner et al. 2003) puts vertices on edges only, and cuts creases
off. Lengths are those of the grid, in cells.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .search import Array, Faces

#: Evaluations that a crossing of an edge is found in at most, and the step, in cells, after which
#: it is.
ROUNDS, SETTLED = 4, 0.005
#: Points, cubes or edges that are worked on at once.
CHUNK = 1 << 16
#: Planes that meet at a smaller angle than this, as a share of the largest eigenvalue of their
#: normals' second moments, do not tell where: the vertex stays at the mean of the crossings.
FLAT = 0.05

#: A field and its gradient at points ``[B, 3]`` in cells: values ``[B]``, gradients ``[B, 3]``.
Differentiate = Callable[[Array], tuple[Array, Array]]


class MarchingCubes:
    """Triangles of marching cubes, some layers of cubes after the other."""

    def __init__(self) -> None:
        self._vertices: list[Array] = []
        self._faces: list[Faces] = []
        self._count = 0
        #: Vertices on the last layer's samples: their places in it, ascending, and numbers.
        self._last = np.empty(0, np.int64), np.empty(0, np.int64)

    def break_off(self) -> None:
        """Go on behind layers that the surface does not cross."""
        self._last = np.empty(0, np.int64), np.empty(0, np.int64)

    def add(self, values: NDArray[np.float32], first: int) -> None:
        """Add the triangles between samples ``[X, Y, Z]``; the first lie at x = ``first``.

        Where these are the last ones of those before, triangles share their vertices.
        """
        from skimage.measure import marching_cubes

        vertices, faces, _, _ = marching_cubes(
            values, 0.0, gradient_direction="descent", mask=_find_crossed(values)
        )
        # vertices between samples of one layer are exactly there, and the same from either side
        keys = _number_in_layer(vertices)
        known = vertices[:, 0] == 0
        before, numbers_before = self._last
        places = np.minimum(np.searchsorted(before, keys), max(len(before) - 1, 0))
        known &= before[places] == keys if len(before) else False
        numbers = self._count + np.cumsum(~known) - 1
        if known.any():
            numbers[known] = numbers_before[places[known]]
        moved = vertices[~known].astype(np.float64)
        moved[:, 0] += first
        self._vertices.append(moved)
        self._faces.append(numbers[faces])
        self._count += len(moved)
        last = np.flatnonzero(vertices[:, 0] == len(values) - 1)
        last = last[np.argsort(keys[last], kind="stable")]
        self._last = keys[last], numbers[last]

    def join(self) -> tuple[Array, Faces]:
        """All vertices ``[V, 3]`` and faces ``[F, 3]``."""
        return np.concatenate(self._vertices), np.concatenate(self._faces)


def _number_in_layer(vertices: NDArray[np.float32]) -> NDArray[np.int64]:
    """A number for each of ``vertices`` ``[V, 3]`` by its y and z, ``[V]``."""
    bits = np.ascontiguousarray(vertices).view(np.uint32).astype(np.int64)
    return np.asarray((bits[:, 1] << 32) | bits[:, 2])


def _find_crossed(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The cubes between eight cells that the surface crosses, as marching cubes takes a mask.

    True at the first and the last of a cube's cells: whichever of them is asked for it.
    """
    crossed = np.zeros(values.shape, bool)
    first = values[0] < 0
    for layer in range(len(values) - 1):  # layer by layer, in the caches
        second = values[layer + 1] < 0
        some, every = first | second, first & second
        some, every = some[1:] | some[:-1], every[1:] & every[:-1]
        differs = (some[:, 1:] | some[:, :-1]) & ~(every[:, 1:] & every[:, :-1])
        crossed[layer, :-1, :-1] |= differs
        crossed[layer + 1, 1:, 1:] |= differs
        first = second
    return crossed


class Edges(NamedTuple):
    """Edges of a grid along which the sign changes.

    Their first samples ``[E, 3]`` and their axes ``[E]``; the values at both ends ``[E, 2]``.
    """

    starts: Faces
    axes: Faces
    ends: NDArray[np.float32]


def contour(
    edges: Edges, shape: tuple[int, ...], differentiate: Differentiate
) -> tuple[Array, Faces]:
    """Vertices ``[V, 3]`` and faces ``[F, 3]`` of the zero level that crosses a grid's ``edges``.

    The grid has a ``shape`` of samples; those at its border are positive. Sample (i, j, k) lies at
    that point. Faces look to where the field is positive.
    """
    points, normals = _find_crossings(edges, differentiate)
    cubes, corners = _find_cubes(edges.starts, edges.axes, shape)
    vertices = _place_vertices(cubes, corners, points, normals)
    rising = edges.ends[:, 0] < 0
    faces = [
        _make_faces(vertices, corners[part], points[part], edges.axes[part], rising[part])
        for part in _split(len(points))
    ]
    return vertices, np.concatenate(faces)


def _split(count: int) -> Iterator[slice]:
    """Parts of ``count`` rows, so that what is computed from them takes little memory."""
    for first in range(0, count, CHUNK):
        yield slice(first, first + CHUNK)


def find_crossed_edges(values: NDArray[np.float32], first: int = 0) -> Edges:
    """The edges of samples ``[X, Y, Z]`` that are crossed, without those within the first layer.

    The first layer lies at x = ``first``.
    """
    inside = values < 0
    parts = []
    for axis in range(3):
        own = slice(None) if axis == 0 else slice(1, None)  # its layers
        before = tuple(slice(0, -1) if other == axis else slice(None) for other in range(3))
        after = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        changes = inside[own][before] != inside[own][after]
        start = np.stack(np.nonzero(changes), axis=1)
        start[:, 0] += axis != 0
        end = start + np.eye(3, dtype=np.int64)[axis]
        ends = np.stack([values[tuple(start.T)], values[tuple(end.T)]], axis=1)
        start[:, 0] += first
        parts.append(Edges(start, np.full(len(start), axis), ends))
    return join_edges(parts)


def join_edges(parts: Sequence[Edges]) -> Edges:
    """All edges of some parts of a grid."""
    return Edges(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _find_crossings(edges: Edges, differentiate: Differentiate) -> tuple[Array, Array]:
    """Where edges cross the surface ``[E, 3]``, and its unit normals there, ``[E, 3]``.

    By Newton's method, within bounds that each evaluation narrows, until it moves a crossing by
    less than :data:`SETTLED`. A step that leaves them is at a kink of the field, and bisection gets
    past it.
    """
    count = len(edges.starts)
    points, normals = np.empty((count, 3)), np.empty((count, 3))
    for part in _split(count):
        start, axis = edges.starts[part], edges.axes[part]
        at_low, at_high = edges.ends[part].astype(np.float64).T
        share = at_low / (at_low - at_high)
        low, high = np.zeros(len(start)), np.ones(len(start))
        gradient = np.empty((len(start), 3))
        left = np.arange(len(start))
        for _ in range(ROUNDS):
            before = share[left]
            place = start[left].astype(np.float64)
            place[np.arange(len(left)), axis[left]] += before
            value, gradient[left] = differentiate(place)
            same = (value < 0) == (at_low[left] < 0)
            low[left], high[left] = (
                np.where(same, before, low[left]),
                np.where(same, high[left], before),
            )
            slope = gradient[left, axis[left]]
            found = before - value / np.where(slope == 0, 1e-12, slope)
            within = (found >= low[left]) & (found <= high[left])
            share[left] = np.where(within, found, (low[left] + high[left]) / 2)
            left = left[np.abs(share[left] - before) > SETTLED]
            if not len(left):
                break
        points[part] = start
        points[np.arange(len(start)) + part.start, axis] += share
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
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
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    flat = (starts @ strides)[:, None] + (around @ strides)[axes]
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
