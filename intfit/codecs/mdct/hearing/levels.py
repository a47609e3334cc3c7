"""The level of each band of each block, as a difference from the envelope's network.

A difference is a whole number of octaves. A network that is trained on other recordings says what
it is likely to be, from those around it: those of the two blocks before and of the channel before,
in every second band those of the bands beside it, and from the envelope. What it exceeds its
prediction by is coded under adaptive distributions, one for each class of predictions. All
arithmetic that decoding depends on is in whole numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, SymbolModel, categorical, code_symbols
from ....signals import Floats
from ...integer_network import INPUT_UNIT
from ..config import SHORTEST
from ..context_network import Outputs, Place, load_networks, place_of
from ..transform import Reals
from .bands import BAND_COUNTS, Whole, resample

#: The largest difference from the envelope, in octaves.
LARGEST = 16
#: Symbols are what a difference exceeds its prediction by, rounded down, plus twice LARGEST.
SYMBOLS = 4 * LARGEST + 1
#: Classes of predictions: by the fraction of an octave, and by the logarithm of how far off they
#: are likely to be, in halves from e^-3 on.
FRACTIONS, SCALES, LOWEST_SCALE = 4, 10, -6
#: A prediction is in 1 / 1024 octave.
OCTAVE_BITS = 10
#: An observation counts as much as :data:`COUNT_UNIT` of a class's initial counts.
COUNT_UNIT = 64
#: How far a level may be off, in octaves; in a channel that is quieter than the loudest by more
#: than an octave, by so much more for each octave.
TOLERANCE, QUIET_TOLERANCE = 0.7, 1.0
#: The bits that a level may cost more than another that is off by the tolerance; in proportion to
#: the squared error.
PRICE = 4.0
#: Blocks between two refreshes of the distributions, which cost time.
REFRESH_BLOCKS = 2
#: What the network sees: the block before at so many bands to either side, and twelve more.
AROUND = 2
INPUTS = 2 * AROUND + 1 + 12

#: The network: outputs ``[2, n]`` for a place, a pass, and inputs ``[INPUTS, n]``.
Network = Callable[[Place, int, Floats], Outputs]


class _LevelModel:
    """The adaptive distributions of what differences exceed their predictions by."""

    def __init__(self, counts: Integers) -> None:
        self._counts = counts.astype(np.int64)
        self._models: dict[int, SymbolModel] = {}

    def model(self, context: int) -> SymbolModel:
        """The distribution of a context, as of the last :meth:`refresh`."""
        if context not in self._models:
            self._models[context] = categorical(self._counts[context].astype(np.float64))
        return self._models[context]

    def bits(self, contexts: Whole) -> Reals:
        """The bits ``[n, SYMBOLS]`` of all symbols in contexts ``[n]``, about."""
        counts = self._counts[contexts]
        bits: Reals = np.log2(counts.sum(axis=1, keepdims=True)) - np.log2(counts)
        return bits

    def update(self, contexts: Whole, symbols: Integers) -> None:
        """Count ``symbols`` ``[n]`` in contexts ``[n]``."""
        np.add.at(self._counts, (contexts, symbols), COUNT_UNIT)

    def refresh(self) -> None:
        """Have the distributions follow from all counts so far."""
        self._models.clear()


def find_tolerances(levels: Reals) -> Reals:
    """How far each of the levels ``[bands, C]`` of a block may be off, in octaves."""
    below = levels.max(axis=1, keepdims=True) - levels
    tolerances: Reals = TOLERANCE + QUIET_TOLERANCE * (below - 1).clip(0)
    return tolerances


def classify(outputs: Outputs) -> tuple[Whole, Whole]:
    """The whole octaves that a network's outputs ``[2, n]`` predict, and the contexts."""
    octaves, scales = outputs.astype(np.int64)
    fractions = (octaves >> (OCTAVE_BITS - 2)) & (FRACTIONS - 1)
    scales = ((scales >> (OCTAVE_BITS - 1)) - LOWEST_SCALE).clip(0, SCALES - 1)
    return (octaves >> OCTAVE_BITS).clip(-LARGEST, LARGEST), scales * FRACTIONS + fractions


