"""Fitting a surface's latents: rate-distortion optimised whole numbers, level by level.

A level's correction of the field is linear in its latents. They are found by coordinate descent on
the squared distance of the field's surface from the original, plus lambda times bits: each in turn
becomes the whole number that is cheapest, given all others. Latents far enough from each other
change at once. Lambda falls to its value, so that the most worthwhile come first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...signals import SurfaceSamples
from .config import LevelSetConfig
from .interpolation import CLAMP, SplineField, find_taps
from .payload import Quantised
from .pyramid import LARGEST, Active, Grid, Integers, Pyramid, subdivide

Array = NDArray[np.float64]

#: The rate-distortion lambda: the mean squared distance that a bit must save, as a share of the
#: squared step times that of the surface which lies in a cell of the finest level. Tuned on two
#: made-up shapes.
RD_LAMBDA = 0.1
#: Lambda as a multiple of that, pass by pass.
PASSES = (8.0, 4.0, 2.0, 1.0, 1.0, 1.0)
#: How much points off the surface weigh, all together, beside those on it: they keep the field a
#: distance, whose gradient is about 1. At the coarsest levels they say what is inside.
OFF_WEIGHT, COARSE_OFF_WEIGHT = 0.25, 1.0
#: Up to this level, one of so many points off the surface counts, however far, and the latents are
#: found anew, at most so many times in all, with so much more weight of those that end on the wrong
#: side, of which all count.
COARSE_LEVELS, COARSE_PART, ATTEMPTS, EMPHASIS = 3, 4, 5, 8.0
#: Points on the surface for each latent of a level, and the fewest and the most of them.
POINTS_PER_LATENT, POINTS = 12, (20_000, 1 << 19)
#: At finer levels, points off the surface count up to so many cells from it.
OFF_CELLS = 2.0
#: Each latent's square counts as well, times this share of the median of what latents' squares
#: count at the points: few points see those at the rim.
RIDGE = 0.03
#: How far from the surface nodes have latents, in eighths of a cell.
REACH = 5
#: Latents this many nodes apart along an axis change at once, each by this share of what is best.
SPACING, DAMPING = 5, 0.9
#: Points whose B-splines are found at once.
CHUNK = 1 << 15
#: Bits of a zero and of the magnitudes from 1 on, before they are known: signs included.
FIRST_BITS = np.array([0.15, 4.5, 6, 7, 8, 9])
#: Occurrences that are assumed of each magnitude.
ASSUMED = np.array([3, 1, 0.3, 0.1, 0.05, 0.05])


def fit_latents(
    samples: SurfaceSamples, config: LevelSetConfig, base: Grid | None = None
) -> tuple[Quantised, Grid]:
    """The latents of a surface at ``config``'s step; and the coefficients they give, in units.

    ``base`` are the coefficients of the first level before its corrections.
    """
    pyramid = Pyramid(config, REACH)
    coefficients, levels = pyramid.start() if base is None else base.copy(), []
    cell = config.cell(config.levels)
    rd_lambda = RD_LAMBDA * config.step_size**2 * (cell / 2) ** 2 / 10
    for level in range(config.first_level, config.levels + 1):
        if level > config.first_level:
            coefficients = subdivide(coefficients)
        core = pyramid.find_core(level, coefficients)
        active = pyramid.find_active(level, coefficients, core)
        emphasis = np.ones(len(samples.off))
        for attempt in range(ATTEMPTS):
            problem = _Level(pyramid, level, coefficients, active, samples, emphasis)
            latents = problem.fit(rd_lambda)
            corrected = pyramid.correct(level, coefficients.copy(), active, latents)
            if level > COARSE_LEVELS or attempt == ATTEMPTS - 1:
                break
            wrong = _find_wrong(corrected, samples, config, level)
            if not wrong.any():
                break
            emphasis[wrong] *= EMPHASIS
        coefficients = corrected
        levels.append(latents)
    return Quantised(REACH, levels), coefficients


def _find_wrong(
    coefficients: Grid, samples: SurfaceSamples, config: LevelSetConfig, level: int
) -> NDArray[np.bool_]:
    """Which points off the surface, half a cell and more, are on its other side in the field."""
    field = SplineField(coefficients.astype(np.float32) * np.float32(config.unit))
    other = (field(samples.off)[:, 0] < 0) != (samples.distances < 0)
    return np.asarray(other & (np.abs(samples.distances) > config.cell(level) / 2))


@dataclass(frozen=True)
class _Group:
    """Latents that change at once: their numbers, and how they act on the points, both ways."""

    numbers: Integers
    columns: sparse.csc_array
    rows: sparse.csr_array


class _Level:
    """The least squares of one level: points, what is wrong there, and how latents act on it."""

    def __init__(
        self,
        pyramid: Pyramid,
        level: int,
        predicted: Grid,
        active: Active,
        samples: SurfaceSamples,
        emphasis: Array,
    ) -> None:
        config = pyramid.config
        self._step = config.unit * (1 << pyramid.shift(level))
        self._core, self._side = active.core, len(predicted)
        self._evaluate = SplineField(predicted.astype(np.float32) * np.float32(config.unit))
        points, targets, weights = _choose_points(
            samples, emphasis, level, config.cell(level), len(active.core), self._evaluate
        )
        numbers = np.full(predicted.size, -1, np.int32)
        numbers[active.band] = np.arange(len(active.band), dtype=np.int32)
        values = predicted.reshape(-1)
        residual = np.empty(len(points))
        roots = np.sqrt(weights)
        pieces = []
        for first in range(0, len(points), CHUNK):
            part = slice(first, first + CHUNK)
            taps, shares = find_taps(points[part], self._side)
            residual[part] = (values[taps] * shares).sum(axis=1) * config.unit - targets[part]
            known = numbers[taps]
            there = (known >= 0) & (shares > 1e-4)
            lines = np.nonzero(there)[0]
            entries = shares[there] * roots[part][lines]
            shape = (len(taps), len(active.band))
            pieces.append(sparse.csr_array((entries, (lines, known[there])), shape=shape))
        self._residual = residual * roots
        acting = sparse.vstack(pieces, format="csr") @ _make_spreading(active)
        columns = sparse.csc_array(acting)
        energy = np.asarray(columns.multiply(columns).sum(axis=0)).ravel()
        self._ridge = RIDGE * float(np.median(energy[energy > 0]))
        self._energy = energy + self._ridge
        x, y, z = np.unravel_index(active.core, predicted.shape)
        colours = (x % SPACING * SPACING + y % SPACING) * SPACING + z % SPACING
        self._groups = []
        for colour in np.unique(colours):
            numbers_of = np.flatnonzero(colours == colour)
            some = columns[:, numbers_of]
            self._groups.append(_Group(numbers_of, some, sparse.csr_array(some.T)))
        reach = np.abs(values[active.core]) * config.unit / config.cell(level)
        self._nearness = np.digitize(reach, [0.25, 0.5, 0.8, 1.2])

    def fit(self, rd_lambda: float) -> Integers:
        """The latents ``[k]`` of the core."""
        latents = np.zeros(len(self._core))
        largest = LARGEST // 64
        for number, multiple in enumerate(PASSES):
            contexts, count = self._find_contexts(latents)
            table = _count_bits(latents, contexts, count)
            if number == 0:
                table = np.tile(FIRST_BITS, (count, 1))
            for group in self._groups:
                which = group.numbers
                energy = self._energy[which] * self._step
                slope = group.rows @ self._residual + self._ridge * self._step * latents[which]
                best = latents[which] - DAMPING * slope / energy
                chosen = _choose(
                    best.clip(-largest, largest),
                    energy * self._step,
                    rd_lambda * multiple,
                    table[contexts[which]],
                )
                change = (chosen - latents[which]) * self._step
                moved = np.flatnonzero(change)
                if len(moved):
                    self._residual += group.columns[:, moved] @ change[moved]
                    latents[which] = chosen
        return latents.astype(np.int64)

    def _find_contexts(self, latents: Array) -> tuple[Integers, int]:
        """A class of each latent by those around it and its distance; and how many there are."""
        from scipy.ndimage import uniform_filter

        own = np.minimum(np.abs(latents), 3)
        grid = np.zeros(self._side**3, np.float32)
        grid[self._core] = own
        sums = 27 * uniform_filter(grid.reshape((self._side,) * 3), 3, mode="constant")
        around = np.rint(sums.reshape(-1)[self._core] - own)
        classes = np.digitize(around, [1, 2, 3, 5, 8, 13]) * 5 + self._nearness
        return classes, 35


def _make_spreading(active: Active) -> sparse.csr_array:
    """What :meth:`.Active.spread` does, without rounding, as a matrix ``[m, k]``."""
    size = len(active.band)
    count = len(active.core)
    spreading = sparse.csr_array(
        (np.ones(count), (active.core_in_band, np.arange(count))), shape=(size, count)
    )
    for places, beside, weights in active.rounds():
        lines, columns = np.nonzero(weights)
        shares = weights[lines, columns] / weights.sum(axis=1)[lines]
        taken = sparse.csr_array(
            (shares, (places[lines], beside[lines, columns])), shape=(size, size)
        )
        spreading = spreading + taken @ spreading
    return spreading


def _choose_points(
    samples: SurfaceSamples,
    emphasis: Array,
    level: int,
    cell: float,
    latents: int,
    predicted: SplineField,
) -> tuple[Array, Array, Array]:
    """Points ``[n, 3]`` on and off the surface, the distances there, and their weights.

    ``emphasis`` ``[m]`` are factors of the weights of those off it. Of the latter, those count at
    fine levels that are near the surface, or are predicted to be.
    """
    fewest, most = POINTS
    count = min(len(samples.on), most, max(fewest, POINTS_PER_LATENT * latents))
    if level <= COARSE_LEVELS:
        some = np.arange(len(samples.off)) % COARSE_PART == 0
        near, weight = np.flatnonzero(some | (emphasis > 1)), COARSE_OFF_WEIGHT
        off = emphasis[near]
    else:
        distances = np.minimum(
            np.abs(samples.distances), CLAMP * np.abs(predicted(samples.off)[:, 0])
        )
        near = np.flatnonzero(distances < min(OFF_CELLS * cell, 0.99 * CLAMP))
        near, weight = near[:: max(1, len(near) // count)], OFF_WEIGHT
        off = 1 / (1 + (distances[near] / cell) ** 2)
    return (
        np.concatenate([samples.on[:count], samples.off[near]]),
        np.concatenate([np.zeros(count), samples.distances[near]]),
        np.concatenate([np.full(count, 1 / count), off * weight / max(len(near), 1)]),
    )


def _count_bits(latents: Array, contexts: Integers, count: int) -> Array:
    """Estimated bits ``[count, 6]`` of the magnitudes 0 to 5, with signs, in each context."""
    magnitudes = np.minimum(np.abs(latents), 5).astype(np.int64)
    seen = np.bincount(contexts * 6 + magnitudes, minlength=6 * count).reshape(count, 6) + ASSUMED
    bits = -np.log2(seen / seen.sum(axis=1, keepdims=True))
    bits[:, 1:] += 1
    return np.asarray(bits)


def _choose(best: Array, energy: Array, rd_lambda: float, table: Array) -> Array:
    """The cheapest whole numbers near ``best`` ``[n]``, by squared error and bits."""
    lines = np.arange(len(best))
    toward_zero = np.trunc(best)
    chosen = np.zeros(len(best))
    least = energy * best**2 + rd_lambda * table[:, 0]
    for candidate in (toward_zero, toward_zero + np.sign(best)):
        size = np.abs(candidate)
        bits = table[lines, np.minimum(size, 5).astype(np.int64)]
        bits = bits + np.where(size >= 5, 2 * np.log2(np.maximum(size - 4, 1)) + 1, 0)
        cost = energy * (candidate - best) ** 2 + rd_lambda * bits
        better = cost < least
        chosen, least = np.where(better, candidate, chosen), np.where(better, cost, least)
    return chosen
