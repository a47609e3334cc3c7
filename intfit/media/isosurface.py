"""Extracting a surface: where a field of signed distances is zero.

The field is sampled on a grid of cells, coarse to fine; marching cubes turns it into triangles, or
where the field has creases, dual contouring.
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
from .surface.contouring import contour
from .triangles import Array, Faces

#: Nearer than this share of a cell, the surface crosses an edge to a neighbour's centre.
NEAR = 0.4
#: Cells that are looked at at once.
LAYER = 1 << 22
#: Points that are evaluated at once.
CHUNK = 1 << 16
#: Bytes that a cell of the finest grid takes: its value, and some to spare.
BYTES_PER_CELL = 6
#: The six directions; the places ``[8, 3]`` of a block's halves along its axes.
AXES_AND_STEPS = tuple((axis, step) for axis in range(3) for step in (-1, 1))
CORNERS = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1)
#: Cells along the side of the blocks that sampling begins with; a power of two.
COARSEST = 8
#: A block is searched if the field at its centre is below this many times the distance from there
#: to a corner. With exact distances 1 would do; fitted ones need a little.
SLACK = 1.1
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
    *,
    differentiate: Evaluate | None = None,
) -> tuple[Array, Faces, float]:
    """The field's zero level within a box of half sides ``extent``, closed at the box's border.

    ``counts`` ``[3]``, multiples of :data:`COARSEST`, are the cells of side ``cell`` along each
    axis of a grid around the origin. ``differentiate`` gives the value and the gradient ``[B, 4]``
    of a field with creases, which are then kept. Gives vertices ``[V, 3]``, faces ``[F, 3]``,
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
    first = 0.5 - counts / 2
    if differentiate is None:
        crossed = _find_crossed(values)
        vertices, faces, _, _ = marching_cubes(
            values, 0.0, gradient_direction="descent", mask=crossed
        )
        return (vertices.astype(np.float64) + first) * cell, faces.astype(np.int64), share

    def differentiate_in_cells(points: Array) -> tuple[Array, Array]:
        found = differentiate(((points + first) * cell).astype(np.float32)).astype(np.float64)
        return found[:, 0], found[:, 1:] * cell

    vertices, faces = contour(values, differentiate_in_cells)
    return (vertices + first) * cell, faces, share


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


def _count_unseen(values: NDArray[np.float32], near: float) -> int:
    """Outer cells so near to the surface that it must cross one of their neighbours, and does not.

    None of the six is inside: there the body is thinner than a cell. Near is below ``near`` where
    the field is a distance, and less where it rises more slowly: a rough fit comes close to zero
    in many places without a surface.
    """
    flat = values.reshape(-1)
    unseen = 0
    slope = near / NEAR
    strides = [values.shape[1] * values.shape[2], values.shape[2], 1]
    for first in range(0, len(flat), LAYER):
        part = flat[first : first + LAYER]
        places = first + np.flatnonzero((part >= 0) & (part < near))
        here = flat[places]
        outer, rise = np.ones(len(places), bool), np.zeros(len(places), np.float32)
        for stride in strides:  # cells at the grid's border are outside, and so is what is beyond
            before, after = (
                flat[np.clip(places + step, 0, len(flat) - 1)] for step in (-stride, stride)
            )
            outer &= (before >= 0) & (after >= 0)
            rise += np.square(np.maximum(np.abs(before - here), np.abs(after - here)))
        outer &= here < NEAR * np.minimum(np.sqrt(rise), slope)
        unseen += int(np.count_nonzero(outer))
    return unseen


