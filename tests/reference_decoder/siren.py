"""SIRENs, coordinates and values: sections 4 and 8."""

import math

import numpy as np

from .coder import RangeDecoder, RunModel


def siren_shapes(inside, outside, width, depth, *, skip=False):
    sizes = [inside, *[width] * depth, outside]
    shapes = {}
    for layer in range(depth + 1):
        shapes[f"layers.{layer}.weight"] = (sizes[layer + 1], sizes[layer])
        shapes[f"layers.{layer}.bias"] = (sizes[layer + 1],)
    return shapes | ({"skip": (outside, inside)} if skip else {})


def packed_parameters(payload, shapes):
    """Integers and parameters of packed networks.

    Where neurons have steps of their own, ``shapes`` has ``steps`` at the beginning of each.
    """
    head = 4 * len(shapes)
    decoder = RangeDecoder(payload[head:])
    integers, parameters, halves = {}, {}, {}
    for index, (name, shape) in enumerate(shapes.items()):
        entry = payload[4 * index : 4 * index + 4]
        prefix, _, place = name.rpartition("layers.")
        if name.endswith("steps"):
            run = RunModel(entry[1:]).read(decoder, math.prod(shape)).reshape(shape)
            for row, numbers in enumerate(run):
                growth = [2 * z if z >= 0 else -2 * z - 1 for z in numbers.tolist()]
                halves[name.removesuffix("steps"), row + 1] = np.cumsum(growth)
            integers[name] = run
            continue
        run, step = np.zeros(shape, np.int64), np.float32(2.0 ** (-entry[0] / 12))
        layer = int(place.split(".")[0]) if halves else -1
        rows = halves.get((prefix, layer), np.zeros(shape[0], int))
        sums = np.zeros(shape, int) + (rows[:, None] if len(shape) == 2 else rows)
        if len(shape) == 2:
            sums = sums + halves.get((prefix, layer - 1), np.zeros(shape[1], int))
        wider = 3 * sums // 2
        for more in np.unique(wider):
            part = RunModel(entry[1:], int(more)).read(decoder, int((wider == more).sum()))
            run[wider == more] = part
        finer = np.float32(2.0 ** (-rows / 2)) * step
        integers[name] = run
        parameters[name] = run * (finer[:, None] if len(shape) == 2 else finer)
    return integers, parameters


def with_prefix(parameters, prefix):
    """The parameters of one of two networks; that without a prefix has names that begin so."""
    start = f"{prefix}layers."
    return {
        name.removeprefix(prefix): values
        for name, values in parameters.items()
        if name.startswith(start)
    }


def perceptron(parameters, x, bend):
    """Layers with a nonlinearity between them, and a linear layer beside them if there is one."""
    depth = sum(name.endswith("bias") for name in parameters) - 1
    values = x
    for layer in range(depth + 1):
        values = values @ parameters[f"layers.{layer}.weight"].T
        values = values + parameters[f"layers.{layer}.bias"]
        if layer < depth:
            values = bend(layer, values)
    return values + x @ parameters["skip"].T if "skip" in parameters else values


def siren(parameters, network, coordinates):
    """Values ``[n, c]`` at coordinates ``[n, d]``."""
    _, _, omega_first, omega = network[:4]
    values = perceptron(
        parameters, coordinates, lambda layer, z: np.sin((omega if layer else omega_first) * z)
    )
    return bend(values) if network[8:] else values


def bend(values):
    """A field with creases ``[n, 1]``, of the last layer's values."""
    return values[:, :1] + (values[:, 1::2] * np.abs(values[:, 2::2])).sum(axis=1, keepdims=True)


def open_parameters(tensors):
    found = {}
    for name, (dtype, shape, data) in tensors.items():
        if dtype == "BF16":
            raw = np.frombuffer(data, "<u2").astype("<u4") << 16
            values = raw.view("<f4")
        else:
            values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype("<f4")
        found[name] = values.reshape(shape)
    return found


def centres(size, longest):
    return (2 * np.arange(size) + 1 - size) / longest


def grid(height, width):
    """Coordinates (y, x) of all pixels, row by row."""
    longest = max(height, width)
    y, x = np.meshgrid(centres(height, longest), centres(width, longest), indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def pixels(values, mode, low=None, high=None):
    """8-bit pixels of values in [-1, 1]; 16 bits where the mode is I;16, of the header's range."""
    if low is None:
        low, high = 0, 65535 if mode == "I;16" else 255
    return np.rint(low + (np.clip(values, -1, 1) + 1) * ((high - low) / 2)).astype(np.int64)


CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "PA": 4, "I;16": 1, "F": 1}


def mirrored(index, size):
    """An index beyond an end, mirrored at it."""
    index = -1 - index if index < 0 else index
    index = 2 * size - 1 - index if index >= size else index
    return min(max(index, 0), size - 1)
