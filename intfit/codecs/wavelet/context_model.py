"""Quantised wavelet bands as bytes, each latent under a distribution that its neighbours predict.

Bands go from the coarsest level to the finest, each in four passes over a 2 x 2 pattern. A small
network of integers sees the magnitudes around a latent that are decoded already (in its band, at
the level above, in the other orientations and channels) and names two classes: how likely the
latent is zero, and how large it is where it is not. All of it is whole numbers, exact in float32
whatever the order of a sum, so that every machine decodes the same.
"""

import decimal
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from ...coding.integers import BEYOND, SIGN, Integers, finished, grouped, reading
from ...errors import FileFormatError

#: Latents, whole or yet to be rounded.
Latents = NDArray[Any]
#: Magnitudes, or sums of them, as the network sees them.
Magnitudes = NDArray[np.int16]
#: A level: bands of detail across, down and both, ``[C, h, w]`` each.
Level = Sequence[Latents]
Floats = NDArray[np.float32]

#: The passes over a band: the corner of the 2 x 2 pattern that each one takes.
PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))
#: Levels and channels that the network tells apart; coarser and further ones are as the last.
LEVELS, CHANNELS = 5, 3
#: Magnitudes seen around a latent: see :func:`_around`.
FEATURES = 16
#: The classes: of zero, quarters of a unit of logit around the middle; of size, quarters of a
#: neper of the scale of a Laplace distribution, from e^-5.
ZEROS, SIZES = 64, 44
#: Fixed point: of the logarithms the network sees, and of its weights.
SEEN, WEIGHT = 16, 64
#: The largest magnitude that is told from larger ones by the network.
MOST_SEEN = 1023
#: The largest magnitude that has a symbol of its own; what is beyond goes as it is.
MOST = 1000
#: Latents that the network looks at at once: few enough for a core's cache.
CHUNK = 1 << 11
_RARE = 2.0**-22
_UNIT = 1 << 40


@dataclass(frozen=True)
class Network:
    """Weights of the context network, whole numbers in float32.

    No sum of theirs reaches 2^24, below which float32 holds every whole number.
    ``position`` ``[LEVELS * 9, 4, H]`` by level, orientation, channel and pass; ``first`` ``[H,
    FEATURES]``, ``second`` ``[H, H]``, ``last`` ``[2, H]`` and their biases.
    """

    position: Floats
    first: Floats
    second: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats


@lru_cache(maxsize=1)
def shipped() -> Network:
    """The network of version 1, which is fitted to photographs and never changes."""
    from safetensors.numpy import load

    tensors = load(
        resources.files(__package__).joinpath("context_model-1.safetensors").read_bytes()
    )
    return Network(**{name: tensor.astype(np.float32) for name, tensor in tensors.items()})


#: What the network sees of a magnitude.
_SEEN = np.array([round(SEEN * math.log2(1 + 2 * m)) for m in range(MOST_SEEN + 1)], np.float32)


def classes(group: int, turn: int, seen: Magnitudes) -> tuple[Integers, Integers]:
    """Classes of zero and of size ``[n]`` of latents with magnitudes ``[FEATURES, n]`` around."""
    # all that have nothing around are alike
    alike = _classes(group, turn, np.zeros((FEATURES, 1), np.int16))
    zero, size = (np.full(seen.shape[1], found[0]) for found in alike)
    places = np.flatnonzero(np.bitwise_or.reduce(seen, axis=0))
    for first in range(0, len(places), CHUNK):
        part = places[first : first + CHUNK]
        zero[part], size[part] = _classes(group, turn, seen.take(part, axis=1))
    return zero, size


