"""Classes of latents, their models, and what is done with latents of a class."""

import decimal
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ....coding.magnitudes import (
    Coder,
    Encoder,
    SymbolModel,
    categorical,
    code_magnitudes,
    code_symbols,
)
from ....signals import Floats
from ...integer_network import INPUT_UNIT, WEIGHT_UNIT
from ..context_model import SCALE_CLASSES, Latents, make_scale_model
from .network import Outputs

#: Classes of a flag that is more likely to be 0 or 1, a quarter of a unit of logit apart around
#: even odds; of signs, a quarter of a unit of logit apart from even odds on. Those of scale are the
#: first context model's.
FLAG_CLASSES, SIGN_CLASSES = 64, 24
#: A quarter, as an output of a network.
QUARTER = INPUT_UNIT * WEIGHT_UNIT // 4
#: What an output of the network is divided by to be a logit; the largest logit told from others.
OUTPUT_UNIT, LARGEST_LOGIT = INPUT_UNIT * WEIGHT_UNIT, 8.0
#: The number of flags that the initial probability of a class counts for.
PRIOR = 256
#: The sum of a model's weights, and the smallest weight.
TOTAL_BITS = 40
_TOTAL = 1 << TOTAL_BITS
_LEAST = _TOTAL >> 22


@dataclass(frozen=True)
class Classes:
    """Classes ``[n]``: of being zero, of being one where not zero, of scale where above one."""

    zero: Integers
    one: Integers
    scale: Integers

    def at(self, places: NDArray[np.intp]) -> "Classes":
        """The classes of some of the latents."""
        return Classes(self.zero[places], self.one[places], self.scale[places])


@dataclass(frozen=True)
class SignGuess:
    """The likelier signs ``[n]``, 1 or -1, and the classes ``[n]`` of how likely they are."""

    signs: Integers
    classes: Integers


def classify(outputs: Outputs) -> Classes:
    """The classes that a magnitude network's outputs ``[3, n]`` name."""
    quarters = outputs // QUARTER
    half = FLAG_CLASSES // 2
    zero, one = np.minimum(np.maximum(quarters[:2] + half, 0), FLAG_CLASSES - 1)  # no np.clip: slow
    return Classes(zero, one, np.minimum(np.maximum(quarters[2] + 20, 0), SCALE_CLASSES - 1))


