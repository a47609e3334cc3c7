"""The tensors of a file: one packed payload, or float tensors by name in a usual precision."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..settings import Precision
from ..signals import Floats
from .container import PAYLOAD, Stored

#: Float32 tensors by name.
Tensors = dict[str, Floats]

_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def store_payload(payload: bytes) -> dict[str, Stored]:
    """The packed profile: one tensor of bytes."""
    return {PAYLOAD: Stored("U8", (len(payload),), payload)}


def payload_of(stored: Mapping[str, Stored]) -> bytes | None:
    """The payload of a file of the packed profile; None for the open profile."""
    if list(stored) == [PAYLOAD] and stored[PAYLOAD].dtype == "U8":
        return stored[PAYLOAD].data
    return None


def store_open(
    tensors: Mapping[str, Floats], precision: Precision = "float32"
) -> dict[str, Stored]:
    """The open profile: tensors by name, rounded to ``precision`` (to nearest, ties to even)."""
    stored = {}
    for name, tensor in tensors.items():
        data = _round(np.ascontiguousarray(tensor, "<f4"), precision).tobytes()
        stored[name] = Stored(_TYPES[precision], tensor.shape, data)
    return stored


def read_open(stored: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Float32 tensors of the open profile, of these ``shapes``.

    Raises:
        FileFormatError: if a name, a shape or a type differs, or a value is not finite.
    """
    if {name: tensor.shape for name, tensor in stored.items()} != dict(shapes):
        raise FileFormatError("damaged: the tensors are not those of the network in the header")
    tensors = {}
    for name, tensor in stored.items():
        if tensor.dtype not in _TYPES.values():
            raise FileFormatError(f"damaged: tensor {name!r} has type {tensor.dtype}")
        values = _to_floats(tensor)
        if not np.isfinite(values).all():
            raise FileFormatError(f"damaged: tensor {name!r} holds values that are not numbers")
        tensors[name] = values
    return tensors


def _round(values: Floats, precision: Precision) -> NDArray[np.generic]:
    """Float32 values in another type. NumPy has no bfloat16: it is returned as uint16 bits."""
    if precision == "float16":
        with np.errstate(over="ignore"):  # an overflow is infinite, which read_open refuses
            return values.astype("<f2")
    if precision == "float32":
        return values
    bits = values.view("<u4").astype(np.uint64)
    to_nearest_even = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, to_nearest_even).astype("<u2")


def _to_floats(tensor: Stored) -> Floats:
    """The float32 values of a stored tensor, in its shape."""
    if tensor.dtype == "BF16":
        bits = np.frombuffer(tensor.data, "<u2").astype("<u4") << np.uint32(16)
        return bits.view("<f4").reshape(tensor.shape).astype(np.float32)
    values = np.frombuffer(tensor.data, "<f2" if tensor.dtype == "F16" else "<f4")
    return values.reshape(tensor.shape).astype(np.float32)
