"""Contexts of version 2: section 6.6."""

import decimal
import math

import numpy as np

from .coder import RangeDecoder, cumulative, precise
from .levels import NORMS, PASSES, SIZE, band_shapes


def latent_logarithms(step, seen_by):
    """Of magnitudes in steps of ``step`` sixteenths, seen by latents in ``seen_by`` of them."""
    values = [round(16 * math.log2(1 + 2 * m * step / seen_by)) for m in range(1024)]
    return np.array(values, np.int64)


DIFFERENCE = np.array([round(16 * math.log2(1 + m)) for m in range(4096)], np.int64)
OWN = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0)]
NEAR = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
CROSS = [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]
HERE = [(0, 0)]


def block(top, bottom, left, right):
    return [(y, x) for y in range(top, bottom + 1) for x in range(left, right + 1)]


FEW = [block(-1, 2, -1, 1), block(-1, 1, -1, 2)]
ALL = [
    block(-1, 2, -2, 2), block(-2, 2, -1, 2), block(-1, 2, -1, 2), block(-1, 2, -1, 2),
    block(-1, 1, -1, 1),
]  # fmt: skip


def times(values, factor):
    return (values * factor + 2048) >> 12


def merge(low, high):
    """The whole-number signal along the first axis from its low and high half."""
    even, odd = times(low, 3563), times(high, 4709)

    def pairs(source, count, offset, factor):
        index = np.arange(count) + offset
        last = len(source) - 1
        return times(source[index.clip(0, last)] + source[(index + 1).clip(0, last)], factor)

    even = even + pairs(odd, len(even), -1, -1817)
    odd = odd + pairs(even, len(odd), 0, -3616)
    even = even + pairs(odd, len(even), -1, 217)
    odd = odd + pairs(even, len(odd), 0, 6497)
    signal = np.empty((len(even) + len(odd), *even.shape[1:]), np.int64)
    signal[0::2], signal[1::2] = even, odd
    return signal


def merge_level(low, bands, level, unit):
    scaled = []
    for orientation, band in enumerate(bands):
        factor = round(4096 / NORMS[min(level, 4)][orientation == 2])
        values = (band.clip(-(1 << 24), 1 << 24) * unit + 8) >> 4
        scaled.append(times(values, factor))
    across, down, both = scaled
    picture = merge(merge(low, down).T, merge(across, both).T).T
    return picture.clip(-(1 << 34), 1 << 34)


def logarithms(values, table):
    return np.sign(values) * table[np.minimum(np.abs(values), len(table) - 1)]


