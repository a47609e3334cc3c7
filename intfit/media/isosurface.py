"""Extracting a surface: where a field of signed distances is zero.

The field is sampled on a grid of cells, coarse to fine; marching cubes turns it into triangles.
Lengths are in the field's coordinates, whose longest side spans [-1, 1].
"""

import math

import numpy as np
import trimesh
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import USUAL, Limits
from ..signals import Evaluate
from .sampling import CLAMP
from .triangles import Array, Faces

#: Nearer than this share of a cell, the surface crosses an edge to a neighbour's centre.
NEAR = 0.4
#: Cells that are looked at at once.
LAYER = 1 << 22
#: Points that are evaluated at once.
CHUNK = 1 << 16
#: Bytes that a cell of the finest grid takes: its value, whether it is searched, and some to spare.
BYTES_PER_CELL = 6
#: Cells along the side of the blocks that sampling begins with; a power of two.
COARSEST = 8
#: A block is searched if the field at its centre is below this many times the distance from there
#: to a corner. With exact distances 1 would do; fitted ones need a margin.
SLACK = 2.0
#: Pieces of a surface whose box diagonal is below this share of the whole's are taken for artefacts
#: of the fit and removed.
SMALLEST_PIECE = 0.02


class NoSurfaceError(MediaError):
    """A field that is nowhere negative where it was sampled."""


def extract_surface(
    evaluate: Evaluate,
    counts: NDArray[np.int64],
    cell: float,
    extent: list[float],
    limits: Limits = USUAL,
) -> tuple[Array, Faces, float]:
    """The field's zero level within a box of half sides ``extent``, closed at the box's border.

    ``counts`` ``[3]``, multiples of :data:`COARSEST`, are the cells of side ``cell`` along each
    axis of a grid around the origin. Gives vertices ``[V, 3]``, faces ``[F, 3]``,
    and about which share of the surface passed unseen between the cells' centres.

    Raises:
        MediaError: if the field has no zero level there, or one larger than allowed.
    """
    from skimage.measure import marching_cubes

    values = sample_grid(evaluate, counts, cell, limits)
    # Outside the padded box is outside the body: the field was not fitted there, and a surface
    # that reaches the box's border must be closed.
    for axis, reach in enumerate(extent):
        count = values.shape[axis]
        beyond = np.abs((np.arange(count) + 0.5 - count / 2) * cell) > reach
        beyond[[0, -1]] = True
        part = np.moveaxis(values, axis, 0)
        part[beyond] = np.maximum(part[beyond], 1e-3)
    if values.min() >= 0:
        raise NoSurfaceError("the network holds no surface")
    crossings = _count_crossings(values)
    limits.check_cells(2 * crossings, "faces")
    unseen = _count_unseen(values, NEAR * cell / CLAMP)
    share = unseen / (unseen + crossings)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    vertices = (vertices.astype(np.float64) + 0.5 - counts / 2) * cell
    return vertices, faces.astype(np.int64), share


def _count_crossings(values: NDArray[np.float32]) -> int:
    """Edges of a grid along which the sign changes: each is a vertex of marching cubes.

    A closed surface has twice as many faces as vertices.
    """
    count = 0
    for first in range(len(values)):  # layer by layer, to hold little at once
        inside = values[first : first + 2] < 0
        count += int(np.count_nonzero(inside[0, 1:] != inside[0, :-1]))
        count += int(np.count_nonzero(inside[0, :, 1:] != inside[0, :, :-1]))
        count += int(np.count_nonzero(inside[1:] != inside[:-1]))
    return count


def _count_unseen(values: NDArray[np.float32], near: float) -> int:
    """Outer cells so near to the surface (below ``near``) that it must cross one, and does not.

    None of their six neighbours is inside: there the body is thinner than a cell.
    """
    flat = values.reshape(-1)
    unseen = 0
    strides = [values.shape[1] * values.shape[2], values.shape[2], 1]
    for first in range(0, len(flat), LAYER):
        part = flat[first : first + LAYER]
        places = first + np.flatnonzero((part >= 0) & (part < near))
        outer = np.ones(len(places), bool)
        for stride in strides:  # cells at the grid's border are outside, and so is what is beyond
            for step in (-stride, stride):
                outer &= flat[np.clip(places + step, 0, len(flat) - 1)] >= 0
        unseen += int(np.count_nonzero(outer))
    return unseen


def sample_grid(
    evaluate: Evaluate, counts: NDArray[np.int64], cell: float, limits: Limits = USUAL
) -> NDArray[np.float32]:
    """The field at the centres of a grid of cells ``[X, Y, Z]`` around the origin, coarse to fine.

    Starts from blocks of :data:`COARSEST` cells a side and halves only those near the surface. The
    other cells keep the value of their block, whose sign is right and which is far from 0.

    Raises:
        MediaError: if the grid needs more memory, or has more cells near the surface, than allowed.
    """
    limits.check_bytes(BYTES_PER_CELL * math.prod(counts.tolist()))
    side = COARSEST
    # A block must be small enough for the clamped distance at its centre to tell whether the
    # surface crosses it.
    while side > 1 and ((side - 1) * 3**0.5 / 2 + 1) * cell > 0.9 * CLAMP:
        side //= 2
    shape = counts // side
    values = np.zeros(shape, np.float32)
    active = np.ones(shape, bool)
    while True:
        limits.check_cells(int(np.count_nonzero(active)), "cells near the surface")
        places = np.flatnonzero(active)
        flat = values.reshape(-1)
        for first in range(0, len(places), CHUNK):
            chunk = places[first : first + CHUNK]
            blocks = np.stack(np.unravel_index(chunk, values.shape), axis=1)
            centres = (blocks + 0.5 - np.array(values.shape) / 2) * (side * cell)
            flat[chunk] = evaluate(centres.astype(np.float32))[:, 0]
        del places
        if side == 1:
            return values
        reach = SLACK * side * cell * np.sqrt(3) / 2 / CLAMP
        # near the clamp the fitted field does not tell how far away the surface is
        active &= np.abs(values) < max(min(reach, 0.9), 0.05)
        side //= 2
        for axis in range(3):
            values, active = (np.repeat(array, 2, axis=axis) for array in (values, active))


def remove_fragments(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh without its smallest pieces; ``metadata["fragments"]`` counts those removed.

    The largest piece stays whatever its size.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges, count = mesh.edges, len(mesh.vertices)
    links = coo_array((np.ones(len(edges), bool), edges.T), shape=(count, count))
    pieces, label = connected_components(links, directed=False)
    mesh.metadata["fragments"] = 0
    if pieces == 1:
        return mesh
    low = np.full((pieces, 3), np.inf)
    high = np.full((pieces, 3), -np.inf)
    np.minimum.at(low, label, mesh.vertices)
    np.maximum.at(high, label, mesh.vertices)
    sizes = np.linalg.norm(high - low, axis=1)
    keep = sizes >= SMALLEST_PIECE * mesh.scale
    keep[np.argmax(sizes)] = True
    mesh.update_faces(keep[label[mesh.faces[:, 0]]])
    mesh.remove_unreferenced_vertices()
    mesh.metadata["fragments"] = int(np.count_nonzero(~keep))
    return mesh
