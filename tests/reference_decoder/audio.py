"""Recordings of latents: sections 7.1 to 7.5."""

import itertools
import math

import numpy as np

from .coder import RangeDecoder, RunModel, cumulative
from .image import fit
from .siren import mirrored

SHORTEST, LONGEST, LEAD, PARTS, SEGMENT, MEMORY = 256, 8192, 128, 64, 1 << 14, 1 << 14
BANDS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]
WEIGHTS = [
    [0, 0, 28, 22, 13, 6, 2, 8, 3, 1, 0, 0],
    [31, 0, 21, 12, 2, 3, 0, 6, 2, 0, 2, 1],
    [41, 3, 12, 6, 1, 0, 0, 6, 2, 0, 2, 1],
]
APART = [(0, 0), (2, 0), (1, 3)]
SCRAMBLE = [(0x9E3779B1, 15), (0x85EBCA6B, 13), (0xC2B2AE35, 16)]


def root(power):
    """The whole part of 2^(16 + power / 8)."""
    return math.isqrt(math.isqrt(math.isqrt(1 << (128 + power))))


EDGES = [(1 << 15) * root(3 * i) >> 23 for i in range(1, 40)]


class AdaptiveModels:
    """Counts of magnitudes in 40 contexts, and the distributions that follow from them."""

    def __init__(self):
        self.counts = []
        for context in range(40):
            expected = root(3 * context) >> 7
            left, row = 1 << 26, []
            for _ in range(3):
                stops = (left << 16) // ((1 << 16) + expected)
                row.append(max(stops >> 16, 1))
                left -= stops
            self.counts.append([*row, max(left >> 16, 1), max(left * expected >> 32, 1)])
        self.made = {}

    def model(self, context):
        if context not in self.made:
            counts = self.counts[context]
            left, weights = 1 << 40, []
            for magnitude in range(3):
                stops = left * counts[magnitude] // sum(counts[magnitude:4])
                weights.append(stops)
                left -= stops
            stop, go = counts[3], counts[4]
            reach = min(1000, 7 + 12 * (stop + go) // stop)
            for _ in range(3, reach):
                stops = left * stop // (stop + go)
                weights.append(stops)
                left -= stops
            weights.append(left)
            self.made[context] = cumulative([max(w, 1 << 20) for w in weights]), reach
        return self.made[context]

    def count(self, context, magnitude):
        self.counts[context][min(magnitude, 3)] += 256
        if magnitude > 3:
            self.counts[context][4] += 256 * min(magnitude - 3, 1000)


def block_sizes(decoder, total):
    counts, found = {}, []

    def divide(start, size):
        if start >= total:
            return
        split = start + size > total
        if size > SHORTEST and not split:
            key = size, bool(found) and found[-1] < size
            seen = counts.setdefault(key, [1, 1])
            split = decoder.symbol(cumulative(seen))
            seen[split] += 1
        if split:
            divide(start, size // 2)
            divide(start + size // 2, size // 2)
        else:
            found.append(size)

    for start in range(0, total, LONGEST):
        divide(start, LONGEST)
    return found


def resized(line, size):
    if len(line) > size:
        return line.reshape(size, -1).sum(axis=1) // (len(line) // size)
    return line.repeat(size // len(line))


def at(line, index):
    """Elements of a line, zero outside it."""
    inside = (index >= 0) & (index < len(line))
    return np.where(inside, line[index.clip(0, len(line) - 1)], 0) if len(line) else 0 * index


def pair(line, index, apart):
    return at(line, index - apart) + at(line, index + apart)


def audio_latents(payload, channels, frames):
    """The matrix of channels, block sizes, integers ``[N, C]`` and loudness of noise."""
    total = -(-(frames + 2 * LEAD) // SHORTEST) * SHORTEST
    mixing = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    place = channels**2
    top, model = payload[place], RunModel(payload[place + 1 : place + 4])
    end = place + 7 + int.from_bytes(payload[place + 4 : place + 7], "little")
    segments = -(-total // SEGMENT)
    noise = model.read(RangeDecoder(payload[place + 7 : end]), segments * 19 * channels)
    noise = noise.reshape(segments, 19, channels).cumsum(axis=0).clip(0, 15)
    decoder = RangeDecoder(payload[end:])
    sizes = block_sizes(decoder, total)
    latents = read_latents(decoder, sizes, top, channels)
    return mixing / 127, sizes, latents, noise


def sum_of(turn, k, current, before, earlier, mean, other):
    """The sums of section 7.3."""
    near, far = APART[turn]
    features = [
        pair(current, k, near),
        pair(current, k, far),
        at(before, k),
        pair(before, k, 1),
        pair(before, k, 2),
        at(earlier, k),
        pair(earlier, k, 1),
        at(mean, k),
        pair(mean, k, 1),
        pair(mean, k, 2) + pair(mean, k, 3) + pair(mean, k, 4),
        at(other, k),
        pair(other, k, 1),
    ]
    return sum(w * f for w, f in zip(WEIGHTS[turn], features, strict=True))


def read_latents(decoder, sizes, top, channels):
    """Integers ``[N, C]``."""
    latents = np.zeros((sum(sizes), channels), np.int64)
    models = AdaptiveModels()
    average = [np.zeros(LONGEST, np.int64) for _ in range(channels)]
    last = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    older = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    start = renewed = 0
    for size in sizes:
        count = size * top // PARTS
        if start - renewed >= 4096:
            models.made.clear()
            renewed = start
        other = np.zeros(count, np.int64)
        for channel in range(channels):
            before, earlier, mean = (
                resized(lines[channel], size)[:count] for lines in (last, older, average)
            )
            current = np.zeros(count, np.int64)
            for turn, (first, stride) in enumerate([(0, 4), (2, 4), (1, 2)]):
                k = np.arange(first, count, stride)
                sums = sum_of(turn, k, current, before, earlier, mean, other)
                contexts = np.searchsorted(EDGES, sums, side="right")
                magnitudes = read_magnitudes(decoder, models, contexts)
                signs = [1 - 2 * decoder.uniform(1) if m else 0 for m in magnitudes]
                latents[start + k, channel] = magnitudes * np.array(signs, np.int64)
                for context, magnitude in zip(contexts.tolist(), magnitudes.tolist(), strict=True):
                    models.count(context, magnitude)
                current[k] = np.minimum(magnitudes, 255) << 8
            older[channel] = last[channel]
            last[channel] = fit(current[None], (1, size))[0]
            change = resized(last[channel], LONGEST) - average[channel]
            average[channel] += change * size // MEMORY
            other = current
        start += size
    return latents


def read_magnitudes(decoder, models, contexts):
    magnitudes = np.zeros(len(contexts), np.int64)
    for context in sorted(set(contexts.tolist())):
        bounds, reach = models.model(context)
        places = np.flatnonzero(contexts == context)
        found = [decoder.symbol(bounds) for _ in places]
        magnitudes[places] = [m + decoder.uniform(24) if m == reach else m for m in found]
    return magnitudes


def scramble(index):
    """A number in [-1, 1) from a whole number."""
    for factor, shift in SCRAMBLE:
        index = index * factor & 0xFFFFFFFF
        index ^= index >> shift
    return index / 2**31 - 1


def fill_noise(latents, sizes, noise):
    filled = latents.astype(np.float64)
    channels, start = latents.shape[1], 0
    for size in sizes:
        for k in range(size):
            position = k * PARTS // size
            band = max(b for b in range(19) if BANDS[b] <= position)
            for channel in range(channels):
                level = noise[start // SEGMENT, band, channel]
                if latents[start + k, channel] == 0 and level:
                    gain = 2.0 ** ((level - 15) / 2 - 3) * math.sqrt(3)
                    index = (start + k) * channels + channel
                    filled[start + k, channel] = gain * scramble(index)
        start += size
    return filled


def audio_samples(mixing, sizes, latents, noise, step, frames):
    """Samples ``[frames, C]``, full scale being the peak."""
    return synthesised(fill_noise(latents, sizes, noise) * step, mixing, sizes, frames)


def synthesised(x, mixing, sizes, frames):
    """Samples of latents in the unit of samples."""
    x, start = x.copy(), 0
    for size in sizes:
        half = np.arange(size) + 0.5
        matrix = math.sqrt(2 / size) * np.cos(np.pi / size * np.outer(half, half))
        x[start : start + size] = matrix @ x[start : start + size]
        start += size
    edge = 0
    for left, right in itertools.pairwise(sizes):
        edge += left
        half = min(left, right) // 2
        angle = np.pi / 4 * (1 + (np.arange(half) + 0.5) / half)
        rise, fall = np.sin(angle)[:, None], np.cos(angle)[:, None]
        after, before = x[edge : edge + half].copy(), x[edge - half : edge][::-1].copy()
        x[edge : edge + half] = rise * after - fall * before
        x[edge - half : edge] = (rise * before + fall * after)[::-1]
    return x[LEAD : LEAD + frames] @ mixing


def audio_between(samples, position):
    """A value ``[C]`` at a position in samples, interpolated."""
    base = math.floor(position)
    total = 0.0
    for tap in range(-15, 17):
        away = position - base - tap
        weight = np.sinc(away) * (0.5 + 0.5 * math.cos(math.pi * away / 16))
        total = total + weight * samples[mirrored(base + tap, len(samples))]
    return total
