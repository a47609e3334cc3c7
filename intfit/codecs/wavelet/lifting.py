"""The wavelets of Cohen, Daubechies and Feauveau with 9 and 7 taps (1992), by lifting.

Nearly orthonormal: a squared error in the bands is one in the picture, but for :data:`NORMS`.
Sides of any length, mirrored at their ends.
"""

from collections.abc import Iterable

import numpy as np

from ...signals import Floats

#: Of detail across, down and both: ``[h, w, C]``.
Bands = tuple[Floats, Floats, Floats]

#: The lifting steps (Daubechies and Sweldens 1998), and the scale that makes bands orthonormal.
_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_SCALE = 1.1496043988602418
#: The norm of what a latent adds to the picture, from the finest level on: of detail one way and
#: both ways; coarser levels are as the last.
NORMS = ((1.0113, 1.0404), (0.9984, 0.9672), (1.0458, 1.0396), (1.0668, 1.0751), (1.0729, 1.0859))
#: Columns that are merged at once.
STRIPE = 128


def norm(level: int, orientation: int) -> float:
    """The norm of the picture of a latent of 1; orientation 2 is detail both ways."""
    return NORMS[min(level, len(NORMS) - 1)][orientation == 2]


def _lift(target: Floats, source: Floats, offset: int, step: float) -> None:
    """Add ``step`` times its two neighbours, in ``source`` from ``offset`` on, to each sample.

    Samples lie along the first axis.
    """
    first = np.arange(len(target)) + offset
    last = len(source) - 1
    beside = source[first.clip(0, last)]
    beside += source[(first + 1).clip(0, last)]
    beside *= np.float32(step)
    target += beside


def _split(values: Floats) -> tuple[Floats, Floats]:
    """Low and high half of ``[n, ...]``, n at least 2."""
    even, odd = values[0::2].copy(), values[1::2].copy()
    _lift(odd, even, 0, _STEPS[0])
    _lift(even, odd, -1, _STEPS[1])
    _lift(odd, even, 0, _STEPS[2])
    _lift(even, odd, -1, _STEPS[3])
    even *= np.float32(_SCALE)
    odd /= np.float32(_SCALE)
    return even, odd


def _merged(low: Floats, high: Floats) -> Floats:
    even, odd = low / np.float32(_SCALE), high * np.float32(_SCALE)
    _lift(even, odd, -1, -_STEPS[3])
    _lift(odd, even, 0, -_STEPS[2])
    _lift(even, odd, -1, -_STEPS[1])
    _lift(odd, even, 0, -_STEPS[0])
    values = np.empty((len(even) + len(odd), *even.shape[1:]), np.float32)
    values[0::2], values[1::2] = even, odd
    return values


def _merged_turned(low: Floats, high: Floats) -> Floats:
    """Both halves along the first axis merged, as columns for rows; a stripe at a time.

    A large picture would otherwise take four times its memory.
    """
    columns, *rest = low.shape[1:]
    found = np.empty((columns, len(low) + len(high), *rest), np.float32)
    for first in range(0, columns, STRIPE):
        part = slice(first, first + STRIPE)
        found[part] = _merged(low[:, part], high[:, part]).swapaxes(0, 1)
    return found


def _turned(values: Floats) -> Floats:
    """Rows ``[H, W, C]`` as columns, and back: lines of memory to lift are several times faster."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


def analyse(values: Floats, levels: int) -> tuple[Floats, list[Bands]]:
    """The coarsest picture, and the bands from the finest on, of ``[H, W, C]``."""
    found = []
    for _ in range(levels):
        low, high = _split(_turned(values))
        values, down = _split(_turned(low))
        across, both = _split(_turned(high))
        found.append((across, down, both))
    return values, found


def synthesise(coarsest: Floats, levels: Iterable[Bands]) -> Floats:
    """What :func:`analyse` took apart; ``levels`` are from the coarsest on.

    In a large picture, each of these arrays is some hundred megabytes: none is kept for long.
    """
    values = coarsest
    for across, down, both in levels:
        low, high = _merged_turned(values, down), _merged_turned(across, both)
        values = _merged_turned(low, high)
    return values