class _Choice:
    """Chooses differences that take few bits, given the exact ones, and how far off they may be."""

    def __init__(self, wanted: Sequence[Reals], tolerances: Sequence[Reals]) -> None:
        self._wanted, self._tolerances = wanted, tolerances

    def __call__(self, place: tuple[int, slice, int], predicted: Whole, bits: Reals) -> Whole:
        """Differences of some bands of a block and channel, the bits of whose errors are given."""
        index, part, channel = place
        wanted = self._wanted[index][part, channel]
        tolerance = self._tolerances[index][part, channel]
        choices = np.rint(wanted).astype(np.int64)[:, None] + np.arange(-2, 3)
        choices = choices.clip(-LARGEST, LARGEST)
        symbols = choices - predicted[:, None] + 2 * LARGEST
        off = np.abs(choices - wanted[:, None]) / tolerance[:, None]
        cost = np.take_along_axis(bits, symbols, axis=1) + PRICE * off**2
        best = cost.argmin(axis=1)
        chosen: Whole = np.take_along_axis(choices, best[:, None], axis=1)[:, 0]
        return chosen


class _Channel:
    """What of a channel is seen from the next block."""

    def __init__(self) -> None:
        zero = np.zeros(1, np.int64)
        self.last, self.older, self.errors, self.predicted = zero, zero, zero, zero

    def look(self, predicted: Whole, beside: Whole) -> Floats:
        """The network's inputs for a block whose envelope is ``predicted`` ``[bands]``.

        ``beside`` are the differences of the channel before. Those of the own block are 0.
        """
        count = len(predicted)
        last = resample(self.last, count)
        envelope = resample(self.predicted, count)
        bands = np.arange(count)
        rows = [
            line[(bands + offset).clip(0, count - 1)] * INPUT_UNIT
            for line, reach in ((last, AROUND), (beside, 1))
            for offset in range(-reach, reach + 1)
        ]
        rows.append(resample(self.older, count) * INPUT_UNIT)
        rows.append(np.abs(resample(self.errors, count)) * INPUT_UNIT)
        rows += [predicted - envelope, predicted, envelope + INPUT_UNIT * last]
        rows.append(np.arange(count) * 8 * INPUT_UNIT // count)
        seen = np.zeros((INPUTS, count), np.float32)
        seen[: len(rows)] = rows
        return seen


def code_differences(
    coder: Coder,
    sizes: Sequence[int],
    predicted: Sequence[Whole],
    wanted: Sequence[Reals] | None = None,
    tolerances: Sequence[Reals] | None = None,
    *,
    network: Network | None = None,
) -> list[Whole]:
    """Code the differences of blocks of these sizes, block by block; returns them ``[bands, C]``.

    ``predicted`` ``[bands, C]`` are the envelope's levels of each block, in sixteenths of an
    octave. An encoder is given the exact differences that are ``wanted``, and how far those coded
    may be off; a decoder neither. Channel by channel, the even bands of a block come first, then
    the odd ones. The network is the shipped one unless another is given.
    """
    shipped = load_networks()
    network = network or shipped.levels
    model, coded = _LevelModel(shipped.counts), list[Whole]()
    choose = _Choice(wanted, tolerances) if wanted is not None and tolerances is not None else None
    channels = [_Channel() for _ in range(predicted[0].shape[1] if predicted else 0)]
    last_size = SHORTEST
    for index, size in enumerate(sizes):
        place, last_size = place_of(size, last_size), size
        block = np.zeros((BAND_COUNTS[size], len(channels)), np.int64)
        beside = np.zeros(len(block), np.int64)
        for number, channel in enumerate(channels):
            current, errors = block[:, number], np.zeros(len(block), np.int64)
            seen = channel.look(predicted[index][:, number], beside)
            for turn in range(2):
                part = slice(turn, None, 2)
                if turn:
                    _look_beside(seen, current, errors)
                outputs = network(place, turn, np.ascontiguousarray(seen[:, part]))
                usual, contexts = classify(outputs)
                exact = current[part]
                if choose is not None:
                    exact = choose((index, part, number), usual, model.bits(contexts))
                symbols = (exact - usual + 2 * LARGEST).astype(np.int32)
                symbols = code_symbols(coder, symbols, contexts, model.model)
                model.update(contexts, symbols)
                errors[part] = symbols - 2 * LARGEST
                current[part] = (usual + errors[part]).clip(-LARGEST, LARGEST)
            channel.older, channel.last, channel.errors = channel.last, current, errors
            channel.predicted = predicted[index][:, number]
            beside = current
        coded.append(block)
        if index % REFRESH_BLOCKS == 0:
            model.refresh()
    return coded


def _look_beside(seen: Floats, current: Whole, errors: Whole) -> None:
    """Fill in what odd bands see of the even ones beside them, in the last rows of ``seen``.

    The number of bands is even.
    """
    off = np.abs(errors[::2])
    seen[-3, 1::2] = current[::2] * INPUT_UNIT
    seen[-2, 1::2] = np.append(current[2::2], current[-2]) * INPUT_UNIT
    seen[-1, 1::2] = (off + np.append(off[1:], 0)) * INPUT_UNIT
