"""The payload of a recording that is rounded for the waveform.

It is, in order: the axes of the channels (a signed byte an entry), a byte with the cutoff, from
where on a block's latents are all 0, and one stream of the range coder for the sizes of blocks and
the latents.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from ....coding.integers import LARGEST, Integers
from ....coding.magnitudes import Decoder, Encoder
from ....coding.steps import TRELLIS_UNIT
from ....coding.tensors import Tensors
from ....errors import FileFormatError
from ...channels import read_axes, store_axes
from ..blocks import choose_sizes, decode_sizes, encode_sizes, make_size_tensor
from ..config import FREQUENCY_PARTS, MdctConfig
from ..transform import Reals, analyse, pad
from .contexts import LatentCoder, Network, Symbols, decoding, rounding


def pack(samples: Reals, axes: Reals, config: MdctConfig) -> bytes:
    """The payload of samples ``[N, C]`` along ``axes``, at the quantisation step of ``config``."""
    padded = pad(samples, config)
    sizes = choose_sizes(padded, config.step_size)
    exact = analyse(padded, sizes) / np.float32(config.step_size)
    np.clip(exact, -LARGEST, LARGEST, out=exact)
    cutoff = find_cutoff(exact, sizes)
    encoder = Encoder()
    encode_sizes(encoder, sizes)
    exact *= np.float32(16 / TRELLIS_UNIT)
    code_blocks(exact, sizes, cutoff, config, rounding(encoder))
    return store_axes(axes) + bytes([cutoff]) + encoder.finish()


def find_cutoff(exact: Reals, sizes: Sequence[int]) -> int:
    """The lowest cutoff, in :data:`..config.FREQUENCY_PARTS`, above all of half a step or more."""
    nonzero = np.abs(exact).max(axis=1) >= 0.5
    cutoff, start = 0, 0
    for size in sizes:
        used = np.flatnonzero(nonzero[start : start + size])
        needed = -(-(int(used[-1]) + 1) * FREQUENCY_PARTS // size) if used.size else 0
        cutoff = max(cutoff, needed)
        start += size
    return cutoff


def code_blocks(
    latents: Reals | Integers,
    sizes: Sequence[int],
    cutoff: int,
    config: MdctConfig,
    symbols: Symbols,
    network: Network | None = None,
) -> None:
    """Code the latents ``[N, C]`` of blocks of these sizes, in units of the trellis, in place.

    The ``network`` is the shipped one unless another is given.
    """
    coder = LatentCoder(config.channels, config.rate, cutoff, symbols, network)
    for start, end in itertools.pairwise(itertools.accumulate(sizes, initial=0)):
        latents[start:end] = coder.code(latents[start:end])


def parts(payload: bytes, config: MdctConfig) -> dict[str, int]:
    """Bytes of a payload: all of it, to speak of, is latents."""
    return {"latents": len(payload)}


def unpack(payload: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, in the unit of the samples.

    As :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    head = config.channels**2 + 1
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its recording")
    axes, cutoff = read_axes(payload[: head - 1], config.channels), payload[head - 1]
    if cutoff > FREQUENCY_PARTS:
        raise FileFormatError("damaged: its latents cannot be decoded")
    decoder = Decoder(payload[head:])
    latents: Integers = np.zeros((config.padded_frames(), config.channels), np.int32)
    try:
        sizes = decode_sizes(decoder, config.padded_frames())
        code_blocks(latents, sizes, cutoff, config, decoding(decoder))
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    unit = np.float32(config.step_size * TRELLIS_UNIT / 16)
    return {
        "channels": axes,
        "blocks": make_size_tensor(sizes),
        "latents": latents.astype(np.float32) * unit,
    }