def _classes(group: int, turn: int, seen: Magnitudes) -> tuple[Integers, Integers]:
    """What the network says."""
    network = shipped()
    x = _SEEN.take(seen, mode="clip")
    for weight, bias in (
        (network.first, network.position[group, turn]),
        (network.second, network.second_bias),
    ):
        x = weight @ x
        x += bias[:, None]
        np.maximum(x, 0, out=x)
        x *= np.float32(1 / WEIGHT)  # a power of two: as exact as a division
        np.floor(x, out=x)
    x = network.last @ x
    x += network.last_bias[:, None]  # in 1 / (SEEN * WEIGHT)
    quarters = np.floor(x / (SEEN * WEIGHT // 4)).astype(np.int32)
    zero = np.clip(quarters[0] + ZEROS // 2, 0, ZEROS - 1)
    return zero, np.clip(quarters[1] + 20, 0, SIZES - 1)


def group_of(level: int, orientation: int, channel: int) -> int:
    """The network's position of a band; ``level`` 0 is the finest."""
    return (min(level, LEVELS - 1) * 3 + orientation) * 3 + min(channel, CHANNELS - 1)


@lru_cache(maxsize=ZEROS)
def _zero_model(index: int) -> "constriction.stream.model.Categorical":
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        logit = (decimal.Decimal(2 * index - ZEROS + 1)) / 8
        share = int(_UNIT / (1 + (-logit).exp()))
    return constriction.stream.model.Categorical(
        np.array([share, _UNIT - share], np.float64), perfect=False
    )


@lru_cache(maxsize=SIZES)
def _size_model(index: int) -> tuple["constriction.stream.model.Categorical", int]:
    """Magnitudes less 1, geometric; the last symbol stands for all larger ones. And that symbol."""
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        scale = ((decimal.Decimal(2 * index + 1) / 8) - 5).exp()
        ratio = (-1 / scale).exp()
        reach = min(MOST, int(12 * scale) + 2)
        weights = [int(_UNIT * (1 - ratio) * ratio**m) for m in range(reach)]
        weights.append(int(_UNIT * ratio**reach))
    floor = max(int(_UNIT * _RARE), 1)
    table = np.array([max(weight, floor) for weight in weights], np.float64)
    return constriction.stream.model.Categorical(table, perfect=False), reach


#: From a group, the number of a pass and the magnitudes around to classes.
Classify = Callable[[int, int, Magnitudes], tuple[Integers, Integers]]


class Coder(Protocol):
    """What is done with the latents of a pass."""

    def __call__(self, zero: Integers, size: Integers, values: Latents) -> Latents:
        """Code latents ``[n]`` of these classes; returns them."""


class Writer:
    """Latents to bytes."""

    def __init__(self) -> None:
        self.encoder = constriction.stream.queue.RangeEncoder()

    def __call__(self, zero: Integers, size: Integers, values: Latents) -> Latents:
        for index, where in grouped(zero):
            self.encoder.encode((values[where] != 0).astype(np.int32), _zero_model(index))
        there = np.flatnonzero(values)
        if len(there):
            self.encoder.encode((values[there] < 0).astype(np.int32), SIGN)
            for index, where in grouped(size[there]):
                model, reach = _size_model(index)
                more = np.abs(values[there[where]]) - 1
                self.encoder.encode(np.minimum(more, reach).astype(np.int32), model)
                if (beyond := more[more >= reach]).size:
                    self.encoder.encode((beyond - reach).astype(np.int32), BEYOND)
        return values


class Reader:
    """Bytes to latents."""

    def __init__(self, data: bytes) -> None:
        self.decoder = reading(data)

    def __call__(self, zero: Integers, size: Integers, values: Latents) -> Latents:
        found = np.zeros(len(zero), np.int32)
        for index, where in grouped(zero):
            found[where] = self.decoder.decode(_zero_model(index), len(where))
        there = np.flatnonzero(found)
        if len(there):
            signs = 1 - 2 * self.decoder.decode(SIGN, len(there))
            for index, where in grouped(size[there]):
                model, reach = _size_model(index)
                more = self.decoder.decode(model, len(where))
                if (beyond := np.flatnonzero(more == reach)).size:
                    more[beyond] += self.decoder.decode(BEYOND, len(beyond))
                found[there[where]] = more + 1
            found[there] *= signs
        return found


#: Bits of a zero and of anything else, by class; those of a magnitude of 1, and of each more.
_LOGITS = (np.arange(ZEROS) - ZEROS / 2 + 0.5) / 4 / math.log(2)
_OF_ZERO, _OF_MORE = np.logaddexp2(0, -_LOGITS), np.logaddexp2(0, _LOGITS)
_SCALES = np.exp((np.arange(SIZES) + 0.5) / 4 - 5)
_OF_ONE, _OF_EACH = -np.log2(-np.expm1(-1 / _SCALES)), 1 / _SCALES / math.log(2)


class Chooser:
    """Rounds latents, in steps, to what costs least: squared error + ``price`` x bits.

    ``price`` is in squared steps a bit. What a choice means for the contexts of later latents is
    left out (measured: it would gain 0.4 %).
    """

    def __init__(self, price: float) -> None:
        self.price = price
        self.bits = 0.0

    def __call__(self, zero: Integers, size: Integers, values: Latents) -> Latents:
        sizes = np.abs(values)
        nearest = np.rint(sizes)
        chosen, bits = np.zeros_like(sizes), _OF_ZERO[zero]
        least = sizes**2 + self.price * bits
        for candidate in (nearest - 1, nearest):
            taken = _OF_MORE[zero] + _OF_ONE[size] + 1 + (candidate - 1) * _OF_EACH[size]
            cost = (sizes - candidate) ** 2 + self.price * taken
            better = (candidate > 0) & (cost < least)
            chosen, bits = np.where(better, candidate, chosen), np.where(better, taken, bits)
            least = np.where(better, cost, least)
        self.bits += float(bits.sum())
        return np.copysign(chosen, values)


def _doubled(coarse: Magnitudes, shape: tuple[int, ...]) -> Magnitudes:
    """Each latent of the level above over the four below it, cut or filled to ``shape``."""
    twice = coarse.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return _fitted(twice, shape)


def _fitted(band: Magnitudes, shape: tuple[int, ...]) -> Magnitudes:
    """A band whose sides differ by one, cut or filled to ``shape``."""
    cut = band[: shape[0], : shape[1]]
    return np.pad(cut, [(0, shape[0] - cut.shape[0]), (0, shape[1] - cut.shape[1])])


def _cross(band: Magnitudes) -> Magnitudes:
    """The sum of the four nearest neighbours."""
    padded = np.pad(band, 1)
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]


_RINGS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, -1), (0, 1)),
    ((-1, 0), (1, 0)),
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2),
)


