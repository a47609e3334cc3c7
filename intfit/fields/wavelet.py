"""The wavelets of Cohen, Daubechies and Feauveau with 9 and 7 taps (1992), by lifting.

Nearly orthonormal: a squared error in the bands is one in the picture, but for :data:`NORMS`.
Sides of any length, mirrored at their ends.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

#: Of detail across, down and both: ``[..., h, w]``.
Bands = tuple[Tensor, Tensor, Tensor]

#: The lifting steps (Daubechies and Sweldens 1998), and the scale that makes bands orthonormal.
_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_SCALE = 1.1496043988602418
#: The norm of what a latent adds to the picture, from the finest level on: of detail one way and
#: both ways; coarser levels are as the last.
NORMS = ((1.0113, 1.0404), (0.9984, 0.9672), (1.0458, 1.0396), (1.0668, 1.0751), (1.0729, 1.0859))


def norm(level: int, orientation: int) -> float:
    """The norm of the picture of a latent of 1; orientation 2 is detail both ways."""
    return NORMS[min(level, len(NORMS) - 1)][orientation == 2]


def _beside_odd(even: Tensor, count: int) -> Tensor:
    """The sum of the even samples on either side of each odd one."""
    after = even[..., 1:]
    if after.shape[-1] < count:
        after = torch.cat([after, even[..., -1:]], dim=-1)
    return even[..., :count] + after


def _beside_even(odd: Tensor, count: int) -> Tensor:
    before = torch.cat([odd[..., :1], odd], dim=-1)[..., :count]
    after = odd if odd.shape[-1] == count else torch.cat([odd, odd[..., -1:]], dim=-1)
    return before + after


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    """Low and high half of ``[..., n]``, n at least 2."""
    even, odd = values[..., 0::2], values[..., 1::2]
    odd = odd + _STEPS[0] * _beside_odd(even, odd.shape[-1])
    even = even + _STEPS[1] * _beside_even(odd, even.shape[-1])
    odd = odd + _STEPS[2] * _beside_odd(even, odd.shape[-1])
    even = even + _STEPS[3] * _beside_even(odd, even.shape[-1])
    return even * _SCALE, odd / _SCALE


def _merged(low: Tensor, high: Tensor) -> Tensor:
    even, odd = low / _SCALE, high * _SCALE
    even = even - _STEPS[3] * _beside_even(odd, even.shape[-1])
    odd = odd - _STEPS[2] * _beside_odd(even, odd.shape[-1])
    even = even - _STEPS[1] * _beside_even(odd, even.shape[-1])
    odd = odd - _STEPS[0] * _beside_odd(even, odd.shape[-1])
    values = even.new_empty(*even.shape[:-1], even.shape[-1] + odd.shape[-1])
    values[..., 0::2], values[..., 1::2] = even, odd
    return values


def analyse(values: Tensor, levels: int) -> tuple[Tensor, list[Bands]]:
    """The coarsest picture, and the bands from the finest on, of ``[..., H, W]``."""
    found = []
    for _ in range(levels):
        low, high = _split(values)
        values, down = (half.mT for half in _split(low.mT))
        across, both = (half.mT for half in _split(high.mT))
        found.append((across, down, both))
    return values, found


def synthesise(coarsest: Tensor, levels: Sequence[Bands]) -> Tensor:
    """What :func:`analyse` took apart."""
    values = coarsest
    for across, down, both in reversed(levels):
        low, high = _merged(values.mT, down.mT).mT, _merged(across.mT, both.mT).mT
        values = _merged(low, high)
    return values
