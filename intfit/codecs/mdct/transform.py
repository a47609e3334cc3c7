"""A field of sound: a bank of sines, gated by latents.

Blocks of 256 to 8192 samples lie side by side. One of M samples that begins at p holds M sines

    w(t) sqrt(2 / M) cos(pi (k + 1/2) (t - p) / M),    k = 0 .. M - 1,

the first layer of a SIREN with fixed frequencies, whose smooth windows w reach into its neighbours
(the local cosines of Coifman and Meyer 1991; sample n sits at t = n + 1/2). They are orthonormal.
So the latents that fit best are inner products, found by a fast transform, and a squared error of
the latents is one of the sound.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FileFormatError
from .config import LEAD, LONGEST, SHORTEST, MdctConfig

Floats = NDArray[np.floating[Any]]

#: The lengths of blocks.
SIZES = tuple(SHORTEST << i for i in range((LONGEST // SHORTEST).bit_length()))
#: What :func:`partition` takes a block to cost besides its latents, in bits.
BLOCK_BITS = 3.0
#: Linear prediction: the samples it learns from, and those it predicts the next one from.
PREDICTED_FROM, ORDER = 2048, 32
#: Samples that :func:`partition` looks at at a time.
STRETCH = 1 << 18
#: Samples on either side that a value between samples follows from.
REACH = 16
#: A position as near as this to a sample, in samples, is that sample's.
NEAR = 2.0**-20


@lru_cache(maxsize=16)
def _slope(half: int) -> tuple[Floats, Floats]:
    """A window's rise ``[half, 1]`` after the middle of its slope, and the other's fall there."""
    angle = np.pi / 4 * (1 + (np.arange(half, dtype=np.float64) + 0.5) / half)
    return np.sin(angle)[:, None], np.cos(angle)[:, None]


def _turn(x: Floats, sizes: Sequence[int], direction: int) -> None:
    """Fold (1) or unfold (-1) ``x`` ``[N, C]`` where blocks meet, in place."""
    edge = 0
    for left, right in itertools.pairwise(sizes):
        edge += left
        half = min(left, right) // 2
        rise, fall = _slope(half)
        after, before = x[edge : edge + half], x[edge - half : edge][::-1]
        turned = rise * after + direction * fall * before, rise * before - direction * fall * after
        x[edge : edge + half], x[edge - half : edge] = turned[0], turned[1][::-1]


def _cosines(x: Floats, sizes: Sequence[int]) -> Floats:
    """The cosine transform (DCT-IV) of every block, its own inverse; runs of equal ones at once."""
    from scipy.fft import dct

    found, start = np.empty_like(x), 0
    edges = np.flatnonzero(np.diff(np.array([0, *sizes, 0])))
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        size = sizes[first]
        end = start + size * (last - first)
        blocks = x[start:end].reshape(last - first, size, -1)
        found[start:end] = dct(blocks, type=4, norm="ortho", axis=1).reshape(end - start, -1)
        start = end
    return found


def analyse(x: Floats, sizes: Sequence[int]) -> Floats:
    """The latents ``[N, C]``, block after block, of samples ``[N, C]``; N is the sizes' sum."""
    x = x.copy()
    _turn(x, sizes, 1)
    return _cosines(x, sizes)


def synthesise(latents: Floats, sizes: Sequence[int]) -> Floats:
    """The samples ``[N, C]`` of latents: undoes :func:`analyse`."""
    x = _cosines(latents, sizes)
    _turn(x, sizes, -1)
    return x


def padded(samples: Floats, config: MdctConfig) -> Floats:
    """Samples ``[N, C]`` led in and out, to where blocks begin and end.

    The leads go on as the recording does and fade: a jump at an end would be dear, or click.
    """
    after = config.padded_frames() - LEAD - config.frames
    found = np.zeros((config.padded_frames(), config.channels), np.float32)
    found[LEAD : LEAD + config.frames] = samples
    for channel in range(config.channels):
        line = samples[:, channel].astype(np.float64)
        found[:LEAD, channel] = _continued(line[::-1], LEAD)[::-1]
        found[len(found) - after :, channel] = _continued(line, after)
    return found


