"""The payload of a recording's latents in files of older encoders: equal steps, adaptive contexts.

It is, in order: the axes of the channels (a signed byte an entry), a byte with the cutoff, from
where on a block's latents are all 0, the model of the noise levels (three bytes), the length of
their integers (three bytes) and these, and one stream of the range coder for the sizes of blocks
and the latents.
"""

import math

import numpy as np

from ...coding import integers
from ...coding.integers import MODEL_SIZE, Integers, Model
from ...coding.magnitudes import Decoder
from ...coding.tensors import Tensors
from ...errors import FileFormatError
from ..channels import read_axes
from .blocks import decode_sizes, make_size_tensor
from .config import FREQUENCY_PARTS, MdctConfig
from .context_model import code_latents, entropy_code
from .noise import BANDS, LOUDEST, cells_of, fill

#: Bytes of the length of the noise levels.
LENGTH_SIZE = 3


def _head_size(config: MdctConfig) -> int:
    """Bytes of all that comes before the noise levels."""
    return config.channels**2 + 1 + MODEL_SIZE + LENGTH_SIZE


def parts(payload: bytes, config: MdctConfig) -> dict[str, int]:
    """Bytes of a payload: up to the end of the noise levels, and of blocks and latents."""
    head = _head_size(config)
    first = head + int.from_bytes(payload[head - LENGTH_SIZE : head], "little")
    return {"noise": first, "latents": len(payload) - first}


def unpack(payload: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, with noise in place of zeros, in the unit of the samples.

    As :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    channels = config.channels
    head = _head_size(config)
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its recording")
    axes = read_axes(payload[: channels**2], channels)
    cutoff = payload[channels**2]
    if cutoff > FREQUENCY_PARTS:
        raise FileFormatError("damaged: its latents cannot be decoded")
    model = Model.from_bytes(payload[channels**2 + 1 : head - LENGTH_SIZE])
    end = head + int.from_bytes(payload[head - LENGTH_SIZE : head], "little")
    decoder = Decoder(payload[end:])
    latents: Integers = np.zeros((config.padded_frames(), channels), np.int32)
    try:
        sizes = decode_sizes(decoder, config.padded_frames())
        cells = cells_of(sizes)
        shape = (cells.stretches, BANDS, channels)
        (changes,) = integers.decode(payload[head:end], [(math.prod(shape), model)])
        code_latents(latents, sizes, cutoff, entropy_code(decoder))
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    levels = changes.reshape(shape).cumsum(axis=0).clip(0, LOUDEST)
    filled = fill(latents, levels.reshape(-1, channels), cells)
    return {
        "channels": axes,
        "blocks": make_size_tensor(sizes),
        "latents": (filled * np.float32(config.step_size)).astype(np.float32),
    }
