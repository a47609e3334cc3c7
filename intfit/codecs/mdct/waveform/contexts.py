"""The latents of blocks with equal steps, in the order in which they are coded.

Two opinions of a latent's magnitude, from the magnitudes around it that are decoded, name its
class: that of a network that is trained on other recordings, and that of a weighted sum. All of it
is in whole numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, Decoder, Encoder, code_signs
from ....coding.steps import TRELLIS_UNIT
from ....signals import Floats
from ...integer_network import INPUT_UNIT, WEIGHT_UNIT
from ...latent_steps import RD_LAMBDA
from ...wavelet.contexts.symbols import OrderedFlags
from ...wavelet.contexts.trellis_symbols import TrellisCoding, TrellisRounding
from ..config import FREQUENCY_PARTS, LONGEST, SHORTEST
from ..context_model import PAIR_DISTANCES, WEIGHT_SUM, WEIGHTS
from ..context_network import Outputs, Place, load_waveform_network, place_of
from ..neighbours import (
    MAGNITUDE_BITS,
    MAX_MAGNITUDE,
    MEAN_SAMPLES,
    OWN,
    PASSES,
    Whole,
    frame,
    logarithms,
    pitches,
    resample,
)

#: As far as latents of the block before, of the one before that, of the channel before, and the
#: running mean are seen on either side.
BEFORE, EARLIER, BESIDE, MEAN = 3, 1, 2, 4
#: The rows of these magnitudes, and those of the first three.
SEEN = 2 * (BEFORE + EARLIER + BESIDE + MEAN) + 4
NEAR = SEEN - (2 * MEAN + 1)
#: Distances of the running mean that are added up, its own frequency left out.
MEANS = ((-1, 1), (-4, -3, -2, 2, 3, 4))
#: As far as means over many frequencies reach: of the running mean, of both blocks before together,
#: and of the latents of the own block that earlier passes have decoded.
FAR, FAR_BEFORE, FAR_OWN = 12, (4, 12), (8, 15)
#: Zeros on either side of a line of magnitudes.
MARGIN = 16
#: For each pass, four to the quarters of the own block's latents that passes before have decoded.
SHARES = (0, 4, 2)
#: The network's inputs: latents of the own block, what is known before the block is, means of the
#: own block, and the weighted sum.
MOST_OWN = max(len(offsets) for offsets in OWN)
KNOWN = NEAR + 1 + len(MEANS) + 1 + len(FAR_BEFORE) + 1
INPUTS = MOST_OWN + KNOWN + len(FAR_OWN) + 1
#: A unit of the trellis as a magnitude, and the most units that are told from more.
UNIT = TRELLIS_UNIT << MAGNITUDE_BITS - 4
MOST_UNITS = (MAX_MAGNITUDE << MAGNITUDE_BITS) // UNIT

#: The least magnitude that is expected of a latent.
LEAST_EXPECTED = 1 / 256

#: Latents, integers or yet to be rounded.
Latents = NDArray[Any]
#: The network: outputs ``[3, n]`` for a place, a pass, and inputs ``[INPUTS, n]``.
Network = Callable[[Place, int, Floats], Outputs]


@dataclass(frozen=True)
class Symbols:
    """Latents through an encoder or a decoder; magnitudes may be rounded first."""

    coder: Coder
    magnitudes: TrellisCoding


def decoding(decoder: Decoder) -> Symbols:
    """Symbols from a stream."""
    return Symbols(decoder, TrellisCoding(decoder, OrderedFlags))


def rounding(encoder: Encoder) -> Symbols:
    """Exact latents, in units, rounded and encoded: see :class:`.TrellisRounding`."""
    rd_lambda = RD_LAMBDA * (16 / TRELLIS_UNIT) ** 2
    return Symbols(encoder, TrellisRounding(rd_lambda, encoder, OrderedFlags))


@lru_cache(maxsize=12)
def _own_places(turn: int, count: int) -> Whole:
    """Where a pass sees latents of its own block ``[k, n]``, in a line with MARGIN."""
    places = MARGIN + np.arange(count)[PASSES[turn]]
    return places + np.array(OWN[turn], np.int64)[:, None]


@lru_cache(maxsize=12)
def _seen_places(length: int) -> Whole:
    """Where magnitudes are seen ``[SEEN, count]``, in four lines of a ``length`` one after another.

    Those of the block before, of the one before that, of the channel before, and the running mean.
    """
    starts = [
        number * length + MARGIN + offset
        for number, reach in enumerate((BEFORE, EARLIER, BESIDE, MEAN))
        for offset in range(-reach, reach + 1)
    ]
    return np.array(starts)[:, None] + np.arange(length - 2 * MARGIN)


def _seen_weights(turn: int) -> Whole:
    """How a pass weighs the magnitudes seen ``[SEEN]``, as :data:`..context_model.WEIGHTS` says."""
    _, _, *w = WEIGHTS[turn]
    sides = ([*w[:3], 0], w[3:5], [*w[8:], 0], [*w[5:8], w[7], w[7]])
    return np.array([each for side in sides for each in (*side[:0:-1], *side)], np.int64)


@lru_cache(maxsize=1)
def guesses() -> Outputs:
    """What the weighted sum alone says: outputs ``[3, n]`` like the network's, by its input.

    Magnitudes are taken to fall geometrically, with the sum as their mean.
    """
    rows = []
    for exponent in range(int(logarithms()[-1]) + 1):
        mean = (2 ** (exponent / INPUT_UNIT) - 1) / 2 + LEAST_EXPECTED
        rows.append((-math.log(mean), -math.log(mean), -math.log(math.log1p(1 / mean))))
    unit = INPUT_UNIT * WEIGHT_UNIT
    return np.array([[round(unit * each) for each in row] for row in rows], np.int32).T


def _average(line: Whole, reaches: tuple[int, ...], shares: int = 1) -> list[Whole]:
    """Means of a line with MARGIN over what lies as far as each reach, times ``shares``.

    They are rounded down.
    """
    sums, count = np.cumsum(line), len(line) - 2 * MARGIN
    return [
        shares
        * (sums[MARGIN + reach :][:count] - sums[MARGIN - reach - 1 :][:count])
        // (2 * reach + 1)
        for reach in reaches
    ]


class LatentCoder:
    """Codes the latents of a recording's blocks, one block after the other.

    Only those below ``cutoff`` of :data:`..config.FREQUENCY_PARTS` of a block's frequencies.
    Latents are in units of :data:`TRELLIS_UNIT` of a step.
    """

    def __init__(
        self,
        channels: int,
        rate: int,
        cutoff: int,
        symbols: Symbols,
        network: Network | None = None,
    ) -> None:
        self._rate, self._cutoff, self._symbols = rate, cutoff, symbols
        self._network = network or load_waveform_network()
        self._last = [[np.zeros(SHORTEST, np.int64)] * 2 for _ in range(channels)]
        self._mean = [np.zeros(LONGEST, np.int64) for _ in range(channels)]
        self._size = SHORTEST
        self._weights = [_seen_weights(turn) for turn in range(len(PASSES))]

    def code(self, latents: Latents) -> Integers:
        """Code the latents ``[size, C]`` of the next block; returns them."""
        size = len(latents)
        count, place = size * self._cutoff // FREQUENCY_PARTS, place_of(size, self._size)
        coded = np.zeros(latents.shape, np.int32)
        if not count:
            return coded
        beside = np.zeros(count + 2 * MARGIN, np.int64)
        for number, (last, mean) in enumerate(zip(self._last, self._mean, strict=True)):
            lines = [frame(resample(line, size)[:count], MARGIN) for line in (*last, mean)]
            seen = _list_seen(lines[0], lines[1], beside, lines[2])
            inputs = self._look(size, seen, lines)
            beside = self._code_passes(
                latents[:count, number], coded[:count, number], place, seen, inputs
            )
            last[:] = np.zeros(size, np.int64), last[0]
            last[0][:count] = beside[MARGIN : MARGIN + count]
            mean += (resample(last[0], LONGEST) - mean) * size // MEAN_SAMPLES
        self._size = size
        return coded

    def _look(self, size: int, seen: Whole, lines: list[Whole]) -> Floats:
        """The inputs ``[INPUTS, count]``, as far as they are known before the block is."""
        before, earlier, usual = lines
        count = seen.shape[1]
        rows = np.zeros((INPUTS, count), np.int64)
        known = rows[MOST_OWN : MOST_OWN + KNOWN]
        middle = SEEN - MEAN - 1
        known[: NEAR + 1] = seen[[*range(NEAR), middle]]
        for row, offsets in enumerate(MEANS, start=NEAR + 1):
            known[row] = seen[[middle + offset for offset in offsets]].sum(axis=0) // len(offsets)
        row = NEAR + 1 + len(MEANS)
        known[row : row + 1] = _average(usual, (FAR,))
        known[row + 1 : -1] = [line // 2 for line in _average(before + earlier, FAR_BEFORE)]
        inputs: Floats = logarithms()[rows].astype(np.float32)
        inputs[MOST_OWN + KNOWN - 1] = pitches(size, self._rate)[:count]
        return inputs

    def _code_passes(
        self, latents: Latents, coded: Integers, place: Place, seen: Whole, inputs: Floats
    ) -> Whole:
        """Code the latents ``[count]`` of a channel into ``coded``; their magnitudes, framed."""
        count, table, row = len(latents), logarithms(), MOST_OWN + KNOWN
        current = np.zeros(count + 2 * MARGIN, np.int64)
        inner = current[MARGIN : MARGIN + count]
        for turn, part in enumerate(PASSES):
            visible = np.ascontiguousarray(inputs[:, part])
            total = self._weights[turn] @ seen[:, part]
            if turn:
                own = current[_own_places(turn, count)]
                visible[: len(own)] = table[own]
                near = PAIR_DISTANCES[turn]
                for weight, distance in zip(WEIGHTS[turn], near, strict=False):
                    for side in (-distance, distance):
                        if weight:
                            total += weight * own[OWN[turn].index(side)]
                means = np.array(_average(current, FAR_OWN, SHARES[turn]))[:, part]
                visible[row:-1] = table[np.minimum(means, len(table) - 1)]
            expected = table[total // WEIGHT_SUM]
            visible[-1] = expected
            values = latents[part]
            outputs = self._network(place, turn, visible) + guesses()[:, expected] >> 1
            found = self._symbols.magnitudes.code_magnitudes(outputs, values).astype(np.int32)
            magnitudes = np.minimum(found, MOST_UNITS).astype(np.int64) * UNIT
            inner[part] = magnitudes
            nonzero = np.flatnonzero(found)
            found[nonzero] *= code_signs(self._symbols.coder, values[nonzero])
            coded[part] = found
        return current


def _list_seen(before: Whole, earlier: Whole, beside: Whole, usual: Whole) -> Whole:
    """The magnitudes ``[SEEN, count]`` that are known before the block is, from lines."""
    lines = np.concatenate([before, earlier, beside, usual])
    seen: Whole = lines[_seen_places(len(before))]
    return seen
