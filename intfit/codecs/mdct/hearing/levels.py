"""The level of each band of each block, as a difference from the envelope's network.

A difference is a whole number of octaves. Its context is what the differences around it say that
it will be: those of the block before, and in every second band those of the bands beside it. The
distributions are adaptive, and all arithmetic is in whole numbers.
"""

from collections.abc import Sequence

import numpy as np

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, SymbolModel, categorical, code_symbols
from ..transform import Reals
from .bands import Whole

#: The largest difference from the envelope, in octaves.
LARGEST = 16
#: Contexts: the expected difference, in half octaves, up to this magnitude.
REACH = 8
CONTEXTS = 2 * REACH + 1
#: Symbols are differences plus LARGEST.
SYMBOLS = 2 * LARGEST + 1
#: What an observation counts; the initial counts of a symbol at each distance from the expected
#: difference, in half octaves.
COUNT_UNIT = 16
PRIOR = (64, 24, 10, 4, 2, 1)
#: A level differs from the expected one only where that is farther off than this, in octaves.
TOLERANCE = 0.7
#: Blocks between two refreshes of the distributions, which cost time.
REFRESH_BLOCKS = 4


class _LevelModel:
    """The adaptive distributions of differences, by what is expected, for either pass."""

    def __init__(self) -> None:
        self._counts = np.ones((2 * CONTEXTS, SYMBOLS), np.int64)
        for context in range(len(self._counts)):
            expected = context % CONTEXTS - REACH
            for symbol in range(SYMBOLS):
                distance = abs(2 * (symbol - LARGEST) - expected)
                if distance < len(PRIOR):
                    self._counts[context, symbol] = PRIOR[distance]
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
    """The differences of the block before at the bands of one that has ``count``."""
    resampled: Whole = line[(2 * np.arange(count) + 1) * len(line) // (2 * count)]
    return resampled


def _choose(wanted: Reals, expected: Whole) -> Whole:
    """Whole differences near those ``wanted``, the expected ones where these are near enough."""
    usual = (expected + 1) // 2
    near = np.abs(wanted - usual) <= TOLERANCE
    return np.where(near, usual, np.rint(wanted)).clip(-LARGEST, LARGEST).astype(np.int64)


def code_differences(
    coder: Coder, counts: Sequence[int], channels: int, wanted: Sequence[Reals] | None = None
) -> list[Whole]:
    """Code the differences of blocks of so many bands, block by block; returns them ``[bands, C]``.

    An encoder is given the exact ones that are ``wanted``, a decoder none. Channel by channel, the
    even bands of a block come first, then the odd ones.
    """
    model, coded = _LevelModel(), list[Whole]()
    last = [np.zeros(1, np.int64) for _ in range(channels)]
    since = 0

    def code(part: slice, expected: Whole, offset: int) -> None:
        expected = expected.clip(-REACH, REACH)
        contexts = expected + REACH + offset
        exact = current[part] if wanted is None else _choose(wanted[index][part, channel], expected)
        symbols = code_symbols(coder, (exact + LARGEST).astype(np.int32), contexts, model.model)
        model.update(contexts, symbols)
        current[part] = symbols - LARGEST

    for index, count in enumerate(counts):
        block = np.zeros((count, channels), np.int64)
        for channel in range(channels):
            current = block[:, channel]
            before = _resample(last[channel], count)
            padded = np.concatenate([before[:1], before, before[-1:]])
            usual = padded[:-2] + 2 * before + padded[2:]  # in quarters of an octave
            code(slice(0, None, 2), (usual[::2] + 1) // 2, 0)
            beside = current[:-1:2] + np.append(current[2::2], current[-2:-1:2])[: count // 2]
            code(slice(1, None, 2), (usual[1::2] + 2 * beside + 2) // 4, CONTEXTS)
            last[channel] = current
        coded.append(block)
        since += 1
        if since == REFRESH_BLOCKS:
            model.refresh()
            since = 0
    return coded
