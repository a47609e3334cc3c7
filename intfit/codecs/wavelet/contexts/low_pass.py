"""The picture of the coarser levels, synthesised in integers.

It is what contexts see of a picture, so that it must be the same on every machine: the lifting of
:mod:`..transform`, in fixed point.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..transform import NORMS

#: Values in sixteenths of a quantisation step.
Fixed = NDArray[np.int64]

#: A quantisation step, in the unit of values.
UNIT = 16
#: Fractional bits of factors.
FACTOR_BITS = 12
#: The largest latent that the picture is made of, and its own largest value, in sixteenths.
_LARGEST_LATENT, _LARGEST = 1 << 24, 1 << 34
#: The lifting steps of the inverse transform, its scale and the reciprocal of that, as factors.
_LIFTING = (-1817, -3616, 217, 6497)
_SCALE, _RECIPROCAL = 4709, 3563


def _multiply(values: Fixed, factor: int) -> Fixed:
    """``values`` times ``factor`` / 2^FACTOR_BITS, rounded to nearest, halves up."""
    product: Fixed = values * factor
    product += 1 << (FACTOR_BITS - 1)
    product >>= FACTOR_BITS
    return product


def _lift(target: Fixed, source: Fixed, offset: int, factor: int) -> None:
    """Add ``factor`` times two neighbours, in ``source`` from ``offset`` on; along the first axis.

    Beyond an end of ``source``, its outermost value.
    """
    first = np.arange(len(target)) + offset
    last = len(source) - 1
    target += _multiply(source[first.clip(0, last)] + source[(first + 1).clip(0, last)], factor)


def _merge(low: Fixed, high: Fixed) -> Fixed:
    """The values of a low and a high band, along the first axis."""
    even, odd = _multiply(low, _RECIPROCAL), _multiply(high, _SCALE)
    _lift(even, odd, -1, _LIFTING[0])
    _lift(odd, even, 0, _LIFTING[1])
    _lift(even, odd, -1, _LIFTING[2])
    _lift(odd, even, 0, _LIFTING[3])
    values = np.empty((len(even) + len(odd), *even.shape[1:]), np.int64)
    values[0::2], values[1::2] = even, odd
    return values


def merge_level(low: Fixed, bands: Sequence[NDArray[Any]], level: int, unit: int) -> Fixed:
    """The picture ``[H, W]`` of the low-pass picture of a level and its three ``bands`` of latents.

    ``level`` 0 is the finest. The latents' ``unit`` is in 256ths.
    """
    scaled = []
    for orientation, band in enumerate(bands):
        norm = NORMS[min(level, len(NORMS) - 1)][orientation == 2]
        values = (start(band, unit) + UNIT // 2) // UNIT
        scaled.append(_multiply(values, round((1 << FACTOR_BITS) / norm)))
    across, down, both = scaled
    picture = _merge(_merge(low, down).T, _merge(across, both).T).T
    return picture.clip(-_LARGEST, _LARGEST)


def start(latents: NDArray[Any], step: int) -> Fixed:
    """Integers ``[h, w]``, of the coarsest picture or of a band, by their ``step``."""
    return latents.astype(np.int64).clip(-_LARGEST_LATENT, _LARGEST_LATENT) * step
