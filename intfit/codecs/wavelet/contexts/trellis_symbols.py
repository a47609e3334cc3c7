"""Magnitudes by dependent quantisation: see :mod:`.coding.trellis`.

Latents are in units of :data:`.steps.TRELLIS_UNIT`. Those that are likely to be zero have the
first quantiser and leave the state alone; they are coded as :class:`.EntropyCoding` does. Of the
others, what says whether the level is even or odd comes first, number after number in all lanes at
once.
"""

import decimal
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ....coding.magnitudes import Coder, code_magnitudes
from ....coding.steps import TRELLIS_UNIT
from ....coding.trellis import FIRST_STATE, NEXT, count_lanes, find_path, quantiser_of, reconstruct
from ....signals import Floats
from ..context_model import SCALE_CLASSES, Latents, make_scale_model
from .low_pass import UNIT
from .network import Outputs, latent_inputs
from .symbols import (
    FLAG_CLASSES,
    LARGER_BITS,
    TOTAL_BITS,
    TWO_BITS,
    Classes,
    EntropyCoding,
    Flags,
    classify,
    initial_shares,
    round_magnitudes,
    slopes_of_bits,
)

#: From this class of zero on, latents leave the state alone.
FIRST_SURE_CLASS = 48
#: By quantiser, the power that the probability of not being zero, and of not being one, is raised
#: to: that of a level in relation to that of the latent, in steps, which networks name.
ZERO_POWERS, ONE_POWERS = ("1.25", "0.5"), ("1.25", "0.8")
#: By how many classes of scale half of a level is smaller than a latent, in steps.
HALF_CLASSES = 3
#: The number of flags that the initial probability of a class counts for.
LEVEL_PRIOR = 64
#: What is coded lane by lane: whether a level is 0, 1, even and 2 or more, or odd and 3 or more.
TOKENS = 4
#: By TOKENS times the state, and the token: TOKENS times the state after it.
_AFTER = TOKENS * NEXT[:, [0, 1, 0, 1]].ravel()
#: By TOKENS times the state, its quantiser.
_QUANTISERS = quantiser_of(np.arange(len(NEXT)).repeat(TOKENS))
#: Bits of the factors of a token's weight.
_SHARE_BITS = 16
_SHARE = 1 << _SHARE_BITS

#: The network's input for each magnitude, in units, as the latents of its own level see it.
_INPUTS = latent_inputs(TRELLIS_UNIT, UNIT).astype(np.float32)

Places = tuple[NDArray[np.intp], NDArray[np.intp]]


def _raise_shares(shares: list[int], power: str) -> list[int]:
    """The shares of 0, of 2^40, where the others' share is raised to a ``power``."""
    total = 1 << TOTAL_BITS
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        others = [1 - decimal.Decimal(share) / total for share in shares]
        exponent = decimal.Decimal(power)
        return [int(total * (1 - (other.ln() * exponent).exp())) for other in others]


@lru_cache(maxsize=1)
def _initial_shares() -> tuple[list[list[int]], list[list[int]]]:
    """The shares of 0, of 2^40, in flags of zero and of one, by quantiser and class."""
    shares, _ = initial_shares()
    zero, one = (
        [_raise_shares(shares, power) for power in powers] for powers in (ZERO_POWERS, ONE_POWERS)
    )
    return zero, one


@lru_cache(maxsize=1)
def _even_shares() -> NDArray[np.float64]:
    """The shares of even levels among those above one, of 2^16, by class of scale."""
    shares = []
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        for index in range(SCALE_CLASSES):
            scale = ((decimal.Decimal(2 * index + 1) / 8) - 5).exp()
            shares.append(int(_SHARE / (1 + (-1 / scale).exp())))
    return np.array(shares, np.float64).clip(1, _SHARE - 1)


def _split(classes: Classes) -> Places:
    """The places of latents that leave the state alone, and of the others."""
    sure = classes.zero >= FIRST_SURE_CLASS
    return np.flatnonzero(sure), np.flatnonzero(~sure)


