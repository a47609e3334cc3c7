"""Winding: what is inside a surface, and faces turned so that all are wound alike.

The winding number tells inside from outside, and takes its sign from the order of each triangle's
corners. A file whose faces are wound some one way and some the other would come out as another
body.
"""

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...errors import MediaError

#: Points at which it is asked whether a surface bounds a body.
PROBES = 1 << 12
#: The winding number of a body is a whole number everywhere. This is how far it may be from one,
#: relative to its size, which leaves room for holes.
BLUR = 0.2
#: Patches with a border that are tried both ways: the largest. Turning one by one may end where
#: no single one helps, so that it is begun again from random ways.
MOST_PATCHES, STARTS = 32, 16
#: Points of a body that decide whether it lies within another, and their distance from it.
SIDE_PROBES, OFFSET = 8, 1e-6

Array = NDArray[np.float64]
Faces = NDArray[np.int64]
Marks = NDArray[np.bool_]


def compute_normals(corners: Array) -> Array:
    """The normals ``[F, 3]`` of triangles ``[F, 3, 3]``, as long as twice their areas."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def find_winding(points: Array, vertices: Array, faces: Faces) -> Array:
    """The winding number at points ``[B, 3]``, ``[B]`` (Barill et al. 2018, the fast one)."""
    return np.asarray(igl.fast_winding_number(vertices, faces, points), np.float64)


def number_places(vertices: Array) -> Faces:
    """A number for each vertex ``[V]``, the same for all that lie at the same place."""
    order = np.lexsort(vertices.T)
    in_order = vertices[order]
    numbers = np.empty(len(vertices), np.int64)
    differs = (in_order[1:] != in_order[:-1]).any(axis=1)
    numbers[order] = np.concatenate([[0], np.cumsum(differs)])
    return numbers


def orient_faces(vertices: Array, faces: Faces, places: Faces) -> tuple[Faces, int]:
    """Faces ``[F, 3]`` wound alike, and how many of them were turned for that.

    Faces that share an edge are made to agree. Bodies that are wound against the largest one are
    turned unless they lie within another, where they are cavities. Patches that share no edge with
    each other, of a surface with cracks, are turned where that makes a body of them. ``vertices``
    lie around the origin and measure about 1; ``places`` are their :func:`number_places`.

    Raises:
        MediaError: if neighbours cannot agree, and what is inside is not clear.
    """
    links, opposed, paired = link_faces(places[faces])
    turned, label, one_sided = _agree(len(faces), links, opposed, _areas(vertices, faces))
    result = _turn(faces, turned)
    open_pieces = np.zeros(label.max() + 1, bool)
    open_pieces[label[~paired]] = True
    turned ^= _turn_bodies(vertices, result, label, open_pieces)[label]
    result = _turn(faces, turned)
    turned ^= _turn_patches(vertices, result, label, open_pieces)[label]
    result = _turn(faces, turned)
    if one_sided and measure_blur(vertices, result) > BLUR:
        raise MediaError("its faces are wound both ways and cannot be made to agree")
    return (result, int(np.count_nonzero(turned))) if turned.any() else (faces, 0)


def _turn(faces: Faces, turned: Marks) -> Faces:
    return np.where(turned[:, None], faces[:, ::-1], faces)


def _areas(vertices: Array, faces: Faces) -> Array:
    return np.asarray(np.linalg.norm(compute_normals(vertices[faces]), axis=1) / 2)


def link_faces(faces: Faces) -> tuple[Faces, Marks, Marks]:
    """Which faces are neighbours, ``[L, 2]``: they share an edge with no third one.

    Which of these are wound against each other ``[L]``; which faces ``[F]`` have such a neighbour
    at all edges.
    """
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.argsort(low * (faces.max() + 1) + high, kind="stable")
    low, high = low[order], high[order]
    new = np.ones(len(order) + 1, bool)
    new[1:-1] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    first = np.flatnonzero(new[:-1])
    first = first[np.diff(np.flatnonzero(new)) == 2]
    one, other = order[first], order[first + 1]
    paired = np.zeros(len(order), bool)
    paired[one] = paired[other] = True
    links = np.stack([one // 3, other // 3], axis=1)
    return links, start[one] == start[other], np.asarray(paired.reshape(-1, 3).all(axis=1))


def _agree(
    count: int, links: Faces, opposed: Marks, areas: Array
) -> tuple[Marks, NDArray[np.int32], bool]:
    """Which faces to turn so that neighbours agree, the piece of each, and whether some cannot.

    Of each piece the faces with the smaller area are turned. Pieces are found in a graph with two
    nodes for each face, as it is and turned: those that must go together are linked. A piece in
    which a face is linked to its own other node has one side only, like a Moebius strip.
    """
    one, other = links.T
    shape = (count, count)
    graph = coo_array((np.ones(len(links), bool), (one, other)), shape=shape)
    pieces, label = connected_components(graph, directed=False)
    turned = np.zeros(count, bool)
    if not opposed.any():
        return turned, label, False
    rows = np.concatenate([one, one + count])
    columns = np.concatenate([other + count * opposed, other + count * ~opposed])
    doubled = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(2 * count, 2 * count))
    _, sides = connected_components(doubled, directed=False)
    as_it_is, reverse = sides[:count], sides[count:]
    mixed = np.zeros(pieces, bool)
    mixed[label[one[opposed]]] = True
    one_sided = np.zeros(pieces, bool)
    one_sided[label[as_it_is == reverse]] = True
    # of the two ways of a piece, that with the lower number is the reference
    away = as_it_is > reverse
    total = np.bincount(label, areas, pieces)
    moved = np.bincount(label, areas * away, pieces)
    away ^= (moved > total / 2)[label]
    turned = away & (mixed & ~one_sided)[label]
    return turned, label, bool(one_sided.any())


def _turn_bodies(
    vertices: Array, faces: Faces, label: NDArray[np.int32], open_pieces: Marks
) -> Marks:
    """Which closed pieces are wound against the largest and lie within no other one."""
    turned = np.zeros(len(open_pieces), bool)
    if len(open_pieces) == 1:
        return turned
    corners = vertices[faces]
    normals = compute_normals(corners)
    volumes = np.bincount(label, (corners[:, 0] * normals).sum(axis=1) / 6, len(turned))
    volumes[open_pieces] = 0
    sign = np.sign(volumes[np.abs(volumes).argmax()])
    suspects = volumes * sign < -1e-12
    if not suspects.any():
        return turned
    order = np.argsort(label, kind="stable")
    firsts = np.searchsorted(label[order], np.flatnonzero(suspects))
    counts = np.bincount(label, minlength=len(turned))[suspects]
    steps = np.linspace(0, 1, SIDE_PROBES, endpoint=False)
    chosen = order[firsts[:, None] + (steps * counts[:, None]).astype(np.int64)]
    lengths = np.linalg.norm(normals[chosen], axis=-1, keepdims=True)
    # the faces of these pieces look inwards
    outside = corners[chosen].mean(axis=2) - sign * OFFSET * normals[chosen] / lengths
    winding = find_winding(outside.reshape(-1, 3), vertices, faces).reshape(-1, SIDE_PROBES)
    within = np.count_nonzero(np.abs(winding) > 0.5, axis=1) * 2 > SIDE_PROBES
    turned[suspects] = ~within
    return turned


def _turn_patches(
    vertices: Array, faces: Faces, label: NDArray[np.int32], open_pieces: Marks
) -> Marks:
    """Which pieces with a border to turn so that all together bound a body."""
    turned = np.zeros(len(open_pieces), bool)
    if np.count_nonzero(open_pieces) < 2:
        return turned
    points = _draw_probes()
    whole = find_winding(points, vertices, faces)
    before = _blur(whole)
    if before <= BLUR / 2:
        return turned
    areas = np.bincount(label, _areas(vertices, faces), len(turned))
    patches = np.flatnonzero(open_pieces)
    patches = patches[np.argsort(-areas[patches], kind="stable")][:MOST_PATCHES]
    parts = np.stack([find_winding(points, vertices, faces[label == p]) for p in patches])
    rest = whole - parts.sum(axis=0)
    rng = np.random.default_rng(0)
    starts = [np.ones(len(patches)), *rng.choice([-1.0, 1.0], (STARTS, len(patches)))]
    after, signs = min(
        (_descend(rest, parts, start) for start in starts), key=lambda found: found[0]
    )
    if after > before / 2:
        return turned
    turned[patches] = signs < 0
    if areas[turned].sum() > areas[open_pieces].sum() / 2:
        turned ^= open_pieces
    return turned


def _descend(rest: Array, parts: Array, signs: Array) -> tuple[float, Array]:
    """The least blur of ``rest + signs @ parts`` that turning patches one by one leads to."""
    signs = signs.copy()
    whole = rest + signs @ parts
    best, improved = _blur(whole), True
    while improved:
        improved = False
        for patch, part in enumerate(parts):
            other = whole - 2 * signs[patch] * part
            if _blur(other) < best - 1e-6:
                whole, best, improved = other, _blur(other), True
                signs[patch] = -signs[patch]
    return best, signs


def _draw_probes() -> Array:
    return np.random.default_rng(0).uniform(-1, 1, (PROBES, 3))


def measure_blur(vertices: Array, faces: Faces) -> float:
    """How far the winding number is from that of a body: 0 of one, 1 and more of a sheet.

    ``vertices`` lie around the origin and measure about 1.
    """
    return _blur(find_winding(_draw_probes(), vertices, faces))


def _blur(winding: Array) -> float:
    """How far winding numbers are from whole ones, on average, relative to their own size."""
    size = float(np.abs(winding).mean())
    return float(np.abs(winding - np.round(winding)).mean()) / size if size > 0 else 0.0
