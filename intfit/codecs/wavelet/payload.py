"""A pyramid of latents as bytes.

A payload is the matrix of colours (a signed byte each), three bytes of model for each channel of
the coarsest picture, three bytes of length and its integers, and the latents of all levels. Where a
network of its own corrects the picture, two bytes of length and its payload come before all that.
"""

from collections.abc import Mapping

import numpy as np

from ...coding import integers as entropy
from ...coding import weights
from ...coding.integers import LARGEST, Integers, Model
from ...coding.tensors import Tensors
from ...errors import FileFormatError
from ...signals import Floats
from ..channels import UNIT
from . import context_model as context
from .config import WaveletConfig
from .shipped_postfilter import common

#: Rate-distortion lambda of latents: the squared error, in squared steps, that a bit must save.
RD_LAMBDA = 0.11
#: Bytes of the length of a network.
LENGTH = 2


def _whole(tensor: Floats, step: float) -> Integers:
    return (tensor / np.float32(step)).round().clip(-LARGEST, LARGEST).astype(np.int32)


def pack(exact: Mapping[str, Floats], config: WaveletConfig) -> bytes:
    """The payload of exact latents, rounded to what is best at the step of ``config``."""
    step = config.step_size
    colours = (exact["colours"] * UNIT).round().astype(np.int8)
    coarsest = _whole(exact["coarsest"], step)
    # each less its left neighbour; the first column less the one above
    left = np.diff(coarsest, axis=2, prepend=0)
    left[:, 1:, 0] = np.diff(coarsest[:, :, 0], axis=1)
    runs = [(channel, entropy.fitted(channel)[0]) for channel in left]
    first = entropy.encode(runs)
    names = [name for name in config.shapes() if name.startswith("levels.")]
    bands = [(exact[name] / np.float32(step)).clip(-LARGEST, LARGEST) for name in names]
    levels, _ = context.choose([bands[i : i + 3] for i in range(0, len(bands), 3)], RD_LAMBDA)
    models = b"".join(model.to_bytes() for _, model in runs)
    head = colours.tobytes() + models + len(first).to_bytes(3, "little")
    return head + first + context.encode(levels)


def joined(latents: bytes, network: bytes) -> bytes:
    """The payload of latents and of the network that corrects them."""
    return len(network).to_bytes(LENGTH, "little") + network + latents


def _split(data: bytes, config: WaveletConfig) -> tuple[bytes, bytes]:
    """The payloads of the network and of the latents."""
    if config.neurons is None:
        return b"", data
    end = LENGTH + int.from_bytes(data[:LENGTH], "little")
    return data[LENGTH:end], data[end:]


def parts(data: bytes, config: WaveletConfig) -> dict[str, int]:
    """Bytes of a payload: of the coarsest picture with all before it, the levels and a network."""
    network, payload = _split(data, config)
    head = config.channels * (config.channels + entropy.SIZE)
    first = head + 3 + int.from_bytes(payload[head : head + 3], "little")
    found = {"coarsest": first, "levels": len(payload) - first}
    return found if config.neurons is None else found | {"network": LENGTH + len(network)}


def unpack(data: bytes, config: WaveletConfig) -> Tensors:
    """The latents in a payload, in the unit of the picture's values, and the networks' parameters.

    Raises:
        FileFormatError: if it does not hold them.
    """
    network, payload = _split(data, config)
    parameters = weights.unpack(network, config.own_shapes())
    channels, tall, wide = config.coarsest_shape()
    start, head = channels**2, channels * (channels + entropy.SIZE)
    if len(payload) < head + 3:
        raise FileFormatError("damaged: its payload is too small for its picture")
    colours = np.frombuffer(payload[:start], np.int8).reshape(channels, channels)
    models = [
        Model.from_bytes(payload[i : i + entropy.SIZE]) for i in range(start, head, entropy.SIZE)
    ]
    end = head + 3 + int.from_bytes(payload[head : head + 3], "little")
    runs = entropy.decode(payload[head + 3 : end], [(tall * wide, model) for model in models])
    coarsest = np.stack(runs).reshape(channels, tall, wide).astype(np.int64)
    coarsest[:, :, 0] = coarsest[:, :, 0].cumsum(axis=1)
    coarsest = coarsest.cumsum(axis=2)
    levels = context.decode(payload[end:], config.band_shapes())
    found = {
        "colours": colours.astype(np.float32) / UNIT,
        "coarsest": coarsest.astype(np.float32) * np.float32(config.step_size),
    }
    every = (band for level in levels for band in level)
    names = (name for name in config.shapes() if name.startswith("levels."))
    for name, band in zip(names, every, strict=True):
        found[name] = band.astype(np.float32) * np.float32(config.step_size)
    for name, tensor in parameters.items():
        found[f"correction.{name}"] = tensor.dequantise()
    return found | common(config)
