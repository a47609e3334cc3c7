"""Integers to bytes and back, with constriction's range coder.

Each run of integers has a model of its own: a symmetric distribution in proportion to
exp(-a|k| - b k^2), between Laplace (b = 0) and Gauss (a = 0), whose parameters travel as small
integers. Its table is computed in integers from two correctly rounded decimal exponentials, so that
every machine decodes the same: nothing here depends on a machine's floating-point library.
"""

import decimal
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import constriction
import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError

#: Integers of one run, any shape.
Integers = NDArray[np.int32]

#: A spread index is sixths of an octave above this many quantisation steps.
NARROWEST, PER_OCTAVE = "0.0625", 6
#: A shape index of 0 is Gauss, of SHAPES Laplace.
SHAPES = 7
#: Low bits coded as they are; the largest magnitude of what is left, which bounds a table.
MAX_SHIFT, MAX_REACH = 15, 1023
#: Integers lie between -LARGEST and LARGEST.
LARGEST = 1 << 24
#: Fixed-point bits of the recursion that fills a table, and of what the coder is given.
_BITS, _GIVEN = 62, 40
#: A bit of a sign; and what is beyond the last symbol of a distribution, as it is.
SIGN = constriction.stream.model.Uniform(2)
BEYOND = constriction.stream.model.Uniform(1 << 24)
#: Bytes of a model.
SIZE = 3