class TrellisCoding(EntropyCoding):
    """Symbols of latents in units of the trellis, through an encoder or a decoder."""

    def __init__(self, coder: Coder, flags: type[Flags] = Flags) -> None:
        super().__init__(coder)
        zero, one = _initial_shares()
        # the classes of the second quantiser come after those of the first
        self._zero, self._one = (flags([*a, *b], LEVEL_PRIOR) for a, b in (zero, one))

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Code the magnitudes ``[n]`` of latents, in units."""
        classes = classify(outputs)
        return self._code_sizes(classes, _split(classes), np.abs(values))

    def _code_sizes(self, classes: Classes, places: Places, sizes: Latents) -> Latents:
        """Code magnitudes ``[n]``, in units, at these :func:`_split` places, in place."""
        rest, active = places
        sizes[rest] = 2 * self._code_classes(classes.at(rest), sizes[rest] // 2)
        if active.size:
            sizes[active] = self._code_lanes(classes.at(active), sizes[active])
        return sizes

    def _code_lanes(self, classes: Classes, sizes: Latents) -> Latents:
        """Code magnitudes ``[n]`` of these classes, in units, whose quantisers states name."""
        levels = (sizes + 1) >> 1  # of either quantiser
        known = np.where(levels > 1, 2 + (levels & 1), levels).astype(np.int32)
        tokens, quantisers = self._code_tokens(classes, known)
        found = np.minimum(tokens, 2)
        large = np.flatnonzero(found > 1)
        halves = code_magnitudes(
            self._coder,
            ((levels[large] - 2) >> 1).astype(np.int32),
            (classes.scale[large] - HALF_CLASSES).clip(0),
            make_scale_model,
        )
        found[large] = 2 * halves + tokens[large]
        self._count(classes, found, quantisers)
        return reconstruct(found, quantisers)

    def _code_tokens(self, classes: Classes, known: Integers) -> tuple[Integers, NDArray[np.intp]]:
        """Code tokens ``[n]`` of latents of these classes; returns them, and their quantisers."""
        count, lanes = len(known), count_lanes(len(known))
        weights = self._weigh_tokens(classes)
        if lanes == 1:
            return self._code_lane(weights, known)
        rows, tokens, quantisers = np.arange(0, 2 * count, 2), [], []
        states = np.full(lanes, TOKENS * FIRST_STATE, np.intp)
        for first in range(0, count, lanes):
            part = slice(first, min(first + lanes, count))
            states = states[: part.stop - first]
            quantiser = _QUANTISERS.take(states)
            coded = self._coder.code_each(known[part], weights.take(rows[part] + quantiser, axis=0))
            states = _AFTER.take(states + coded)
            tokens.append(coded)
            quantisers.append(quantiser)
        return np.concatenate(tokens), np.concatenate(quantisers)

    def _code_lane(
        self, weights: NDArray[np.float64], known: Integers
    ) -> tuple[Integers, NDArray[np.intp]]:
        """The same of one lane, under ``weights`` ``[2 n, 4]``: quicker without arrays."""
        after, quantiser_after = _AFTER.tolist(), _QUANTISERS.tolist()
        state, tokens, quantisers = TOKENS * FIRST_STATE, [], []
        rows, code = list(weights.reshape(-1, 1, TOKENS)), self._coder.code_each
        for place, symbol in enumerate(known.reshape(-1, 1)):
            quantiser = quantiser_after[state]
            token = code(symbol, rows[2 * place + quantiser]).item()
            tokens.append(token)
            quantisers.append(quantiser)
            state = after[state + token]
        return np.array(tokens, np.int32), np.array(quantisers, np.intp)

    def _weigh_tokens(self, classes: Classes) -> NDArray[np.float64]:
        """The weights ``[2 n, 4]`` of tokens, for each latent under both quantisers."""
        even = _even_shares()[classes.scale][:, None]
        weights = np.empty((len(even), 2, TOKENS))
        zero, one = (
            _shorten(flags.shares(each[:, None] + (0, FLAG_CLASSES)))
            for flags, each in ((self._zero, classes.zero), (self._one, classes.one))
        )
        larger = (_SHARE - zero) * (_SHARE - one)
        weights[..., 0] = zero * float(1 << 2 * _SHARE_BITS)
        weights[..., 1] = (_SHARE - zero) * one * _SHARE
        weights[..., 2] = larger * even
        weights[..., 3] = larger * (_SHARE - even)
        return weights.reshape(-1, TOKENS)

    def _count(self, classes: Classes, levels: Latents, quantisers: NDArray[np.intp]) -> None:
        """Count the flags of coded ``levels`` ``[n]``."""
        first = FLAG_CLASSES * quantisers
        self._zero.count((levels > 0).astype(np.int32), classes.zero + first)
        own = np.flatnonzero(levels)
        self._one.count((levels[own] > 1).astype(np.int32), classes.one[own] + first[own])


def _shorten(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of 2^40 as such of 2^16, neither none nor all."""
    short: NDArray[np.float64] = np.floor(shares / (1 << (TOTAL_BITS - _SHARE_BITS)))
    return short.clip(1, _SHARE - 1)


