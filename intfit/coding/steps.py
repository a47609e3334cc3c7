"""Quantisation steps by index: index i stands for a step of 2^(-i / steps per octave)."""

import math

#: Steps per octave of a network's weights; the largest index, which is stored as a byte.
WEIGHT_STEPS_PER_OCTAVE, FINEST_WEIGHT_STEP = 12, 255
#: Steps per octave of latents; the indices of the coarsest and the finest step of a header.
LATENT_STEPS_PER_OCTAVE, COARSEST_LATENT_STEP, FINEST_LATENT_STEP = 24, -96, 400
#: What latents of dependent quantisation are multiples of, in sixteenths of a step.
TRELLIS_UNIT = 10


def step_size(index: int, per_octave: int) -> float:
    """The quantisation step that ``index`` stands for."""
    return float(2.0 ** (-index / per_octave))


def nearest_weight_step(size: float) -> int:
    """The index of the step of weights that is nearest to ``size``, which is above 0."""
    index = round(-WEIGHT_STEPS_PER_OCTAVE * math.log2(size))
    return min(max(index, 0), FINEST_WEIGHT_STEP)
