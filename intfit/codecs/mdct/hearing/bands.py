"""Bands of frequencies, about equally wide to the ear, in blocks of any size."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..transform import Reals

#: The bands of a block of each size.
BAND_COUNTS = {256: 10, 512: 14, 1024: 18, 2048: 22, 4096: 24, 8192: 24}
#: Bands are equally wide on an axis of f / (f + WARP_HZ), which is near to the ear's.
WARP_HZ = 2500
#: The quietest root mean square of latents that is told from silence, as log2 of full scale.
QUIETEST = -15.0

Whole = NDArray[np.int64]


@lru_cache(maxsize=64)
def band_edges(size: int, rate: int) -> Whole:
    """The first latent of each band of a block at a sample rate, and the block's size."""
    count, edges = BAND_COUNTS[size], [0]
    for index in range(1, count):
        # the latent whose frequency is at index / count of the warped axis, rounded
        above, below = 4 * index * WARP_HZ * size, count * (rate + 2 * WARP_HZ) - index * rate
        edges.append(max((above + below) // (2 * below), edges[-1] + 1))
    return np.array([*edges, size], np.int64)


def measure_bands(coefficients: Reals, size: int, rate: int) -> Reals:
    """The log2 ``[n, bands, C]`` of the root mean square of each band of ``[n, size, C]``."""
    edges = band_edges(size, rate)
    power = np.add.reduceat(np.square(coefficients, dtype=np.float64), edges[:-1], axis=1)
    means = power / np.diff(edges)[:, None]
    measured: Reals = 0.5 * np.log2(means + 4.0**QUIETEST)
    return measured


@lru_cache(maxsize=64)
def _neighbours(size: int, rate: int) -> tuple[Whole, NDArray[Any]]:
    """Of each latent of a block, the band whose middle is below it, and how far on the next is."""
    edges = band_edges(size, rate)
    middles = (edges[1:] + edges[:-1]) / 2
    place = np.arange(size) + 0.5
    below = (np.searchsorted(middles, place) - 1).clip(0, len(middles) - 2)
    beyond = (place - middles[below]) / (middles[below + 1] - middles[below])
    return below, beyond.clip(0, 1).astype(np.float32)


def interpolate_bands(values: Reals, size: int, rate: int) -> Reals:
    """Values ``[n, bands]`` at each latent ``[n, size]``, linear between the bands' middles."""
    below, beyond = _neighbours(size, rate)
    interpolated: Reals = values[:, below] * (1 - beyond) + values[:, below + 1] * beyond
    return interpolated


def starts_of(sizes: Sequence[int]) -> Whole:
    """Where each block begins, in samples; and the end of the last."""
    return np.cumsum([0, *sizes])


def resample(values: Whole, count: int) -> Whole:
    """The values ``[bands, ...]`` of a block at the bands of one that has ``count``."""
    resampled: Whole = values[(2 * np.arange(count) + 1) * len(values) // (2 * count)]
    return resampled