class TrellisRounding(TrellisCoding):
    """Rounds latents, in units, so that squared error + ``rd_lambda`` x bits is least, and encodes.

    ``rd_lambda`` is in squared units a bit. What a latent means for the contexts of later ones is
    left out, and a sign is taken for a bit.
    """

    def __init__(
        self,
        rd_lambda: float,
        coder: Coder,
        flags: type[Flags] = Flags,
        influence: Iterator[Floats] | None = None,
    ) -> None:
        """``influence`` ``[n]`` is that of the latents of each pass: see :mod:`.influence`."""
        super().__init__(coder, flags)
        self._rd_lambda, self._influence = rd_lambda, influence
        #: The quantisers ``[n]`` of the latents of the last pass.
        self._quantisers = np.zeros(0, np.intp)

    def slopes(
        self, outputs: Outputs, magnitudes: Latents, places: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """How the bits of ``magnitudes`` ``[n]`` at these places of a pass change with outputs."""
        quantisers = self._quantisers[places]
        beyond = magnitudes * (TRELLIS_UNIT / UNIT) - 2
        powers = (np.array(each, np.float32)[quantisers] for each in (ZERO_POWERS, ONE_POWERS))
        return slopes_of_bits(outputs, (magnitudes + 1) >> 1, beyond.clip(0), *powers)

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Round and encode the magnitudes ``[n]`` of exact latents."""
        classes, sizes = classify(outputs), np.abs(values)
        rest, active = places = _split(classes)
        influence = None if self._influence is None else next(self._influence)
        bits_of_others = None if influence is None else influence[rest] * _INPUTS[2]
        rounded, self._quantisers = np.empty(len(sizes), np.int32), np.zeros(len(sizes), np.intp)
        rounded[rest] = 2 * round_magnitudes(
            classes.at(rest), sizes[rest] / 2, self._rd_lambda / 4, self._zero.bits(),
            self._one.bits(), bits_of_others,
        )  # fmt: skip
        if active.size:
            rounded[active], self._quantisers[active] = self._find_levels(
                classes.at(active), sizes[active], None if influence is None else influence[active]
            )
        return self._code_sizes(classes, places, rounded)

    def _find_levels(
        self, classes: Classes, sizes: Latents, influence: Floats | None
    ) -> tuple[Integers, NDArray[np.intp]]:
        """Exact magnitudes ``[n]`` of these classes, rounded along the best paths; quantisers."""
        found = np.empty((4, len(sizes)), np.int32)
        costs = np.empty((4, len(sizes)), np.float32)
        for quantiser in range(2):
            bits = self._level_bits(classes, quantiser)
            middle = (sizes + quantiser) / 2
            for parity in range(2):
                nearest = np.maximum(2 * np.rint((middle - parity) / 2) + parity, parity)
                choice = 2 * quantiser + parity
                costs[choice] = np.inf
                for level in (nearest, np.maximum(nearest - 2, parity)):
                    rounded = reconstruct(level, np.array(quantiser))
                    error = sizes - rounded
                    needed = bits[2] + (level - 2) * bits[3]
                    if parity:
                        needed = np.where(level > 1, needed, bits[1])
                    else:
                        needed = np.where(level > 0, needed, bits[0])
                    if influence is not None:
                        inputs = _INPUTS.take(rounded.astype(np.intp), mode="clip")
                        needed = needed + influence * inputs
                    cost = (error * error + self._rd_lambda * needed).astype(np.float32)
                    better = cost < costs[choice]
                    found[choice] = np.where(better, level, found[choice])
                    costs[choice] = np.where(better, cost, costs[choice])
        choices = find_path(costs)
        levels = found[choices, np.arange(len(sizes))]
        return reconstruct(levels, choices >> 1), choices >> 1

    def _level_bits(self, classes: Classes, quantiser: int) -> list[NDArray[np.float64]]:
        """The bits ``[n]`` of a level of 0, of 1, of 2, and of each more, under a quantiser."""
        first = FLAG_CLASSES * quantiser
        zero, one = (flags.bits()[:, first:] for flags in (self._zero, self._one))
        nonzero = zero[1][classes.zero] + 1
        return [
            zero[0][classes.zero],
            nonzero + one[0][classes.one],
            nonzero + one[1][classes.one] + TWO_BITS[classes.scale],
            LARGER_BITS[classes.scale],
        ]
