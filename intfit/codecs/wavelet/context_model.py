"""Quantised wavelet coefficients as bytes, by a context model of integers.

Bands are coded from the coarsest level to the finest, each in four passes over a 2 x 2 pattern. A
small network of integers is given the magnitudes around a latent that are already decoded: in its
band, at the level above, in the other orientations and channels. It names two classes: how likely
the latent is zero, and on what scale its magnitude is where it is not. All of it is integers, exact
in float32 in whatever order they are added: every machine decodes the same.
"""

import decimal
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...coding.integers import Integers
from ...coding.magnitudes import (
    Coder,
    Decoder,
    Encoder,
    MagnitudeModel,
    SymbolModel,
    categorical,
    code_magnitudes,
    code_signs,
    code_symbols,
)
from ...errors import FileFormatError
from ...signals import Floats

#: Latents, integers or yet to be rounded.
Latents = NDArray[Any]
#: Magnitudes, or sums of them, as the network sees them: up to 16 times 1023 fit into 16 bits.
Magnitudes = NDArray[np.int16]
#: A level: bands of detail across, down and both ways, ``[C, h, w]`` each.
Level = Sequence[Latents]

#: The passes over a band: which corner of the 2 x 2 pattern each one codes.
PASSES = ((0, 0), (1, 1), (0, 1), (1, 0))
#: Levels and channels that the network tells apart; coarser and further ones are as the last.
LEVELS, CHANNELS = 5, 3
#: The network's inputs: four from the band itself, twelve from other bands.
FEATURES = 16
#: Classes of zero, a quarter of a unit of logit apart around even odds; of scale, a quarter of a
#: neper apart from e^-5 on, for the decay of a Laplace distribution.
ZERO_CLASSES, SCALE_CLASSES = 64, 44
#: Fixed point of the logarithms that are the network's inputs, and of its weights.
INPUT_UNIT, WEIGHT_UNIT = 16, 64
#: The largest magnitude that the network tells from larger ones.
MAX_INPUT = 1023
#: The largest magnitude that can be a model's escape.
MAX_ESCAPE = 1000
#: Latents that the network is evaluated for at once, few enough for a core's cache.
CHUNK = 1 << 11
#: The sum of a model's weights, and the smallest weight.
_TOTAL = 1 << 40
_LEAST = _TOTAL >> 22


@dataclass(frozen=True)
class Network:
    """Weights of the context network, integers in float32.

    No sum of products in it reaches 2^24, below which float32 holds every integer.
    ``position`` ``[LEVELS * 3 * CHANNELS, 4, H]`` is the bias of the first layer by
    :func:`band_index` and pass. ``first`` ``[H, FEATURES]``, ``second`` ``[H, H]`` and ``last``
    ``[2, H]`` are weights, in 1 / WEIGHT_UNIT; biases are in 1 / (INPUT_UNIT * WEIGHT_UNIT).
    """

    position: Floats
    first: Floats
    second: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats


@lru_cache(maxsize=1)
def load_network() -> Network:
    """The network of version 1. Every file depends on it: it never changes."""
    from safetensors.numpy import load

    data = resources.files(__package__).joinpath("context_model-1.safetensors").read_bytes()
    return Network(**{name: tensor.astype(np.float32) for name, tensor in load(data).items()})


#: The network's input for each magnitude.
INPUTS = np.array(
    [round(INPUT_UNIT * math.log2(1 + 2 * m)) for m in range(MAX_INPUT + 1)], np.float32
)


def classify(band: int, turn: int, around: Magnitudes) -> tuple[Integers, Integers]:
    """Classes of zero and of scale ``[n]`` of latents with magnitudes ``[FEATURES, n]`` around.

    ``band`` is a :func:`band_index`, ``turn`` the number of the pass.
    """
    # all latents with only zeros around them have the same classes
    classes_of_zeros = _evaluate(band, turn, np.zeros((FEATURES, 1), np.int16))
    zero, scale = (np.full(around.shape[1], classes[0]) for classes in classes_of_zeros)
    places = np.flatnonzero(np.bitwise_or.reduce(around, axis=0))
    for first in range(0, len(places), CHUNK):
        part = places[first : first + CHUNK]
        zero[part], scale[part] = _evaluate(band, turn, around.take(part, axis=1))
    return zero, scale


