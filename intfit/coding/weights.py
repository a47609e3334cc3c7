"""The packed profile: quantised parameters as one run of bytes.

A payload is four bytes a tensor, in the order of the network's parameters (its step, and the model
of its integers, see :mod:`.entropy`), and then what the range coder made of their integers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import FileFormatError
from ..signals import Floats
from . import integers as entropy
from .integers import Integers, Model
from .steps import WEIGHT_STEPS_PER_OCTAVE, step_size

#: A payload has at least a byte for so many integers: it bounds what a hostile file can ask for.
MOST_PER_BYTE = 16
#: Bytes a tensor takes before its integers.
OVERHEAD = 1 + entropy.SIZE


@dataclass(frozen=True)
class QuantisedTensor:
    """A tensor as multiples of a step: ``integers`` of its shape, and the step's index."""

    step: int
    integers: Integers

    def dequantise(self) -> Floats:
        """The float32 values."""
        step = np.float32(step_size(self.step, WEIGHT_STEPS_PER_OCTAVE))
        return self.integers.astype(np.float32) * step


@dataclass(frozen=True)
class Part:
    """What one tensor takes in a payload, in bytes, and its number of integers."""

    name: str
    count: int
    size: float


def pack(tensors: Mapping[str, QuantisedTensor]) -> bytes:
    """The payload of a network's parameters, in order."""
    head, runs = bytearray(), []
    for tensor in tensors.values():
        model, _ = entropy.fitted(tensor.integers)
        head += bytes([tensor.step]) + model.to_bytes()
        runs.append((tensor.integers, model))
    data = bytes(head) + entropy.encode(runs)
    count = sum(tensor.integers.size for tensor in tensors.values())
    return data.ljust(-(-count // MOST_PER_BYTE), b"\0")  # the decoder reads zeros past the end


def _models(payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, Model]]:
    if len(payload) < OVERHEAD * len(shapes):
        raise FileFormatError("damaged: its payload is cut short")
    return [
        (payload[i], Model.from_bytes(payload[i + 1 : i + OVERHEAD]))
        for i in range(0, OVERHEAD * len(shapes), OVERHEAD)
    ]


def unpack(payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, QuantisedTensor]:
    """The parameters, of ``shapes``, in a payload.

    Raises:
        FileFormatError: if it does not hold them.
    """
    counts = [math.prod(shape) for shape in shapes.values()]
    models = _models(payload, shapes)
    if sum(counts) > MOST_PER_BYTE * len(payload):
        raise FileFormatError("damaged: its payload is too small for its network")
    runs = [(count, model) for count, (_, model) in zip(counts, models, strict=True)]
    integers = entropy.decode(payload[OVERHEAD * len(shapes) :], runs)
    return {
        name: QuantisedTensor(step, values.reshape(shape))
        for (name, shape), (step, _), values in zip(shapes.items(), models, integers, strict=True)
    }


def parts(payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> list[Part]:
    """What each tensor takes in a payload."""
    tensors = unpack(payload, shapes)
    models = _models(payload, shapes)
    return [
        Part(
            name,
            tensor.integers.size,
            OVERHEAD + entropy.bits(tensor.integers, model) / 8,
        )
        for (name, tensor), (_, model) in zip(tensors.items(), models, strict=True)
    ]
