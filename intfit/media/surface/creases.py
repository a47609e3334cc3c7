"""Creases of a surface: the smooth patches between them, coloured like the countries of a map.

Patches on either side of a crease have different colours. Each bit of a colour divides the surface
into two parts, whose borders are creases; a field that has a kink where a point is equally far from
both parts is as sharp as the surface.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .search import Array, Faces, Surface
from .winding import link_faces, number_places

#: The least angle between two faces at a crease, in degrees.
SHARP = 30.0
#: A patch with a smaller share of the area belongs to a neighbour.
SMALLEST_PATCH = 1e-3
#: A surface has creases if they are at least so long, in square roots of its area, and if its
#: patches are no more than so many: each face of a coarse mesh of a smooth body is no patch.
SHORTEST, MOST_PATCHES = 1.5, 128
#: The most bits of a colour that are used.
MOST_BITS = 2

Sides = NDArray[np.float32]


def measure_sides(surface: Surface, points: Array, *, most: float) -> Sides | None:
    """How much nearer points are to one side of the creases than to the other, ``[B, K]``.

    For each of the K bits of a colour: the distance from the patches without it, minus that from
    the patches with it, both at most ``most``; in units of that, in [-1, 1]. None where the surface
    has no creases.
    """
    colours = colour_faces(surface)
    if colours is None:
        return None
    sides = []
    for bit in range(min(int(colours.max()).bit_length(), MOST_BITS)):
        chosen = (colours >> bit) & 1 == 1
        off, on = (
            Surface(surface.vertices, surface.faces[part]).measure_distances(points, most=most)
            for part in (~chosen, chosen)
        )
        sides.append((off - on) / most)
    return np.stack(sides, axis=1).astype(np.float32)


def colour_faces(surface: Surface) -> Faces | None:
    """The colour of each face's patch ``[F]``, from 0; None where the surface has no creases."""
    places = number_places(surface.vertices)[surface.faces]
    links, _, _ = link_faces(places)
    lengths = np.linalg.norm(surface.normals, axis=1)
    normals = surface.normals / np.maximum(lengths, 1e-300)[:, None]
    cosines = (normals[links[:, 0]] * normals[links[:, 1]]).sum(axis=1)
    smooth = cosines > np.cos(np.radians(SHARP))
    patch = _merge_small(_label(len(places), links[smooth]), links[~smooth], lengths)
    creases = links[~smooth]
    creases = creases[patch[creases[:, 0]] != patch[creases[:, 1]]]
    count = int(patch.max()) + 1
    length = _measure_edges(surface.vertices, surface.faces, places, creases)
    if length < SHORTEST * np.sqrt(lengths.sum() / 2) or count > MOST_PATCHES:
        return None
    return _colour(count, patch[creases])[patch]


def _label(count: int, links: Faces) -> Faces:
    """The number of each node's piece ``[count]``, where ``links`` ``[L, 2]`` join nodes."""
    graph = coo_array((np.ones(len(links), bool), links.T), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _merge_small(patch: Faces, creases: Faces, areas: Array) -> Faces:
    """The patches ``[F]``, but each small one is a part of the largest beside it."""
    sizes = np.bincount(patch, areas)
    small = sizes < SMALLEST_PATCH * sizes.sum()
    one, other = patch[np.concatenate([creases, creases[:, ::-1]])].T
    beside = small[one] & (one != other)
    one, other = one[beside], other[beside]
    order = np.lexsort([sizes[other], one])
    one, other = one[order], other[order]
    last = np.flatnonzero(np.append(one[1:] != one[:-1], True)) if len(one) else np.array([], int)
    joined = np.stack([one[last], other[last]], axis=1)
    # chains of small patches end at a large one, or at each other
    return np.unique(_label(len(sizes), joined)[patch], return_inverse=True)[1].reshape(-1)


def _measure_edges(vertices: Array, faces: Faces, places: Faces, links: Faces) -> float:
    """The length of the edges that pairs of faces ``[L, 2]`` share, together."""
    one, other = places[links[:, 0]], places[links[:, 1]]
    shared = (one[:, :, None] == other[:, None, :]).any(axis=2)
    corners = vertices[faces[links[:, 0]]]
    # of a triangle, the edge that is shared is opposite to the corner that is not
    apart = np.argmin(shared, axis=1)
    rows = np.arange(len(links))
    edges = corners[rows, (apart + 1) % 3] - corners[rows, (apart + 2) % 3]
    return float(np.linalg.norm(edges, axis=1).sum())


def _colour(count: int, borders: Faces) -> Faces:
    """Colours ``[count]`` of patches, different on both sides of ``borders`` ``[L, 2]``.

    The patch whose neighbours have the most colours comes next (Brelaz 1979).
    """
    beside: list[set[int]] = [set() for _ in range(count)]
    for one, other in np.unique(borders, axis=0).tolist():
        beside[one].add(other)
        beside[other].add(one)
    colours = np.full(count, -1)
    taken: list[set[int]] = [set() for _ in range(count)]
    for _ in range(count):
        left = np.flatnonzero(colours < 0).tolist()
        chosen = max(left, key=lambda i: (len(taken[i]), len(beside[i])))
        colours[chosen] = next(c for c in range(count) if c not in taken[chosen])
        for neighbour in beside[chosen]:
            taken[neighbour].add(int(colours[chosen]))
    return colours