def _evaluate(band: int, turn: int, around: Magnitudes) -> tuple[Integers, Integers]:
    """The network's classes, as :func:`classify`."""
    network = load_network()
    x = INPUTS.take(around, mode="clip")
    for weight, bias in (
        (network.first, network.position[band, turn]),
        (network.second, network.second_bias),
    ):
        x = weight @ x
        x += bias[:, None]
        np.maximum(x, 0, out=x)
        x *= np.float32(1 / WEIGHT_UNIT)  # a power of two: exact
        np.floor(x, out=x)
    x = network.last @ x
    x += network.last_bias[:, None]
    quarters = np.floor(x / (INPUT_UNIT * WEIGHT_UNIT // 4)).astype(np.int32)
    zero = np.clip(quarters[0] + ZERO_CLASSES // 2, 0, ZERO_CLASSES - 1)
    return zero, np.clip(quarters[1] + 20, 0, SCALE_CLASSES - 1)


def band_index(level: int, orientation: int, channel: int) -> int:
    """The number by which the network knows a band; ``level`` 0 is the finest."""
    return (min(level, LEVELS - 1) * 3 + orientation) * 3 + min(channel, CHANNELS - 1)


@lru_cache(maxsize=ZERO_CLASSES)
def _make_zero_model(index: int) -> SymbolModel:
    """The model of a class of zero: of 0 for a latent of zero, 1 for any other."""
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        logit = (decimal.Decimal(2 * index - ZERO_CLASSES + 1)) / 8
        share = int(_TOTAL / (1 + (-logit).exp()))
    return categorical(np.array([share, _TOTAL - share], np.float64))


@lru_cache(maxsize=SCALE_CLASSES)
def make_scale_model(index: int) -> MagnitudeModel:
    """The model of a class of scale: of magnitudes less the smallest, a geometric distribution."""
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        scale = ((decimal.Decimal(2 * index + 1) / 8) - 5).exp()
        ratio = (-1 / scale).exp()
        escape = min(MAX_ESCAPE, int(12 * scale) + 2)
        weights = [int(_TOTAL * (1 - ratio) * ratio**m) for m in range(escape)]
        weights.append(int(_TOTAL * ratio**escape))
    table = np.array([max(weight, _LEAST) for weight in weights], np.float64)
    return MagnitudeModel(categorical(table), escape)


#: From a band's index, the number of a pass and the magnitudes around to classes: :func:`classify`.
Classify = Callable[[int, int, Magnitudes], tuple[Integers, Integers]]
#: What is done with latents ``[n]`` of a pass, given their classes of zero and of scale ``[n]``:
#: returns the integers to replace them by.
CodePass = Callable[[Integers, Integers, Latents], Latents]


def entropy_code(coder: Coder) -> CodePass:
    """A pass through an encoder or a decoder."""

    def code_pass(zero: Integers, scale: Integers, values: Latents) -> Latents:
        coded = code_symbols(coder, (values != 0).astype(np.int32), zero, _make_zero_model)
        nonzero = np.flatnonzero(coded)
        signs = code_signs(coder, values[nonzero])
        less_one = np.abs(values[nonzero]) - 1
        coded[nonzero] += code_magnitudes(coder, less_one, scale[nonzero], make_scale_model)
        coded[nonzero] *= signs
        return coded

    return code_pass


#: The bits of a zero, and of any other latent, by class of zero; those of a magnitude of 1, and of
#: each more, by class of scale.
_LOGITS = (np.arange(ZERO_CLASSES) - ZERO_CLASSES / 2 + 0.5) / 4 / math.log(2)
_ZERO_BITS, _NONZERO_BITS = np.logaddexp2(0, -_LOGITS), np.logaddexp2(0, _LOGITS)
_SCALES = np.exp((np.arange(SCALE_CLASSES) + 0.5) / 4 - 5)
_ONE_BITS, _MORE_BITS = -np.log2(-np.expm1(-1 / _SCALES)), 1 / _SCALES / math.log(2)


class RdoQuantiser:
    """Rounds latents, in steps, so that squared error + ``rd_lambda`` x bits is least.

    Rate-distortion optimised quantisation, one latent at a time: it leaves out what a latent means
    for the contexts of later ones. ``rd_lambda`` is in squared steps a bit; ``bits`` estimates
    those of all latents so far.
    """

    def __init__(self, rd_lambda: float) -> None:
        self._rd_lambda = rd_lambda
        self.bits = 0.0

    def __call__(self, zero: Integers, scale: Integers, exact: Latents) -> Latents:
        """Exact latents ``[n]`` of these classes, rounded, as floats."""
        sizes = np.abs(exact)
        nearest = np.rint(sizes)
        magnitudes, bits = np.zeros_like(sizes), _ZERO_BITS[zero]
        least = sizes**2 + self._rd_lambda * bits
        for candidate in (nearest - 1, nearest):
            # with a bit for the sign
            needed = (
                _NONZERO_BITS[zero] + _ONE_BITS[scale] + 1 + (candidate - 1) * _MORE_BITS[scale]
            )
            cost = (sizes - candidate) ** 2 + self._rd_lambda * needed
            better = (candidate > 0) & (cost < least)
            magnitudes = np.where(better, candidate, magnitudes)
            bits, least = np.where(better, needed, bits), np.where(better, cost, least)
        self.bits += float(bits.sum())
        return np.copysign(magnitudes, exact)


def _double(coarse: Magnitudes, shape: tuple[int, ...]) -> Magnitudes:
    """A band ``[h, w]`` of the level above, each latent over the four below it, as ``shape``."""
    twice = coarse.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return _fit_shape(twice, shape)


def _fit_shape(band: Magnitudes, shape: tuple[int, ...]) -> Magnitudes:
    """A band ``[h, w]`` cut, or filled with zeros, to ``shape``, from which it differs by one."""
    cut = band[: shape[0], : shape[1]]
    return np.pad(cut, [(0, shape[0] - cut.shape[0]), (0, shape[1] - cut.shape[1])])


def _sum_neighbours(band: Magnitudes) -> Magnitudes:
    """The sums ``[h, w]`` of the four nearest neighbours in a band ``[h, w]``."""
    padded = np.pad(band, 1)
    return padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]


#: Neighbours (y, x) in the band, summed in four groups: across, down, diagonal, and further off.
_RINGS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, -1), (0, 1)),
    ((-1, 0), (1, 0)),
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2),
)


