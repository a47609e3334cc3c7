"""The payload of a picture's latents.

It is, in order: the axes of the colours (a signed byte an entry), the model of each channel of the
coarsest picture (three bytes), the length of their integers (three bytes), these integers, and the
latents of all levels. A picture's own post-filter comes before all that: the length of its payload
(two bytes), and this payload.
"""

from collections.abc import Mapping

import numpy as np

from ...coding import integers, weights
from ...coding.integers import LARGEST, MODEL_SIZE, Integers, Model
from ...coding.tensors import Tensors
from ...errors import FileFormatError
from ...signals import Floats
from ..channels import read_axes, store_axes
from ..latent_steps import RD_LAMBDA
from . import context_model
from .config import WaveletConfig
from .contexts import coding
from .postfilter import shared_parameters

#: Bytes of the length of the coarsest picture, and of a post-filter.
LENGTH_SIZE, POSTFILTER_LENGTH_SIZE = 3, 2


def _round(tensor: Floats, step: float) -> Integers:
    """A tensor in whole steps, rounded to nearest, as :data:`.integers.LARGEST` bounds them."""
    return (tensor / np.float32(step)).round().clip(-LARGEST, LARGEST).astype(np.int32)


def pack(exact: Mapping[str, Floats], config: WaveletConfig) -> bytes:
    """The payload of exact latents, quantised at the step of ``config``. Without a post-filter."""
    step = config.step_size
    coarsest = _round(exact["coarsest"], step)
    # each less its left neighbour; the first column less the one above
    changes = np.diff(coarsest, axis=2, prepend=0)
    changes[:, 1:, 0] = np.diff(coarsest[:, :, 0], axis=1)
    runs = [(channel, integers.fit_model(channel)[0]) for channel in changes]
    first = integers.encode(runs)
    names = [name for name in config.shapes() if name.startswith("levels.")]
    bands = [(exact[name] / np.float32(step)).clip(-LARGEST, LARGEST) for name in names]
    levels = [bands[i : i + 3] for i in range(0, len(bands), 3)]
    if config.contexts is None:
        latents = context_model.encode(context_model.quantise(levels, RD_LAMBDA)[0])
    else:
        _, latents = coding.quantise_and_encode(levels, coarsest, RD_LAMBDA)
    models = b"".join(model.to_bytes() for _, model in runs)
    head = store_axes(exact["colours"]) + models + len(first).to_bytes(LENGTH_SIZE, "little")
    return head + first + latents


def join(latents: bytes, postfilter: bytes) -> bytes:
    """The payload of latents and of the picture's own post-filter."""
    return len(postfilter).to_bytes(POSTFILTER_LENGTH_SIZE, "little") + postfilter + latents


def _split(data: bytes, config: WaveletConfig) -> tuple[bytes, bytes]:
    """The payload of the post-filter, empty where there is none, and that of the latents."""
    if config.neurons is None:
        return b"", data
    end = POSTFILTER_LENGTH_SIZE + int.from_bytes(data[:POSTFILTER_LENGTH_SIZE], "little")
    return data[POSTFILTER_LENGTH_SIZE:end], data[end:]


def _head_size(config: WaveletConfig) -> int:
    """Bytes of all that comes before the coarsest picture."""
    return config.channels * (config.channels + MODEL_SIZE) + LENGTH_SIZE


def parts(data: bytes, config: WaveletConfig) -> dict[str, int]:
    """Bytes of a payload: up to the end of the coarsest picture, of levels and of a post-filter."""
    postfilter, payload = _split(data, config)
    head = _head_size(config)
    first = head + int.from_bytes(payload[head - LENGTH_SIZE : head], "little")
    sizes = {"coarsest": first, "levels": len(payload) - first}
    if config.neurons is not None:
        sizes["network"] = POSTFILTER_LENGTH_SIZE + len(postfilter)
    return sizes


def unpack(data: bytes, config: WaveletConfig) -> Tensors:
    """The latents in a payload, in the unit of the picture's values, and all post-filters.

    As :meth:`.WaveletConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    postfilter, payload = _split(data, config)
    own = weights.unpack(postfilter, config.own_shapes())
    channels, tall, wide = config.coarsest_shape()
    start, head = channels**2, _head_size(config)
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its picture")
    models = [
        Model.from_bytes(payload[i : i + MODEL_SIZE])
        for i in range(start, head - LENGTH_SIZE, MODEL_SIZE)
    ]
    end = head + int.from_bytes(payload[head - LENGTH_SIZE : head], "little")
    runs = integers.decode(payload[head:end], [(tall * wide, model) for model in models])
    coarsest = np.stack(runs).reshape(channels, tall, wide).astype(np.int64)
    coarsest[:, :, 0] = coarsest[:, :, 0].cumsum(axis=1)
    coarsest = coarsest.cumsum(axis=2)
    if config.contexts is None:
        levels = context_model.decode(payload[end:], config.band_shapes())
    else:
        levels = coding.decode(payload[end:], config.band_shapes(), coarsest)
    step = np.float32(config.step_size)
    tensors = {
        "colours": read_axes(payload[:start], channels),
        "coarsest": coarsest.astype(np.float32) * step,
    }
    bands = (band for level in levels for band in level)
    names = (name for name in config.shapes() if name.startswith("levels."))
    for name, band in zip(names, bands, strict=True):
        tensors[name] = band.astype(np.float32) * step
    for name, parameter in own.items():
        tensors[f"correction.{name}"] = parameter.dequantise()
    return tensors | shared_parameters(config)
