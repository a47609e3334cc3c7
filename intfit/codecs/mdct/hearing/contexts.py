"""The latents of blocks, in the order in which they are coded, and what is seen of each.

A network that is trained on other recordings names the class of a latent's magnitude, from the
magnitudes around it that are decoded (in its block, in the two blocks before, in the channel
before), and from the levels of bands. All of it is in whole numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, Decoder, Encoder, code_signs
from ....coding.steps import LATENT_STEPS_PER_OCTAVE
from ....signals import Floats
from ...integer_network import INPUT_UNIT
from ...wavelet.contexts.symbols import EntropyCoding, OrderedFlags, RoundingEncoding
from ..config import FREQUENCY_PARTS, LONGEST, SHORTEST
from ..context_network import MAX_INPUT, Outputs, Place, load_networks, place_of
from ..neighbours import (
    BEFORE,
    BESIDE,
    EARLIER,
    MAGNITUDE_BITS,
    MARGIN,
    MAX_MAGNITUDE,
    MEAN_SAMPLES,
    MEANS,
    MOST_OWN,
    OWN,
    PASSES,
    Whole,
    frame,
    logarithms,
    pitches,
    resample,
    windows,
)
from .bands import band_edges
from .envelope import SIXTEENTHS
from .shaping import SLOPE_UNIT, Shape

#: Inputs: those windows, then levels and frequency, and what is left of a band's energy.
OTHERS = 6
INPUTS = MOST_OWN + len(BEFORE) + len(EARLIER) + len(MEANS) + len(BESIDE) + OTHERS
#: What is added to an expected magnitude, in octaves, to be an input; the largest, in octaves.
EXPECTED_OFFSET, MOST_EXPECTED = 8, 15

#: Latents, integers or yet to be rounded.
Latents = NDArray[Any]
#: The network: outputs ``[3, n]`` for a place, a pass, and inputs ``[INPUTS, n]``.
Network = Callable[[Place, int, Floats], Outputs]


class Symbols(Protocol):
    """What is done with the latents of a pass: they are coded, rounded first, or both."""

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Magnitudes ``[n]`` for ``values`` ``[n]``, under a network's outputs ``[3, n]``."""

    def code_signs(self, values: Latents) -> Integers:
        """Signs ``[n]``, 1 or -1."""


@dataclass(frozen=True)
class StreamSymbols:
    """Symbols through an encoder or a decoder; magnitudes may be rounded first."""

    coder: Coder
    magnitudes: EntropyCoding

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Code the magnitudes ``[n]`` of ``values``."""
        return self.magnitudes.code_magnitudes(outputs, values)

    def code_signs(self, values: Latents) -> Integers:
        """Code the signs ``[n]`` of ``values``, a bit each."""
        return code_signs(self.coder, values)


def decoding(decoder: Decoder) -> StreamSymbols:
    """Symbols from a stream."""
    return StreamSymbols(decoder, EntropyCoding(decoder, OrderedFlags))


def rounding(rd_lambda: float, encoder: Encoder) -> StreamSymbols:
    """Exact latents, in steps, rounded and encoded: see :class:`.RoundingEncoding`."""
    return StreamSymbols(encoder, RoundingEncoding(rd_lambda, encoder, OrderedFlags))


@lru_cache(maxsize=1)
def _powers() -> Whole:
    """The square of each expected magnitude, from -EXPECTED_OFFSET octaves on, in 2^-16."""
    exponents = range((EXPECTED_OFFSET + MOST_EXPECTED) * INPUT_UNIT + 1)
    bits = 2 * MAGNITUDE_BITS
    return np.array([round(2 ** (bits + i / 8 - 2 * EXPECTED_OFFSET)) for i in exponents], np.int64)


class _Rest:
    """What is left of the energy of each band of a block and channel, while it is coded."""

    def __init__(self, expected: Whole, widths: Whole, count: int) -> None:
        """``expected`` ``[bands]`` are magnitudes as inputs; ``count`` latents are coded."""
        most = (EXPECTED_OFFSET + MOST_EXPECTED) * INPUT_UNIT
        self._band = np.arange(len(widths)).repeat(widths)[:count]
        self._energy = _powers()[np.minimum(expected, most)] * widths
        self._left = np.bincount(self._band, minlength=len(widths))

    def look(self, part: slice) -> Whole:
        """The network's inputs for the latents of a pass: the mean magnitude of all to come."""
        mean = self._energy.clip(0) // np.maximum(self._left, 1)
        most = MAX_MAGNITUDE << MAGNITUDE_BITS
        magnitudes = np.sqrt(np.minimum(mean, most**2)).astype(np.int64)
        seen: Whole = logarithms()[magnitudes][self._band[part]]
        return seen

    def note(self, part: slice, magnitudes: Whole) -> None:
        """Take the latents of a pass away."""
        band, bits = self._band[part], 2 * MAGNITUDE_BITS
        found = np.bincount(band, np.square(magnitudes), len(self._left)).astype(np.int64)
        self._energy -= found << bits
        self._left -= np.bincount(band, minlength=len(self._left))


