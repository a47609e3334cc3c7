"""A SIREN's parameters in a file, packed or open.

Where the quantisation steps of neurons differ, a packed network begins with a run of integers of
its own: by how many halves of an octave the steps of each neuron of the hidden layers are finer
than the coarsest of its layer. The neurons of a layer may stand in any order: they are sorted by
that number, and only its growth from each to the next is stored.

In units of their steps, the weights of neurons with finer steps are larger, as are those that lead
on from them: the spread of their model is wider.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...coding import weights
from ...coding.container import Stored
from ...coding.integers import Integers
from ...coding.tensors import Tensors, payload_of, read_open
from ...coding.weights import QuantisedTensor, finer_steps, fold_growth, wider_spreads
from ...errors import FileFormatError
from .config import COLOURS, AnyConfig, colours_of, distance_of

#: What the name of that run ends with, and the most halves of an octave that are read from it.
STEPS, MOST_HALVES = "steps", 63


def pack(
    tensors: Mapping[str, QuantisedTensor], finer: Mapping[str, Integers], config: AnyConfig
) -> bytes:
    """The payload of networks of ``config``.

    ``finer`` has by how many halves of an octave steps are finer, for each hidden layer, named as
    in ``tensors`` (``colours.layers.1``): ``[w]`` each.
    """
    packed = dict(tensors)
    order = _packed_shapes(config)
    for name in order.keys() - tensors.keys():
        prefix = name.removesuffix(STEPS)
        layers = [f"{prefix}layers.{row + 1}" for row in range(order[name][0])]
        for layer in layers:
            _sort_neurons(packed, layer, np.argsort(finer[layer], kind="stable"))
        packed[name] = QuantisedTensor(0, fold_growth([finer[layer] for layer in layers]))
    return weights.pack({name: packed[name] for name in order}, _find_wider)


def unpack(stored: Mapping[str, Stored], config: AnyConfig) -> Tensors:
    """The parameters in a file.

    Raises:
        FileFormatError: if it does not hold them.
    """
    payload = payload_of(stored)
    if payload is None:
        return read_open(stored, config.shapes())
    tensors = unpack_integers(payload, config)
    parameters = {}
    for name in config.shapes():
        halves = _find_halves(name.rpartition(".")[0], tensors)
        parameters[name] = tensors[name].dequantise(finer_steps(name, tensors[name].step, halves))
    return parameters


def unpack_integers(payload: bytes, config: AnyConfig) -> dict[str, QuantisedTensor]:
    """All runs of integers of a packed payload.

    Raises:
        FileFormatError: if it does not hold them.
    """
    return weights.unpack(payload, _packed_shapes(config), _find_wider)


def parts(payload: bytes, config: AnyConfig) -> dict[str, float]:
    """The bytes that each tensor of a packed payload takes."""
    found = weights.parts(payload, _packed_shapes(config), _find_wider)
    return {part.name: round(part.size, 1) for part in found}


def _packed_shapes(config: AnyConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every run of integers of a packed file, in order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix, network in (("", distance_of(config)), (COLOURS, colours_of(config))):
        if network is None:
            continue
        if distance_of(config).neuron_steps and network.depth > 1:
            shapes[f"{prefix}{STEPS}"] = (network.depth - 1, network.width)
        shapes |= {f"{prefix}{name}": shape for name, shape in network.shapes().items()}
    return shapes | config.shapes()  # what is left are those of a trim


def _sort_neurons(tensors: dict[str, QuantisedTensor], layer: str, order: NDArray[np.intp]) -> None:
    """Bring the neurons of a layer into another order, which changes nothing of the network."""
    prefix, _, number = layer.rpartition(".")
    rows = [f"{layer}.weight", f"{layer}.bias"]
    for name in rows:
        tensors[name] = replace(tensors[name], integers=tensors[name].integers[order])
    after = f"{prefix}.{int(number) + 1}.weight"
    tensors[after] = replace(tensors[after], integers=tensors[after].integers[:, order])


def _find_halves(layer: str, tensors: Mapping[str, QuantisedTensor]) -> Integers:
    """By how many halves of an octave the steps of a layer's neurons are finer: ``[w]``, or a 0.

    Raises:
        FileFormatError: if that is more than any encoder writes.
    """
    prefix, _, number = layer.rpartition("layers.")
    growth = tensors.get(f"{prefix}{STEPS}")
    row = int(number) - 1
    if growth is None or not 0 <= row < len(growth.integers):
        return np.zeros(1, np.int32)
    halves = _unfold(growth.integers[row]).clip(0, MOST_HALVES).cumsum()
    if halves[-1] > MOST_HALVES:
        raise FileFormatError("damaged: the steps of its neurons are too fine")
    return halves.astype(np.int32)


def _find_wider(name: str, tensors: Mapping[str, QuantisedTensor]) -> Integers | None:
    """By how much the spread of a tensor's integers is wider: see :data:`.weights.Wider`."""
    if f"{name.rpartition('layers.')[0]}{STEPS}" not in tensors:
        return None
    return wider_spreads(name, partial(_find_halves, tensors=tensors))


def _unfold(integers: Integers) -> Integers:
    """The numbers that :func:`.weights.fold_growth` made these of."""
    return np.where(integers < 0, -2 * integers - 1, 2 * integers)
