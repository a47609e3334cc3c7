"""Recordings with an envelope: sections 7.6 to 7.10."""

import itertools
import math

import numpy as np

from .audio import LEAD, SHORTEST, at, block_sizes, resized, scramble, synthesised
from .coder import RangeDecoder, cumulative
from .contexts import HALVES, Flags, hidden, read_sizes
from .siren import siren_shapes
from .whole import WholeSiren, clipped

COUNTS = {256: 10, 512: 14, 1024: 18, 2048: 22, 4096: 24, 8192: 24}
FACTORS = [815, 1222, 1222, 256]
OWN = [(), (-6, -2, 2, 6), (-5, -3, -1, 1, 3, 5)]


def band_edges(size, rate):
    count, edges = COUNTS[size], [0]
    for i in range(1, count):
        a, b = 4 * i * 2500 * size, count * (rate + 5000) - i * rate
        edges.append(max((a + b) // (2 * b), edges[-1] + 1))
    return [*edges, size]


class Envelope:
    """One network."""

    def __init__(self, payload, width, channels):
        self.network = WholeSiren(payload, siren_shapes(2, channels, width, 3), FACTORS, 12)

    def amplitudes(self, inputs):
        return ((64 * self.network.outputs(inputs) >> 30) - 96).clip(-240, 64)


class WholeNetwork:
    """A network of section 7.8, by places of blocks."""

    def __init__(self, tensors, name):
        self.tensors = {
            key.split(".")[1]: tensor.astype(np.int64)
            for key, tensor in tensors.items()
            if key.startswith(name)
        }

    def outputs(self, size, before, turn, inputs):
        place = (size // SHORTEST).bit_length() - 1, 1 + (size > before) - (size < before), turn
        x = self.tensors["first"][turn] @ inputs + self.tensors["place"][place][:, None]
        x = self.tensors["second"] @ hidden(x) + self.tensors["second_bias"][:, None]
        return self.tensors["last"] @ hidden(x) + self.tensors["last_bias"][:, None]


def stretched(line, n):
    return np.array([line[(2 * i + 1) * len(line) // (2 * n)] for i in range(n)])


def around(line, *offsets):
    """A line at offsets; its ends stand for what is beyond them."""
    index = np.arange(len(line))
    return [line[(index + offset).clip(0, len(line) - 1)] for offset in offsets]


def band_levels(decoder, sizes, networks, rate, tensors):
    """The level ``[n, C]`` of every block."""
    total, pieces = sum(sizes), len(networks)
    channels = len(networks[0].network.layers[-1][1])
    bounds = [total * i // pieces for i in range(pieces + 1)]
    guesses, counts = WholeNetwork(tensors, "levels"), tensors["counts"].astype(np.int64)
    tables, levels, start, size_before = {}, [], 0, SHORTEST
    nothing = np.zeros(1, np.int64)
    last = [(nothing, nothing, nothing, nothing) for _ in range(channels)]
    for number, size in enumerate(sizes):
        n = COUNTS[size]
        piece = max(i for i in range(pieces) if 2 * bounds[i] <= 2 * start + size)
        time = ((2 * start + size - bounds[piece] - bounds[piece + 1]) << 14) // (4 * rate)
        inputs = [(time, ((2 * i + 1 - n) << 14) // n) for i in range(n)]
        block = networks[piece].amplitudes(inputs)
        other = np.zeros(n, np.int64)
        for channel in range(channels):
            d, older, e, a = (stretched(line, n) for line in last[channel])
            x, y, now = np.zeros(n, np.int64), np.zeros(n, np.int64), block[:, channel].copy()
            for odd in (0, 1):
                rows = [16 * line for line in around(d, -2, -1, 0, 1, 2)]
                rows += [16 * line for line in around(other, -1, 0, 1)]
                rows += [16 * older, 16 * np.abs(e), now - a, now, a + 16 * d]
                rows.append(np.arange(n) * 128 // n)
                rows += [np.zeros(n, np.int64)] * 3
                if odd:
                    off = np.abs(np.roll(y, 1)) + np.append(np.abs(y[1:]), 0)
                    rows[-3:] = 16 * np.roll(x, 1), 16 * np.append(x[1:], x[-2]), 16 * off
                bands = np.arange(odd, n, 2)
                seen = np.stack(rows)[:, bands]
                octaves, scales = guesses.outputs(size, size_before, odd, seen)
                predicted = (octaves >> 10).clip(-16, 16)
                contexts = ((scales >> 9) + 6).clip(0, 9) * 4 + (octaves >> 8) % 4
                found = np.zeros(len(bands), np.int64)
                for context in sorted(set(contexts.tolist())):
                    if context not in tables:
                        tables[context] = cumulative(counts[context].tolist())
                    for i in np.flatnonzero(contexts == context):
                        found[i] = decoder.symbol(tables[context])
                np.add.at(counts, (contexts, found), 64)
                y[bands] = found - 32
                x[bands] = (predicted + found - 32).clip(-16, 16)
            last[channel] = x, last[channel][0], y, now
            block[:, channel] += 16 * x
            other = x
        levels.append(block.clip(-240, 64))
        if number % 2 == 0:
            tables.clear()
        start, size_before = start + size, size
    return levels


MAGNITUDES = np.array([round(16 * math.log2(1 + 2 * m / 256)) for m in range((255 << 8) + 1)])


def framed(line, count, *offsets):
    """A line at offsets, zero outside its first elements."""
    return [at(line[:count], np.arange(count) + offset) for offset in offsets]


POWERS = np.array([round(2 ** (i / 8)) for i in range(369)])


def left_of_bands(levels, steps, edges, current, coded):
    """What is left of the energy of each band, as inputs for its latents."""
    found = np.zeros(len(coded), np.int64)
    for band, (first, end) in enumerate(itertools.pairwise(edges)):
        own = slice(first, min(end, len(coded)))
        if first < len(coded):
            expected = clipped(int((levels[band] + steps[first]) >> 6) + 128, 0, 511)
            energy = int(POWERS[min(expected, 368)]) * (end - first)
            energy -= int(np.square(current[own]).sum()) << 16
            mean = max(energy, 0) // max(int(np.count_nonzero(~coded[own])), 1)
            found[own] = MAGNITUDES[math.isqrt(min(mean, (255 << 8) ** 2))]
    return found


class Before:
    """What of a channel's earlier blocks is seen."""

    def __init__(self):
        zero = np.zeros(SHORTEST, np.int64)
        self.blocks = [(zero, zero), (zero, zero)]  # magnitudes, exponents
        self.level, self.mean = zero, np.zeros(8192, np.int64)

    def seen(self, back, size, steps):
        sizes, exponents = (resized(line, size) for line in self.blocks[back])
        inputs = (MAGNITUDES[sizes] + ((exponents - steps) >> 6)).clip(1, 511)
        return np.where(sizes > 0, inputs, 0)


def envelope_integers(decoder, sizes, levels, header, top, slope, tilt, tensors):
    """The latents ``[N, C]``."""
    channels, rate, index = *header["audio"][1:3], header["latent"][0]
    latents = np.zeros((sum(sizes), channels), np.int64)
    network, zeros, ones = WholeNetwork(tensors, "latents"), Flags(HALVES), Flags(HALVES)
    lines, start, size_before = [Before() for _ in range(channels)], 0, SHORTEST
    for size, block in zip(sizes, levels, strict=True):
        count, edges = size * top // 64, band_edges(size, rate)
        repeats = np.diff(edges)
        steps = exponents(block, slope, tilt, size, header).repeat(repeats)
        middles = np.array([a + b for a, b in itertools.pairwise(edges)])
        k = 2 * np.arange(size) + 1
        low = np.array([sum(m <= at_k for m in middles[1:-1]) for at_k in k])
        hertz = k * rate // (2 * size) // 16 * 16
        pitch = np.array([round(16 * math.log2(1 + h / 64)) for h in hertz.tolist()])

        def expected(level, steps=steps):
            return (((level - steps + index * 1024 // 24) >> 6) + 128).clip(0, 511)

        other, other_own = np.zeros(count, np.int64), np.zeros(size, np.int64)
        for channel, line in enumerate(lines):
            level = 64 * block[:, channel]
            width = middles[low + 1] - middles[low]
            beyond = (k - middles[low]).clip(0, width)
            own = expected(level[low] + (level[low + 1] - level[low]) * beyond // width)
            mean = resized(line.mean, size)
            rows = framed(line.seen(0, size, steps), count, *range(-3, 4))
            rows += framed(line.seen(1, size, steps), count, -1, 0, 1)
            rows += [
                MAGNITUDES[sum(framed(mean, count, *offsets)) // len(offsets)]
                for offsets in ((0,), (-1, 1), (-4, -3, -2, 2, 3, 4))
            ]
            rows += framed(other, count, *range(-2, 3))
            flat = expected(level.repeat(repeats))
            was = expected(resized(line.level, size))
            rows += [row[:count] for row in (own, flat, other_own, was, pitch)]
            current, values_so_far = np.zeros(count, np.int64), np.zeros(count, np.int64)
            coded = np.zeros(count, np.bool_)
            for turn, (first, stride) in enumerate([(0, 4), (2, 4), (1, 2)]):
                near = framed(current, count, *OWN[turn])
                near += [np.zeros(count, np.int64)] * (6 - len(near))
                places = np.arange(first, count, stride)
                scale = index * 1024 // 24 - steps
                rest = left_of_bands(level, scale, edges, values_so_far, coded)
                inputs = np.stack([*near, *rows, rest])[:, places]
                outputs = network.outputs(size, size_before, turn, inputs)
                values = read_sizes(decoder, outputs, zeros, ones, True)
                values_so_far[places], coded[places] = np.minimum(values, 255), True
                current[places] = MAGNITUDES[values_so_far[places] << 8]
                signs = [1 - 2 * decoder.uniform(1) if m else 0 for m in values]
                latents[start + places, channel] = values * np.array(signs, np.int64)
            sizes_now = np.minimum(np.abs(latents[start : start + size, channel]), 255) << 8
            line.blocks = [(sizes_now, steps), line.blocks[0]]
            line.level = level.repeat(repeats)
            line.mean += (resized(sizes_now, 8192) - line.mean) * size // 16384
            other, other_own = current, own
        start, size_before = start + size, size
    return latents


KNOTS = [(200, -768), (600, 0), (1500, 410), (3500, 0)]


def grown(size, rate):
    """What the steps of bands grow by at their frequencies, in 1 / 1024 octave."""
    found = []
    for a, b in itertools.pairwise(band_edges(size, rate)):
        hertz = clipped((a + b) * rate // (4 * size), KNOTS[0][0], KNOTS[-1][0])
        for (low, start), (high, end) in itertools.pairwise(KNOTS):
            if hertz <= high:
                found.append(start + (end - start) * (hertz - low) // (high - low))
                break
    return np.array(found)


def exponents(block, slope, tilt, size, header):
    """The step of each band, in 1 / 1024 octave."""
    n = len(block)
    found = slope * block.max(axis=1) + np.array([64 * tilt * i // (n - 1) for i in range(n)])
    return found + grown(size, header["audio"][2]) if has_table(header) else found


def has_table(header):
    return header["latent"][4:5] == [1]


def turns(levels, sizes, number):
    """Factors and tilts ``[n, C]`` of the noise of a block."""
    own, size = levels[number], sizes[number]
    near = [i if 0 <= i < len(sizes) else number for i in (number - 1, number + 1)]
    before, after = (stretched(levels[i], len(own)) for i in near)
    moved = (before - own).clip(-8, 8) + (after - own).clip(-8, 8)
    span = size + (sizes[near[0]] + sizes[near[1]]) / 2
    ratio = 2.0 ** (0.75 * size / span * (after - before) / 16).clip(-1.5, 1.5)
    tilts = (1 - ratio) / (1 + ratio)
    return 2.0 ** (moved / 64) / np.sqrt(1 + tilts**2), tilts


def envelope_latents(payload, header, tensors):
    """The matrix, block sizes, integers ``[N, C]``, levels, slope, tilt, bytes of loudness."""
    frames, channels, rate = header["audio"][:3]
    width = header["latent"][1]
    total = -(-(frames + 2 * LEAD) // SHORTEST) * SHORTEST
    mixing = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    top, slope, tilt = payload[channels**2 : channels**2 + 3]
    tilt = tilt - 256 if tilt > 127 else tilt
    place = channels**2 + 12
    loudness, networks = payload[place - 9 : place], []
    for _ in range(max(1, (2 * total + 12 * rate) // (24 * rate))):
        length = int.from_bytes(payload[place : place + 2], "little")
        networks.append(Envelope(payload[place + 2 : place + 2 + length], width, channels))
        place += 2 + length
    decoder = RangeDecoder(payload[place:])
    sizes = block_sizes(decoder, total)
    levels = band_levels(decoder, sizes, networks, rate, tensors)
    latents = envelope_integers(decoder, sizes, levels, header, top, slope, tilt, tensors)
    return mixing / 127, sizes, latents, levels, slope, tilt, loudness


def envelope_samples(header, mixing, sizes, latents, levels, slope, tilt, loudness):
    """Samples ``[frames, C]``, full scale being the peak."""
    frames, channels, rate = header["audio"][:3]
    step, start = 2.0 ** (-header["latent"][0] / 24), 0
    found = np.zeros(latents.shape)
    for number, (size, block) in enumerate(zip(sizes, levels, strict=True)):
        edges = band_edges(size, rate)
        middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
        steps = exponents(block, slope, tilt, size, header)
        weights = step * 2.0 ** (np.interp(np.arange(size) + 0.5, middles, steps) / 1024)
        factors, tilts = turns(levels, sizes, number)
        for band, (first, end) in enumerate(itertools.pairwise(edges)):
            for channel in range(channels):
                q = latents[start + first : start + end, channel]
                w, n, z = weights[first:end], end - first, np.count_nonzero(q)
                values = q * w
                if z < n:
                    total = n * 2.0 ** (block[band, channel] / 8)
                    scale = np.square(w[q == 0]).sum()
                    rest = total - np.square(values).sum()
                    kind = min(math.floor(max(math.log2(max(z, 0.5) / n) + 8, 0)), 8)
                    expected = 2.0 ** ((loudness[kind] - 255) / 8) * scale
                    energy = min(expected, max(rest, expected / 4)) if z else total
                    gain = math.sqrt(0.5 * energy / scale)
                    for i in np.flatnonzero(q == 0).tolist():
                        k = first + i
                        place = (start + k) * channels + channel
                        hiss = math.sqrt(3) * scramble(place)
                        if has_table(header):
                            this, below = (
                                math.copysign(1, scramble(p)) for p in (place, place - channels)
                            )
                            hiss = factors[band, channel] * (this + tilts[band, channel] * below)
                            hiss *= 0.3 if (2 * k + 1) * rate < 1200 * size else 1
                        values[i] = gain * w[i] * hiss
                found[start + first : start + end, channel] = values
        start += size
    return synthesised(found, mixing, sizes, frames)