@lru_cache(maxsize=64)
def _slopes(size: int, rate: int) -> tuple[Whole, Whole, Whole]:
    """Of each latent, the band whose middle is below it, its distance from there, and the width."""
    edges = band_edges(size, rate)
    middles = edges[1:] + edges[:-1]  # doubled
    place = 2 * np.arange(size, dtype=np.int64) + 1
    below = (np.searchsorted(middles, place) - 1).clip(0, len(middles) - 2)
    width = middles[below + 1] - middles[below]
    return below, (place - middles[below]).clip(0, width), width


class _Channel:
    """What of a channel is seen from later blocks: magnitudes, and the steps they are in."""

    def __init__(self) -> None:
        self.magnitudes = [np.zeros(SHORTEST, np.int64)] * 2
        self.exponents = [np.zeros(SHORTEST, np.int64)] * 2
        self.level = np.zeros(SHORTEST, np.int64)
        self.mean = np.zeros(LONGEST, np.int64)

    def seen(self, back: int, size: int, count: int, exponents: Whole) -> NDArray[Any]:
        """Inputs ``[count + 2 MARGIN]`` for a block so many before the last one, in own steps."""
        magnitudes = resample(self.magnitudes[back], size)[:count]
        ratio = (resample(self.exponents[back], size)[:count] - exponents) >> 6
        inputs = np.minimum(np.maximum(logarithms()[magnitudes] + ratio, 1), MAX_INPUT)
        return frame(np.where(magnitudes > 0, inputs, 0))

    def add(self, magnitudes: Whole, exponents: Whole, level: Whole) -> None:
        """Note a block ``[size]`` of the channel."""
        size = len(magnitudes)
        self.magnitudes = [magnitudes, self.magnitudes[0]]
        self.exponents = [exponents, self.exponents[0]]
        self.level = level
        self.mean += (resample(magnitudes, LONGEST) - self.mean) * size // MEAN_SAMPLES