def _gather_inside_features(
    padded: Magnitudes, turn: int, shape: tuple[int, int]
) -> list[Magnitudes]:
    """The features of the latents of a pass, ``shape``, from the band itself: one for each ring.

    Sums over what earlier passes have coded. ``padded`` has the band's magnitudes in a frame of two
    zeros.
    """
    row, column = PASSES[turn]
    features = []
    for ring in _RINGS:
        total = np.zeros(shape, np.int16)
        for y, x in ring:
            if PASSES.index(((row + y) % 2, (column + x) % 2)) < turn:
                top, left = 2 + row + y, 2 + column + x
                total += padded[top::2, left::2][: shape[0], : shape[1]]
        features.append(total)
    return features


def _gather_outside_features(
    magnitudes: Sequence[Sequence[Magnitudes]], level: int, orientation: int, channel: int
) -> list[Magnitudes]:
    """The features of the latents of a band from other bands: twelve, ``[h, w]`` each.

    At the level above: at its place, beside it, in the other orientations. At its level, at the
    same place and beside it: in the (two) orientations before, in the (two) channels before. Two
    levels above: at its place.
    """
    shape = magnitudes[level][orientation].shape[1:]
    nothing = np.zeros(shape, np.int16)
    features = [nothing] * 12
    if level + 1 < len(magnitudes):
        above = [band[channel] for band in magnitudes[level + 1]]
        others = [above[k] for k in range(3) if k != orientation]
        features[0] = _double(above[orientation], shape)
        features[1] = _double(_sum_neighbours(above[orientation]), shape)
        features[2] = _double(others[0], shape) + _double(others[1], shape)
    for k in range(min(orientation, 2)):
        features[3 + 2 * k] = _fit_shape(magnitudes[level][k][channel], shape)
        features[4 + 2 * k] = _sum_neighbours(features[3 + 2 * k])
    for k in range(min(channel, 2)):
        features[7 + 2 * k] = magnitudes[level][orientation][k]
        features[8 + 2 * k] = _sum_neighbours(features[7 + 2 * k])
    if level + 2 < len(magnitudes):
        middle = magnitudes[level + 1][orientation].shape[1:]
        two_above = magnitudes[level + 2][orientation][channel]
        features[11] = _double(_double(two_above, middle), shape)
    return features


