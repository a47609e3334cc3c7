"""Recordings with an envelope: sections 7.6 to 7.9."""

import decimal
import itertools
import math

import numpy as np

from .audio import LEAD, SHORTEST, block_sizes, read_latents, scramble, synthesised
from .coder import RangeDecoder, cumulative, precise
from .siren import packed_parameters, siren_shapes

COUNTS = {256: 10, 512: 14, 1024: 18, 2048: 22, 4096: 24, 8192: 24}
FACTORS = [815, 1222, 1222, 256]
FIRST_COUNTS = [[96, 24, 4, 1], [48, 32, 8, 2], [24, 20, 12, 6]]


def band_edges(size, rate):
    count, edges = COUNTS[size], [0]
    for i in range(1, count):
        a, b = 4 * i * 2500 * size, count * (rate + 5000) - i * rate
        edges.append(max((a + b) // (2 * b), edges[-1] + 1))
    return [*edges, size]


def clipped(value, low, high):
    return min(max(value, low), high)


def whole_weights(integers, index, factor):
    with precise():
        root = int(decimal.Decimal(2) ** (30 - decimal.Decimal(index % 12) / 12))
    flat = [
        clipped(
            (clipped((int(q) * root) >> (index // 12), -(1 << 40), 1 << 40) * factor) >> 22,
            1 - (1 << 29),
            (1 << 29) - 1,
        )
        for q in integers.ravel()
    ]
    return np.array(flat, np.int64).reshape(integers.shape)


class Envelope:
    """One network."""

    def __init__(self, payload, width, channels):
        shapes = siren_shapes(2, channels, width, 3)
        integers, _ = packed_parameters(payload, shapes)
        self.layers = []
        for layer, factor in enumerate(FACTORS):
            self.layers.append(
                [
                    whole_weights(
                        integers[f"layers.{layer}.{kind}"], payload[4 * (2 * layer + i)], factor
                    )
                    for i, kind in enumerate(("weight", "bias"))
                ]
            )

    def amplitudes(self, inputs):
        x = np.array(inputs, np.int64)
        for weight, bias in self.layers[:-1]:
            z = x @ weight.T + (bias << 14)
            phase = (z >> 18) % 4096
            x = np.rint(16384 * np.sin(2 * np.pi * (phase + 0.5) / 4096)).astype(np.int64)
        weight, bias = self.layers[-1]
        z = x @ weight.T + (bias << 14)
        return ((64 * z >> 30) - 96).clip(-240, 64)


def band_levels(decoder, sizes, networks, rate):
    """The level ``[n, C]`` of every block."""
    total, pieces = sum(sizes), len(networks)
    channels = len(networks[0].layers[-1][1])
    bounds = [total * i // pieces for i in range(pieces + 1)]
    counts = []
    for context in range(12):
        row = [1] * 65
        for size, count in enumerate(FIRST_COUNTS[context % 3]):
            row[32 - size] = row[32 + size] = count
        counts.append(row)
    tables, levels, start = {}, [], 0
    last = [(np.zeros(1, np.int64), np.zeros(1, np.int64)) for _ in range(channels)]
    for number, size in enumerate(sizes):
        n = COUNTS[size]
        piece = max(i for i in range(pieces) if 2 * bounds[i] <= 2 * start + size)
        time = ((2 * start + size - bounds[piece] - bounds[piece + 1]) << 14) // (4 * rate)
        inputs = [(time, ((2 * i + 1 - n) << 14) // n) for i in range(n)]
        block = networks[piece].amplitudes(inputs)
        for channel in range(channels):
            d, e = (line[[(2 * i + 1) * len(line) // (2 * n) for i in range(n)]]
                    for line in last[channel])  # fmt: skip
            x, y = np.zeros(n, np.int64), np.zeros(n, np.int64)
            for odd in (0, 1):
                bands, predicted, contexts = range(odd, n, 2), {}, {}
                for i in bands:
                    u = d[max(i - 1, 0)] + 2 * d[i] + d[min(i + 1, n - 1)]
                    if odd:
                        above = x[i + 1] if i + 1 < n else x[i - 1]
                        g = int(u + 2 * (x[i - 1] + above) + 2) >> 2
                        size_of_errors = abs(y[i - 1]) + (abs(y[i + 1]) if i + 1 < n else 0)
                    else:
                        g, size_of_errors = int(u + 1) >> 1, abs(e[i])
                    predicted[i] = g >> 1
                    contexts[i] = (2 * odd + (g & 1)) * 3 + min(int(size_of_errors), 2)
                found = {}
                for context in sorted(set(contexts.values())):
                    if context not in tables:
                        tables[context] = cumulative(counts[context])
                    for i in bands:
                        if contexts[i] == context:
                            found[i] = decoder.symbol(tables[context])
                for i in bands:
                    counts[contexts[i]][found[i]] += 8
                    y[i] = found[i] - 32
                    x[i] = clipped(predicted[i] + y[i], -16, 16)
            last[channel] = x, y
            block[:, channel] += 16 * x
        levels.append(block.clip(-240, 64))
        if number % 2 == 0:
            tables.clear()
        start += size
    return levels


def exponents(block, slope, tilt):
    """The step of each band, in 1 / 1024 octave."""
    n = len(block)
    return slope * block.max(axis=1) + np.array([64 * tilt * i // (n - 1) for i in range(n)])


def envelope_latents(payload, header):
    """The matrix, block sizes, integers ``[N, C]``, levels, slope, tilt, bytes of loudness."""
    frames, channels, rate = header["audio"][:3]
    index, width = header["latent"]
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
    levels = band_levels(decoder, sizes, networks, rate)
    groups = []
    for size, block in zip(sizes, levels, strict=True):
        x = exponents(block, slope, tilt)
        group = (64 * block - x[:, None] + index * 1024 // 24) // 1024 + 3
        groups.append(group.clip(0, 5).repeat(np.diff(band_edges(size, rate)), axis=0))
    latents = read_latents(decoder, sizes, top, channels, np.concatenate(groups))
    return mixing / 127, sizes, latents, levels, slope, tilt, loudness


def envelope_samples(header, mixing, sizes, latents, levels, slope, tilt, loudness):
    """Samples ``[frames, C]``, full scale being the peak."""
    frames, channels, rate = header["audio"][:3]
    step, start = 2.0 ** (-header["latent"][0] / 24), 0
    found = np.zeros(latents.shape)
    for size, block in zip(sizes, levels, strict=True):
        edges = band_edges(size, rate)
        middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
        x = np.interp(np.arange(size) + 0.5, middles, exponents(block, slope, tilt))
        weights = step * 2.0 ** (x / 1024)
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
                    gain = math.sqrt(3 * 0.5 * energy / scale)
                    for i in np.flatnonzero(q == 0).tolist():
                        place = (start + first + i) * channels + channel
                        values[i] = gain * w[i] * scramble(place)
                found[start + first : start + end, channel] = values
        start += size
    return synthesised(found, mixing, sizes, frames)