def _continued(line: Floats, count: int) -> Floats:
    """``count`` samples that may follow ``line`` ``[N]``, by linear prediction, fading to 0."""
    from scipy.linalg import solve_toeplitz

    line = line[-PREDICTED_FROM:]
    order = min(ORDER, len(line) // 4)
    # what is too short to be predicted from stays as it ends
    found = np.concatenate([line, np.full(count, 0.0 if order else line[-1])])
    weighted = line * np.sin(np.linspace(0, np.pi / 2, len(line)))  # the latest counts most
    power = np.correlate(weighted, weighted, "full")[len(line) - 1 :][: order + 1]
    if order and power[0] > 0:
        power[0] *= 1 + 1e-6
        taps = solve_toeplitz(power[:-1], power[1:])[::-1]
        for index in range(len(line), len(found)):
            found[index] = found[index - order : index] @ taps
    fade = np.cos(np.linspace(0, np.pi / 2, count)) ** 2
    faded: Floats = found[len(line) :] * fade
    return faded


def partition(x: Floats, step: float) -> list[int]:
    """The sizes of blocks under which ``x`` ``[N, C]`` takes few bits at a quantisation ``step``.

    N is a multiple of the shortest. The best basis of Coifman and Wickerhauser (1992): from the
    shortest up, two blocks become one where that is cheaper. A latent c is reckoned with
    log2(1 + (2c / step)^2) / 2 bits, and neighbours of a block as equally long.
    """
    found: list[int] = []
    for start in range(0, len(x), STRETCH):
        found += _partition(x, start, min(start + STRETCH, len(x)), step)
    return found


def _partition(x: Floats, start: int, end: int, step: float) -> list[int]:
    size = SHORTEST
    best: list[tuple[float, list[int]]] = []
    while size <= LONGEST:
        count = (end - start) // size
        costs = _costs(x, start, count, size, step) if count else []
        joined: list[tuple[float, list[int]]] = []
        for index, whole in enumerate(costs):
            parts = best[2 * index : 2 * index + 2]
            apart = sum(cost for cost, _ in parts) if parts else float("inf")
            sizes = [size] if whole <= apart else [s for _, part in parts for s in part]
            joined.append((min(whole, apart), sizes))
        best = joined + best[2 * count :]  # what is too short for a block of this size
        size *= 2
    return [s for _, sizes in best for s in sizes]


def _costs(x: Floats, start: int, count: int, size: int, step: float) -> list[float]:
    """About the bits of each of ``count`` equal blocks from ``start`` on."""
    before, after = max(start - size, 0), min(start + (count + 1) * size, len(x))
    equal = [size] * ((after - before) // size)
    latents = analyse(x[before : before + size * len(equal)], equal)
    latents = latents[start - before :][: count * size].reshape(count, -1)
    bits: list[float] = (np.log2(1 + np.square(latents * (2 / step))).sum(axis=1) / 2).tolist()
    return [each + BLOCK_BITS for each in bits]


def sounded(tensors: Mapping[str, NDArray[np.float32]], config: MdctConfig) -> NDArray[np.float32]:
    """The samples ``[N, C]`` that tensors as :meth:`.MdctConfig.shapes` lists them stand for.

    Raises:
        FileFormatError: if their blocks do not fill the recording.
    """
    sizes: list[int] = []
    every, unit = tensors["blocks"].tolist(), 0
    while unit < len(every):
        size = int(every[unit])
        if size not in SIZES or unit + size // SHORTEST > len(every):
            raise FileFormatError("damaged: its blocks do not fill the recording")
        sizes.append(size)
        unit += size // SHORTEST
    mixed = synthesise(tensors["latents"], sizes)[LEAD : LEAD + config.frames]
    return (mixed @ tensors["channels"]).astype(np.float32)


class Bank:
    """A field: coordinates ``[B, 1]`` in [-1, 1] to values ``[B, C]``.

    ``samples`` ``[N, C]`` is what its sines sum to at the sample centres; between them, the sinc
    function under a raised cosine interpolates, mirrored at the ends.
    """

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self.samples = samples

    def __call__(self, coords: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        size = len(self.samples)
        position = (coords[:, 0].astype(np.float64) * size + (size - 1)) / 2
        nearest = position.round()
        position = np.where(np.abs(position - nearest) < NEAR, nearest, position)
        base = np.floor(position)
        t = position - base
        if not t.any() and base.min(initial=0) >= 0 and base.max(initial=0) < size:
            return self.samples[base.astype(np.int64)]  # the original's own samples
        total = np.zeros((len(coords), self.samples.shape[1]), np.float32)
        for tap in range(1 - REACH, REACH + 1):
            away = t - tap
            weight = np.sinc(away) * (0.5 + 0.5 * np.cos(away * (np.pi / REACH)))
            taken = (base.astype(np.int64) + tap) % (2 * size)
            taken = np.where(taken >= size, 2 * size - 1 - taken, taken)
            total += self.samples[taken] * weight.astype(np.float32)[:, None]
        return total
