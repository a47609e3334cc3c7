"""Steps that follow the levels of bands, the contexts of latents, and noise at these levels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ..blocks import BLOCK_BITS
from ..noise import hash_uniform
from ..transform import Reals
from .bands import (
    Whole,
    band_edges,
    interpolate_bands,
    measure_bands,
    resample,
    starts_of,
)
from .envelope import HIGHEST, LOWEST, SIXTEENTHS

#: Units of a slope: steps are in proportion to the amplitude to the power of slope / 64.
SLOPE_UNIT = 64
#: The bits that a level is taken to need when the sizes of blocks are chosen.
LEVEL_BITS = 1.5
#: Bands by the share of their latents that is not 0: classes, an octave apart, up to all of them.
SHARES = 9
#: Units of the loudness of noise, in octaves: a byte of 255 stands for a quantisation step.
NOISE_UNIT = 1 / 16
#: What is left of a band's energy is believed down to this share of what its class says.
LEAST_REST = 0.25
#: The share of the energy that was rounded away which noise brings back.
NOISE_SHARE = 0.5
#: What steps grow by at a frequency, in 1 / 1024 octave, by version of the table: at some
#: frequencies in Hz, linear between these and constant beyond. Only few latents lie low, and there
#: are many of the ear's bands, which noise disturbs; in the middle there are many latents.
STEP_OFFSETS = {1: ((200, -768), (600, 0), (1500, 410), (3500, 0))}
#: With a table of steps, noise below so many Hz is less by this factor: a band there is wider than
#: the ear's, and most of its energy is that of a tone.
LOW_HZ, LOW_NOISE = 300, 0.3
#: A band's level, for noise, moves towards those of the blocks before and after: by this share of
#: the distance, of so many sixteenths of an octave at most. Levels are rounded to octaves.
SMOOTH_SHARE, SMOOTH_MOST = 0.25, 8
#: And noise grows or falls within a block by this share of what levels do around it, and by so many
#: octaves at most.
SLOPE_SHARE, SLOPE_MOST = 0.75, 1.5


def combine_levels(predicted: Sequence[Whole], differences: Sequence[Whole]) -> list[Whole]:
    """The levels ``[bands, C]`` of blocks, in sixteenths of an octave."""
    pairs = zip(predicted, differences, strict=True)
    return [(p + SIXTEENTHS * d).clip(LOWEST, HIGHEST) for p, d in pairs]


@dataclass(frozen=True)
class Shape:
    """What follows from the ``levels`` ``[bands, C]`` of all blocks, in sixteenths of an octave.

    ``step`` is the index of the quantisation step where a level is 0, ``slope`` in 1 / 64. From the
    lowest band to the highest, steps grow by ``tilt`` sixteenths of an octave besides, and by what
    the version ``bands`` of :data:`STEP_OFFSETS` says.
    """

    sizes: Sequence[int]
    levels: Sequence[Whole]
    rate: int
    step: int
    slope: int
    tilt: int
    bands: int | None = None

    def exponents(self, index: int) -> Whole:
        """The step of each band ``[bands, 1]`` of a block, in 1 / 1024 octave of the global one."""
        loudest = self.levels[index].max(axis=1, keepdims=True)
        grown = tilt_bands(self.tilt, len(loudest))
        grown = grown + offset_bands(self.sizes[index], self.rate, self.bands)
        exponents: Whole = self.slope * loudest + grown[:, None]
        return exponents

    def weights(self, index: int) -> Reals:
        """What latents ``[size, 1]`` of a block were divided by, besides the step."""
        exponents = self.exponents(index).T / (SLOPE_UNIT * SIXTEENTHS)
        octaves = interpolate_bands(exponents, self.sizes[index], self.rate)[0]
        weights: Reals = np.exp2(octaves).astype(np.float32)[:, None]
        return weights


def tilt_bands(tilt: int, count: int) -> Whole:
    """What so many bands' steps grow by, in 1 / 1024 octave; ``tilt`` in sixteenths of one."""
    grown: Whole = tilt * SLOPE_UNIT * np.arange(count, dtype=np.int64) // (count - 1)
    return grown


