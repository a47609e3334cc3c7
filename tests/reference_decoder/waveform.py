"""Recordings with equal steps and a network: section 7.11."""

import math

import numpy as np

from .audio import LEAD, SHORTEST, block_sizes, resized, sum_of, synthesised
from .coder import RangeDecoder
from .envelope import MAGNITUDES, OWN, WholeNetwork, framed
from .trellis import TrellisSizes


def guess(expected):
    """The outputs that an expected magnitude stands for, by its logarithm."""
    mean = (2 ** (expected / 16) - 1) / 2 + 1 / 256
    zero, size = -math.log(mean), -math.log(math.log1p(1 / mean))
    return [round(1024 * zero), round(1024 * zero), round(1024 * size)]


GUESSES = np.array([guess(expected) for expected in range(MAGNITUDES[-1] + 1)]).T


def mean_within(line, reach):
    """The sums of a line as far as a distance on either side."""
    return sum(framed(line, len(line), *range(-reach, reach + 1)))


def waveform_integers(decoder, sizes, channels, rate, top, tensors):
    """The latents ``[N, C]``, in units of the trellis."""
    latents = np.zeros((sum(sizes), channels), np.int64)
    network, reader = WholeNetwork(tensors, "latents"), TrellisSizes()
    last, older = (np.zeros((channels, SHORTEST), np.int64) for _ in range(2))
    last, older = list(last), list(older)
    average = [np.zeros(8192, np.int64) for _ in range(channels)]
    start, size_before = 0, SHORTEST
    for size in sizes:
        count = size * top // 64
        hertz = (2 * np.arange(count) + 1) * rate // (2 * size) // 16 * 16
        pitch = np.array([round(16 * math.log2(1 + h / 64)) for h in hertz.tolist()], np.int64)
        other = np.zeros(count, np.int64)
        for channel in range(channels):
            before, earlier, mean = (
                resized(lines[channel], size)[:count] for lines in (last, older, average)
            )
            rows = framed(before, count, *range(-3, 4)) + framed(earlier, count, -1, 0, 1)
            rows += [*framed(other, count, *range(-2, 3)), mean]
            rows += [
                sum(framed(mean, count, *offsets)) // len(offsets)
                for offsets in ((-1, 1), (-4, -3, -2, 2, 3, 4))
            ]
            rows.append(mean_within(mean, 12) // 25)
            rows += [mean_within(before + earlier, r) // (4 * r + 2) for r in (4, 12)]
            known = [*MAGNITUDES[np.array(rows)], pitch]
            current = np.zeros(count, np.int64)
            for turn, (first, stride) in enumerate([(0, 4), (2, 4), (1, 2)] if count else []):
                k = np.arange(first, count, stride)
                near = [MAGNITUDES[row] for row in framed(current, count, *OWN[turn])]
                near += [np.zeros(count, np.int64)] * (6 - len(near))
                wide = [
                    MAGNITUDES[
                        np.minimum(mean_within(current, r) * 4 // turn // (2 * r + 1), 65280)
                    ]
                    if turn
                    else np.zeros(count, np.int64)
                    for r in (8, 15)
                ]
                sums = sum_of(turn, k, current, before, earlier, mean, other)
                expected = MAGNITUDES[sums // 128]
                inputs = np.concatenate([np.stack([*near, *known, *wide])[:, k], expected[None]])
                outputs = network.outputs(size, size_before, turn, inputs)
                values = reader.read(decoder, outputs + GUESSES[:, expected] >> 1, True)
                signs = [1 - 2 * decoder.uniform(1) if m else 0 for m in values]
                latents[start + k, channel] = values * np.array(signs, np.int64)
                current[k] = np.minimum(values, 65280 // 160) * 160
            older[channel] = last[channel]
            last[channel] = np.pad(current, (0, size - count))
            average[channel] += (resized(last[channel], 8192) - average[channel]) * size // 16384
            other = current
        start, size_before = start + size, size
    return latents


def waveform_latents(payload, header, tensors):
    """The matrix of channels, block sizes, and integers ``[N, C]``."""
    frames, channels, rate, *_ = header["audio"]
    total = -(-(frames + 2 * LEAD) // SHORTEST) * SHORTEST
    mixing = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    decoder = RangeDecoder(payload[channels**2 + 1 :])
    sizes = block_sizes(decoder, total)
    top = payload[channels**2]
    return mixing / 127, sizes, waveform_integers(decoder, sizes, channels, rate, top, tensors)


def waveform_samples(header, mixing, sizes, latents):
    """Samples ``[frames, C]``, full scale being the peak."""
    unit = 2.0 ** (-header["latent"][0] / 24) * 10 / 16
    return synthesised(latents * unit, mixing, sizes, header["audio"][0])
