"""What refinement leaves: latents that are yet to be rounded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....coding.integers import Integers
from ....signals import Floats
from ..context_model import Level


@dataclass(frozen=True)
class Refined:
    """Refined latents by level, the finest first, yet to be rounded, after so many steps.

    ``share`` is the share of the picture that was refined: time may have been too short for all.
    """

    latents: list[list[Floats]]
    steps: int
    share: float = 1.0

    @classmethod
    def unchanged(cls, levels: Sequence[Level]) -> "Refined":
        """Integer latents as they are."""
        return cls([[band.astype(np.float32) for band in bands] for bands in levels], 0, 0.0)

    def round(self, bias: float = 0.0) -> list[Level]:
        """Integer latents.

        Magnitudes are rounded to nearest once ``bias`` is taken off: many end near half a step,
        where it is as good to round up as down, so that a small bias changes the bytes alone.
        """
        return [[_round(band, bias) for band in level] for level in self.latents]


def _round(band: Floats, bias: float) -> Integers:
    sizes = np.floor(np.abs(band) + np.float32(0.5 - bias)).clip(min=0)
    rounded: Integers = np.copysign(sizes, band).astype(np.int32)
    return rounded
