"""The MDCT of a recording in blocks of different sizes.

Blocks of 256 to 8192 samples lie side by side. The block of M samples that begins at p has M
coefficients. Coefficient k is the inner product of the recording with

    w(t) sqrt(2 / M) cos(pi (k + 1/2) (t - p) / M),    k = 0 .. M - 1,

where sample n lies at t = n + 1/2, and the smooth window w reaches into the neighbouring blocks
(local cosine bases: Coifman and Meyer 1991; with blocks of one size, the MDCT of Princen, Johnson
and Bradley 1987). These functions are orthonormal: a squared error of the coefficients is one of
the recording.

The folding where blocks meet is our own, because no library that we use has an MDCT of changing
sizes; it leaves cosine transforms, which are scipy.fft.dct's.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import LEAD, MdctConfig

#: Float32 or float64.
Reals = NDArray[np.floating[Any]]

#: Samples that are worked on at a time, about.
STRETCH = 1 << 18
#: Linear prediction: the samples that it is fitted to, and the number of its coefficients.
PREDICTION_SAMPLES, PREDICTION_ORDER = 2048, 32


@lru_cache(maxsize=16)
def _window_slope(half: int) -> tuple[Reals, Reals]:
    """Two overlapping windows, ``[half, 1]`` each, from where they cross: rising and falling."""
    angle = np.pi / 4 * (1 + (np.arange(half, dtype=np.float64) + 0.5) / half)
    return np.sin(angle)[:, None], np.cos(angle)[:, None]


def _fold(x: Reals, sizes: Sequence[int], direction: int) -> None:
    """Fold (1) or unfold (-1) ``x`` ``[N, C]`` where blocks meet, in place.

    A rotation of each pair of samples at equal distances from the edge between two blocks.
    """
    edge = 0
    for left, right in itertools.pairwise(sizes):
        edge += left
        half = min(left, right) // 2
        rise, fall = _window_slope(half)
        after, before = x[edge : edge + half], x[edge - half : edge][::-1]
        turned = rise * after + direction * fall * before, rise * before - direction * fall * after
        x[edge : edge + half], x[edge - half : edge] = turned[0], turned[1][::-1]


def _transform_blocks(x: Reals, sizes: Sequence[int]) -> Reals:
    """The orthonormal DCT-IV of every block of ``x`` ``[N, C]``, which is its own inverse.

    Neighbouring blocks of one size are transformed in one call.
    """
    from scipy.fft import dct

    transformed, start = np.empty_like(x), 0
    edges = np.flatnonzero(np.diff(np.array([0, *sizes, 0])))
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        size = sizes[first]
        end = start + size * (last - first)
        blocks = x[start:end].reshape(last - first, size, -1)
        transformed[start:end] = dct(blocks, type=4, norm="ortho", axis=1).reshape(end - start, -1)
        start = end
    return transformed


def analyse(x: Reals, sizes: Sequence[int]) -> Reals:
    """The coefficients ``[N, C]``, block after block, of samples ``[N, C]``.

    N is the sum of the sizes.
    """
    x = x.copy()
    _fold(x, sizes, 1)
    return _transform_blocks(x, sizes)


def split_blocks(sizes: Sequence[int]) -> Iterator[tuple[range, slice]]:
    """Runs of blocks of about :data:`STRETCH` samples together: their indices, and their samples.

    What is done with a run at a time needs little memory.
    """
    first, begin, end = 0, 0, 0
    for index, size in enumerate(sizes):
        end += size
        if end - begin >= STRETCH or index + 1 == len(sizes):
            yield range(first, index + 1), slice(begin, end)
            first, begin = index + 1, end


def analyse_run(x: Reals, sizes: Sequence[int], run: range, samples: slice) -> Reals:
    """The coefficients of a run of blocks alone, as :func:`split_blocks` gives it, of all ``x``."""
    first, last = max(run.start - 1, 0), min(run.stop + 1, len(sizes))
    before, after = sum(sizes[first : run.start]), sum(sizes[run.stop : last])
    part = analyse(x[samples.start - before : samples.stop + after], sizes[first:last])
    return part[before : len(part) - after]


def synthesise(coefficients: Reals, sizes: Sequence[int]) -> Reals:
    """The samples ``[N, C]`` of coefficients ``[N, C]``: undoes :func:`analyse`."""
    x = np.empty_like(coefficients)
    for run, samples in split_blocks(sizes):
        x[samples] = _transform_blocks(coefficients[samples], sizes[run.start : run.stop])
    _fold(x, sizes, -1)
    return x


def pad(samples: Reals, config: MdctConfig) -> Reals:
    """Samples ``[N, C]``, extended at both ends to ``[config.padded_frames(), C]``.

    Each extension continues the recording by linear prediction and fades out: a jump at an end
    would cost many bits, or click.
    """
    after = config.padded_frames() - LEAD - config.frames
    padded = np.zeros((config.padded_frames(), config.channels), np.float32)
    padded[LEAD : LEAD + config.frames] = samples
    for channel in range(config.channels):
        first, last = (
            samples[part, channel].astype(np.float64)
            for part in (slice(PREDICTION_SAMPLES), slice(-PREDICTION_SAMPLES, None))
        )
        padded[:LEAD, channel] = _extrapolate(first[::-1], LEAD)[::-1]
        padded[len(padded) - after :, channel] = _extrapolate(last, after)
    return padded


def _extrapolate(line: Reals, count: int) -> Reals:
    """``count`` samples that may follow a ``line`` ``[N]``, by linear prediction, fading to 0."""
    from scipy.linalg import solve_toeplitz

    order = min(PREDICTION_ORDER, len(line) // 4)
    # what is too short to be predicted from stays as it ends
    extended = np.concatenate([line, np.full(count, 0.0 if order else line[-1])])
    weighted = line * np.sin(np.linspace(0, np.pi / 2, len(line)))  # the latest count most
    correlation = np.correlate(weighted, weighted, "full")[len(line) - 1 :][: order + 1]
    if order and correlation[0] > 0:
        correlation[0] *= 1 + 1e-6  # keeps the equations well conditioned
        taps = solve_toeplitz(correlation[:-1], correlation[1:])[::-1]
        for index in range(len(line), len(extended)):
            extended[index] = extended[index - order : index] @ taps
    fade = np.cos(np.linspace(0, np.pi / 2, count)) ** 2
    faded: Reals = extended[len(line) :] * fade
    return faded
