"""Extracting a surface: where a field of signed distances is zero.

The field is sampled on a grid of cells, coarse to fine; marching cubes turns it into triangles, or
where the field has creases, dual contouring. The grid is never held as a whole: layers of it are
made of the blocks that were sampled, some at a time.
Lengths are in the field's coordinates, whose longest side spans [-1, 1].
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import USUAL, Limits
from ..signals import Evaluate
from .sampling import CLAMP
from .surface.contouring import Edges, MarchingCubes, contour, find_crossed_edges, join_edges
from .triangles import Array, Faces

#: Nearer than this share of a cell, the surface crosses an edge to a neighbour's centre.
NEAR = 0.4
#: Layers of cells that are looked at at once; a multiple of :data:`COARSEST`.
LAYERS = 32
#: Blocks whose cells are evaluated at once.
CHUNK = 1 << 13
#: Bytes that a block of 2 x 2 x 2 cells of the grid takes, and to spare.
BYTES_PER_BLOCK = 4
#: Values are at least this far from zero: no two vertices of marching cubes fall into one place.
LEAST = 2e-5
#: The six directions; the places ``[8, 3]`` of a block's halves along its axes.
AXES_AND_STEPS = tuple((axis, step) for axis in range(3) for step in (-1, 1))
CORNERS = np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), axis=1).astype(np.int32)
#: The bit of each of a block's cells, in that order.
BITS = (1 << np.arange(8)).astype(np.uint8)
#: Cells along the side of the blocks that sampling begins with; a power of two.
COARSEST = 8
#: A block is searched if the field at its centre is below this many times the distance from there
#: to a corner. With exact distances 1 would do; fitted ones need a little.
SLACK = 1.1
#: Pieces of a surface whose box diagonal is below this share of the whole's are taken for artefacts
#: of the fit and removed.
SMALLEST_PIECE = 0.02

Values = NDArray[np.float32]
Blocks = NDArray[np.int32]


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
    grid = sample_grid(evaluate, counts, cell, limits)
    # Outside the padded box is outside the body: the field was not fitted there, and a surface
    # that reaches the box's border must be closed.
    beyond = []
    for axis, reach in enumerate(extent):
        count = int(counts[axis])
        border = np.abs((np.arange(count) + 0.5 - count / 2) * cell) > reach
        border[[0, -1]] = True
        beyond.append(np.flatnonzero(border))
    crossings = unseen = 0
    cubes, edges = MarchingCubes(), list[Edges]()
    for first, layers in _each_layers(grid, beyond):
        unseen += _count_unseen(layers, NEAR * cell / CLAMP)
        found = _count_crossings(layers[1:])
        crossings += found
        limits.check_cells(2 * crossings, "faces")
        if not found:
            cubes.break_off()
        elif differentiate is None:
            cubes.add(layers[1:], first - 1)
        else:
            edges.append(find_crossed_edges(layers[1:], first - 1))
    if not crossings:
        raise NoSurfaceError("the network holds no surface")
    share = unseen / (unseen + crossings)
    origin = 0.5 - counts / 2
    if differentiate is None:
        vertices, faces = cubes.join()
        return (vertices + origin) * cell, faces, share

    def differentiate_in_cells(points: Array) -> tuple[Array, Array]:
        found = differentiate(((points + origin) * cell).astype(np.float32)).astype(np.float64)
        return found[:, 0], found[:, 1:] * cell

    vertices, faces = contour(join_edges(edges), tuple(counts.tolist()), differentiate_in_cells)
    return (vertices + origin) * cell, faces, share


def _each_layers(grid: "Grid", beyond: list[NDArray[np.int64]]) -> Iterator[tuple[int, Values]]:
    """The grid's layers along x, ``[k + 2, Y, Z]``, some with the two before them; and their place.

    The indices ``beyond`` of each axis are outside. Before the first come layers like that. The
    array is the same each time.
    """
    _, across, along = grid.counts
    layers = np.empty((LAYERS + 2, across, along), np.float32)
    for first in range(0, int(grid.counts[0]), LAYERS):
        count = min(LAYERS, int(grid.counts[0]) - first)
        part = layers[: count + 2]
        own = part[2:]
        grid.fill(own, first)
        ends = beyond[0][(beyond[0] >= first) & (beyond[0] < first + count)] - first
        for places in (ends, (slice(None), beyond[1]), (slice(None), slice(None), beyond[2])):
            own[places] = np.maximum(own[places], 1e-3)
        if first == 0:
            layers[:2] = own[0]
        yield first, part
        layers[:2] = part[-2:]


def _count_crossings(values: Values) -> int:
    """Edges of a grid along which the sign changes, the first layer's own left out.

    Each is a vertex of marching cubes. A closed surface has twice as many faces as vertices.
    """
    count = 0
    before = values[0] < 0
    for layer in values[1:]:  # layer by layer, in the caches
        inside = layer < 0
        count += int(np.count_nonzero(inside[1:] != inside[:-1]))
        count += int(np.count_nonzero(inside[:, 1:] != inside[:, :-1]))
        count += int(np.count_nonzero(inside != before))
        before = inside
    return count


def _count_unseen(values: Values, near: float) -> int:
    """Outer cells so near to the surface that it must cross one of their neighbours, and does not.

    None of the six is inside: there the body is thinner than a cell. Near is below ``near`` where
    the field is a distance, and less where it rises more slowly: a rough fit comes close to zero
    in many places without a surface. Cells at the ends of ``values`` are not counted.
    """
    inner = values[1:-1].reshape(-1)
    flat = values.reshape(-1)
    strides = [values.shape[1] * values.shape[2], values.shape[2], 1]
    places = np.flatnonzero((inner >= 0) & (inner < near)) + strides[0]
    here = flat[places]
    outer, rise = np.ones(len(places), bool), np.zeros(len(places), np.float32)
    for stride in strides:
        before, after = flat[places - stride], flat[places + stride]
        outer &= (before >= 0) & (after >= 0)
        rise += np.square(np.maximum(np.abs(before - here), np.abs(after - here)))
    outer &= here < NEAR * np.minimum(np.sqrt(rise), near / NEAR)
    return int(np.count_nonzero(outer))


def sample_grid(
    evaluate: Evaluate, counts: NDArray[np.int64], cell: float, limits: Limits = USUAL
) -> "Grid":
    """The field at the centres of a grid of cells around the origin, coarse to fine.

    Starts from blocks of :data:`COARSEST` cells a side and halves only those near the surface. The
    other cells keep the value of their block, whose sign is right and which is far from 0. Where a
    cell and the block beside it have different signs, the surface goes on there: that block is
    halved, too.

    Raises:
        MediaError: if the grid needs more memory, or has more cells near the surface, than allowed.
    """
    limits.check_bytes(BYTES_PER_BLOCK * math.prod((counts // 2).tolist()))
    side = COARSEST
    # A block must be small enough for the clamped distance at its centre to tell whether the
    # surface crosses it.
    while side > 1 and ((side - 1) * 3**0.5 / 2 + 1) * cell > 0.9 * CLAMP:
        side //= 2
    sampler = _Sampler(evaluate, counts, cell, limits)
    shape = counts // side
    blocks = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1).astype(np.int32)
    values = sampler.sample(blocks, side)
    levels = [_Level(side, blocks, values)]
    coarsest = side
    while side > 1:
        reach = SLACK * side * cell * np.sqrt(3) / 2 / CLAMP
        # near the clamp the fitted field does not tell how far away the surface is
        near = np.abs(values) < max(min(reach, 0.9), 0.05)
        if side < coarsest:
            levels.append(_Level(side, blocks[~near], values[~near]))
        blocks = blocks[near]
        side //= 2
        if side == 1:
            blocks, cells = sampler.follow_surface(blocks, levels)
            return Grid(counts, (*levels, _Level(2, blocks, cells)))
        blocks = _halve(blocks)
        values = sampler.sample(blocks, side)
    return Grid(counts, tuple(levels))


@dataclass(frozen=True)
class _Level:
    """Blocks ``[N, 3]`` of cells, in units of their ``side``, and their values.

    ``[N]``; or ``[N, 8]``, one for each cell of a block of side 2.
    """

    side: int
    blocks: Blocks
    values: Values


@dataclass(frozen=True)
class Grid:
    """The values of a field on a grid of cells, as those of blocks: finer ones come later."""

    counts: NDArray[np.int64]
    levels: tuple[_Level, ...]

    def __post_init__(self) -> None:
        """Put the blocks of each level in the order of x, so that layers are parts of them."""
        ordered = []
        for level in self.levels:
            order = np.argsort(level.blocks[:, 0], kind="stable")
            ordered.append(_Level(level.side, level.blocks[order], level.values[order]))
        object.__setattr__(self, "levels", tuple(ordered))

    def fill(self, layers: Values, first: int) -> None:
        """Write the values of the layers ``[k, Y, Z]`` from x = ``first`` on.

        Both numbers are multiples of :data:`COARSEST`.
        """
        coarsest, *finer = self.levels
        x, y, z = (np.array(layers.shape) // coarsest.side).tolist()
        start = first // coarsest.side * y * z
        rows = coarsest.values[start : start + x * y * z].reshape(x, 1, y, 1, z)
        layers.reshape(x, coarsest.side, y, coarsest.side, -1)[:] = np.repeat(
            rows, coarsest.side, axis=4
        )
        for level in finer:
            side = level.side
            ends = np.searchsorted(
                level.blocks[:, 0], [first // side, (first + len(layers)) // side]
            )
            blocks, values = level.blocks[slice(*ends)], level.values[slice(*ends)]
            x, y, z = (np.array(layers.shape) // side).tolist()
            cells = layers.reshape(x, side, y, side, z, side)
            places = blocks[:, 0] - first // side, blocks[:, 1], blocks[:, 2]
            if values.ndim == 1:
                cells[places[0], :, places[1], :, places[2]] = values[:, None, None, None]
            else:
                cells[places[0], :, places[1], :, places[2]] = values.reshape(-1, 2, 2, 2)


class _Sampler:
    """Evaluates a field on a grid of cells, block by block."""

    def __init__(
        self, evaluate: Evaluate, counts: NDArray[np.int64], cell: float, limits: Limits
    ) -> None:
        self._evaluate, self._counts, self._cell, self._limits = evaluate, counts, cell, limits

    def sample(self, blocks: Blocks, side: int) -> Values:
        """The field's values ``[N]`` at the centres of ``blocks`` ``[N, 3]`` of this side."""
        self._limits.check_cells(len(blocks), "cells near the surface")
        values = np.empty(len(blocks), np.float32)
        for first in range(0, len(blocks), 8 * CHUNK):
            part = blocks[first : first + 8 * CHUNK]
            centres = (part + 0.5 - self._counts / side / 2) * (side * self._cell)
            values[first : first + 8 * CHUNK] = self._evaluate(centres.astype(np.float32))[:, 0]
        small = np.abs(values) < LEAST
        values[small] = np.where(values[small] < 0, -LEAST, LEAST)
        return values

    def follow_surface(self, blocks: Blocks, levels: list[_Level]) -> tuple[Blocks, Values]:
        """The cells ``[M, 8]`` of ``blocks`` of side 2, and of all that the surface enters.

        It enters a block beside a known one whose sign differs from that of a cell next to it.
        ``levels`` are those of the other blocks.
        """
        shape = tuple((self._counts // 2).tolist())
        inside = np.zeros(shape, np.uint8)  # a bit for each cell of a block
        for level in levels:
            half = level.side // 2
            x, y, z = (count // half for count in shape)
            cells = inside.reshape(x, half, y, half, z, half)
            signs = np.where(level.values < 0, 255, 0).astype(np.uint8)
            places = tuple(level.blocks.T)
            cells[places[0], :, places[1], :, places[2]] = signs[:, None, None, None]
        known = np.zeros(shape, bool)
        found, values = [], []
        sampled = 0
        while len(blocks):
            sampled += 8 * len(blocks)
            self._limits.check_cells(sampled, "cells near the surface")
            known[tuple(blocks.T)] = True
            cells = np.concatenate(
                [
                    self.sample(_halve(blocks[first : first + CHUNK]), 1).reshape(-1, 8)
                    for first in range(0, len(blocks), CHUNK)
                ]
            )
            inside[tuple(blocks.T)] = (cells < 0) @ BITS
            found.append(blocks)
            values.append(cells)
            blocks = _find_entered(blocks, inside, known)
        if not found:
            return blocks, np.empty((0, 8), np.float32)
        return np.concatenate(found), np.concatenate(values)


def _find_entered(blocks: Blocks, inside: NDArray[np.uint8], known: NDArray[np.bool_]) -> Blocks:
    """The blocks ``[M, 3]`` beside these, of side 2 and not ``known``, that the surface enters.

    ``inside`` has a bit for each of a block's cells.
    """
    places = []
    for axis, step in AXES_AND_STEPS:
        beside = blocks.copy()
        beside[:, axis] += step
        beside = beside[(beside[:, axis] >= 0) & (beside[:, axis] < known.shape[axis])]
        flat = np.ravel_multi_index(tuple(beside.T), known.shape)
        places.append(flat[~known.reshape(-1)[flat]])
    found = np.unravel_index(np.unique(np.concatenate(places)), known.shape)
    beside = np.stack(found, axis=1).astype(np.int32)
    own = inside[found]  # all eight cells have the same sign
    entered = np.zeros(len(beside), bool)
    for axis, step in AXES_AND_STEPS:
        across = beside.copy()
        across[:, axis] = np.clip(across[:, axis] + step, 0, known.shape[axis] - 1)
        face = np.uint8(BITS[CORNERS[:, axis] == (0 if step > 0 else 1)].sum())
        entered |= ((inside[tuple(across.T)] ^ own) & face) != 0
    return beside[entered]


def _halve(blocks: Blocks) -> Blocks:
    """The eight blocks ``[8 * N, 3]`` of half the side that each of ``[N, 3]`` consists of."""
    return np.asarray((2 * blocks[:, None] + CORNERS).reshape(-1, 3))


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
