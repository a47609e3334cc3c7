"""The payload of a surface's latents: the reach (one byte), and the latents of all levels.

Networks come before, each with its length (two bytes): the base, and of an open surface the trim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ...coding.mixing import Decoder, Encoder
from ...errors import FileFormatError
from .config import LevelSetConfig
from .contexts import ContextModel
from .pyramid import Grid, Integers, Pyramid, subdivide

#: A payload has at least one byte for so many latents, and for so many faces of cells on a side of
#: the finest grid: a small file cannot ask for much time and memory.
MAX_LATENTS_PER_BYTE, MAX_FACES_PER_BYTE = 256, 64
#: Bytes of the length of a network.
LENGTH_SIZE = 2
#: The farthest reach of a core.
FARTHEST = 32


@dataclass(frozen=True)
class Quantised:
    """Latents ``[k]`` of all levels, the coarsest first, and the ``reach`` they are for."""

    reach: int
    levels: list[Integers]


def _least_size(config: LevelSetConfig) -> int:
    """The fewest bytes that the latents may take, by the size of the finest grid."""
    return max(1, (1 << 2 * config.levels) // MAX_FACES_PER_BYTE)


def join(networks: Iterable[bytes], latents: bytes) -> bytes:
    """The payload of packed ``networks`` and of what :func:`pack` gave."""
    lengths = (len(network).to_bytes(LENGTH_SIZE, "little") + network for network in networks)
    return b"".join(lengths) + latents


def split(data: bytes, config: LevelSetConfig) -> tuple[dict[str, bytes], bytes]:
    """The packed networks by name, the base's and the trim's, where there are any; the latents."""
    found = {}
    for name, width in (("base", config.neurons), ("trim", config.trim)):
        if width is not None:
            end = LENGTH_SIZE + int.from_bytes(data[:LENGTH_SIZE], "little")
            found[name], data = data[LENGTH_SIZE:end], data[end:]
    return found, data


def pack(quantised: Quantised, config: LevelSetConfig, base: Grid | None = None) -> bytes:
    """The payload of latents, of which ``base`` are the coefficients that they begin to correct.

    Padded with zeros, which the decoder reads past the end anyhow, to the least size allowed.
    """
    pyramid = Pyramid(config, quantised.reach)
    model, encoder = ContextModel(pyramid), Encoder()
    coefficients = pyramid.start() if base is None else base.copy()
    count = 0
    for level, latents in enumerate(quantised.levels, start=config.first_level):
        if level > config.first_level:
            coefficients = subdivide(coefficients)
        core = pyramid.find_core(level, coefficients)
        model.code(encoder, level, coefficients, core, latents)
        active = pyramid.find_active(level, coefficients, core)
        coefficients = pyramid.correct(level, coefficients, active, latents)
        count += len(core)
    least = max(_least_size(config), -(-count // MAX_LATENTS_PER_BYTE))
    return bytes([quantised.reach]) + encoder.finish().ljust(least, b"\0")


def unpack(data: bytes, config: LevelSetConfig, base: Grid | None = None) -> Grid:
    """The coefficients of the finest level, in units, from what :func:`pack` gave.

    Raises:
        FileFormatError: if it does not hold them.
    """
    if len(data) <= _least_size(config) or not 1 <= data[0] <= FARTHEST:
        raise FileFormatError("damaged: its payload is too small for its surface")
    pyramid = Pyramid(config, data[0])
    model, decoder = ContextModel(pyramid), Decoder(data[1:])
    coefficients = pyramid.start() if base is None else base
    count = 0
    for level in range(config.first_level, config.levels + 1):
        if level > config.first_level:
            coefficients = subdivide(coefficients)
        core = pyramid.find_core(level, coefficients)
        count += len(core)
        if count > MAX_LATENTS_PER_BYTE * (len(data) - 1):
            raise FileFormatError("damaged: more latents than its payload can hold")
        try:
            latents = model.code(decoder, level, coefficients, core, None)
        except ValueError:
            raise FileFormatError("damaged: its latents cannot be decoded") from None
        active = pyramid.find_active(level, coefficients, core)
        coefficients = pyramid.correct(level, coefficients, active, latents)
    return coefficients
