"""Dependent quantisation: section 6.7."""

import decimal

import numpy as np

from .coder import cumulative, precise
from .contexts import HALVES, Flags
from .levels import SIZE, Cache

NEXT = [(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)]
ONE = 1 << 16


def even_share(size):
    with precise():
        scale = (decimal.Decimal(2 * size + 1) / 8 - 5).exp()
        return min(max(int(ONE / (1 + (-1 / scale).exp())), 1), ONE - 1)


EVEN = Cache(even_share)


class LevelFlags(Flags):
    """Tables of flags of levels, whose first shares are a power of those of section 6.6."""

    def __init__(self, power):
        super().__init__(HALVES, 64)
        with precise():
            others = [1 - decimal.Decimal(share) / (1 << 40) for share in self.first]
            power = decimal.Decimal(power)
            self.first = [int((1 << 40) * (1 - (other.ln() * power).exp())) for other in others]

    def short(self, index):
        self.table(index)
        return min(max(self.shares[index] >> 24, 1), ONE - 1)


class TrellisSizes:
    """Reads the magnitudes of passes."""

    def __init__(self):
        self.zeros, self.ones = (
            [LevelFlags(power) for power in ("1.25", last)] for last in ("0.5", "0.8")
        )

    def read(self, decoder, outputs, in_order=False):
        zero, one = (np.clip((row >> 8) + 32, 0, 63) for row in outputs[:2])
        size = np.clip((outputs[2] >> 8) + 20, 0, 43)
        sizes = np.zeros(len(zero), np.int64)
        sure = np.flatnonzero(zero >= 48)
        sizes[sure] = self.zeros[0].read(decoder, zero[sure], in_order)
        there = sure[sizes[sure] > 0]
        large = there[self.ones[0].read(decoder, one[there], in_order) > 0]
        sizes[large] = 2 + read_excess(decoder, size[large])
        sizes *= 2
        rest = np.flatnonzero(zero < 48)
        sizes[rest] = self.read_lanes(decoder, zero[rest], one[rest], size[rest])
        return sizes

    def read_lanes(self, decoder, zero, one, size):
        tables = [self.tables(q, zero, one, size) for q in range(2)]
        states = [1] * max(1, len(zero) // 128)
        tokens, quantisers = np.zeros(len(zero), np.int64), np.zeros(len(zero), np.int64)
        for i in range(len(zero)):
            lane = i % len(states)
            quantisers[i] = states[lane] & 1
            tokens[i] = decoder.symbol(tables[quantisers[i]][i])
            states[lane] = NEXT[states[lane]][tokens[i] & 1]
        levels = tokens.copy()
        large = np.flatnonzero(tokens > 1)
        levels[large] += 2 * read_excess(decoder, np.maximum(size[large] - 3, 0))
        for i, q in enumerate(quantisers.tolist()):
            self.zeros[q].counts[zero[i]][int(levels[i] > 0)] += 1
            if levels[i]:
                self.ones[q].counts[one[i]][int(levels[i] > 1)] += 1
        return 2 * levels - quantisers * (levels > 0)

    def tables(self, quantiser, zero, one, size):
        zeros, ones, found = self.zeros[quantiser], self.ones[quantiser], []
        for a, b, c in zip(zero.tolist(), one.tolist(), size.tolist(), strict=True):
            z, o, even = zeros.short(a), ones.short(b), EVEN[c]
            more = (ONE - z) * (ONE - o)
            found.append([z * ONE * ONE, (ONE - z) * o * ONE, more * even, more * (ONE - even)])
        return [cumulative(weights) for weights in found]


def read_excess(decoder, size):
    """Numbers of these size classes, class by class."""
    found = np.zeros(len(size), np.int64)
    for index in sorted(set(size.tolist())):
        bounds, reach = SIZE[index]
        places = np.flatnonzero(size == index)
        numbers = [decoder.symbol(bounds) for _ in places]
        found[places] = [m + (decoder.uniform(24) if m == reach else 0) for m in numbers]
    return found
