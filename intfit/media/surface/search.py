"""A surface that can be searched: the distance of points from it, and which of them lie inside.

Lengths are those of the surface, which lies around the origin and measures about 1: elsewhere the
search for the nearest triangle is slow and inexact.
"""

from functools import cached_property

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .winding import compute_normals, number_places

#: Rays that are followed at once. Each hit is an object of Python.
RAYS = 1 << 14
#: All rays have this direction, along which no two of a usual model's edges lie.
DIRECTION = np.array([0.4361, 0.2719, 0.8578])
#: The surface that is searched is enlarged by this factor, a power of two: libigl's rays pass
#: through triangles whose area seems to be below 1e-6 from there.
ENLARGEMENT = 2.0**14
#: What is farther than a bound is mostly told by cells of this share of it.
COARSE = 0.125

Array = NDArray[np.float64]
Faces = NDArray[np.int64]
Marks = NDArray[np.bool_]


class Surface:
    """Triangles, ``vertices`` ``[V, 3]`` and ``faces`` ``[F, 3]``, and a tree of boxes around them.

    The tree is built when it is first needed. Neither array may be changed.
    """

    def __init__(self, vertices: Array, faces: Faces) -> None:
        self.vertices = np.ascontiguousarray(vertices, np.float64)
        self.faces = np.ascontiguousarray(faces, np.int64)

    @cached_property
    def normals(self) -> Array:
        """The normals of the faces ``[F, 3]``, as long as twice their areas."""
        return compute_normals(self.vertices[self.faces])

    @cached_property
    def closed(self) -> bool:
        """Whether every edge belongs to as many faces in one direction as in the other.

        Then the winding number is a whole number everywhere, even where bodies overlap.
        """
        places = number_places(self.vertices)[self.faces]
        start, end = places.reshape(-1), np.roll(places, -1, axis=1).reshape(-1)
        low, high = np.minimum(start, end), np.maximum(start, end)
        order = np.argsort(low * (places.max() + 1) + high)
        low, high = low[order], high[order]
        first = np.ones(len(order), bool)
        first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
        balance = np.add.reduceat(np.where(start < end, 1, -1)[order], np.flatnonzero(first))
        return not balance.any()

    @cached_property
    def _search(self) -> tuple[igl.AABB, Array]:
        """The tree, and the enlarged vertices that it is of."""
        tree, large = igl.AABB(), ENLARGEMENT * self.vertices
        tree.init(large, self.faces)
        return tree, large

    @cached_property
    def _winding(self) -> igl.FastWindingNumberBVH:
        """The tree that winding numbers are approximated by."""
        tree = igl.FastWindingNumberBVH()
        tree.init(self.vertices, self.faces)
        return tree

    def find_nearest(self, points: Array) -> tuple[Array, Faces, Array]:
        """Of points ``[B, 3]``: distances ``[B]``, the nearest faces ``[B]``, the places there."""
        tree, large = self._search
        squared, faces, places = tree.squared_distance(large, self.faces, ENLARGEMENT * points)
        distances = np.sqrt(np.asarray(squared)) / ENLARGEMENT
        return distances, np.asarray(faces, np.int64), np.asarray(places) / ENLARGEMENT

    def measure_distances(self, points: Array, *, most: float | None = None) -> Array:
        """Distances ``[B]`` of points ``[B, 3]`` from the surface; ``most`` where it is greater.

        Far from the surface the search for the nearest triangle takes longest, and a bound saves
        most of it.
        """
        if most is None:
            return self.find_nearest(points)[0]
        edges = np.diff(self.vertices[self.faces[:, [0, 1, 2, 0]]], axis=1)
        longest = float(np.sqrt(np.square(edges).sum(axis=2).max()))
        near = np.ones(len(points), bool)
        if longest < most:
            # no point of a triangle is farther from a corner than its longest edge / sqrt(3), and
            # no corner farther from its cell's centre than half of the cell's diagonal
            cell = COARSE * most
            reach = most + longest / 3**0.5 + cell * 3**0.5 / 2
            cells = np.floor((self.vertices - self.vertices.min(axis=0)) / cell).astype(np.int64)
            shape = tuple((cells.max(axis=0) + 1).tolist())
            taken = np.unique(np.ravel_multi_index(tuple(cells.T), shape))
            centres = np.stack(np.unravel_index(taken, shape), axis=1) + 0.5
            centres = centres * cell + self.vertices.min(axis=0)
            found = cKDTree(centres).query(points, distance_upper_bound=reach)[0]
            near = np.isfinite(found)
        distances = np.full(len(points), most)
        distances[near] = np.minimum(self.find_nearest(points[near])[0], most)
        return distances

    def find_inside(self, points: Array) -> Marks:
        """Which of the points ``[B, 3]`` lie inside, ``[B]``: the winding number is above a half.

        Its absolute value counts, so that a surface turned inside out gives the same. Of a closed
        surface, it is counted along a ray: exact, and quick for long thin triangles too. Of others
        it is approximated, as in :func:`.find_winding`.
        """
        if not self.closed:
            return np.asarray(np.abs(self._winding.winding_number(points)) > 0.5)
        inside = np.zeros(len(points), bool)
        tree, large = self._search
        through = np.sign(self.normals @ DIRECTION)
        for first in range(0, len(points), RAYS):
            origins = ENLARGEMENT * points[first : first + RAYS]
            directions = np.broadcast_to(DIRECTION, origins.shape).copy()
            hits = tree.intersect_ray(large, self.faces, origins, directions)
            counts = [len(found) for found in hits]
            faces = np.fromiter((hit[0] for found in hits for hit in found), np.int64, sum(counts))
            rays = np.repeat(np.arange(len(hits)), counts)
            winding = np.bincount(rays, through[faces], len(hits))
            inside[first : first + RAYS] = np.abs(winding) > 0.5
        return inside

    def find_weights(self, faces: Faces, points: Array) -> Array:
        """The barycentric weights ``[B, 3]`` of points ``[B, 3]`` in their ``faces`` ``[B]``."""
        first, second, third = np.moveaxis(self.vertices[self.faces[faces]], 1, 0)
        one, other, beyond = second - first, third - first, points - first
        normal = self.normals[faces]
        area = np.maximum(np.square(normal).sum(axis=1), 1e-300)
        second_share = (np.cross(beyond, other) * normal).sum(axis=1) / area
        third_share = (np.cross(one, beyond) * normal).sum(axis=1) / area
        shares = np.stack([1 - second_share - third_share, second_share, third_share], axis=1)
        return np.asarray(shares.clip(0, 1))

    def draw_points(self, count: int, rng: np.random.Generator) -> tuple[Faces, Array]:
        """``count`` points drawn uniformly over the area: the face of each, and ``[count, 3]``."""
        area = np.linalg.norm(self.normals, axis=1)
        chosen = rng.choice(len(self.faces), count, p=area / area.sum())
        drawn = self.vertices[self.faces[chosen]]
        # Uniform over a triangle: half of the unit square is folded onto the other along its
        # diagonal.
        weights = rng.uniform(size=(count, 2, 1))
        weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
        edges = drawn[:, 1:] - drawn[:, :1]
        return chosen, np.asarray(drawn[:, 0] + (weights * edges).sum(axis=1))