class _Block:
    """What a block's levels are in its own steps, as inputs of the network."""

    def __init__(self, shape: Shape, index: int, cutoff: int) -> None:
        self.size, self.rate = shape.sizes[index], shape.rate
        self.count = self.size * cutoff // FREQUENCY_PARTS
        self.edges = band_edges(self.size, self.rate)
        self.widths = np.diff(self.edges)
        self.exponents = shape.exponents(index)[:, 0].repeat(self.widths)
        step = shape.step * SLOPE_UNIT * SIXTEENTHS // LATENT_STEPS_PER_OCTAVE
        self._scale = step - self.exponents

    def expect(self, levels: Whole) -> Whole:
        """The levels ``[size]`` of latents, in 1 / 1024 octave, as inputs ``[count]``."""
        return self._expect(levels[: self.count], self._scale[: self.count])

    def expect_bands(self, levels: Whole) -> Whole:
        """The same of levels ``[bands]``."""
        return self._expect(levels, self._scale[self.edges[:-1]])

    @staticmethod
    def _expect(levels: Whole, scale: Whole) -> Whole:
        sixteenths = ((levels + scale) >> 6) + EXPECTED_OFFSET * INPUT_UNIT
        expected: Whole = np.minimum(np.maximum(sixteenths, 0), MAX_INPUT)
        return expected

    def interpolate(self, levels: Whole) -> Whole:
        """Levels ``[bands]`` at each latent ``[size]``, linear between the bands' middles."""
        below, distance, width = _slopes(self.size, self.rate)
        line: Whole = levels[below] + (levels[below + 1] - levels[below]) * distance // width
        return line

    def look(
        self, channel: _Channel, levels: Whole, beside: tuple[Whole, Whole]
    ) -> tuple[Floats, Whole]:
        """The inputs ``[INPUTS, count]`` that are known before the block is; those of its levels.

        ``levels`` ``[bands]`` are the channel's own. ``beside`` are, of the channel before, the
        inputs of its magnitudes, framed, and of its levels.
        """
        count, exponents = self.count, self.exponents[: self.count]
        magnitudes, loud = beside
        own = self.expect(self.interpolate(levels))
        mean = frame(resample(channel.mean, self.size)[:count])
        rows = windows(channel.seen(0, self.size, count, exponents), BEFORE, count)
        rows += windows(channel.seen(1, self.size, count, exponents), EARLIER, count)
        for offsets in MEANS:
            rows.append(logarithms()[sum(windows(mean, offsets, count)) // len(offsets)])
        rows += windows(magnitudes, BESIDE, count)
        rows += [own, self.expect(levels.repeat(self.widths)), loud]
        rows.append(self.expect(resample(channel.level, self.size)))
        rows.append(pitches(self.size, self.rate)[:count])
        seen = np.zeros((INPUTS, count), np.float32)
        for row, values in enumerate(rows, start=MOST_OWN):
            seen[row] = values
        return seen, own


class LatentCoder:
    """Codes the latents of a recording's blocks, one block after the other.

    Only those below ``cutoff`` of :data:`..config.FREQUENCY_PARTS` of a block's frequencies.
    """

    def __init__(
        self, shape: Shape, cutoff: int, symbols: Symbols, network: Network | None = None
    ) -> None:
        self._shape, self._cutoff, self._symbols = shape, cutoff, symbols
        self._network = network or load_networks().latents
        channels = shape.levels[0].shape[1] if shape.levels else 0
        self._channels = [_Channel() for _ in range(channels)]
        self._size = SHORTEST

    def code(self, index: int, latents: Latents) -> Integers:
        """Code the latents ``[size, C]`` of the block with an index; returns them."""
        block = _Block(self._shape, index, self._cutoff)
        place = place_of(block.size, self._size)
        coded = np.zeros(latents.shape, np.int32)
        beside = np.zeros(block.count + 2 * MARGIN, np.int64), np.zeros(block.count, np.int64)
        for number, channel in enumerate(self._channels):
            levels = self._shape.levels[index][:, number] * SLOPE_UNIT
            seen, own = block.look(channel, levels, beside)
            rest = _Rest(block.expect_bands(levels), block.widths, block.count)
            line = coded[: block.count, number]
            inputs = self._code_passes(latents[: block.count, number], line, place, seen, rest)
            beside = inputs, own
            magnitudes = np.minimum(np.abs(coded[:, number]), MAX_MAGNITUDE).astype(np.int64)
            repeated = levels.repeat(block.widths)
            channel.add(magnitudes << MAGNITUDE_BITS, block.exponents, repeated)
        self._size = block.size
        return coded

    def _code_passes(
        self, latents: Latents, coded: Integers, place: Place, seen: Floats, rest: _Rest
    ) -> Whole:
        """Code the latents ``[count]`` of a channel into ``coded``; their inputs, framed."""
        inputs = frame(np.zeros(len(latents), np.int64))
        inner = inputs[MARGIN : MARGIN + len(latents)]
        for turn, part in enumerate(PASSES):
            for row, window in enumerate(windows(inputs, OWN[turn], len(latents))):
                seen[row, part] = window[part]
            seen[-1, part] = rest.look(part)
            values = latents[part]
            outputs = self._network(place, turn, np.ascontiguousarray(seen[:, part]))
            found = self._symbols.code_magnitudes(outputs, values)
            magnitudes = np.minimum(found, MAX_MAGNITUDE).astype(np.int64)
            rest.note(part, magnitudes)
            inner[part] = logarithms()[magnitudes << MAGNITUDE_BITS]
            nonzero = np.flatnonzero(found)
            found = found.astype(np.int32)
            found[nonzero] *= self._symbols.code_signs(values[nonzero])
            coded[part] = found
        return inputs
