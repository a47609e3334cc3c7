"""What is refined, and what refinement leaves: latents that are yet to be rounded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....coding.integers import Integers
from ....defaults import refinement_steps
from ....plan import Plan
from ....settings import Settings
from ....signals import Floats
from ..config import WaveletConfig
from ..context_model import Level

#: How many channels have colours that eyes see, by the number of channels. Opacity stays as it is.
COLOURS = {1: 1, 2: 1, 3: 3, 4: 3}
#: What refined latents usually take, as a share of the latents before.
USUAL_SHARE = 0.93


def count_steps(config: WaveletConfig, plan: Plan, settings: Settings) -> int:
    """The steps in which a picture's latents are to be refined for the eye; 0 for none."""
    if not can_refine(config) or not plan.steps:
        return 0
    return settings.steps or refinement_steps(settings.effort, config.height * config.width)


def can_refine(config: WaveletConfig) -> bool:
    """Whether a picture is tuned for the eye, and large enough to have detail."""
    return config.bands is not None and config.channels in COLOURS and config.levels() > 0


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
