"""The field of a recording: its samples, and what lies between them."""

import numpy as np

from ...signals import Coordinates, Floats

#: Samples on either side that a value between samples is computed from.
REACH = 16
#: A position as near as this to a sample, in samples, is that sample's.
NEAR = 2.0**-20


class SincInterpolation:
    """A field: coordinates ``[B, 1]`` in [-1, 1] to values ``[B, C]``.

    ``samples`` ``[N, C]`` are its values at the sample centres. Between them, the sinc function
    under a raised-cosine window interpolates; beyond the ends, samples are mirrored.
    """

    def __init__(self, samples: Floats) -> None:
        self.samples = samples

    def __call__(self, coords: Coordinates) -> Floats:
        size = len(self.samples)
        position = (coords[:, 0].astype(np.float64) * size + (size - 1)) / 2
        nearest = position.round()
        position = np.where(np.abs(position - nearest) < NEAR, nearest, position)
        base = np.floor(position)
        t = position - base
        if not t.any() and base.min(initial=0) >= 0 and base.max(initial=0) < size:
            return self.samples[base.astype(np.int64)]  # the recording's own samples
        total = np.zeros((len(coords), self.samples.shape[1]), np.float32)
        for tap in range(1 - REACH, REACH + 1):
            distance = t - tap
            weight = np.sinc(distance) * (0.5 + 0.5 * np.cos(distance * (np.pi / REACH)))
            index = (base.astype(np.int64) + tap) % (2 * size)
            index = np.where(index >= size, 2 * size - 1 - index, index)
            total += self.samples[index] * weight.astype(np.float32)[:, None]
        return total