@lru_cache(maxsize=64)
def offset_bands(size: int, rate: int, version: int | None) -> Whole:
    """What a block's bands' steps grow by, in 1 / 1024 octave, by a version of the table."""
    edges = band_edges(size, rate)
    if version is None:
        return np.zeros(len(edges) - 1, np.int64)
    knots = np.array(STEP_OFFSETS[version], np.int64)
    hertz = (edges[1:] + edges[:-1]) * rate // (4 * size)
    hertz = hertz.clip(knots[0, 0], knots[-1, 0])
    above = np.searchsorted(knots[:, 0], hertz).clip(1)
    (low, start), (high, end) = knots[above - 1].T, knots[above].T
    offsets: Whole = start + (end - start) * (hertz - low) // (high - low)
    return offsets


def make_estimate(
    slope: int, tilt: int, rate: int, bands: int | None
) -> Callable[[Reals, float], Reals]:
    """A function that estimates the bits of blocks ``[n, size, C]``, rounded as their bands say."""

    def estimate(coefficients: Reals, step: float) -> Reals:
        count, size, channels = coefficients.shape
        levels = measure_bands(coefficients, size, rate).max(axis=2)
        octaves = levels * (slope / SLOPE_UNIT)
        grown = tilt_bands(tilt, levels.shape[1]) + offset_bands(size, rate, bands)
        octaves = octaves + grown / (SLOPE_UNIT * SIXTEENTHS)
        weights = np.exp2(-interpolate_bands(octaves, size, rate))
        scaled = coefficients * (weights[:, :, None] * (2 / step)).astype(np.float32)
        bits = np.log2(1 + np.square(scaled)).reshape(count, -1).sum(axis=1) / 2
        estimated: Reals = bits + (BLOCK_BITS + LEVEL_BITS * channels * levels.shape[1])
        return estimated

    return estimate


def _sum_bands(values: Reals, edges: Whole) -> Reals:
    """The sums ``[bands, C]`` of values ``[size, C]``."""
    sums: Reals = np.add.reduceat(values, edges[:-1], axis=0)
    return sums


def _classify(latents: NDArray[Any], edges: Whole) -> tuple[Whole, Whole]:
    """The class of each band ``[bands, C]`` by its share of nonzero latents; their number."""
    nonzero: Whole = np.add.reduceat((latents != 0).astype(np.int64), edges[:-1], axis=0)
    share = np.log2(np.maximum(nonzero, 0.5) / np.diff(edges)[:, None])
    return (share + SHARES - 1).clip(0, SHARES - 1).astype(np.int64), nonzero


