"""The payload of a recording that is rounded for the ear.

It is, in order: the axes of the channels (a signed byte an entry), the cutoff, the slope and the
tilt (a byte each), the loudness of noise (a byte for each class of bands), the networks of the
envelope (each with its length, two bytes, before it), and one stream of the range coder for the
sizes of blocks, the levels of bands and the latents.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....coding import weights
from ....coding.integers import LARGEST, Integers
from ....coding.magnitudes import Decoder, Encoder
from ....coding.tensors import Tensors
from ....coding.weights import QuantisedTensor
from ....errors import FileFormatError
from ...channels import read_axes, store_axes
from ..blocks import choose_sizes, decode_sizes, encode_sizes, make_size_tensor
from ..config import FREQUENCY_PARTS, LONGEST, SHORTEST, MdctConfig
from ..transform import Reals, analyse_run, split_blocks
from .contexts import LatentCoder, decoding, rounding
from .envelope import SIXTEENTHS, pieces, predict_levels
from .levels import code_differences, find_tolerances
from .shaping import (
    SHARES,
    NoiseFilling,
    NoiseMeter,
    Shape,
    combine_levels,
    make_estimate,
    measure_levels,
)

#: What is said of a payload whose stream makes no sense.
DAMAGED = "damaged: its latents cannot be decoded"
#: Bytes of the length of a network.
LENGTH_SIZE = 2
#: Steps are in proportion to the amplitude to the power of this / 64.
SLOPE = 46
#: And they grow by so many sixteenths of an octave from the lowest band to the highest.
TILT = 12
#: A block longer than a second / FREE_RATE smears what happens in it: it must save this share of
#: its bits. There is none longer than a second / LEAST_RATE.
LEAST_GAIN, FREE_RATE, LEAST_RATE = 0.25, 40, 5
#: The rate-distortion lambda, in squared steps a bit.
RD_LAMBDA = 0.08

#: Is told the name of a stage, and how much of it is done, from 0 to 1.
Report = Callable[[str, float], None]


def ignore(stage: str, fraction: float) -> None:
    """A :data:`Report` that nobody reads."""


@dataclass(frozen=True)
class Networks:
    """The quantised networks of an envelope, and their bytes."""

    parameters: Sequence[Mapping[str, QuantisedTensor]]
    data: bytes


def join_networks(packed: Sequence[bytes], config: MdctConfig) -> Networks:
    """The networks whose payloads are these."""
    network = config.envelope_network()
    assert network is not None
    parameters = [weights.unpack(data, network.shapes()) for data in packed]
    data = b"".join(len(each).to_bytes(LENGTH_SIZE, "little") + each for each in packed)
    return Networks(parameters, data)


def read_networks(data: bytes, config: MdctConfig) -> Networks:
    """The networks at the beginning of ``data``.

    Raises:
        FileFormatError: if it does not hold them.
    """
    packed, end = [], 0
    for _ in pieces(config.padded_frames(), config.rate):
        first = end + LENGTH_SIZE
        end = first + int.from_bytes(data[end:first], "little")
        packed.append(data[first:end])
    if end > len(data):
        raise FileFormatError("damaged: its payload is too small for its recording")
    return join_networks(packed, config)


class Packer:
    """Packs one recording, ``padded`` samples ``[N, C]`` along ``axes``, at any step.

    ``report`` is told the stage, and how much of it is done, from 0 to 1.
    """

    def __init__(
        self,
        padded: Reals,
        axes: Reals,
        networks: Networks,
        config: MdctConfig,
        *,
        report: Report = ignore,
    ) -> None:
        self._report = report
        self._padded, self._axes, self._networks = padded, axes, networks
        self._estimate = make_estimate(SLOPE, TILT, config.rate, config.bands)

    def pack(self, config: MdctConfig) -> bytes:
        """The payload at the quantisation step of ``config``."""
        network = config.envelope_network()
        assert network is not None
        sizes = choose_sizes(
            self._padded,
            config.step_size,
            self._estimate,
            least_gain=LEAST_GAIN,
            longest_free=config.rate // FREE_RATE,
            longest=min(LONGEST, max(SHORTEST, config.rate // LEAST_RATE)),
            report=lambda fraction: self._report("choosing blocks", fraction),
        )
        predicted = predict_levels(self._networks.parameters, network, sizes, config.rate)
        measured: list[Reals] = []
        for run, exact in self._runs(sizes):
            self._report("coding levels", run.start / len(sizes))
            measured += measure_levels(exact, [sizes[index] for index in run], config.rate)
        wanted = [m - p / SIXTEENTHS for m, p in zip(measured, predicted, strict=True)]
        encoder = Encoder()
        encode_sizes(encoder, sizes)
        tolerances = [find_tolerances(levels) for levels in measured]
        differences = code_differences(encoder, sizes, predicted, wanted, tolerances)
        levels = combine_levels(predicted, differences)
        shape = Shape(sizes, levels, config.rate, config.step, SLOPE, TILT, config.bands)
        cutoff = self._find_cutoff(shape, config)
        noise, symbols = NoiseMeter(shape), rounding(RD_LAMBDA, encoder)
        coder = LatentCoder(shape, cutoff, symbols)
        for run, exact in self._runs(sizes):
            self._report("coding latents", run.start / len(sizes))
            start = 0
            for index in run:
                block = exact[start : start + sizes[index]]
                block /= shape.weights(index) * np.float32(config.step_size)
                np.clip(block, -LARGEST, LARGEST, out=block)
                noise.add(index, block, coder.code(index, block))
                start += sizes[index]
        head = store_axes(self._axes) + bytes([cutoff, SLOPE, TILT & 255]) + noise.finish()
        return head + self._networks.data + encoder.finish()

    def _runs(self, sizes: Sequence[int]) -> Iterator[tuple[range, Reals]]:
        """Runs of blocks and their coefficients."""
        for run, samples in split_blocks(sizes):
            yield run, analyse_run(self._padded, sizes, run, samples)

    def _find_cutoff(self, shape: Shape, config: MdctConfig) -> int:
        """The lowest cutoff, in :data:`..config.FREQUENCY_PARTS`, above all that may not be 0."""
        cutoff = 0
        for run, exact in self._runs(shape.sizes):
            start = 0
            for index in run:
                size = shape.sizes[index]
                loudest = np.abs(exact[start : start + size]).max(axis=1)
                least = shape.weights(index)[:, 0] * np.float32(config.step_size / 2)
                used = np.flatnonzero(loudest > least)
                if used.size:
                    cutoff = max(cutoff, -(-(int(used[-1]) + 1) * FREQUENCY_PARTS // size))
                start += size
        return cutoff


def parts(payload: bytes, config: MdctConfig) -> dict[str, int]:
    """Bytes of a payload: its head, its networks, and the stream of levels and latents."""
    head = config.channels**2 + 3 + SHARES
    size = len(read_networks(payload[head:], config).data)
    return {"noise": head, "network": size, "latents": len(payload) - head - size}


@dataclass(frozen=True)
class Contents:
    """What a payload holds: the ``axes`` of channels, and the ``latents`` of each block in turn.

    These are integers ``[size, C]``, decoded as they are asked for, once. ``shape`` has the sizes
    of blocks and the levels of bands, ``noise`` its loudness in bytes.
    """

    axes: Reals
    latents: Iterator[Integers]
    shape: Shape
    noise: bytes


def read(payload: bytes, config: MdctConfig) -> Contents:
    """What a payload holds.

    Raises:
        FileFormatError: if that is not a recording of ``config``; its ``latents`` may, too.
    """
    channels, network = config.channels, config.envelope_network()
    assert network is not None
    head = channels**2 + 3 + SHARES
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its recording")
    axes = read_axes(payload[: channels**2], channels)
    cutoff, slope, tilt = payload[channels**2 : channels**2 + 3]
    if cutoff > FREQUENCY_PARTS:
        raise FileFormatError(DAMAGED)
    networks = read_networks(payload[head:], config)
    decoder = Decoder(payload[head + len(networks.data) :])
    try:
        sizes = decode_sizes(decoder, config.padded_frames())
        predicted = predict_levels(networks.parameters, network, sizes, config.rate)
        differences = code_differences(decoder, sizes, predicted)
    except (AssertionError, ValueError):
        raise FileFormatError(DAMAGED) from None
    levels = combine_levels(predicted, differences)
    signed = (tilt ^ 128) - 128
    shape = Shape(sizes, levels, config.rate, config.step, slope, signed, config.bands)
    noise = payload[head - SHARES : head]
    return Contents(axes, _decode_blocks(decoder, shape, cutoff, channels), shape, noise)


def _decode_blocks(
    decoder: Decoder, shape: Shape, cutoff: int, channels: int
) -> Iterator[Integers]:
    """The latents ``[size, C]`` of each block in turn."""
    coder = LatentCoder(shape, cutoff, decoding(decoder))
    for index, size in enumerate(shape.sizes):
        try:
            yield coder.code(index, np.zeros((size, channels), np.int32))
        except (AssertionError, ValueError):
            raise FileFormatError(DAMAGED) from None


def unpack(payload: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, with noise in place of zeros, in the unit of the samples.

    As :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    found = read(payload, config)
    filling = NoiseFilling(found.shape, found.noise, config.step_size)
    latents, start = np.empty((config.padded_frames(), config.channels), np.float32), 0
    for index, block in enumerate(found.latents):
        latents[start : start + len(block)] = filling.fill(index, block)
        start += len(block)
    return {
        "channels": found.axes,
        "blocks": make_size_tensor(found.shape.sizes),
        "latents": latents,
    }