@dataclass(frozen=True)
class Model:
    """A distribution of integers: four small numbers, as they stand in the file.

    The lowest ``shift`` bits (0..15) are uniform: where integers are large they are noise. Of the
    rest, ``spread`` (0..127) sets the scale, ``shape`` (0..7) the tails, and ``reach`` (0..1023)
    is the largest magnitude.
    """

    spread: int
    shape: int
    shift: int
    reach: int

    def to_bytes(self) -> bytes:
        """The three bytes that stand for it."""
        packed = self.spread << 17 | self.shape << 14 | self.shift << 10 | self.reach
        return packed.to_bytes(SIZE, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The model that three bytes stand for; any three do for one."""
        packed = int.from_bytes(data, "little")
        return cls(packed >> 17, packed >> 14 & 7, packed >> 10 & 15, packed & 1023)


@lru_cache(maxsize=512)
def _ratios(spread: int, shape: int) -> tuple[int, int]:
    """First ratio of neighbouring weights, and the ratio of ratios, in fixed point."""
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        one, two = decimal.Decimal(1), decimal.Decimal(2)
        scale = decimal.Decimal(NARROWEST) * two ** (decimal.Decimal(spread) / PER_OCTAVE)
        share = decimal.Decimal(shape) / SHAPES
        linear = share * two.sqrt() / scale
        square = (one - share) / (two * scale * scale)
        unit = decimal.Decimal(1 << _BITS)
        return (
            int((-(linear + square)).exp() * unit),
            int((-2 * square).exp() * unit),
        )


@lru_cache(maxsize=256)
def table(model: Model) -> NDArray[np.float64]:
    """Weights ``[2 reach + 1]`` of -reach..reach: whole numbers, exact in float64."""
    ratio, change = _ratios(model.spread, model.shape)
    weight, half = 1 << _BITS, []
    for _ in range(model.reach):
        weight = weight * ratio >> _BITS
        ratio = ratio * change >> _BITS
        half.append(weight >> (_BITS - _GIVEN))
    return np.array([*half[::-1], 1 << _GIVEN, *half], np.float64)


def bits(symbols: Integers, model: Model) -> float:
    """Bits that ``symbols`` take under ``model``."""
    weights = np.maximum(table(model), 2.0 ** (_GIVEN - 24))  # the coder's smallest probability
    counts = np.bincount((symbols.ravel() >> model.shift) + model.reach, minlength=len(weights))
    information = -(counts * np.log2(weights / weights.sum())).sum()
    return float(information) + model.shift * symbols.size


def fitted(symbols: Integers) -> tuple[Model, float]:
    """The model under which ``symbols`` take the fewest bits, and about how many.

    Raises:
        ValueError: if a magnitude is beyond LARGEST.
    """
    largest = int(np.abs(symbols).max(initial=0))
    if largest > LARGEST:
        raise ValueError(largest)
    shift = max(0, largest.bit_length() - MAX_REACH.bit_length())
    high = np.abs(symbols.ravel() >> shift)
    if int(high.max(initial=0)) > MAX_REACH:  # -1024, which a floor gives
        shift, high = shift + 1, np.abs(symbols.ravel() >> (shift + 1))
    counts = np.bincount(high, minlength=1)
    magnitudes = np.arange(float(len(counts)))
    deviation = max(math.sqrt(float(counts @ magnitudes**2) / high.size), 1e-9)
    near = round(PER_OCTAVE * math.log2(deviation / float(NARROWEST)))
    spreads = np.unique(np.arange(near - PER_OCTAVE, near + 3 * PER_OCTAVE).clip(0, 127))
    scales = float(NARROWEST) * 2.0 ** (spreads[:, None] / PER_OCTAVE)
    shares = np.arange(SHAPES + 1)[None] / SHAPES
    linear, square = math.sqrt(2) * shares / scales, (1 - shares) / (2 * scales**2)
    energy = linear[..., None] * magnitudes + square[..., None] * magnitudes**2
    normaliser = np.log(2 * np.exp(-energy).sum(axis=-1) - 1)
    nats = np.minimum(energy + normaliser[..., None], 24 * math.log(2)) @ counts
    best = np.unravel_index(int(np.argmin(nats)), nats.shape)
    model = Model(int(spreads[best[0]]), int(best[1]), shift, len(counts) - 1)
    return model, float(nats[best]) / math.log(2) + shift * high.size


def finished(encoder: "constriction.stream.queue.RangeEncoder") -> bytes:
    """What an encoder wrote."""
    data: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return data.rstrip(b"\0")  # the decoder reads zeros past the end


def reading(data: bytes) -> "constriction.stream.queue.RangeDecoder":
    """A decoder of what :func:`finished` gave, or of any bytes."""
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), "<u4").astype(np.uint32)
    return constriction.stream.queue.RangeDecoder(words)


def grouped(classes: NDArray[np.integer[Any]]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each class there is, from 0 on, and the indices of its members, in order."""
    order = np.argsort(classes, kind="stable")
    edges = np.flatnonzero(np.diff(classes[order], prepend=-1, append=-1))
    for first, last in itertools.pairwise(edges.tolist()):
        yield int(classes[order[first]]), order[first:last]


def encode(runs: Sequence[tuple[Integers, Model]]) -> bytes:
    """The bytes of runs of integers, each under its model."""
    encoder = constriction.stream.queue.RangeEncoder()
    for symbols, model in runs:
        flat = symbols.ravel().astype(np.int32)
        encoder.encode((flat >> model.shift) + model.reach, _coder_model(model))
        if model.shift:
            encoder.encode(flat & ((1 << model.shift) - 1), _uniform(model.shift))
    return finished(encoder)


def decode(data: bytes, runs: Sequence[tuple[int, Model]]) -> list[Integers]:
    """Runs of integers, flat, each of a known length and model.

    Raises:
        FileFormatError: if these bytes are not such runs.
    """
    decoder = reading(data)
    found = []
    try:
        for count, model in runs:
            values = (decoder.decode(_coder_model(model), count) - model.reach) << model.shift
            if model.shift:
                values |= decoder.decode(_uniform(model.shift), count)
            found.append(values.astype(np.int32))
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its integers cannot be decoded") from None
    return found


def _uniform(shift: int) -> "constriction.stream.model.Uniform":
    return constriction.stream.model.Uniform(1 << shift)


def _coder_model(model: Model) -> "constriction.stream.model.Categorical":
    if model.reach == 0:  # the coder has no alphabet of one
        return constriction.stream.model.Categorical(np.array([1.0, 0.0]), perfect=False)
    return constriction.stream.model.Categorical(table(model), perfect=False)
