"""The payload of a picture's latents.

It is, in order: the axes of the colours (a signed byte an entry), the model of each channel of the
coarsest picture (three bytes), the length of their integers (three bytes), these integers, and the
latents of all levels. A picture's own post-filter, its change of the decoder network and its
modulation of that, in this order, come before all that: for each, the length of its payload (two
bytes), and this payload.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...coding import integers, weights
from ...coding.integers import LARGEST, MODEL_SIZE, Integers, Model
from ...coding.tensors import Tensors
from ...errors import FileFormatError
from ...signals import Floats
from ..channels import read_axes, store_axes
from ..latent_steps import RD_LAMBDA, VISUAL_RD_LAMBDA, VISUAL_TRELLIS_RD_LAMBDA
from . import context_model
from .config import ORIENTATIONS, WaveletConfig
from .context_model import Level
from .contexts import coding
from .contexts.influence import Influence
from .postfilter import shared_parameters

#: Bytes of the length of the coarsest picture, and of a network.
LENGTH_SIZE, NETWORK_LENGTH_SIZE = 3, 2


def _round(tensor: Floats, step: float) -> Integers:
    """A tensor in whole steps, rounded to nearest, as :data:`.integers.LARGEST` bounds them."""
    return (tensor / np.float32(step)).round().clip(-LARGEST, LARGEST).astype(np.int32)


@dataclass(frozen=True)
class Quantised:
    """Integer latents: ``coarsest`` ``[C, h, w]``, ``levels`` from the finest on; and their code.

    ``coded`` are the bytes of the levels. ``influence`` is that of the latents, where it is known.
    """

    coarsest: Integers
    levels: list[Level]
    coded: bytes
    influence: Influence | None = None


def quantise(
    exact: Mapping[str, Floats],
    config: WaveletConfig,
    influence: Influence | None = None,
    *,
    observed: bool = False,
) -> Quantised:
    """Exact latents as integers at ``config``'s steps, rate-distortion optimised.

    With a trellis, an ``influence`` of latents on the bits of others counts, too; and theirs is
    found where it is to be ``observed``.
    """
    coarsest = _round(exact["coarsest"], config.coarsest_step())
    levels = [
        [
            (exact[f"levels.{level}.{name}"] / np.float32(config.latent_unit(level))).clip(
                -LARGEST, LARGEST
            )
            for name in ORIENTATIONS
        ]
        for level in range(config.levels())
    ]
    trellis = config.trellis is not None
    for_eyes = VISUAL_TRELLIS_RD_LAMBDA if trellis else VISUAL_RD_LAMBDA
    rd_lambda = RD_LAMBDA if config.bands is None else for_eyes
    if config.contexts is None:
        return code(coarsest, context_model.quantise(levels, rd_lambda)[0], config)
    steps = config.band_sixteenths()
    if trellis:
        return Quantised(
            coarsest,
            *coding.quantise_by_trellis(
                levels, coarsest, rd_lambda, steps, influence, observed=observed
            ),
        )
    return Quantised(coarsest, *coding.quantise_and_encode(levels, coarsest, rd_lambda, steps))


def code(coarsest: Integers, levels: list[Level], config: WaveletConfig) -> Quantised:
    """Integer latents, without a trellis, with their code."""
    if config.contexts is None:
        return Quantised(coarsest, levels, context_model.encode(levels))
    copies = [[band.copy() for band in level] for level in levels]  # coding works in place
    coded = coding.encode(copies, coarsest, config.band_sixteenths())
    return Quantised(coarsest, levels, coded)


def pack(colours: Floats, quantised: Quantised) -> bytes:
    """The payload of integer latents, and of the axes of their colours. Without a post-filter."""
    coarsest = quantised.coarsest
    # each less its left neighbour; the first column less the one above
    changes = np.diff(coarsest, axis=2, prepend=0)
    changes[:, 1:, 0] = np.diff(coarsest[:, :, 0], axis=1)
    runs = [(channel, integers.fit_model(channel)[0]) for channel in changes]
    first = integers.encode(runs)
    models = b"".join(model.to_bytes() for _, model in runs)
    head = store_axes(colours) + models + len(first).to_bytes(LENGTH_SIZE, "little")
    return head + first + quantised.coded


def join(latents: bytes, network: bytes) -> bytes:
    """The payload of latents (and networks), and of another network before them."""
    return len(network).to_bytes(NETWORK_LENGTH_SIZE, "little") + network + latents


def _split(data: bytes, config: WaveletConfig) -> tuple[dict[str, bytes], bytes]:
    """The payloads of the networks that there are, by name, and that of the latents."""
    networks = {}
    parts = (
        ("network", config.own_shapes()),
        ("adaptation", config.adapted),
        ("modulation", config.is_modulated()),
    )
    for name, there in parts:
        if there:
            end = NETWORK_LENGTH_SIZE + int.from_bytes(data[:NETWORK_LENGTH_SIZE], "little")
            networks[name], data = data[NETWORK_LENGTH_SIZE:end], data[end:]
    return networks, data


def _head_size(config: WaveletConfig) -> int:
    """Bytes of all that comes before the coarsest picture."""
    return config.channels * (config.channels + MODEL_SIZE) + LENGTH_SIZE


def parts(data: bytes, config: WaveletConfig) -> dict[str, int]:
    """Bytes of a payload: up to the end of the coarsest picture, of levels and of networks."""
    networks, payload = _split(data, config)
    head = _head_size(config)
    first = head + int.from_bytes(payload[head - LENGTH_SIZE : head], "little")
    sizes = {"coarsest": first, "levels": len(payload) - first}
    return sizes | {name: NETWORK_LENGTH_SIZE + len(part) for name, part in networks.items()}


def unpack(data: bytes, config: WaveletConfig) -> Tensors:
    """The latents in a payload, in the unit of the picture's values, and all post-filters.

    As :meth:`.WaveletConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    networks, payload = _split(data, config)
    own = weights.unpack(networks.get("network", b""), config.own_shapes())
    change = weights.unpack(networks.get("adaptation", b""), config.adaptation_shapes())
    change |= weights.unpack(networks.get("modulation", b""), config.modulation_shapes())
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
        steps = config.band_sixteenths()
        trellis = config.trellis is not None
        levels = coding.decode(
            payload[end:], config.band_shapes(), coarsest, steps, trellis=trellis
        )
    tensors = dequantise(read_axes(payload[:start], channels), coarsest, levels, config)
    for name, parameter in own.items():
        tensors[f"correction.{name}"] = parameter.dequantise()
    return tensors | {name: parameter.dequantise() for name, parameter in change.items()}


def dequantise(
    colours: Floats, coarsest: NDArray[Any], levels: Sequence[Level], config: WaveletConfig
) -> Tensors:
    """What :func:`unpack` reads from the payload of integer latents alone.

    ``colours`` ``[C, C]`` are the axes as they are stored, ``coarsest`` ``[C, h, w]`` and
    ``levels``, from the finest on, the integers.
    """
    tensors = {
        "colours": read_axes(store_axes(colours), len(colours)),
        "coarsest": coarsest.astype(np.float32) * np.float32(config.coarsest_step()),
    }
    for level, bands in enumerate(levels):
        step = np.float32(config.latent_unit(level))
        for name, band in zip(ORIENTATIONS, bands, strict=True):
            tensors[f"levels.{level}.{name}"] = band.astype(np.float32) * step
    return tensors | shared_parameters(config)
