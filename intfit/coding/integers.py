"""Runs of integers to bytes and back, with constriction's range coder.

Each run has a model of its own: a symmetric distribution in proportion to exp(-a|k| - b k^2),
between Laplace (b = 0) and Gauss (a = 0), whose parameters are stored as small integers.

The model's table is our own, made of integers: those of constriction's Laplace and Gauss follow
from the machine's floating-point library, and the decoder must have the encoder's to the last bit.
"""

import decimal
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import constriction
import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError

#: Integers of one run, any shape.
Integers = NDArray[np.int32]

#: The scale of spread index 0, in quantisation steps; spreads for an octave of scale.
NARROWEST, SPREADS_PER_OCTAVE = "0.0625", 6
#: A shape index of 0 is Gauss, of SHAPES Laplace.
SHAPES = 7
#: The largest magnitude that a table has a weight for: what exceeds it is shifted right.
MAX_REACH = 1023
#: Integers lie between -LARGEST and LARGEST.
LARGEST = 1 << 24
#: Fractional bits of the fixed-point recursion that fills a table, and of the weights in it.
_RECURSION_BITS, _WEIGHT_BITS = 62, 40
#: The coder gives every symbol a probability of 2^-24 at least.
_LEAST_PROBABILITY_BITS = 24
#: Bytes of a model; its largest spread.
MODEL_SIZE, WIDEST = 3, 127


@dataclass(frozen=True)
class Model:
    """A distribution of integers, by the four small numbers that are stored in the file.

    The lowest ``shift`` bits (0..15) are uniform, because those of large integers are noise. Of the
    rest, ``spread`` (0..127) sets the scale, ``shape`` (0..7) the tails, and ``reach`` (0..1023)
    is the largest magnitude.
    """

    spread: int
    shape: int
    shift: int
    reach: int

    def to_bytes(self) -> bytes:
        """The model in :data:`MODEL_SIZE` bytes."""
        packed = self.spread << 17 | self.shape << 14 | self.shift << 10 | self.reach
        return packed.to_bytes(MODEL_SIZE, "little")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The model that :data:`MODEL_SIZE` bytes stand for: any bytes stand for one."""
        packed = int.from_bytes(data, "little")
        return cls(packed >> 17, packed >> 14 & 7, packed >> 10 & 15, packed & 1023)


@lru_cache(maxsize=512)
def _compute_ratios(spread: int, shape: int) -> tuple[int, int]:
    """The weight of 1 over that of 0, and how this ratio changes from each magnitude to the next.

    In fixed point, from decimal exponentials that are rounded correctly.
    """
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        one, two = decimal.Decimal(1), decimal.Decimal(2)
        scale = decimal.Decimal(NARROWEST) * two ** (decimal.Decimal(spread) / SPREADS_PER_OCTAVE)
        share = decimal.Decimal(shape) / SHAPES
        linear = share * two.sqrt() / scale
        square = (one - share) / (two * scale * scale)
        unit = decimal.Decimal(1 << _RECURSION_BITS)
        return (
            int((-(linear + square)).exp() * unit),
            int((-2 * square).exp() * unit),
        )


@lru_cache(maxsize=256)
def make_table(model: Model) -> NDArray[np.float64]:
    """Weights ``[2 reach + 1]`` of -reach..reach: integers, exact in float64."""
    ratio, change = _compute_ratios(model.spread, model.shape)
    weight, half = 1 << _RECURSION_BITS, []
    for _ in range(model.reach):
        weight = weight * ratio >> _RECURSION_BITS
        ratio = ratio * change >> _RECURSION_BITS
        half.append(weight >> (_RECURSION_BITS - _WEIGHT_BITS))
    return np.array([*half[::-1], 1 << _WEIGHT_BITS, *half], np.float64)


def split(
    values: Integers, model: Model, wider: Integers | None
) -> Iterator[tuple[NDArray[np.bool_] | slice, Model]]:
    """Which of ``values`` share a model, and that model, in the order in which they are coded.

    It is ``model`` for all; or where spreads are ``wider`` by an array that can be broadcast to the
    shape of ``values``, the model with that spread for each number in it, in ascending order.
    """
    if wider is None:
        yield slice(None), model
        return
    everywhere = np.broadcast_to(wider, values.shape)
    for by in np.unique(wider).tolist():
        yield everywhere == by, replace(model, spread=min(model.spread + by, WIDEST))


def count_bits(symbols: Integers, model: Model, wider: Integers | None = None) -> float:
    """The bits that ``symbols`` take under ``model``, or wider ones: see :func:`split`."""
    return sum(_count_bits(symbols[which], own) for which, own in split(symbols, model, wider))


def _count_bits(symbols: Integers, model: Model) -> float:
    weights = np.maximum(make_table(model), 2.0 ** (_WEIGHT_BITS - _LEAST_PROBABILITY_BITS))
    counts = np.bincount((symbols.ravel() >> model.shift) + model.reach, minlength=len(weights))
    information = -(counts * np.log2(weights / weights.sum())).sum()
    return float(information) + model.shift * symbols.size


def fit_model(symbols: Integers, wider: Integers | None = None) -> tuple[Model, float]:
    """The model under which ``symbols`` take the fewest bits, and an estimate of these bits.

    With spreads that are ``wider`` as in :func:`split`.

    Raises:
        ValueError: if a magnitude is beyond LARGEST.
    """
    largest = int(np.abs(symbols).max(initial=0))
    if largest > LARGEST:
        raise ValueError(largest)
    shift = max(0, largest.bit_length() - MAX_REACH.bit_length())
    high = np.abs(symbols.ravel() >> shift)
    if int(high.max(initial=0)) > MAX_REACH:  # a right shift rounds down: to -1024, too
        shift, high = shift + 1, np.abs(symbols.ravel() >> (shift + 1))
    magnitudes = np.arange(float(int(high.max(initial=0)) + 1))
    groups = [] if wider is None else np.unique(wider).tolist()
    everywhere = np.broadcast_to(0 if wider is None else wider, symbols.shape).ravel()
    counts = {by: np.bincount(high[everywhere == by], minlength=len(magnitudes)) for by in groups}
    counts = counts or {0: np.bincount(high, minlength=1)}
    squares = sum(
        float(each @ magnitudes**2) / 4.0 ** (by / SPREADS_PER_OCTAVE)
        for by, each in counts.items()
    )
    deviation = max(math.sqrt(squares / high.size), 1e-9)
    near = round(SPREADS_PER_OCTAVE * math.log2(deviation / float(NARROWEST)))
    spreads = np.unique(
        np.arange(near - SPREADS_PER_OCTAVE, near + 3 * SPREADS_PER_OCTAVE).clip(0, WIDEST)
    )
    nats = np.zeros((len(spreads), SHAPES + 1))
    for by, each in counts.items():
        nats += _count_nats(each, magnitudes, (spreads + by).clip(0, WIDEST))
    best = np.unravel_index(int(np.argmin(nats)), nats.shape)
    model = Model(int(spreads[best[0]]), int(best[1]), shift, len(magnitudes) - 1)
    return model, float(nats[best]) / math.log(2) + shift * high.size


def _count_nats(
    counts: NDArray[np.int64], magnitudes: NDArray[np.float64], spreads: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What so many of each magnitude cost under each spread and shape ``[spreads, shapes]``."""
    scales = float(NARROWEST) * 2.0 ** (spreads[:, None] / SPREADS_PER_OCTAVE)
    shares = np.arange(SHAPES + 1)[None] / SHAPES
    linear, square = math.sqrt(2) * shares / scales, (1 - shares) / (2 * scales**2)
    energy = linear[..., None] * magnitudes + square[..., None] * magnitudes**2
    normaliser = np.log(2 * np.exp(-energy).sum(axis=-1) - 1)
    costs = np.minimum(energy + normaliser[..., None], _LEAST_PROBABILITY_BITS * math.log(2))
    nats: NDArray[np.float64] = costs @ counts
    return nats


