"""The base of a surface's latents: a small SIREN of its signed distance, which they correct.

Its values at the nodes of a level decide where latents are: they are computed in whole numbers.
"""

from collections.abc import Mapping

import numpy as np

from ...coding.weights import QuantisedTensor
from ...networks.architecture import SirenConfig
from ...networks.whole import SINE_BITS, WEIGHT_BITS, evaluate_whole
from .config import LevelSetConfig
from .pyramid import LARGEST, Grid, Integers

#: Bits of the index of a phase in the table of sines.
PHASE_BITS = 16
#: A field's value of 1 is a distance of a tenth.
VALUES_PER_UNIT = 10
#: Values are clipped to this magnitude, in units of 2^-30.
LARGEST_VALUE = 1 << 32


def predict_coefficients(
    parameters: Mapping[str, QuantisedTensor], network: SirenConfig, config: LevelSetConfig
) -> Grid:
    """The B-spline coefficients of the first level, in units, that stand for a base's values.

    A coefficient is the value at its node less a sixth of its second differences there: what the
    splines give at the nodes is the value to fourth order.
    """
    level = config.first_level
    side = config.side(level) + 2  # a node more on every side, for the differences
    places = (np.arange(side, dtype=np.int64) - 2 << SINE_BITS + 1 >> level) - (1 << SINE_BITS)
    values = np.empty((side,) * 3, np.int64)
    for index, x in enumerate(places):  # layer by layer, which bounds memory
        y, z = np.meshgrid(places, places, indexing="ij")
        points = np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1)
        found = evaluate_whole(parameters, network, points, phase_bits=PHASE_BITS)
        values[index] = found[:, 0].reshape(side, side)
    values = values.clip(-LARGEST_VALUE, LARGEST_VALUE)
    coefficients = _to_units(12 * values[1:-1, 1:-1, 1:-1] - _sum_beside(values), config)
    outside = _to_units(np.array(6 << SINE_BITS + WEIGHT_BITS), config)
    for axis, half in enumerate(config.extent):
        # nodes more than a cell beyond the padded box, where nothing was fitted
        beyond = np.abs(places[1:-1]) > round(half * (1 << SINE_BITS)) + (
            1 << SINE_BITS + 1 - level
        )
        np.moveaxis(coefficients, axis, 0)[beyond] = outside
    return coefficients


def _sum_beside(values: Integers) -> Integers:
    """The sum of the six values beside each that is not at the border."""
    inner = values[1:-1, 1:-1, 1:-1]
    total = np.zeros_like(inner)
    for axis in range(3):
        lines = np.moveaxis(values, axis, 0)
        for part in (lines[:-2], lines[2:]):
            total += np.moveaxis(part[:, 1:-1, 1:-1], 0, axis)
    return total


def _to_units(sixths: Integers, config: LevelSetConfig) -> Grid:
    """Sixths of a field's values, in units of 2^-30, as coefficients in units, rounded."""
    # a unit is fine_step / 2^16 of the side of a cell of the finest level, 2^(1 - levels)
    shift = SINE_BITS + WEIGHT_BITS - 15
    divisor = 6 * VALUES_PER_UNIT * config.fine_step << shift
    found = ((sixths << config.levels) + divisor // 2) // divisor
    return found.clip(-LARGEST, LARGEST).astype(np.int32)