class NoiseMeter:
    """Measures how loud, in steps, what was rounded to 0 is, for each class of bands."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._energy, self._count = np.zeros(SHARES), np.zeros(SHARES)

    def add(self, index: int, exact: Reals, latents: Integers) -> None:
        """Take a block into account: its ``exact`` latents and the rounded ones ``[size, C]``."""
        edges = band_edges(self._shape.sizes[index], self._shape.rate)
        classes, nonzero = _classify(latents, edges)
        squares = np.where(latents == 0, np.square(exact, dtype=np.float64), 0)
        kept = nonzero > 0
        self._energy += np.bincount(classes[kept], _sum_bands(squares, edges)[kept], SHARES)
        zeros = np.diff(edges)[:, None] - nonzero
        self._count += np.bincount(classes[kept], zeros[kept], SHARES)

    def finish(self) -> bytes:
        """The loudness of all blocks together, a byte for each class."""
        octaves = 0.5 * np.log2(self._energy / np.maximum(self._count, 1) + 1e-9)
        return np.rint(255 + octaves / NOISE_UNIT).clip(0, 255).astype(np.uint8).tobytes()


class NoiseFilling:
    """Latents in the unit of samples, with noise in place of zeros.

    In a band of zeros, noise has the band's level. In others it is as loud as :class:`NoiseMeter`
    says, and no louder than what is left of the band's energy. Where the shape has a table of
    steps, there is less of it at low frequencies, and it follows the levels before and after.
    """

    def __init__(self, shape: Shape, noise: bytes, step_size: float) -> None:
        """``noise`` is what :meth:`NoiseMeter.finish` gave."""
        self._shape, self._step_size = shape, np.float32(step_size)
        octaves = np.frombuffer(noise, np.uint8).astype(np.float64) - 255
        self._usual = np.exp2(2 * NOISE_UNIT * octaves)
        self._starts = starts_of(shape.sizes)

    def fill(self, index: int, own: Integers) -> Reals:
        """Those of a block's latents ``[size, C]``."""
        shape, channels = self._shape, own.shape[1]
        edges = band_edges(shape.sizes[index], shape.rate)
        counts = np.diff(edges)
        weights = shape.weights(index) * self._step_size
        values = own * weights
        classes, nonzero = _classify(own, edges)
        total = np.exp2(shape.levels[index] * (2 / SIXTEENTHS)) * counts[:, None]
        scales = _sum_bands(np.where(own == 0, np.square(weights), 0), edges)
        expected = self._usual[classes] * scales
        rest = total - _sum_bands(np.square(values, dtype=np.float64), edges)
        energy = np.where(
            nonzero == 0, total, np.minimum(expected, np.maximum(rest, LEAST_REST * expected))
        )
        gains = np.sqrt(NOISE_SHARE * energy / np.maximum(scales, 1e-30)).astype(np.float32)
        hiss = self._make_hiss(index, channels) * gains.repeat(counts, axis=0) * weights
        filled: Reals = np.where(own == 0, hiss, values).astype(np.float32)
        return filled

    def _make_hiss(self, index: int, channels: int) -> Reals:
        """Noise ``[size, C]`` for a block, whose variance is 1 but where a table changes it."""
        shape, size = self._shape, self._shape.sizes[index]
        first, end = self._starts[index : index + 2] * channels
        uniform = hash_uniform(np.arange(first - channels, end)).reshape(-1, channels)
        if shape.bands is None:
            # a uniform distribution in [-1, 1) has a variance of 1 / 3
            return (uniform[1:] * math.sqrt(3)).astype(np.float32)
        factors, tilts = self._follow(index)
        counts = np.diff(band_edges(size, shape.rate))
        factors = factors / np.sqrt(1 + tilts**2)
        signs = np.where(uniform < 0, -1.0, 1.0)
        tilted = signs[1:] + tilts.repeat(counts, axis=0) * signs[:-1]
        hiss: Reals = (tilted * factors.repeat(counts, axis=0)).astype(np.float32)
        hiss[: count_low(size, shape.rate)] *= np.float32(LOW_NOISE)
        return hiss

    def _follow(self, index: int) -> tuple[Reals, Reals]:
        """How noise follows the levels around a block: factors and tilts ``[bands, C]``.

        Each latent plus the tilt times the one below it has an envelope over the block of
        |1 + tilt exp(i pi t)|, t from 0 to 1: it begins at 1 + tilt and ends at 1 - tilt. (Temporal
        noise shaping, Herre and Johnston 1996, of the noise alone.)
        """
        levels, sizes = self._shape.levels, self._shape.sizes
        own, count = levels[index], len(levels[index])
        near = [i if 0 <= i < len(levels) else index for i in (index - 1, index + 1)]
        before, after = (resample(levels[i], count) for i in near)
        moved = sum((other - own).clip(-SMOOTH_MOST, SMOOTH_MOST) for other in (before, after))
        factors: Reals = np.exp2(moved * (SMOOTH_SHARE / SIXTEENTHS))
        share = sizes[index] / (sizes[index] + (sizes[near[0]] + sizes[near[1]]) / 2)
        grown = (after - before) * (SLOPE_SHARE * share / SIXTEENTHS)
        ratio = np.exp2(grown.clip(-SLOPE_MOST, SLOPE_MOST))
        tilts: Reals = (1 - ratio) / (1 + ratio)
        return factors, tilts


def count_low(size: int, rate: int) -> int:
    """How many latents of a block lie below :data:`LOW_HZ`."""
    return min(size, (4 * LOW_HZ * size + rate - 1) // (2 * rate))


def measure_levels(coefficients: Reals, sizes: Sequence[int], rate: int) -> list[Reals]:
    """The exact levels ``[bands, C]`` of blocks, in octaves of full scale."""
    starts = starts_of(sizes).tolist()
    return [
        measure_bands(coefficients[starts[i] : starts[i + 1]][None], size, rate)[0]
        for i, size in enumerate(sizes)
    ]
