"""Noise filling: latents that were rounded to 0 decode to noise of about their loudness.

Without it, quiet high frequencies are silent. Each stretch of time and band of frequencies, a cell,
has one level for each channel.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...coding.integers import Integers
from .config import FREQUENCY_PARTS
from .transform import Reals

#: The edges of the bands, in :data:`.config.FREQUENCY_PARTS` of the highest frequency.
BAND_EDGES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
BANDS = len(BAND_EDGES) - 1
#: Samples of a cell's stretch of time: a block belongs to the stretch in which it begins.
CELL_SAMPLES = 1 << 14
#: The loudest level: noise with a standard deviation of an eighth of a quantisation step. Each
#: level below is half an octave less; level 0 is no noise. Louder noise would be nearer to the
#: spectrum, and lower the SNR.
LOUDEST = 15


@dataclass(frozen=True)
class Cells:
    """The cells of a recording: ``cell_of`` ``[N]`` is that of each latent, in 0..count - 1.

    Cells are numbered by stretch of time first, then by band; ``stretches`` counts the former.
    """

    cell_of: NDArray[np.int64]
    stretches: int

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.stretches * BANDS


def cells_of(sizes: Sequence[int]) -> Cells:
    """The cells of the latents of blocks of these sizes."""
    bands = {
        size: np.searchsorted(
            np.array(BAND_EDGES) * (size // FREQUENCY_PARTS), np.arange(size), side="right"
        )
        - 1
        for size in set(sizes)
    }
    starts = [0, *itertools.accumulate(sizes)]
    cell_of = np.concatenate(
        [
            start // CELL_SAMPLES * BANDS + bands[size]
            for start, size in zip(starts[:-1], sizes, strict=True)
        ]
    )
    return Cells(cell_of, -(-starts[-1] // CELL_SAMPLES))


def fill(latents: Integers, levels: Integers, cells: Cells) -> Reals:
    """The latents ``[N, C]``, in steps, with noise in place of zeros, at ``levels``."""
    filled = latents.astype(np.float32)
    # a uniform distribution in [-1, 1) has a deviation of 1 / sqrt(3)
    gains = np.where(levels > 0, 2.0 ** ((levels - LOUDEST) / 2 - 3), 0) * math.sqrt(3)
    for channel in range(latents.shape[1]):
        zeros = np.flatnonzero(latents[:, channel] == 0)
        gain = gains[cells.cell_of[zeros], channel]
        filled[zeros, channel] = gain * hash_uniform(zeros * latents.shape[1] + channel)
    return filled


def hash_uniform(index: NDArray[np.int64]) -> Reals:
    """Pseudo-random numbers in [-1, 1), a function of ``index`` alone."""
    mixed = index.astype(np.uint64)
    for factor, shift in ((0x9E3779B1, 15), (0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        mixed = (mixed * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
        mixed ^= mixed >> np.uint64(shift)
    return mixed.astype(np.float64) / 2**31 - 1
