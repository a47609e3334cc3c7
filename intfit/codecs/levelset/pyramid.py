"""Levels of B-spline coefficients in whole numbers: what a level predicts of the next finer one.

A level ``l`` is a grid of ``2 ** l`` cells a side over the cube [-1, 1]; its nodes are the cells'
corners, and one more on every side, ``2 ** l + 3`` in all. A coefficient at each node weighs a
cubic B-spline around it; the field, a signed distance, is their sum. Coefficients are whole
multiples of a unit. Only at the core, the nodes near the surface that the coarser level predicts,
is anything coded: a correction, which the nodes around take over. All of it is arithmetic of whole
numbers, so that every machine finds the same nodes.

Hierarchical B-splines: Forsey and Bartels 1988.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import LevelSetConfig

#: Coefficients lie between -LARGEST and LARGEST.
LARGEST = 1 << 24
#: Corrections are shifted by this, and by one more for every level that is coarser than the finest.
FRACTION_BITS = 6
#: How far from the surface the core reaches, in eighths of a cell, at the coarsest levels; at the
#: others it is the file's ``reach``. At level 1 all nodes are core.
COARSE_REACH = {2: 12, 3: 7}
#: How far from it nodes take over the corrections around them, in eighths of a cell.
BAND_REACH = 16
#: The same at the first level, where a base predicts it: farther from the surface, a base does not
#: tell how far.
BASE_BAND_REACH = 11
#: Corrections are taken over from neighbours, and once more from those that have taken them over.
ROUNDS = 2
#: Nodes whose neighbours are looked at at once, which bounds memory.
CHUNK = 1 << 18
#: The 26 neighbours of a node, and what their corrections weigh: by edge, by face, by corner.
NEIGHBOURS = np.array(
    [
        (x, y, z)
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
        for z in (-1, 0, 1)
        if (x, y, z) != (0, 0, 0)
    ]
)
NEIGHBOUR_WEIGHTS = np.array([0, 4, 2, 1], np.int8)[np.abs(NEIGHBOURS).sum(axis=1)]

Integers = NDArray[np.int64]
Grid = NDArray[np.int32]


def subdivide(coefficients: Grid) -> Grid:
    """The coefficients ``[2n + 3] * 3`` of the finer level that are the same spline as these.

    Of ``[n + 3] * 3`` coefficients, axis by axis, each time rounded to whole numbers.
    """
    for axis in range(3):
        coarse = np.moveaxis(coefficients, axis, 0)
        fine = np.empty((2 * len(coarse) - 3, *coarse.shape[1:]), np.int32)
        fine[1::2] = (coarse[:-2] + 6 * coarse[1:-1] + coarse[2:] + 4) >> 3
        fine[0::2] = (coarse[:-1] + coarse[1:] + 1) >> 1
        coefficients = np.moveaxis(fine, 0, axis)
    return np.ascontiguousarray(coefficients)


def find_numbers(nodes: Integers, side: int) -> Grid:
    """The number of each of ``nodes`` in a grid that is padded by 2 on all sides; -1 elsewhere.

    ``nodes`` are flat indices in a grid of ``side`` nodes a side; the result is flat, too.
    """
    numbers = np.full((side + 4) ** 3, -1, np.int32)
    numbers[pad_indices(nodes, side)] = np.arange(len(nodes), dtype=np.int32)
    return numbers


def pad_indices(nodes: Integers, side: int) -> Integers:
    """Flat indices of a grid of ``side`` nodes a side as those of one that is padded by 2."""
    x, y, z = np.unravel_index(nodes, (side,) * 3)
    return ((x + 2) * (side + 4) + y + 2) * (side + 4) + z + 2


def offsets(places: NDArray[np.integer], side: int) -> Integers:
    """Steps ``[k, 3]`` along the axes as those of flat indices of a padded grid."""
    found: Integers = places @ np.array([(side + 4) ** 2, side + 4, 1])
    return found


@dataclass(frozen=True)
class Active:
    """The nodes of a level that its corrections act on, as flat indices in ascending order.

    ``core`` ``[k]`` are those with corrections of their own, ``band`` ``[m]`` all of them.
    ``turns`` ``[m + 1]`` say in which round each of the band takes over those of its neighbours: 0
    for the core, and more than :data:`ROUNDS` for those that never do, and for a last one that
    stands for nodes beyond the band. ``numbers`` are the band's, see :func:`find_numbers`, in a
    grid of ``side`` nodes a side.
    """

    core: Integers
    band: Integers
    core_in_band: Integers
    turns: NDArray[np.int8]
    numbers: Grid
    side: int

    def rounds(self) -> Iterator[tuple[Integers, Grid, NDArray[np.int8]]]:
        """How the others take over, part after part of each round.

        Which of the band they are ``[r]``, which of the band is beside them ``[r, 26]``, and with
        what weight, 0 for none. Made when it is asked for: all together they are large.
        """
        for turn in range(1, ROUNDS + 1):
            places = np.flatnonzero(self.turns == turn)
            for first in range(0, len(places), CHUNK):
                part = places[first : first + CHUNK]
                beside, weights = _look_around(
                    self.band[part], self.numbers, self.turns < turn, self.side
                )
                yield part, np.maximum(beside, 0), weights

    def spread(self, corrections: Integers) -> Integers:
        """The corrections of the whole band, of those ``[k]`` of the core, rounded to nearest."""
        spread = np.zeros(len(self.band), np.int64)
        spread[self.core_in_band] = corrections
        for places, beside, weights in self.rounds():
            total = weights.sum(axis=1)
            sums = (weights * spread[beside]).sum(axis=1)
            spread[places] = (2 * sums + total) // (2 * total)
        return spread


def _look_around(
    nodes: Integers, numbers: Grid, known: NDArray[np.bool_], side: int
) -> tuple[Grid, NDArray[np.int8]]:
    """The numbers of the 26 neighbours of ``nodes`` ``[r]``, and the weights of those ``known``."""
    beside = numbers[pad_indices(nodes, side)[:, None] + offsets(NEIGHBOURS, side)]
    return beside, np.where(known[beside], NEIGHBOUR_WEIGHTS, np.int8(0))


class Pyramid:
    """What follows from the corrections of coarser levels, for a file with this ``reach``.

    ``reach`` is in eighths of a cell.
    """

    def __init__(self, config: LevelSetConfig, reach: int) -> None:
        self.config, self.reach = config, reach

    def start(self) -> Grid:
        """What is known of level 1 before its corrections, without a base: nothing."""
        return np.zeros((self.config.side(1),) * 3, np.int32)

    def threshold(self, level: int, eighths: int) -> int:
        """So many eighths of a level's cell, in units of coefficients."""
        return (eighths << (13 + self.config.levels - level)) // self.config.fine_step

    def shift(self, level: int) -> int:
        """By how many bits the corrections of a level are shifted."""
        return FRACTION_BITS + self.config.levels - level

    def find_core(self, level: int, predicted: Grid) -> Integers:
        """The nodes of a level that have corrections, by what is ``predicted`` of it."""
        if level == 1:
            return np.arange(predicted.size)
        reach = COARSE_REACH.get(level, self.reach)
        return np.flatnonzero(np.abs(predicted.reshape(-1)) < self.threshold(level, reach))

    def find_active(self, level: int, predicted: Grid, core: Integers) -> Active:
        """The nodes that the corrections of the ``core`` act on."""
        side = len(predicted)
        band = core
        if level > 1:
            based = self.config.neurons is not None and level == self.config.first_level
            least = BASE_BAND_REACH if based else BAND_REACH
            reach = max(least, COARSE_REACH.get(level, self.reach))
            band = np.flatnonzero(np.abs(predicted.reshape(-1)) < self.threshold(level, reach))
        core_in_band = np.searchsorted(band, core)
        numbers = find_numbers(band, side)
        turns = np.full(len(band) + 1, ROUNDS + 1, np.int8)
        turns[core_in_band] = 0
        for turn in range(1, ROUNDS + 1):
            todo = np.flatnonzero(turns[:-1] > turn)
            for first in range(0, len(todo), CHUNK):
                part = todo[first : first + CHUNK]
                weights = _look_around(band[part], numbers, turns < turn, side)[1]
                turns[part[weights.any(axis=1)]] = turn
        return Active(core, band, core_in_band, turns, numbers, side)

    def correct(self, level: int, predicted: Grid, active: Active, latents: Integers) -> Grid:
        """The coefficients of a level: what was predicted, and the ``latents`` ``[k]`` of its core.

        Works in place.
        """
        change = active.spread(latents << self.shift(level))
        flat = predicted.reshape(-1)
        flat[active.band] = (flat[active.band] + change).clip(-LARGEST, LARGEST)
        return predicted
