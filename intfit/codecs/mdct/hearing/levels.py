"""The level of each band of each block, as a difference from the envelope's network.

A difference is a whole number of octaves. It is predicted from those around it: those of the block
before, and in every second band those of the bands beside it. What it exceeds its prediction by is
coded under adaptive distributions, whose contexts say how well predictions fared nearby. All
arithmetic is in whole numbers.
"""

from collections.abc import Sequence

import numpy as np

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, SymbolModel, categorical, code_symbols
from ..transform import Reals
from .bands import Whole

#: The largest difference from the envelope, in octaves.
LARGEST = 16
#: Symbols are what a difference exceeds its prediction by, plus twice LARGEST.
SYMBOLS = 4 * LARGEST + 1
#: Contexts: the two passes, whether the prediction was half an octave more, and how large the
#: errors of prediction nearby are, up to two.
PASSES, HALVES, ERRORS = 2, 2, 3
#: The initial counts of an error of prediction of each size, by how large those nearby are; larger
#: ones count 1. An observation counts :data:`COUNT_UNIT`.
PRIORS = ((96, 24, 4, 1), (48, 32, 8, 2), (24, 20, 12, 6))
COUNT_UNIT = 8
#: A level differs from its prediction only where that is farther off than this, in octaves; in a
#: channel that is quieter than the loudest by more than an octave, by so much more for each octave.
TOLERANCE, QUIET_TOLERANCE = 0.7, 1.0
#: Blocks between two refreshes of the distributions, which cost time.
REFRESH_BLOCKS = 2


class _LevelModel:
    """The adaptive distributions of errors of prediction."""

    def __init__(self) -> None:
        self._counts = np.ones((PASSES * HALVES * ERRORS, SYMBOLS), np.int64)
        for context in range(len(self._counts)):
            for size, count in enumerate(PRIORS[context % ERRORS]):
                self._counts[context, [2 * LARGEST - size, 2 * LARGEST + size]] = count
        self._models: dict[int, SymbolModel] = {}

    def model(self, context: int) -> SymbolModel:
        """The distribution of a context, as of the last :meth:`refresh`."""
        if context not in self._models:
            self._models[context] = categorical(self._counts[context].astype(np.float64))
        return self._models[context]

    def update(self, contexts: Whole, symbols: Integers) -> None:
        """Count ``symbols`` ``[n]`` in contexts ``[n]``."""
        np.add.at(self._counts, (contexts, symbols), COUNT_UNIT)

    def refresh(self) -> None:
        """Have the distributions follow from all counts so far."""
        self._models.clear()


def _resample(line: Whole, count: int) -> Whole:
    """The values of the block before at the bands of one that has ``count``."""
    resampled: Whole = line[(2 * np.arange(count) + 1) * len(line) // (2 * count)]
    return resampled


def find_tolerances(levels: Reals) -> Reals:
    """How far each of the levels ``[bands, C]`` of a block may be off, in octaves."""
    below = levels.max(axis=1, keepdims=True) - levels
    tolerances: Reals = TOLERANCE + QUIET_TOLERANCE * (below - 1).clip(0)
    return tolerances


def _choose(wanted: Reals, predicted: Whole, tolerances: Reals) -> Whole:
    """Whole differences near those ``wanted``, the predicted ones where these are near enough."""
    near = np.abs(wanted - predicted) <= tolerances
    chosen: Whole = np.where(near, predicted, np.rint(wanted)).astype(np.int64)
    return chosen.clip(-LARGEST, LARGEST)


def code_differences(
    coder: Coder,
    counts: Sequence[int],
    channels: int,
    wanted: Sequence[Reals] | None = None,
    tolerances: Sequence[Reals] | None = None,
) -> list[Whole]:
    """Code the differences of blocks of so many bands, block by block; returns them ``[bands, C]``.

    An encoder is given the exact ones that are ``wanted``, and how far those coded may be off; a
    decoder neither. Channel by channel, the even bands of a block come first, then the odd ones.
    """
    model, coded = _LevelModel(), list[Whole]()
    last = [np.zeros(1, np.int64) for _ in range(channels)]
    last_errors = list(last)

    def code(part: slice, doubled: Whole, nearby: Whole, turn: int) -> None:
        """Code a part of a block whose predictions are given in half octaves."""
        predicted = doubled >> 1
        contexts = (turn * HALVES + (doubled & 1)) * ERRORS + np.minimum(nearby, ERRORS - 1)
        exact = current[part]
        if wanted is not None and tolerances is not None:
            place = part, channel
            exact = _choose(wanted[index][place], predicted, tolerances[index][place])
        symbols = (exact - predicted + 2 * LARGEST).astype(np.int32)
        symbols = code_symbols(coder, symbols, contexts, model.model)
        model.update(contexts, symbols)
        errors[part] = symbols - 2 * LARGEST
        current[part] = (predicted + errors[part]).clip(-LARGEST, LARGEST)

    for index, count in enumerate(counts):
        block = np.zeros((count, channels), np.int64)
        for channel in range(channels):
            current, errors = block[:, channel], np.zeros(count, np.int64)
            before = _resample(last[channel], count)
            padded = np.concatenate([before[:1], before, before[-1:]])
            usual = padded[:-2] + 2 * before + padded[2:]  # in quarters of an octave
            earlier = np.abs(_resample(last_errors[channel], count))
            code(slice(0, None, 2), (usual[::2] + 1) >> 1, earlier[::2], 0)
            beside = current[:-1:2] + np.append(current[2::2], current[-2])
            around = np.abs(errors[:-1:2]) + np.append(np.abs(errors[2::2]), 0)
            code(slice(1, None, 2), (usual[1::2] + 2 * beside + 2) >> 2, around, 1)
            last[channel], last_errors[channel] = current, errors
        coded.append(block)
        if index % REFRESH_BLOCKS == 0:
            model.refresh()
    return coded