def guess(logits: Outputs) -> SignGuess:
    """The signs that a sign network's outputs ``[n]`` name."""
    classes = np.minimum(np.abs(logits) // QUARTER, SIGN_CLASSES - 1)
    return SignGuess(np.where(logits < 0, np.int32(-1), np.int32(1)), classes)


@lru_cache(maxsize=1)
def initial_shares() -> tuple[list[int], list[int]]:
    """The shares of 0, of _TOTAL, in flags of each class, and in signs, where 0 is the likelier."""

    def share(logit: decimal.Decimal) -> int:
        return int(_TOTAL / (1 + (-logit).exp()))

    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        eighth = decimal.Decimal("0.125")
        flags = [share((2 * i - FLAG_CLASSES + 1) * eighth) for i in range(FLAG_CLASSES)]
        signs = [
            share((2 * i + 1) * eighth if i else decimal.Decimal(0)) for i in range(SIGN_CLASSES)
        ]
    return flags, signs


class Flags:
    """Flags of some classes, whose probabilities follow those that were coded before.

    A class's probability of 0 is its initial share, which counts as some flags, together with all
    flags of the class in the passes before. It is computed anew once there are an eighth more.
    """

    def __init__(self, initial: list[int], prior: int = PRIOR) -> None:
        """``initial`` are the shares of 0, of _TOTAL, by class, which count as ``prior`` flags."""
        self._initial, self._prior = initial, prior
        self._counts = np.zeros((len(initial), 2), np.int64)
        self._due = np.zeros(len(initial), np.int64)
        self._shares = np.array(initial, np.int64)
        self._models: list[SymbolModel | None] = [None] * len(initial)

    def code(self, coder: Coder, flags: Integers, classes: Integers) -> Integers:
        """Code ``flags`` ``[n]``, 0 or 1, of these classes ``[n]``; returns them."""
        coded = code_symbols(coder, flags, classes, self._model)
        self.count(coded, classes)
        return coded

    def count(self, flags: Integers, classes: Integers) -> None:
        """Count ``flags`` ``[n]``, 0 or 1, of these classes ``[n]``, which are coded."""
        size = 2 * len(self._initial)
        self._counts += np.bincount(2 * classes + flags, minlength=size).reshape(-1, 2)

    def shares(self, classes: Integers) -> NDArray[np.float64]:
        """The shares of 0, of 2^40, that hold for flags of these classes ``[...]`` now."""
        chosen = np.zeros(len(self._initial), np.bool_)
        chosen[classes] = True
        self._update_all(chosen)
        return self._shares[classes].astype(np.float64)

    def _model(self, index: int) -> SymbolModel:
        self._update(index)
        if self._models[index] is None:
            share = int(self._shares[index])
            self._models[index] = categorical(np.array([share, _TOTAL - share], np.float64))
        return self._models[index]

    def _update(self, index: int) -> None:
        """Compute a class's probability anew, if that is due."""
        zeros, ones = self._counts[index].tolist()
        count = zeros + ones + self._prior
        if count >= self._due[index]:
            share = ((zeros << TOTAL_BITS) + self._prior * self._initial[index]) // count
            self._shares[index] = min(max(share, _LEAST), _TOTAL - _LEAST)
            self._models[index], self._due[index] = None, count + count // 8

    def _update_all(self, chosen: NDArray[np.bool_]) -> None:
        """Compute the probabilities of ``chosen`` classes anew, as far as that is due."""
        due = self._counts[:, 0] + self._counts[:, 1] + self._prior >= self._due
        for index in np.flatnonzero(chosen & due).tolist():
            self._update(index)

    def bits(self) -> NDArray[np.float64]:
        """The bits ``[2, classes]`` of a 0 and of a 1."""
        self._update_all(np.ones(len(self._initial), np.bool_))
        shares = self._shares / _TOTAL
        return -np.log2([shares, 1 - shares])


class OrderedFlags(Flags):
    """Flags that are coded in their own order, not class by class, which is quicker."""

    def code(self, coder: Coder, flags: Integers, classes: Integers) -> Integers:
        """Code ``flags`` ``[n]``, 0 or 1, of these classes ``[n]``; returns them."""
        shares = self.shares(classes)
        coded = coder.code_each(flags, np.stack([shares, _TOTAL - shares], axis=1))
        self.count(coded, classes)
        return coded


class EntropyCoding:
    """Symbols through an encoder or a decoder."""

    def __init__(self, coder: Coder, flags: type[Flags] = Flags) -> None:
        initial, signs = initial_shares()
        self._coder = coder
        self._zero, self._one, self._signs = flags(initial), flags(initial), flags(signs)

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Code the magnitudes ``[n]`` of latents."""
        return self._code_classes(classify(outputs), np.abs(values))

    def _code_classes(self, classes: Classes, sizes: Latents) -> Latents:
        """Code magnitudes ``[n]`` of these classes."""
        coder = self._coder
        coded = self._zero.code(coder, (sizes > 0).astype(np.int32), classes.zero)
        nonzero = np.flatnonzero(coded)
        above = (sizes[nonzero] > 1).astype(np.int32)
        large = nonzero[self._one.code(coder, above, classes.one[nonzero]) > 0]
        coded[nonzero] = 1
        coded[large] = 2 + code_magnitudes(
            coder, sizes[large] - 2, classes.scale[large], make_scale_model
        )
        return coded

    def code_signs(self, logits: Outputs, values: Latents) -> Integers:
        """Code the signs ``[n]`` of ``values``."""
        signs = guess(logits)
        differs = (np.sign(values) != signs.signs).astype(np.int32)
        differs = self._signs.code(self._coder, differs, signs.classes)
        coded: Integers = np.where(differs > 0, -signs.signs, signs.signs)
        return coded


#: The bits of a magnitude of 2, and of each more, by class of scale.
_SCALES = np.exp((np.arange(SCALE_CLASSES) + 0.5) / 4 - 5)
TWO_BITS, LARGER_BITS = -np.log2(-np.expm1(-1 / _SCALES)), 1 / _SCALES / math.log(2)


def slopes_of_bits(
    outputs: Outputs,
    levels: Latents,
    beyond: Latents,
    zero_powers: float | Floats = 1.0,
    one_powers: float | Floats = 1.0,
) -> Floats:
    """How the bits of ``levels`` ``[n]`` change with the outputs ``[3, n]`` of the network.

    By the initial probabilities: that of not being zero, or one, is a logistic function, raised to
    a power. ``beyond`` ``[n]`` is what magnitudes above one have beyond two, in steps.
    """
    zero, one, scale = (row / OUTPUT_UNIT for row in outputs)
    slopes = np.zeros(outputs.shape, np.float32)
    flags = ((zero, levels, zero_powers), (one, levels - 1, one_powers))
    for row, (logits, above, powers) in enumerate(flags):
        none = 1 / (1 + np.exp(-logits.clip(-LARGEST_LOGIT, LARGEST_LOGIT)))
        others = (1 - none) ** powers
        slope = powers * none * np.where(above > 0, 1, -others / (1 - others).clip(1e-6))
        slopes[row] = np.where(above >= 0, slope, 0)
    inverse = np.exp(-scale.clip(-5, 6))
    slope = inverse / np.expm1(inverse) - inverse * beyond
    slopes[2] = np.where(levels > 1, slope, 0)
    return slopes / np.float32(math.log(2) * OUTPUT_UNIT)


class BitEstimate(EntropyCoding):
    """Estimates the bits of latents, in place of coding them; signs are taken for a bit."""

    def __init__(self) -> None:
        super().__init__(Encoder())
        #: For each pass, the bits ``[4, n]`` of a zero, of a one, of a two, and of each more.
        self.bits: list[Floats] = []

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """The magnitudes ``[n]`` of ``values``, as they are."""
        classes, sizes = classify(outputs), np.abs(values)
        zero, one = self._zero.bits(), self._one.bits()
        nonzero = zero[1][classes.zero] + 1
        bits = (
            zero[0][classes.zero],
            nonzero + one[0][classes.one],
            nonzero + one[1][classes.one] + TWO_BITS[classes.scale],
            LARGER_BITS[classes.scale],
        )
        self.bits.append(np.stack(bits).astype(np.float32))
        self._zero.count((sizes > 0).astype(np.int32), classes.zero)
        there = np.flatnonzero(sizes)
        self._one.count((sizes[there] > 1).astype(np.int32), classes.one[there])
        return sizes

    def code_signs(self, logits: Outputs, values: Latents) -> Integers:
        """The signs ``[n]`` of ``values``, as they are."""
        signs: Integers = np.sign(values).astype(np.int32)
        return signs

    def slopes(self, outputs: Outputs, magnitudes: Latents, places: NDArray[np.intp]) -> Floats:
        """How the bits of ``magnitudes`` ``[n]`` change with the outputs ``[3, n]``."""
        return slopes_of_bits(outputs, magnitudes, (magnitudes - 2).clip(0))


class RoundingEncoding(EntropyCoding):
    """Rounds latents, in steps, so that squared error + ``rd_lambda`` x bits is least, and encodes.

    Rate-distortion optimised quantisation, one latent at a time: it leaves out what a latent means
    for the contexts of later ones, and takes a sign for a bit. ``rd_lambda`` is in squared steps a
    bit.
    """

    def __init__(self, rd_lambda: float, coder: Coder, flags: type[Flags] = Flags) -> None:
        super().__init__(coder, flags)
        self._rd_lambda = rd_lambda

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """Round and encode the magnitudes ``[n]`` of exact latents."""
        rounded = round_magnitudes(
            classify(outputs), np.abs(values), self._rd_lambda, self._zero.bits(), self._one.bits()
        )
        return super().code_magnitudes(outputs, rounded.astype(np.int32))


def round_magnitudes(
    classes: Classes,
    sizes: Latents,
    rd_lambda: float,
    zero_bits: NDArray[np.float64],
    one_bits: NDArray[np.float64],
    bits_of_others: NDArray[np.float32] | None = None,
) -> Latents:
    """Exact magnitudes ``[n]`` of these classes, rounded one by one, for the least cost.

    ``zero_bits`` and ``one_bits`` are the :meth:`Flags.bits` of both flags. ``bits_of_others``
    ``[n]`` are added where a latent is not zero.
    """
    magnitudes = np.zeros_like(sizes)
    worth = np.flatnonzero(sizes > 0.5)  # what is nearer to 0 becomes 0
    sizes, classes = sizes[worth], classes.at(worth)
    nearest, best = np.rint(sizes), np.zeros_like(sizes)
    least = sizes**2 + rd_lambda * zero_bits[0][classes.zero]
    nonzero = zero_bits[1][classes.zero] + 1
    if bits_of_others is not None:
        nonzero += bits_of_others[worth]
    one = nonzero + one_bits[0][classes.one]
    two = nonzero + one_bits[1][classes.one] + TWO_BITS[classes.scale]
    for candidate in (nearest - 1, nearest):
        more = two + (candidate - 2) * LARGER_BITS[classes.scale]
        bits = np.where(candidate > 1, more, one)
        cost = (sizes - candidate) ** 2 + rd_lambda * bits
        better = (candidate > 0) & (cost < least)
        best, least = np.where(better, candidate, best), np.where(better, cost, least)
    magnitudes[worth] = best
    return magnitudes
