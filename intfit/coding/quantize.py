"""Parameters as they stand in a file: packed into one payload, or open, at a usual precision."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import FileFormatError
from ..settings import Precision
from . import weights as payload
from .container import PAYLOAD, Stored
from .integers import LARGEST
from .weights import Quantized, step_size, unpack

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BY_NAME = {name: dtype for dtype, name in _NAMES.items()}


def quantize(parameters: Mapping[str, Tensor], steps: Mapping[str, int]) -> dict[str, Quantized]:
    """Parameters as whole multiples of their steps, clamped to what a payload can hold."""
    quantized = {}
    for name, index in steps.items():
        whole = (parameters[name].detach() / step_size(index)).round_()
        whole = whole.clamp_(-LARGEST, LARGEST).to("cpu", torch.int32)
        quantized[name] = Quantized(index, whole.numpy())
    return quantized


def dequantize(quantized: Mapping[str, Quantized]) -> dict[str, Tensor]:
    """Float32 parameters."""
    return {
        name: torch.from_numpy(tensor.integers).float() * step_size(tensor.step)
        for name, tensor in quantized.items()
    }


def pack(quantized: Mapping[str, Quantized]) -> dict[str, Stored]:
    """The packed profile: one tensor of bytes."""
    data = payload.pack(quantized)
    return {PAYLOAD: Stored("U8", (len(data),), data)}


def store(parameters: Mapping[str, Tensor], precision: Precision) -> dict[str, Stored]:
    """Round parameters to ``precision``, as they will stand in the file."""
    stored = {}
    for name, tensor in parameters.items():
        rounded = tensor.detach().to("cpu", _DTYPES[precision]).contiguous()
        data = rounded.view(torch.uint8).numpy().tobytes()
        stored[name] = Stored(_NAMES[rounded.dtype], tuple(rounded.shape), data)
    return stored


def restore(
    stored: Mapping[str, Stored], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Float32 parameters from a file, for a network whose parameters have ``shapes``.

    Raises:
        FileFormatError: if a name or a shape differs, or a parameter is not finite.
    """
    if list(stored) == [PAYLOAD] and stored[PAYLOAD].dtype == "U8":
        return dequantize(unpack(stored[PAYLOAD].data, shapes))
    if {name: tensor.shape for name, tensor in stored.items()} != dict(shapes):
        raise FileFormatError("damaged: the tensors are not those of the network in the header")
    parameters = {}
    for name, tensor in stored.items():
        if tensor.dtype not in _BY_NAME:
            raise FileFormatError(f"damaged: tensor {name!r} has type {tensor.dtype}")
        raw = torch.frombuffer(bytearray(tensor.data), dtype=_BY_NAME[tensor.dtype])
        parameters[name] = raw.reshape(tensor.shape).float()
        if not bool(parameters[name].isfinite().all()):
            raise FileFormatError(f"damaged: tensor {name!r} holds values that are not numbers")
    return parameters