def sample_grid(
    evaluate: Evaluate, counts: NDArray[np.int64], cell: float, limits: Limits = USUAL
) -> NDArray[np.float32]:
    """The field at the centres of a grid of cells ``[X, Y, Z]`` around the origin, coarse to fine.

    Starts from blocks of :data:`COARSEST` cells a side and halves only those near the surface. The
    other cells keep the value of their block, whose sign is right and which is far from 0. Where a
    cell and the block beside it have different signs, the surface goes on there: that block is
    halved, too.

    Raises:
        MediaError: if the grid needs more memory, or has more cells near the surface, than allowed.
    """
    limits.check_bytes(BYTES_PER_CELL * math.prod(counts.tolist()))
    side = COARSEST
    # A block must be small enough for the clamped distance at its centre to tell whether the
    # surface crosses it.
    while side > 1 and ((side - 1) * 3**0.5 / 2 + 1) * cell > 0.9 * CLAMP:
        side //= 2
    coarsest, grid = side, _Grid(evaluate, counts, cell, limits)
    blocks = np.stack(np.unravel_index(np.arange(np.prod(counts // side)), counts // side), axis=1)
    values = grid.sample(blocks, side)
    grid.fill(values, side)
    while side > 1:
        reach = SLACK * side * cell * np.sqrt(3) / 2 / CLAMP
        # near the clamp the fitted field does not tell how far away the surface is
        near = np.abs(values) < max(min(reach, 0.9), 0.05)
        if side < coarsest:
            grid.set_blocks(blocks[~near], values[~near], side)
        blocks = blocks[near]
        side //= 2
        if side == 1:
            grid.follow_surface(blocks)
        else:
            blocks = _halve(blocks)
            values = grid.sample(blocks, side)
    return grid.values


class _Grid:
    """The values of a field on a grid of cells, block by block."""

    def __init__(
        self, evaluate: Evaluate, counts: NDArray[np.int64], cell: float, limits: Limits
    ) -> None:
        self._evaluate, self._counts, self._cell, self._limits = evaluate, counts, cell, limits
        self.values = np.empty(counts, np.float32)

    def sample(self, blocks: NDArray[np.int64], side: int) -> NDArray[np.float32]:
        """The field's values ``[N]`` at the centres of ``blocks`` ``[N, 3]`` of this side."""
        self._limits.check_cells(len(blocks), "cells near the surface")
        values = np.empty(len(blocks), np.float32)
        for first in range(0, len(blocks), CHUNK):
            part = blocks[first : first + CHUNK]
            centres = (part + 0.5 - self._counts / side / 2) * (side * self._cell)
            values[first : first + CHUNK] = self._evaluate(centres.astype(np.float32))[:, 0]
        return values

    def fill(self, values: NDArray[np.float32], side: int) -> None:
        """Give all cells of the grid their blocks' values ``[N]``, in order."""
        x, y, z = self._counts // side
        lines = np.repeat(values.reshape(x, 1, y, 1, z), side, axis=4)
        self.values.reshape(x, side, y, side, -1)[:] = lines

    def set_blocks(self, blocks: NDArray[np.int64], values: NDArray[np.float32], side: int) -> None:
        """Give all cells of ``blocks`` ``[N, 3]`` their values ``[N]``."""
        x, y, z = self._counts // side
        cells = self.values.reshape(x, side, y, side, z, side)
        cells[blocks[:, 0], :, blocks[:, 1], :, blocks[:, 2]] = values[:, None, None, None]

    def follow_surface(self, blocks: NDArray[np.int64]) -> None:
        """Sample the cells of ``blocks`` ``[N, 3]`` of side 2, and of all that the surface enters.

        It enters a block beside a known one whose sign differs from that of a cell next to it.
        """
        known = np.zeros(self._counts // 2, bool)
        sampled = 0
        while len(blocks):
            sampled += 8 * len(blocks)
            self._limits.check_cells(sampled, "cells near the surface")
            known[tuple(blocks.T)] = True
            cells = _halve(blocks)
            self.values[tuple(cells.T)] = self.sample(cells, 1)
            blocks = self._find_entered(blocks, known)

    def _find_entered(
        self, blocks: NDArray[np.int64], known: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """The blocks ``[M, 3]`` beside these, of side 2 and not ``known``, that it enters."""
        places = []
        for axis, step in AXES_AND_STEPS:
            beside = blocks.copy()
            beside[:, axis] += step
            inside = (beside[:, axis] >= 0) & (beside[:, axis] < known.shape[axis])
            beside = beside[inside]
            beside = beside[~known[tuple(beside.T)]]
            places.append(np.ravel_multi_index(tuple(beside.T), known.shape))
        found = np.unravel_index(np.unique(np.concatenate(places)), known.shape)
        beside = np.stack(found, axis=1)
        own = self.values[tuple(2 * beside.T)] < 0  # that of all eight cells
        entered = np.zeros(len(beside), bool)
        for axis, step in AXES_AND_STEPS:
            for corner in CORNERS[CORNERS[:, axis] == 0]:
                across = 2 * beside + corner
                across[:, axis] += 2 if step > 0 else -1
                np.clip(across[:, axis], 0, self._counts[axis] - 1, out=across[:, axis])
                entered |= (self.values[tuple(across.T)] < 0) != own
        return beside[entered]


def _halve(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The eight blocks ``[8 * N, 3]`` of half the side that each of ``[N, 3]`` consists of."""
    return (2 * blocks[:, None] + CORNERS).reshape(-1, 3)


def remove_fragments(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh without its smallest pieces; ``metadata["fragments"]`` counts those removed.

    The largest piece stays whatever its size.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(mesh.vertices)
    faces = np.asarray(mesh.faces)
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])  # the third joins no more vertices
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
