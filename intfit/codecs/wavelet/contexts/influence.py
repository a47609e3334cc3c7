"""What a latent's magnitude means for the bits of others: those that see it.

A larger magnitude makes the networks expect larger ones around it. Where latents are small, that
costs bits: a lonely one costs more than its own. The encoder's work alone, in floating point: an
estimate to first order, by the chain rule, through the network of magnitudes. Signs are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ....signals import Floats
from ..context_model import PASSES, Latents, Level
from .network import MagnitudeNetwork, Outputs
from .windows import FRAME, OWN, Places, View, Window

#: A view of a band and a window in it; None where there is no such band.
Part = tuple[View | None, Window]
#: By level and orientation ``[C, h, w]``: bits by the network's input for a latent's magnitude.
Influence = list[list[Floats]]


#: What an estimate counts for: it is to first order, and other latents change as well. The mean of
#: k estimates counts for k / (k + 1) of that.
WEIGHT = 0.8


class MeanInfluence:
    """The mean of the influence of latents in several ways of rounding them."""

    def __init__(self) -> None:
        self._count, self._mean = 0, Influence()

    def add(self, influence: Influence | None) -> None:
        """Take that of latents as they were just rounded into the mean; None changes nothing."""
        if influence is None:
            return
        self._count += 1
        share = np.float32(1 / self._count)
        pairs = zip(self._mean or influence, influence, strict=True)
        self._mean = [
            [mean + share * (one - mean) for mean, one in zip(*bands, strict=True)]
            for bands in pairs
        ]

    def weighed(self) -> Influence | None:
        """The mean as it counts when latents are rounded the next time; None without any."""
        weight = np.float32(WEIGHT * self._count / (self._count + 1))
        return [[weight * band for band in bands] for bands in self._mean] or None


def passes_of(influence: Influence) -> Iterator[Floats]:
    """The influences ``[n]`` of the latents of each pass, in the order of coding."""
    for bands in reversed(influence):
        for channel in range(len(bands[0])):
            for band in bands:
                for row, column in PASSES:
                    part = band[channel, row::2, column::2]
                    if part.size:
                        yield part.ravel()


@dataclass(frozen=True)
class Seen:
    """Latents ``[n]`` of a pass, and what they see.

    ``band`` is the :func:`.context_model.band_index`, ``turn`` the pass. ``coordinates`` are their
    rows and columns in the band, ``places`` their numbers in the pass. ``inputs`` ``[F, n]`` are
    those of the network of magnitudes, which begin with those of ``parts``; ``[F, 1]`` where all
    are the same, and the ``magnitudes`` ``[n]``, in units, nearly all 0.
    """

    band: int
    turn: int
    parts: Sequence[Part]
    coordinates: tuple[Places, Places]
    places: Places
    inputs: Floats
    magnitudes: Latents


class Sloping(Protocol):
    """What knows how the bits of the latents of the last pass change with outputs."""

    def slopes(self, outputs: Outputs, magnitudes: Latents, places: Places) -> Floats:
        """The change ``[3, n]`` for ``magnitudes`` ``[n]`` at these places of the pass."""


class Observer:
    """Adds up what latents of one pass after the other owe to those that they see."""

    def __init__(
        self, levels: Sequence[Level], network: MagnitudeNetwork, symbols: Sloping
    ) -> None:
        """``levels`` are those that ``symbols`` handle, from the finest on."""
        self._network, self._symbols = network, symbols
        self._sums = [
            [
                np.zeros((len(band), *(side + 2 * FRAME for side in band.shape[1:])))
                for band in level
            ]
            for level in levels
        ]

    def influence(self) -> Influence:
        """The sums of all passes so far."""
        return [
            [band[:, FRAME:-FRAME, FRAME:-FRAME].astype(np.float32) for band in level]
            for level in self._sums
        ]

    def add(self, level: int, seen: Seen) -> None:
        """Latents of a pass over a band of ``level``."""
        few = seen.inputs.shape[1]
        magnitudes = seen.magnitudes[:few]
        places = seen.places[:few]
        owed = self._network.backpropagate(
            seen.band,
            seen.turn,
            seen.inputs,
            lambda outputs: self._symbols.slopes(outputs, magnitudes, places),
        )
        rows, columns = seen.coordinates
        first = 0
        for view, window in seen.parts:
            part = owed[first : first + len(window)]
            first += len(window)
            if view is None:
                continue
            if window is OWN:
                part = part * _seen_in_own_band(seen.turn)[:, None]
            above, orientation, channel = view.band
            sums = self._sums[level + above][orientation][channel]
            width = sums.shape[1]
            centres = ((rows >> view.octaves) + FRAME) * width + (columns >> view.octaves) + FRAME
            offsets = np.array([y * width + x for y, x in window], np.intp)
            # what lies beyond a band by more than the frame is nothing
            found = (offsets[:, None] + centres).clip(0, sums.size - 1)
            weights = np.broadcast_to(part, found.shape)
            sums += np.bincount(found.ravel(), weights.ravel(), sums.size).reshape(sums.shape)


def _seen_in_own_band(turn: int) -> Floats:
    """For each place of the window of its own band, 1 if a latent of this pass sees it, else 0."""
    row, column = PASSES[turn]
    turns = [PASSES.index(((row + y) % 2, (column + x) % 2)) for y, x in OWN]
    return np.array([before < turn for before in turns], np.float32)
