"""SIRENs in whole numbers: section 7.7."""

import decimal

import numpy as np

from .coder import precise
from .siren import packed_parameters


def clipped(value, low, high):
    return min(max(value, low), high)


def whole_weights(integers, index, factor):
    with precise():
        root = int(decimal.Decimal(2) ** (30 - decimal.Decimal(index % 12) / 12))
    flat = [
        clipped(
            (clipped((int(q) * root) >> (index // 12), -(1 << 40), 1 << 40) * factor) >> 22,
            1 - (1 << 29),
            (1 << 29) - 1,
        )
        for q in integers.ravel()
    ]
    return np.array(flat, np.int64).reshape(integers.shape)


class WholeSiren:
    """A packed SIREN of these ``factors`` of layers, with sines of 2^bits phases."""

    def __init__(self, payload, shapes, factors, bits):
        integers, _ = packed_parameters(payload, shapes)
        self.bits, self.layers = bits, []
        for layer, factor in enumerate(factors):
            self.layers.append(
                [
                    whole_weights(
                        integers[f"layers.{layer}.{kind}"], payload[4 * (2 * layer + i)], factor
                    )
                    for i, kind in enumerate(("weight", "bias"))
                ]
            )

    def outputs(self, inputs):
        """In 2^-30ths, of inputs in 2^-14ths."""
        x = np.array(inputs, np.int64)
        for weight, bias in self.layers[:-1]:
            z = x @ weight.T + (bias << 14)
            phase = (z >> (30 - self.bits)) % (1 << self.bits)
            turns = (phase + 0.5) / (1 << self.bits)
            x = np.rint(16384 * np.sin(2 * np.pi * turns)).astype(np.int64)
        weight, bias = self.layers[-1]
        return x @ weight.T + (bias << 14)
