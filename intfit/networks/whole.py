"""A SIREN evaluated in whole numbers: what decides an entropy decoder is the same everywhere."""

import decimal
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..coding.steps import WEIGHT_STEPS_PER_OCTAVE
from ..coding.weights import QuantisedTensor
from .architecture import SirenConfig

#: Fractional bits of coordinates and of sines, and of weights. Outputs have both together.
SINE_BITS, WEIGHT_BITS = 14, 16
#: Weights are clipped to this magnitude, in units of 2^-16: sums of products stay below 2^53.
MAX_WEIGHT = (1 << 29) - 1

Whole = NDArray[np.int64]


@lru_cache(maxsize=2)
def _sines(phase_bits: int) -> NDArray[np.float64]:
    """The sines of the middles of equal parts of a period, in units of 2^-14."""
    turns = (np.arange(1 << phase_bits) + 0.5) / (1 << phase_bits)
    sines: NDArray[np.float64] = np.rint(np.sin(2 * np.pi * turns) * (1 << SINE_BITS))
    return sines


@lru_cache(maxsize=1)
def _roots() -> list[int]:
    """2^(30 - i / 12), rounded down, for i from 0 to 11."""
    with decimal.localcontext() as context:
        context.prec = 40
        exponents = [decimal.Decimal(-i) / WEIGHT_STEPS_PER_OCTAVE for i in range(12)]
        return [int(decimal.Decimal(2) ** each * (1 << 30)) for each in exponents]


def _fix(tensor: QuantisedTensor, factor: int) -> NDArray[np.float64]:
    """A tensor times ``factor`` / 256, in units of 2^-16: whole numbers in float64."""
    octaves, part = divmod(tensor.step, WEIGHT_STEPS_PER_OCTAVE)
    scaled = tensor.integers.astype(np.int64) * _roots()[part] >> octaves
    scaled = scaled.clip(-(1 << 40), 1 << 40) * factor >> (30 + 8 - WEIGHT_BITS)
    return scaled.clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.float64)


def evaluate_whole(
    parameters: Mapping[str, QuantisedTensor],
    network: SirenConfig,
    coordinates: Whole,
    *,
    phase_bits: int,
) -> Whole:
    """Values ``[n, c]``, in units of 2^-30, at ``coordinates`` ``[n, d]``, in units of 2^-14.

    Sines are looked up in a table of 2^``phase_bits`` parts of a period. In float64, whose sums of
    whole numbers below 2^53 are exact in any order.
    """
    x, sums = coordinates.astype(np.float64), coordinates
    for layer in range(network.depth + 1):
        last = layer == network.depth
        omega = network.omega if layer else network.omega_first
        factor = 256 if last else round(omega / (2 * np.pi) * 256)
        weight = _fix(parameters[f"layers.{layer}.weight"], factor)
        bias = _fix(parameters[f"layers.{layer}.bias"], factor)
        sums = (x @ weight.T + bias * (1 << SINE_BITS)).astype(np.int64)
        if not last:  # a sum of 2^30 is a turn
            shift = SINE_BITS + WEIGHT_BITS - phase_bits
            x = _sines(phase_bits)[sums >> shift & ((1 << phase_bits) - 1)]
    return sums