def _beside(padded: Magnitudes, turn: int, shape: tuple[int, int]) -> list[Magnitudes]:
    """Sums over rings around the latents of a pass, of those that earlier passes have taken.

    ``padded`` holds the band's magnitudes in a frame of two zeros.
    """
    row, column = PASSES[turn]
    found = []
    for ring in _RINGS:
        total = np.zeros(shape, np.int16)
        for y, x in ring:
            if PASSES.index(((row + y) % 2, (column + x) % 2)) < turn:
                top, left = 2 + row + y, 2 + column + x
                total += padded[top::2, left::2][: shape[0], : shape[1]]
        found.append(total)
    return found


def _around(
    sizes: Sequence[Sequence[Magnitudes]], level: int, orientation: int, channel: int
) -> list[Magnitudes]:
    """What other bands say of one: magnitudes ``[h, w]``, twelve of them.

    At the level above: at its place, beside it, in the other orientations, and two above; at the
    same place and beside it, in the orientations and in the channels before.
    """
    shape = sizes[level][orientation].shape[1:]
    nothing = np.zeros(shape, np.int16)
    found = [nothing] * 12
    if level + 1 < len(sizes):
        above = [band[channel] for band in sizes[level + 1]]
        others = [above[k] for k in range(3) if k != orientation]
        found[0] = _doubled(above[orientation], shape)
        found[1] = _doubled(_cross(above[orientation]), shape)
        found[2] = _doubled(others[0], shape) + _doubled(others[1], shape)
    for k in range(min(orientation, 2)):
        found[3 + 2 * k] = _fitted(sizes[level][k][channel], shape)
        found[4 + 2 * k] = _cross(found[3 + 2 * k])
    for k in range(min(channel, 2)):
        found[7 + 2 * k] = sizes[level][orientation][k]
        found[8 + 2 * k] = _cross(found[7 + 2 * k])
    if level + 2 < len(sizes):
        middle = sizes[level + 1][orientation].shape[1:]
        found[11] = _doubled(_doubled(sizes[level + 2][orientation][channel], middle), shape)
    return found


def walk(levels: Sequence[Level], code: Coder, classify: Classify = classes) -> None:
    """Code all latents of ``levels``, the finest first in the list, in place.

    Magnitudes around them are kept up to :data:`MOST_SEEN`, in 16 bits, which hold sums of 16.
    """
    sizes = [[np.zeros(band.shape, np.int16) for band in level] for level in levels]
    for level in reversed(range(len(levels))):
        for channel in range(levels[level][0].shape[0]):
            for orientation in range(3):
                band = levels[level][orientation][channel]
                around = _around(sizes, level, orientation, channel)
                group = group_of(level, orientation, channel)
                padded = np.pad(np.zeros(band.shape, np.int16), 2)
                for turn, (row, column) in enumerate(PASSES):
                    part = band[row::2, column::2]
                    if not part.size:
                        continue
                    seen = _beside(padded, turn, part.shape)
                    seen += [other[row::2, column::2] for other in around]
                    stacked = np.stack([values.ravel() for values in seen])
                    zero, size = classify(group, turn, stacked)
                    part[...] = code(zero, size, part.ravel()).reshape(part.shape)
                    inside = padded[2 : 2 + band.shape[0], 2 : 2 + band.shape[1]]
                    inside[row::2, column::2] = np.minimum(np.abs(part), MOST_SEEN).astype(np.int16)
                sizes[level][orientation][channel] = padded[2:-2, 2:-2]


def choose(levels: Sequence[Level], price: float) -> tuple[list[Level], float]:
    """Latents for exact levels, in steps, the finest first; and about the bits that they take."""
    chooser = Chooser(price)
    exact = [[band.astype(np.float64) for band in level] for level in levels]
    walk(exact, chooser)
    return [[band.astype(np.int32) for band in level] for level in exact], chooser.bits


def encode(levels: Sequence[Level]) -> bytes:
    """The bytes of levels of latents, the finest first."""
    writer = Writer()
    walk(levels, writer)
    return finished(writer.encoder)


def decode(data: bytes, shapes: Sequence[Sequence[tuple[int, int, int]]]) -> list[Level]:
    """Levels of latents of these shapes, the finest first.

    Raises:
        FileFormatError: if these bytes are not such latents.
    """
    levels = [[np.zeros(shape, np.int32) for shape in level] for level in shapes]
    try:
        walk(levels, Reader(data))
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    return list(levels)
