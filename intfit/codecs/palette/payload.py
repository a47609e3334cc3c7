"""The payload of a palette and its indices.

It is, in order: the length of the second part (four bytes); the first part, the decisions about
candidates by the range coder of :mod:`.coding.magnitudes`; the second part, the colours and the
indices that no candidate had, by that of :mod:`.coding.mixing`; and zeros up to the least size.
"""

from collections.abc import Callable

import numpy as np

from ...coding import magnitudes, mixing
from ...coding.integers import Integers
from ...errors import FileFormatError
from .colours import Colours, code_colours
from .config import PaletteConfig
from .context_model import ContextModel, ignore_share

#: Bytes of the length of the second part.
LENGTH_SIZE = 4
#: A payload has at least one byte for so many indices that no candidate had.
MAX_ESCAPES_PER_BYTE = 8


def pack(
    colours: Colours,
    indices: Integers,
    config: PaletteConfig,
    follow: Callable[[float], None] = ignore_share,
) -> bytes:
    """The payload of ``colours`` ``[N, C]`` and ``indices`` ``[H, W]``.

    ``follow`` is told the share that is done.
    """
    first, second = magnitudes.Encoder(), mixing.Encoder()
    code_colours(second, colours, config.colours, config.channels)
    model = _make_model(config, None)
    model.code(first, second, _turn(indices, config), follow)
    parts = first.finish(), second.finish()
    data = len(parts[1]).to_bytes(LENGTH_SIZE, "little") + parts[1] + parts[0]
    least = max(config.least_size(), -(-model.escapes // MAX_ESCAPES_PER_BYTE))
    return data.ljust(least, b"\0")


def unpack(data: bytes, config: PaletteConfig) -> tuple[Colours, Integers]:
    """The colours and the indices that :func:`pack` was given.

    Raises:
        FileFormatError: if it does not hold them.
    """
    colours_and_rest, candidates = split(data)
    if len(data) < config.least_size():
        raise FileFormatError("damaged: its payload is too small for its picture")
    second = mixing.Decoder(colours_and_rest)
    colours = code_colours(second, None, config.colours, config.channels)
    model = _make_model(config, MAX_ESCAPES_PER_BYTE * len(data))
    try:
        indices = model.code(magnitudes.Decoder(candidates), second, None)
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its indices cannot be decoded") from None
    return colours, np.ascontiguousarray(_turn(indices, config))


def split(data: bytes) -> tuple[bytes, bytes]:
    """The part of the colours and further indices, and that of the candidates."""
    end = LENGTH_SIZE + int.from_bytes(data[:LENGTH_SIZE], "little")
    if len(data) < end:
        raise FileFormatError("damaged: its payload is cut short")
    return data[LENGTH_SIZE:end], data[end:]


def _make_model(config: PaletteConfig, most_escapes: int | None) -> ContextModel:
    short, long = sorted((config.height, config.width))
    return ContextModel(short, long, config.colours, most_escapes)


def _turn(indices: Integers, config: PaletteConfig) -> Integers:
    """Rows of a picture that is taller than wide as columns, or the other way round."""
    return indices.T if config.height > config.width else indices
