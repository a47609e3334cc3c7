"""The payload of a recording that is rounded for the ear.

It is, in order: the axes of the channels (a signed byte an entry), the cutoff, the slope and the
tilt (a byte each), the loudness of noise (a byte for each class of bands), the networks of the
envelope (each with its length, two bytes, before it), and one stream of the range coder for the
sizes of blocks, the levels of bands and the latents.
"""

from collections.abc import Mapping, Sequence
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
from ..context_model import code_latents, entropy_code, quantise
from ..transform import Reals, analyse, pad
from .bands import BAND_COUNTS
from .envelope import SIXTEENTHS, pieces, predict_levels
from .levels import code_differences, find_tolerances
from .shaping import (
    GROUPS,
    SHARES,
    Shape,
    combine_levels,
    fill,
    make_estimate,
    measure_levels,
    measure_noise,
)

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
RD_LAMBDA = 0.06


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
    """Packs one recording, samples ``[N, C]`` along ``axes``, at any quantisation step."""

    def __init__(self, samples: Reals, axes: Reals, networks: Networks, config: MdctConfig) -> None:
        self._padded, self._axes, self._networks = pad(samples, config), axes, networks

    def pack(self, config: MdctConfig) -> bytes:
        """The payload at the quantisation step of ``config``."""
        network = config.envelope_network()
        assert network is not None
        estimate = make_estimate(SLOPE, TILT, config.rate)
        sizes = choose_sizes(
            self._padded,
            config.step_size,
            estimate,
            least_gain=LEAST_GAIN,
            longest_free=config.rate // FREE_RATE,
            longest=min(LONGEST, max(SHORTEST, config.rate // LEAST_RATE)),
        )
        exact = analyse(self._padded, sizes)
        predicted = predict_levels(self._networks.parameters, network, sizes, config.rate)
        measured = measure_levels(exact, sizes, config.rate)
        wanted = [m - p / SIXTEENTHS for m, p in zip(measured, predicted, strict=True)]
        encoder = Encoder()
        encode_sizes(encoder, sizes)
        counts = [BAND_COUNTS[size] for size in sizes]
        tolerances = [find_tolerances(levels) for levels in measured]
        differences = code_differences(encoder, counts, config.channels, wanted, tolerances)
        levels = combine_levels(predicted, differences)
        shape = Shape(sizes, levels, config.rate, config.step, SLOPE, TILT)
        shape.divide(exact, config.step_size)
        np.clip(exact, -LARGEST, LARGEST, out=exact)
        latents, _ = quantise(
            exact,
            sizes,
            FREQUENCY_PARTS,
            rd_lambda=RD_LAMBDA,
            groups=GROUPS,
            groups_of=shape.groups,
        )
        cutoff = find_cutoff(latents, sizes)
        code_latents(
            latents, sizes, cutoff, entropy_code(encoder), groups=GROUPS, groups_of=shape.groups
        )
        noise = measure_noise(exact, latents, shape)
        head = store_axes(self._axes) + bytes([cutoff, SLOPE, TILT & 255]) + noise
        return head + self._networks.data + encoder.finish()


def find_cutoff(latents: Integers, sizes: Sequence[int]) -> int:
    """The lowest cutoff, in :data:`..config.FREQUENCY_PARTS`, above all that is not 0."""
    nonzero = np.abs(latents).max(axis=1) > 0
    cutoff, start = 0, 0
    for size in sizes:
        used = np.flatnonzero(nonzero[start : start + size])
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
    """What a payload holds: the ``axes`` of channels and the integers ``latents`` ``[N, C]``.

    ``shape`` has the sizes of blocks and the levels of bands, ``noise`` its loudness in bytes.
    """

    axes: Reals
    latents: Integers
    shape: Shape
    noise: bytes


def read(payload: bytes, config: MdctConfig) -> Contents:
    """What a payload holds.

    Raises:
        FileFormatError: if that is not a recording of ``config``.
    """
    channels, network = config.channels, config.envelope_network()
    assert network is not None
    head = channels**2 + 3 + SHARES
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its recording")
    axes = read_axes(payload[: channels**2], channels)
    cutoff, slope, tilt = payload[channels**2 : channels**2 + 3]
    if cutoff > FREQUENCY_PARTS:
        raise FileFormatError("damaged: its latents cannot be decoded")
    networks = read_networks(payload[head:], config)
    decoder = Decoder(payload[head + len(networks.data) :])
    latents: Integers = np.zeros((config.padded_frames(), channels), np.int32)
    try:
        sizes = decode_sizes(decoder, config.padded_frames())
        counts = [BAND_COUNTS[size] for size in sizes]
        differences = code_differences(decoder, counts, channels)
        predicted = predict_levels(networks.parameters, network, sizes, config.rate)
        levels = combine_levels(predicted, differences)
        shape = Shape(sizes, levels, config.rate, config.step, slope, (tilt ^ 128) - 128)
        code_latents(
            latents, sizes, cutoff, entropy_code(decoder), groups=GROUPS, groups_of=shape.groups
        )
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    return Contents(axes, latents, shape, payload[head - SHARES : head])


def unpack(payload: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, with noise in place of zeros, in the unit of the samples.

    As :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    found = read(payload, config)
    return {
        "channels": found.axes,
        "blocks": make_size_tensor(found.shape.sizes),
        "latents": fill(found.latents, found.shape, found.noise, config.step_size),
    }
