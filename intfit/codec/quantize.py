"""Parameters at the precision they are stored in (the open profile)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import FileFormatError
from ..settings import Precision
from .container import Stored

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_BY_NAME = {name: dtype for dtype, name in _NAMES.items()}


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
