"""What a network sees of a latent: magnitudes around it that are decoded already.

All of it is in whole numbers. Magnitudes have :data:`MAGNITUDE_BITS` fractional bits.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..integer_network import INPUT_UNIT

#: Magnitudes and sums of them.
Whole = NDArray[np.int64]

#: The passes over the frequencies of a block: every fourth, those half way, those left between.
PASSES = (slice(0, None, 4), slice(2, None, 4), slice(1, None, 2))
#: Where each pass sees latents of its own block and channel.
OWN = ((), (-6, -2, 2, 6), (-5, -3, -1, 1, 3, 5))
MOST_OWN = 6
#: Where latents of the block before, of the one before that, and of the channel before are seen.
BEFORE, EARLIER, BESIDE = range(-3, 4), range(-1, 2), range(-2, 3)
MARGIN = 6
#: Distances of the running mean of magnitudes that are added up.
MEANS = ((0,), (-1, 1), (-4, -3, -2, 2, 3, 4))
#: Samples that this mean reaches back over.
MEAN_SAMPLES = 1 << 14
#: Fractional bits of magnitudes, and the largest that is told from larger ones.
MAGNITUDE_BITS, MAX_MAGNITUDE = 8, 255


@lru_cache(maxsize=1)
def logarithms() -> NDArray[np.int16]:
    """The network's input for each magnitude in 2^-8."""
    whole = 1 << MAGNITUDE_BITS
    return np.array(
        [
            round(INPUT_UNIT * math.log2(1 + 2 * m / whole))
            for m in range((MAX_MAGNITUDE << MAGNITUDE_BITS) + 1)
        ],
        np.int16,
    )


@lru_cache(maxsize=64)
def pitches(size: int, rate: int) -> Whole:
    """The network's input for the frequency of each latent of a block."""
    hertz = (2 * np.arange(size, dtype=np.int64) + 1) * rate // (2 * size)
    octaves = [round(INPUT_UNIT * math.log2(1 + h / 64)) for h in (hertz >> 4 << 4).tolist()]
    return np.array(octaves, np.int64)


def resample(line: Whole, size: int) -> Whole:
    """A block's values at the frequencies of a block of another ``size``: means, or repeated."""
    ratio = len(line) // size
    if ratio <= 1:
        return line if ratio else line.repeat(size // len(line))
    means: Whole = line.reshape(size, ratio).sum(axis=1) // ratio
    return means


def frame(line: Whole, margin: int = MARGIN) -> Whole:
    """A line with ``margin`` zeros on either side."""
    framed = np.zeros(len(line) + 2 * margin, np.int64)
    framed[margin : margin + len(line)] = line
    return framed


def windows(
    line: NDArray[Any], offsets: Sequence[int], count: int, margin: int = MARGIN
) -> list[NDArray[Any]]:
    """``line``, with ``margin`` more values on either side, seen at ``offsets``."""
    return [line[margin + offset : margin + offset + count] for offset in offsets]
