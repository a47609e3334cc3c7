"""Quantised MDCT coefficients as bytes, by an adaptive context model: those of older encoders.

A latent's context is the magnitude expected of it, a weighted sum of those around it that are
already decoded. The distribution of each context is adaptive: encoder and decoder count the same
magnitudes. All arithmetic is in integers, so that every machine decodes the same.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...coding.magnitudes import (
    Coder,
    MagnitudeModel,
    categorical,
    code_magnitudes,
    code_signs,
)
from .config import FREQUENCY_PARTS, LONGEST, SHORTEST
from .neighbours import MAGNITUDE_BITS, MAX_MAGNITUDE, MEAN_SAMPLES, PASSES, Whole, resample

#: The distances to the two nearest pairs of frequencies that earlier passes of the block have
#: decoded; 0 where there is none.
PAIR_DISTANCES = ((0, 0), (2, 0), (1, 3))
#: How each pass weighs the magnitudes around a latent: in its own block (two pairs), in the block
#: before (at its frequency, and the pairs at distances 1 and 2), in the one before that (at its
#: frequency, at distance 1), in the running mean (at its frequency, at distance 1, at distances 2
#: to 4), and in the channel before (at its frequency, at distance 1). Counting both of a pair, each
#: pass has a sum of :data:`WEIGHT_SUM`. They are round numbers: weights that are fitted to one
#: recording suit others worse.
WEIGHTS = (
    (0, 0, 28, 22, 13, 6, 2, 8, 3, 1, 0, 0),
    (31, 0, 21, 12, 2, 3, 0, 6, 2, 0, 2, 1),
    (41, 3, 12, 6, 1, 0, 0, 6, 2, 0, 2, 1),
)
WEIGHT_SUM = 128
#: Contexts lie so many eighths of an octave of the expected magnitude apart, from 1 / 128 on.
CONTEXT_EIGHTHS, CONTEXTS = 3, 40
#: Zeros on either side of the frequencies of a block, for neighbours of the first and the last.
MARGIN = 4
#: Samples between two refreshes of the distributions, which cost time.
REFRESH_SAMPLES = 1 << 12
#: The initial distribution of a context counts as so many observations; an observation is counted
#: as :data:`COUNT_UNIT`.
PRIOR_COUNT, COUNT_UNIT = 4, 256
#: Smaller magnitudes have probabilities of their own; from this one on, these fall geometrically.
GEOMETRIC_FROM = 3
#: The largest magnitude that can be a model's escape.
MAX_ESCAPE = 1000
#: The sum of a model's weights, and the smallest weight.
_TOTAL = 1 << 40
_LEAST = _TOTAL >> 20


def _power(eighths: int) -> int:
    """The integer part of 2^16 x 2^(``eighths`` / 8)."""
    return math.isqrt(math.isqrt(math.isqrt(1 << (8 * 16 + eighths))))


#: The weighted sums at which the next context begins; the expected magnitude of each context, in
#: 2^-16.
_EDGES = np.array(
    [
        (WEIGHT_SUM << MAGNITUDE_BITS) * _power(CONTEXT_EIGHTHS * i) >> (7 + 16)
        for i in range(1, CONTEXTS)
    ],
    np.int64,
)
_EXPECTED = [_power(CONTEXT_EIGHTHS * i) >> 7 for i in range(CONTEXTS)]


class AdaptiveModel:
    """The distribution of magnitudes in each context, which follows what is coded."""

    def __init__(self) -> None:
        #: ``[CONTEXTS, GEOMETRIC_FROM + 2]``, in :data:`COUNT_UNIT`: how often each
        #: magnitude below GEOMETRIC_FROM was coded, how often one from there on, and the sum of
        #: what these exceed GEOMETRIC_FROM by.
        self._counts = np.zeros((CONTEXTS, GEOMETRIC_FROM + 2), np.int64)
        for context, expected in enumerate(_EXPECTED):
            # a geometric distribution with the expected magnitude as its mean
            left = PRIOR_COUNT * COUNT_UNIT << 16
            for magnitude in range(GEOMETRIC_FROM):
                share = (left << 16) // ((1 << 16) + expected)
                self._counts[context, magnitude] = max(share >> 16, 1)
                left -= share
            self._counts[context, GEOMETRIC_FROM] = max(left >> 16, 1)
            self._counts[context, GEOMETRIC_FROM + 1] = max(left * expected >> 32, 1)
        self._models: dict[int, MagnitudeModel] = {}

    def update(self, contexts: Whole, magnitudes: Whole) -> None:
        """Count ``magnitudes`` ``[n]``, each in its context ``[n]``."""
        kinds = contexts * (GEOMETRIC_FROM + 1) + np.minimum(magnitudes, GEOMETRIC_FROM)
        counts = np.bincount(kinds, minlength=len(self._counts) * (GEOMETRIC_FROM + 1))
        counts = counts.reshape(-1, GEOMETRIC_FROM + 1)
        self._counts[:, : GEOMETRIC_FROM + 1] += COUNT_UNIT * counts
        if (large := np.flatnonzero(magnitudes > GEOMETRIC_FROM)).size:
            excess = np.minimum(magnitudes[large] - GEOMETRIC_FROM, MAX_ESCAPE)
            np.add.at(self._counts[:, GEOMETRIC_FROM + 1], contexts[large], COUNT_UNIT * excess)

    def refresh(self) -> None:
        """Have the distributions follow from all counts so far."""
        self._models.clear()

    def magnitude_model(self, context: int) -> MagnitudeModel:
        """The model of a context's magnitudes, which stays the same until :meth:`refresh`."""
        if context not in self._models:
            self._models[context] = self._make_model(context)
        return self._models[context]

    def _make_model(self, context: int) -> MagnitudeModel:
        counts = self._counts[context].tolist()
        left, weights = _TOTAL, []
        for magnitude in range(GEOMETRIC_FROM):
            share = left * counts[magnitude] // sum(counts[magnitude : GEOMETRIC_FROM + 1])
            weights.append(share)
            left -= share
        stop, go_on = counts[GEOMETRIC_FROM], counts[GEOMETRIC_FROM + 1]
        escape = min(MAX_ESCAPE, GEOMETRIC_FROM + 4 + 12 * (stop + go_on) // stop)
        for _ in range(GEOMETRIC_FROM, escape):
            share = left * stop // (stop + go_on)
            weights.append(share)
            left -= share
        weights.append(left)
        table = np.maximum(np.array(weights, np.float64), _LEAST)
        return MagnitudeModel(categorical(table), escape)


#: Latents, integers or yet to be rounded.
Latents = NDArray[Any]
#: What is done with latents ``[n]`` of a pass, in contexts ``[n]``: returns the integers to replace
#: them by.
CodePass = Callable[[Latents, Whole, AdaptiveModel], Latents]


def entropy_code(coder: Coder) -> CodePass:
    """A pass through an encoder or a decoder."""

    def code_pass(values: Latents, contexts: Whole, model: AdaptiveModel) -> Latents:
        coded = code_magnitudes(coder, np.abs(values), contexts, model.magnitude_model)
        nonzero = np.flatnonzero(coded)
        coded[nonzero] *= code_signs(coder, values[nonzero])
        return coded

    return code_pass


def _pair_sums(padded: Whole, distance: int, part: slice) -> Whole:
    """The sums of both neighbours at a distance; ``padded`` has :data:`MARGIN` zeros each side."""
    end = len(padded) - MARGIN
    below, above = (
        padded[MARGIN - distance : end - distance],
        padded[MARGIN + distance : end + distance],
    )
    sums: Whole = below[part] + above[part]
    return sums


def code_latents(latents: Latents, sizes: Sequence[int], cutoff: int, code_pass: CodePass) -> None:
    """Code the latents ``[N, C]`` of blocks of these sizes, in place.

    Only those below ``cutoff`` of :data:`.config.FREQUENCY_PARTS` of a block's frequencies.
    """
    channels, model = latents.shape[1], AdaptiveModel()
    inside = slice(MARGIN, -MARGIN)
    mean = [np.zeros(LONGEST, np.int64) for _ in range(channels)]
    last = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    older = list(last)
    start, refreshed = 0, 0
    for size in sizes:
        count = size * cutoff // FREQUENCY_PARTS
        if start - refreshed >= REFRESH_SAMPLES:
            model.refresh()
            refreshed = start
        beside = np.zeros(count + 2 * MARGIN, np.int64)  # of the channel before
        for channel in range(channels):
            before = np.pad(resample(last[channel], size)[:count], MARGIN)
            earlier = np.pad(resample(older[channel], size)[:count], MARGIN)
            usual = np.pad(resample(mean[channel], size)[:count], MARGIN)
            current = np.zeros(count + 2 * MARGIN, np.int64)
            for weights, (near, far), part in zip(WEIGHTS, PAIR_DISTANCES, PASSES, strict=True):
                around = (
                    _pair_sums(current, near, part),
                    _pair_sums(current, far, part),
                    before[inside][part],
                    _pair_sums(before, 1, part),
                    _pair_sums(before, 2, part),
                    earlier[inside][part],
                    _pair_sums(earlier, 1, part),
                    usual[inside][part],
                    _pair_sums(usual, 1, part),
                    _pair_sums(usual, 2, part)
                    + _pair_sums(usual, 3, part)
                    + _pair_sums(usual, 4, part),
                    beside[inside][part],
                    _pair_sums(beside, 1, part),
                )
                total = sum(w * values for w, values in zip(weights, around, strict=True) if w)
                contexts = np.searchsorted(_EDGES, total, side="right")
                place = slice(start + (part.start or 0), start + count, part.step), channel
                values = code_pass(latents[place], contexts, model)
                latents[place] = values
                magnitudes = np.abs(values).astype(np.int64)
                model.update(contexts, magnitudes)
                current[inside][part] = np.minimum(magnitudes, MAX_MAGNITUDE) << MAGNITUDE_BITS
            older[channel] = last[channel]
            last[channel] = np.pad(current[inside], (0, size - count))
            change = (resample(last[channel], LONGEST) - mean[channel]) * size // MEAN_SAMPLES
            mean[channel] += change
            beside = current
        start += size
