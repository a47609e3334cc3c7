"""Steps that follow the levels of bands, the contexts of latents, and noise at these levels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ..blocks import BLOCK_BITS
from ..noise import hash_uniform
from ..transform import Reals
from .bands import Whole, band_edges, interpolate_bands, measure_bands, starts_of
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


def combine_levels(predicted: Sequence[Whole], differences: Sequence[Whole]) -> list[Whole]:
    """The levels ``[bands, C]`` of blocks, in sixteenths of an octave."""
    pairs = zip(predicted, differences, strict=True)
    return [(p + SIXTEENTHS * d).clip(LOWEST, HIGHEST) for p, d in pairs]


@dataclass(frozen=True)
class Shape:
    """What follows from the ``levels`` ``[bands, C]`` of all blocks, in sixteenths of an octave.

    ``step`` is the index of the quantisation step where a level is 0, ``slope`` in 1 / 64. From the
    lowest band to the highest, steps grow by ``tilt`` sixteenths of an octave besides.
    """

    sizes: Sequence[int]
    levels: Sequence[Whole]
    rate: int
    step: int
    slope: int
    tilt: int

    def exponents(self, index: int) -> Whole:
        """The step of each band ``[bands, 1]`` of a block, in 1 / 1024 octave of the global one."""
        loudest = self.levels[index].max(axis=1, keepdims=True)
        exponents: Whole = self.slope * loudest + tilt_bands(self.tilt, len(loudest))[:, None]
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


def make_estimate(slope: int, tilt: int, rate: int) -> Callable[[Reals, float], Reals]:
    """A function that estimates the bits of blocks ``[n, size, C]``, rounded as their bands say."""

    def estimate(coefficients: Reals, step: float) -> Reals:
        count, size, channels = coefficients.shape
        levels = measure_bands(coefficients, size, rate).max(axis=2)
        octaves = levels * (slope / SLOPE_UNIT)
        octaves = octaves + tilt_bands(tilt, levels.shape[1]) / (SLOPE_UNIT * SIXTEENTHS)
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
    says, and no louder than what is left of the band's energy.
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
        # a uniform distribution in [-1, 1) has a variance of 1 / 3
        gains = np.sqrt(3 * NOISE_SHARE * energy / np.maximum(scales, 1e-30)).astype(np.float32)
        first, end = self._starts[index : index + 2] * channels
        places = np.arange(first, end).reshape(-1, channels)
        hiss = hash_uniform(places).astype(np.float32) * gains.repeat(counts, axis=0) * weights
        filled: Reals = np.where(own == 0, hiss, values).astype(np.float32)
        return filled


def measure_levels(coefficients: Reals, sizes: Sequence[int], rate: int) -> list[Reals]:
    """The exact levels ``[bands, C]`` of blocks, in octaves of full scale."""
    starts = starts_of(sizes).tolist()
    return [
        measure_bands(coefficients[starts[i] : starts[i + 1]][None], size, rate)[0]
        for i, size in enumerate(sizes)
    ]
