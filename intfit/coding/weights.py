"""The packed profile: quantised parameters as one run of bytes.

A payload is four bytes for each tensor, in the order of the network's parameters (the index of its
quantisation step, and the model of its integers, see :mod:`.integers`), and then the bytes of the
range coder for all their integers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FileFormatError
from ..signals import Floats
from . import integers
from .integers import MODEL_SIZE, SPREADS_PER_OCTAVE, Integers, Model
from .steps import WEIGHT_STEPS_PER_OCTAVE, step_size

#: A payload has at least one byte for this many integers: a small file cannot ask for much memory.
MAX_INTEGERS_PER_BYTE = 16
#: Bytes of a tensor's step and model.
OVERHEAD = 1 + MODEL_SIZE


def finer_steps(name: str, step: int, halves: Integers) -> Floats:
    """The steps of the parameter ``name``, one for each row: ``[n, 1]`` of a weight, else ``[n]``.

    They are finer than that of the index ``step`` by so many ``halves`` of an octave ``[n]``.
    """
    sizes = step_size(step, WEIGHT_STEPS_PER_OCTAVE) * 2.0 ** (-halves / 2)
    rows: Floats = sizes.astype(np.float32)
    return rows[:, None] if name.endswith(".weight") else rows


def wider_spreads(name: str, find_halves: Callable[[str], Integers]) -> Integers | None:
    """By how much the spread of the integers of the parameter ``name`` is wider.

    ``find_halves`` gives by how many halves of an octave the steps of a layer's neurons are finer,
    ``[n]`` or a single 0, by the name of the layer (``layers.1``). In units of their steps, the
    weights of such neurons are larger, as are those that lead on from them: the spread grows by
    half an octave for each octave. Can be broadcast to the parameter's shape; None where it is of
    no numbered layer.
    """
    prefix, layers, place = name.rpartition("layers.")
    if not layers:
        return None
    number, _, kind = place.partition(".")
    halves = find_halves(f"{prefix}layers.{number}")
    if kind == "weight":
        halves = halves[:, None] + find_halves(f"{prefix}layers.{int(number) - 1}")
    return SPREADS_PER_OCTAVE * halves >> 2


def fold_growth(finer: Sequence[Integers]) -> Integers:
    """The run that tells by how many halves of an octave the neurons' steps are ``finer``.

    For some layers, ``[w]`` each: how much these numbers grow from one to the next once they are
    sorted, ``[k, w]``, folded around 0: 0, 1, 2, 3, 4 as 0, -1, 1, -2, 2.
    """
    ordered = np.sort(np.stack(finer), axis=1)
    growth = ordered.copy()
    growth[:, 1:] -= ordered[:, :-1]
    half = (growth + 1) // 2
    return np.where(growth % 2, -half, half).astype(np.int32)


@dataclass(frozen=True)
class QuantisedTensor:
    """A tensor as multiples of a step: ``integers`` of its shape, and the step's index."""

    step: int
    integers: Integers

    def dequantise(self, sizes: float | Floats | None = None) -> Floats:
        """The float32 values; in place of the step, in steps of ``sizes`` that can be broadcast."""
        step = step_size(self.step, WEIGHT_STEPS_PER_OCTAVE) if sizes is None else sizes
        values: Floats = self.integers.astype(np.float32) * np.asarray(step, np.float32)
        return values


@dataclass(frozen=True)
class Part:
    """The size of one tensor in a payload, in bytes, and its number of integers."""

    name: str
    count: int
    size: float


#: By how much wider the spread of each integer of a tensor is than its model's, by the tensor's
#: name and the tensors before it: an array that can be broadcast to its shape; None: nowhere.
Wider = Callable[[str, Mapping[str, QuantisedTensor]], Integers | None]


def _nowhere(name: str, before: Mapping[str, QuantisedTensor]) -> Integers | None:
    return None


def pack(tensors: Mapping[str, QuantisedTensor], wider: Wider = _nowhere) -> bytes:
    """The payload of a network's parameters, in the order of ``tensors``.

    Padded with zeros, which the decoder reads past the end anyhow, to the size that
    :data:`MAX_INTEGERS_PER_BYTE` asks for.
    """
    head, runs = bytearray(), []
    for name, tensor in tensors.items():
        spreads = wider(name, tensors)
        model, _ = integers.fit_model(tensor.integers, spreads)
        head += bytes([tensor.step]) + model.to_bytes()
        for which, own in integers.split(tensor.integers, model, spreads):
            runs.append((tensor.integers[which], own))
    data = bytes(head) + integers.encode(runs)
    count = sum(tensor.integers.size for tensor in tensors.values())
    return data.ljust(-(-count // MAX_INTEGERS_PER_BYTE), b"\0")


def _read_models(payload: bytes, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[int, Model]]:
    """The step index and the model of every tensor.

    Raises:
        FileFormatError: if the payload is too short for them.
    """
    if len(payload) < OVERHEAD * len(shapes):
        raise FileFormatError("damaged: its payload is cut short")
    return [
        (payload[i], Model.from_bytes(payload[i + 1 : i + OVERHEAD]))
        for i in range(0, OVERHEAD * len(shapes), OVERHEAD)
    ]


def unpack(
    payload: bytes, shapes: Mapping[str, tuple[int, ...]], wider: Wider = _nowhere
) -> dict[str, QuantisedTensor]:
    """The parameters of these ``shapes`` in a payload.

    Raises:
        FileFormatError: if it does not hold them.
    """
    models = _read_models(payload, shapes)
    if sum(map(math.prod, shapes.values())) > MAX_INTEGERS_PER_BYTE * len(payload):
        raise FileFormatError("damaged: its payload is too small for its network")
    decoder = integers.RunDecoder(payload[OVERHEAD * len(shapes) :])
    tensors: dict[str, QuantisedTensor] = {}
    for (name, shape), (step, model) in zip(shapes.items(), models, strict=True):
        values = np.empty(shape, np.int32)
        for which, own in integers.split(values, model, wider(name, tensors)):
            part = values[which]
            values[which] = decoder.read(part.size, own).reshape(part.shape)
        tensors[name] = QuantisedTensor(step, values)
    return tensors


def parts(
    payload: bytes, shapes: Mapping[str, tuple[int, ...]], wider: Wider = _nowhere
) -> list[Part]:
    """The size of each tensor in a payload, in bytes.

    Raises:
        FileFormatError: if it does not hold them.
    """
    tensors = unpack(payload, shapes, wider)
    models = _read_models(payload, shapes)
    return [
        Part(
            name,
            tensor.integers.size,
            OVERHEAD + integers.count_bits(tensor.integers, model, wider(name, tensors)) / 8,
        )
        for (name, tensor), (_, model) in zip(tensors.items(), models, strict=True)
    ]
