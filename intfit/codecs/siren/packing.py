"""A SIREN's parameters in a file, packed or open."""

from collections.abc import Mapping

from ...coding import weights
from ...coding.container import Stored
from ...coding.tensors import Tensors, payload_of, read_open
from .config import AnyConfig


def unpack(stored: Mapping[str, Stored], config: AnyConfig) -> Tensors:
    """The parameters in a file.

    Raises:
        FileFormatError: if it does not hold them.
    """
    payload = payload_of(stored)
    if payload is None:
        return read_open(stored, config.shapes())
    tensors = weights.unpack(payload, config.shapes())
    return {name: tensor.dequantise() for name, tensor in tensors.items()}


def parts(payload: bytes, config: AnyConfig) -> dict[str, float]:
    """The bytes that each tensor of a packed payload takes."""
    return {part.name: round(part.size, 1) for part in weights.parts(payload, config.shapes())}
