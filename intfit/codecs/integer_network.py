"""What networks in whole numbers have in common, by which context models predict.

They are float32 arrays of integers: as long as sums stay below 2^24, these are exact in whatever
order they are added.
"""

import numpy as np

from ..signals import Floats

#: Fixed point of the logarithms that are the networks' inputs, and of their weights.
INPUT_UNIT, WEIGHT_UNIT = 16, 64
#: The largest value that a neuron of a hidden layer has, in 1 / INPUT_UNIT.
MAX_HIDDEN = 2047
#: The largest weight, in 1 / WEIGHT_UNIT.
MAX_WEIGHT = 127


def rectify(sums: Floats) -> Floats:
    """A layer's sums, in place, as values of neurons: rectified, rounded down, bounded."""
    sums *= np.float32(1 / WEIGHT_UNIT)  # a power of two: exact
    np.maximum(sums, 0, out=sums)  # quicker than np.clip
    np.minimum(sums, MAX_HIDDEN, out=sums)
    np.floor(sums, out=sums)
    return sums