def finish(encoder: "constriction.stream.queue.RangeEncoder") -> bytes:
    """The bytes that an encoder wrote, without zeros at the end: the decoder reads zeros there."""
    data: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return data.rstrip(b"\0")


def start_decoding(data: bytes) -> "constriction.stream.queue.RangeDecoder":
    """A decoder of the bytes that :func:`finish` returned, or of any others."""
    words = np.frombuffer(data + b"\0" * (-len(data) % 4), "<u4").astype(np.uint32)
    return constriction.stream.queue.RangeDecoder(words)


def encode(runs: Sequence[tuple[Integers, Model]]) -> bytes:
    """The bytes of runs of integers of any shape, each under its model."""
    encoder = constriction.stream.queue.RangeEncoder()
    for symbols, model in runs:
        flat = symbols.ravel().astype(np.int32)
        encoder.encode((flat >> model.shift) + model.reach, _make_coder_model(model))
        if model.shift:
            encoder.encode(flat & ((1 << model.shift) - 1), _make_uniform_model(model.shift))
    return finish(encoder)


class RunDecoder:
    """Reads runs of integers, one after the other, from the bytes that :func:`encode` wrote."""

    def __init__(self, data: bytes) -> None:
        self._stream = start_decoding(data)

    def read(self, count: int, model: Model) -> Integers:
        """The next run ``[count]``, of this model.

        Raises:
            FileFormatError: if these bytes are no such run.
        """
        try:
            high = self._stream.decode(_make_coder_model(model), count) - model.reach
            values = high << model.shift
            if model.shift:
                values |= self._stream.decode(_make_uniform_model(model.shift), count)
        except (AssertionError, ValueError):
            raise FileFormatError("damaged: its integers cannot be decoded") from None
        integers: Integers = values.astype(np.int32)
        return integers


def decode(data: bytes, runs: Sequence[tuple[int, Model]]) -> list[Integers]:
    """The runs of integers in ``data``, each flat, of a known length and model.

    Raises:
        FileFormatError: if these bytes are not such runs.
    """
    decoder = RunDecoder(data)
    return [decoder.read(count, model) for count, model in runs]


def _make_uniform_model(shift: int) -> "constriction.stream.model.Uniform":
    return constriction.stream.model.Uniform(1 << shift)


def _make_coder_model(model: Model) -> "constriction.stream.model.Categorical":
    if model.reach == 0:  # the coder needs an alphabet of two
        return constriction.stream.model.Categorical(np.array([1.0, 0.0]), perfect=False)
    return constriction.stream.model.Categorical(make_table(model), perfect=False)