def code_latents(
    levels: Sequence[Level], code_pass: CodePass, classify: Classify = classify
) -> None:
    """Code all latents of ``levels``, which are listed from the finest on, in place."""
    magnitudes = [[np.zeros(band.shape, np.int16) for band in level] for level in levels]
    for level in reversed(range(len(levels))):
        for channel in range(levels[level][0].shape[0]):
            for orientation in range(3):
                band = levels[level][orientation][channel]
                outside = _gather_outside_features(magnitudes, level, orientation, channel)
                index = band_index(level, orientation, channel)
                padded = np.pad(np.zeros(band.shape, np.int16), 2)
                for turn, (row, column) in enumerate(PASSES):
                    part = band[row::2, column::2]
                    if not part.size:
                        continue
                    features = _gather_inside_features(padded, turn, part.shape)
                    features += [other[row::2, column::2] for other in outside]
                    around = np.stack([feature.ravel() for feature in features])
                    zero, scale = classify(index, turn, around)
                    part[...] = code_pass(zero, scale, part.ravel()).reshape(part.shape)
                    inside = padded[2 : 2 + band.shape[0], 2 : 2 + band.shape[1]]
                    sizes = np.minimum(np.abs(part), MAX_INPUT)
                    inside[row::2, column::2] = sizes.astype(np.int16)
                magnitudes[level][orientation][channel] = padded[2:-2, 2:-2]


def quantise(levels: Sequence[Level], rd_lambda: float) -> tuple[list[Level], float]:
    """Exact latents, in steps, as integers; and the estimated bits of these.

    ``levels`` are listed from the finest on. Rate-distortion optimised at ``rd_lambda`` squared
    steps a bit.
    """
    quantiser = RdoQuantiser(rd_lambda)
    exact = [[band.astype(np.float64) for band in level] for level in levels]
    code_latents(exact, quantiser)
    return [[band.astype(np.int32) for band in level] for level in exact], quantiser.bits


def encode(levels: Sequence[Level]) -> bytes:
    """The bytes of levels of integer latents, which are listed from the finest on."""
    encoder = Encoder()
    code_latents(levels, entropy_code(encoder))
    return encoder.finish()


def decode(data: bytes, shapes: Sequence[Sequence[tuple[int, int, int]]]) -> list[Level]:
    """The levels of latents of these shapes, from the finest on.

    Raises:
        FileFormatError: if these bytes are not such latents.
    """
    levels = [[np.zeros(shape, np.int32) for shape in level] for level in shapes]
    try:
        code_latents(levels, entropy_code(Decoder(data)))
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    return list(levels)