def differences(low, step):
    """Five kinds of differences of a picture in sixteenths, as functions of (rows, columns)."""
    quarters = (4 * low // step).clip(-(1 << 24), 1 << 24)

    def at(rows, columns):
        height, width = quarters.shape
        return quarters[rows.clip(0, height - 1), columns.clip(0, width - 1)]

    return [
        lambda y, x: at(y, x + 1) - at(y, x),
        lambda y, x: at(y + 1, x) - at(y, x),
        lambda y, x: at(y, x - 1) - 2 * at(y, x) + at(y, x + 1),
        lambda y, x: at(y - 1, x) - 2 * at(y, x) + at(y + 1, x),
        lambda y, x: at(y, x) - at(y, x + 1) - at(y + 1, x) + at(y + 1, x + 1),
    ]


def look(band, rows, columns, window, table):
    """Logarithms in a window of a band, zero outside it."""
    if band is None:
        return [np.zeros(len(rows), np.int64) for _ in window]
    height, width = band.shape
    found = []
    for down, right in window:
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        values = band[y.clip(0, height - 1), x.clip(0, width - 1)]
        found.append(logarithms(np.where(inside, values, 0), table))
    return found


class Sight:
    """The bands around one, some of which are not there."""

    def __init__(self, latents, level, orientation, channel, low, units, steps):
        def band(above, k, c):
            known = level + above < len(latents)
            return latents[level + above][k][c] if known else None

        order = [orientation, *(k for k in range(3) if k != orientation)]
        self.own = band(0, orientation, channel)
        self.above = [band(1, k, channel) for k in order]
        self.beside = [band(0, k, channel) if k < orientation else None for k in range(2)]
        self.channels = [band(0, orientation, k) if k < channel else None for k in range(2)]
        self.far = band(2, orientation, channel)
        self.differences = differences(low, steps[level])
        self.tables = [
            latent_logarithms(units[min(level + above, len(units) - 1)], 16 * steps[level])
            for above in (0, 1, 2)
        ]

    def look(self, y, x, windows):
        """What a network sees; ``windows``: own, three above, two beside, two channels, far."""
        own, *above, beside0, beside1, channel0, channel1, far = windows
        found = look(self.own, y, x, own, self.tables[0])
        for band, window in zip(self.above, above, strict=True):
            found += look(band, y >> 1, x >> 1, window, self.tables[1])
        for band, window in zip(self.beside, (beside0, beside1), strict=True):
            found += look(band, y, x, window, self.tables[0])
        for band, window in zip(self.channels, (channel0, channel1), strict=True):
            found += look(band, y, x, window, self.tables[0])
        return np.stack(found + look(self.far, y >> 2, x >> 2, far, self.tables[2]))

    def slopes(self, y, x, windows):
        return np.stack(
            [
                logarithms(kind(y + down, x + right), DIFFERENCE)
                for kind, window in zip(self.differences, windows, strict=False)
                for down, right in window
            ]
        )


def hidden(x):
    return np.clip(x >> 6, 0, 2047)


class ContextNetworks:
    def __init__(self, tensors):
        self.tensors = {name: tensor.astype(np.int64) for name, tensor in tensors.items()}

    def first(self, kind, group, turn, inputs):
        return self.tensors[f"{kind}.first"][group // 3 % 3, turn] @ inputs

    def rest(self, kind, x):
        x = self.tensors[f"{kind}.second"] @ hidden(x)
        x = hidden(x + self.tensors[f"{kind}.second_bias"][:, None])
        return self.tensors[f"{kind}.last"] @ x

    def magnitudes(self, group, turn, inputs):
        position = self.tensors["magnitude.position"][group, turn][:, None]
        x = self.rest("magnitude", self.first("magnitude", group, turn, inputs) + position)
        return x + self.tensors["magnitude.last_bias"][:, None]

    def signs(self, group, turn, inputs, logarithms):
        x = self.first("sign", group, turn, inputs)
        bias = self.tensors["sign.position"][group, turn][:, None]
        bias = bias + self.tensors["sign.own"][:, None] * logarithms
        return (self.rest("sign", bias + x) - self.rest("sign", bias - x))[0]


class Flags:
    """Tables of flags, which follow the flags before."""

    def __init__(self, logits, prior=256):
        self.prior, self.shares = prior, [0] * len(logits)
        with precise():
            self.first = [int((1 << 40) / (1 + (-logit).exp())) for logit in logits]
        self.counts = [[0, 0] for _ in logits]
        self.due = [0] * len(self.first)
        self.bounds = [[] for _ in logits]

    def table(self, index):
        zeros, ones = self.counts[index]
        count = zeros + ones + self.prior
        if count >= self.due[index]:
            share = ((zeros << 40) + self.prior * self.first[index]) // count
            share = self.shares[index] = min(max(share, 1 << 18), (1 << 40) - (1 << 18))
            self.bounds[index] = cumulative([share, (1 << 40) - share])
            self.due[index] = count + count // 8
        return self.bounds[index]

    def read(self, decoder, classes, in_order=False):
        found = np.zeros(len(classes), np.int64)
        if in_order:
            for place, index in enumerate(classes.tolist()):
                found[place] = decoder.symbol(self.table(index))
        for index in [] if in_order else sorted(set(classes.tolist())):
            bounds = self.table(index)
            for place in np.flatnonzero(classes == index):
                found[place] = decoder.symbol(bounds)
        for index, flag in zip(classes.tolist(), found.tolist(), strict=True):
            self.counts[index][flag] += 1
        return found


HALVES = [decimal.Decimal(2 * index - 63) / 8 for index in range(64)]
SURE = [decimal.Decimal(2 * index + 1 if index else 0) / 8 for index in range(24)]


def read_sizes(decoder, outputs, zeros, ones, in_order=False):
    """The magnitudes of a pass, in raster order; flags may be, too."""
    zero, one = (np.clip((row >> 8) + 32, 0, 63) for row in outputs[:2])
    size = np.clip((outputs[2] >> 8) + 20, 0, 43)
    sizes = zeros.read(decoder, zero, in_order)
    there = np.flatnonzero(sizes)
    there = there[ones.read(decoder, one[there], in_order) > 0]
    for index in sorted(set(size[there].tolist())):
        bounds, reach = SIZE[index]
        places = there[size[there] == index]
        more = [decoder.symbol(bounds) for _ in places]
        sizes[places] = [2 + m + (decoder.uniform(24) if m == reach else 0) for m in more]
    return sizes


def read_signs(decoder, logits, signs):
    likely = np.where(logits < 0, -1, 1)
    other = signs.read(decoder, np.minimum(np.abs(logits) >> 8, 23))
    return np.where(other > 0, -likely, likely)


def read_levels_2(data, coarsest, height, width, tensors, steps, trellis=None):
    """Latents by level (finest first), orientation: ``[C, h, w]``.

    ``steps`` are those of levels and of the coarsest picture, in sixteenths. ``trellis`` reads the
    magnitudes of section 6.7.
    """
    units = [step * (10 if trellis else 16) for step in steps[:-1]]  # in 256ths
    channels, shapes = len(coarsest), band_shapes(height, width)
    latents = [[np.zeros((channels, *sides), np.int64) for sides in level] for level in shapes]
    decoder, networks = RangeDecoder(data), ContextNetworks(tensors)
    zeros, ones, signs = Flags(HALVES), Flags(HALVES), Flags(SURE)
    pictures = [channel.clip(-(1 << 24), 1 << 24) * steps[-1] for channel in coarsest]
    for level in reversed(range(len(shapes))):
        for channel in range(channels):
            for orientation in range(3):
                group = (min(level, 4) * 3 + orientation) * 3 + min(channel, 2)
                sight = Sight(latents, level, orientation, channel, pictures[channel], units, steps)
                for turn, (row, column) in enumerate(PASSES):
                    part = sight.own[row::2, column::2]
                    if not part.size:
                        continue
                    y, x = (2 * index.ravel() for index in np.indices(part.shape))
                    y, x = y + row, x + column
                    windows = [OWN, NEAR, HERE, HERE, NEAR, NEAR, CROSS, HERE, HERE]
                    sizes = np.abs(sight.look(y, x, windows))
                    slopes = np.abs(sight.slopes(y, x, FEW)) * sizes.any(axis=0)
                    outputs = networks.magnitudes(group, turn, np.concatenate([sizes, slopes]))
                    if trellis:
                        values = trellis.read(decoder, outputs)
                    else:
                        values = read_sizes(decoder, outputs, zeros, ones)
                    there = np.flatnonzero(values)
                    logits = np.zeros(len(there), np.int64)
                    if level < 3 and len(there):
                        y, x = y[there], x[there]
                        windows = [OWN, *[NEAR] * 6, HERE, []]
                        inputs = [sight.look(y, x, windows), sight.slopes(y, x, ALL)]
                        inputs = np.concatenate(inputs)
                        own = logarithms(values[there], sight.tables[0])
                        logits = networks.signs(group, turn, inputs, own)
                    values[there] *= read_signs(decoder, logits, signs)
                    part[...] = values.reshape(part.shape)
            if level:
                bands = [latents[level][k][channel] for k in range(3)]
                pictures[channel] = merge_level(pictures[channel], bands, level, units[level])
    return latents
