"""Latents moved so that the picture looks more like the original, in fewer bits: by gradients.

The encoder's work alone: what decodes a file knows nothing of it. Latents start where
rate-distortion optimised quantisation put them. Adam then lowers the visual distance of the picture
from the original, plus the bits that the context model takes for them, through a rounding that is
soft at first and nearly hard in the end (soft rounding: Agustsson and Theis 2020).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ....coding.integers import Integers
from ....signals import Floats
from ....training.loop import Progress
from ....training.optimizers.adam import Adam
from ....training.visual_distance import VisualDistance
from ...integer_network import INPUT_UNIT
from ..contexts.estimate import estimate_bits
from ..contexts.influence import MeanInfluence
from ..transform import LIFTING_STEPS, NORMS, SCALE
from .refined import Refined

#: What bits and the squared error weigh, relative to the visual distance, each as a share of what
#: it is at the start: the relative change of the distance that a relative change of the bits buys.
BITS_WEIGHT, ERROR_WEIGHT = 1.2, 0.15
#: Adam's learning rate at the start, in steps of quantisation, where there are so many steps of
#: refinement or more; it is larger where there are fewer. And as a share of it at the end.
LEARNING_RATE, USUAL_STEPS, LAST_RATE = 0.06, 24, 0.1
#: Adam's memory of squared gradients.
BETA2 = 0.95
#: How soft rounding is at the start and at the end: the width of the slope between two integers.
FIRST_WIDTH, LAST_WIDTH = 0.43, 0.08
#: Steps after which the context model looks again at what surrounds each latent.
REFRESH = 6
#: Steps, of these, after which what latents mean for the bits of others is estimated anew.
OBSERVE = 2 * REFRESH
#: How far from their integer latents may start, in steps.
MARGIN = 0.45


@dataclass(frozen=True)
class Part:
    """What is refined at once: a picture, or a tile of it, of ``C`` colours.

    ``exact`` and ``rounded`` are its latents by level, the finest first, ``[C, h, w]`` each, in
    quantisation steps; ``units`` are the steps of these levels, in the unit of values, and
    ``sixteenths`` these, and that of the picture above them, in sixteenths of the file's.
    ``low`` ``[C, h, w]`` is that picture, and ``coarsest`` the same in whole steps; ``axes``
    ``[C, C]`` are those of its colours.
    ``original`` and ``decoded`` ``[H, W, C]`` are the picture, and what a file with ``rounded``
    decodes to. ``visible`` ``[H, W, 1]`` is how opaque the pixels are, 0 to 1; None where all are.
    ``frame`` are the pixels at its top, bottom, left and right whose latents stay as they are.
    """

    exact: Sequence[Sequence[Floats]]
    rounded: Sequence[Sequence[Integers]]
    units: Sequence[float]
    sixteenths: Sequence[int]
    low: Floats
    coarsest: Integers
    axes: Floats
    original: Floats
    decoded: Floats
    visible: Floats | None = None
    frame: tuple[int, int, int, int] = (0, 0, 0, 0)


def _lift(target: Tensor, source: Tensor, offset: int, step: float) -> Tensor:
    """``target`` plus ``step`` times its two neighbours in ``source``, along the last axis but one.

    As in :mod:`.transform`, but differentiable.
    """
    first = torch.arange(target.shape[-2]) + offset
    last = source.shape[-2] - 1
    one, two = first.clamp(0, last), (first + 1).clamp(0, last)
    return target + step * (source.index_select(-2, one) + source.index_select(-2, two))


def _merge(low: Tensor, high: Tensor) -> Tensor:
    """The values of a low and a high band, along the last axis but one."""
    even, odd = low / SCALE, high * SCALE
    even = _lift(even, odd, -1, -LIFTING_STEPS[3])
    odd = _lift(odd, even, 0, -LIFTING_STEPS[2])
    even = _lift(even, odd, -1, -LIFTING_STEPS[1])
    odd = _lift(odd, even, 0, -LIFTING_STEPS[0])
    count, width = even.shape[-2] + odd.shape[-2], even.shape[-1]
    if even.shape[-2] > odd.shape[-2]:
        odd = torch.cat((odd, odd[..., -1:, :]), dim=-2)
    values = torch.stack((even, odd), dim=-2).reshape(*even.shape[:-2], -1, width)
    return values[..., :count, :]


def synthesise_differentiably(coarsest: Tensor, levels: Sequence[Sequence[Tensor]]) -> Tensor:
    """The picture ``[C, H, W]``, in decorrelated colours, of latents in the unit of its values.

    What :func:`.transform.synthesise_decorrelated` gives. ``levels`` are listed from the finest on.
    """
    values = coarsest
    for level in reversed(range(len(levels))):
        norms = NORMS[min(level, len(NORMS) - 1)]
        across, down, both = (band / norms[index == 2] for index, band in enumerate(levels[level]))
        low, high = _merge(values, down), _merge(across, both)
        values = _merge(low.mT, high.mT).mT
    return values


class RateModel:
    """The bits of latents under the context model, given those around them as they are now."""

    def __init__(
        self,
        levels: Sequence[Sequence[Integers]],
        coarsest: Integers,
        sixteenths: Sequence[int],
        influence: MeanInfluence | None = None,
        *,
        observed: bool = False,
    ) -> None:
        """``levels`` are integer latents, from the finest on; ``coarsest`` is what is above them.

        ``sixteenths`` are their steps, and that of ``coarsest``. With an ``influence``, what
        latents mean for the bits of others counts; theirs is added to it where it is ``observed``.
        """
        copies = [list(level) for level in levels]
        bits, found = estimate_bits(copies, coarsest, sixteenths, observed=observed)
        self._bits = [[torch.from_numpy(band) for band in level] for level in bits]
        weighed = None
        if influence is not None:
            influence.add(found)
            weighed = influence.weighed()
        self._influence = [[torch.from_numpy(band) for band in level] for level in weighed or []]

    def __call__(self, levels: Sequence[Sequence[Tensor]]) -> Tensor:
        """The bits of all latents, linear between integers; and what they change of others'."""
        total = torch.zeros(())
        for bands, own in zip(levels, self._bits, strict=True):
            for band, (zero, one, two, more) in zip(bands, own, strict=True):
                size = band.abs()
                total = total + (zero + (one - zero) * size.clamp(max=1)).sum()
                total = total + ((two - one) * (size - 1).clamp(0, 1)).sum()
                total = total + (more * (size - 2).clamp(min=0)).sum()
        for bands, influence in zip(levels, self._influence, strict=False):
            for band, each in zip(bands, influence, strict=True):
                inputs = INPUT_UNIT * torch.log2(1 + 2 * band.abs())
                total = total + (each * inputs).sum()
        return total


def _round_softly(latents: Tensor, width: float) -> Tensor:
    """Latents drawn to the nearest integers, the more the smaller ``width``."""
    middle = latents.detach().floor() + 0.5
    return middle + torch.tanh((latents - middle) / width) / (2 * math.tanh(0.5 / width))


def refine(
    part: Part,
    *,
    steps: int,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Refined:
    """Latents that look better than the rounded ones of a ``part`` at equal bits.

    What networks add to the picture of the latents changes little when these do, and is taken as
    it is. Ends after ``steps``, or ``seconds``.
    """
    start = time.monotonic()
    low, axes = torch.from_numpy(part.low), torch.from_numpy(part.axes)
    original = torch.from_numpy(part.original).permute(2, 0, 1)
    visible = None if part.visible is None else torch.from_numpy(part.visible).permute(2, 0, 1)
    distance = VisualDistance(_as_seen(original, visible))
    rounded = [[torch.from_numpy(band.astype(np.float32)) for band in b] for b in part.rounded]
    free = [
        [_leave_frame(band, part.frame, level) for band in bands]
        for level, bands in enumerate(rounded)
    ]
    latents = [
        [_start_latents(band[place], exact[place]) for band, exact, place in zip(*t, strict=True)]
        for t in zip(part.rounded, part.exact, free, strict=True)
    ]
    bands = [band for level in latents for band in level]
    rate_of_learning = LEARNING_RATE * max(1.0, USUAL_STEPS / max(steps, 1)) ** 0.5
    optimizer = Adam([[{"params": bands, "lr": 1.0}]], rate_of_learning, beta2=BETA2)

    def place_all(change: Callable[[Tensor], Tensor]) -> list[list[Tensor]]:
        """All latents, in steps, those that are free under a ``change``."""
        placed = []
        for bands, fixed, places in zip(latents, rounded, free, strict=True):
            level = []
            for band, whole, place in zip(bands, fixed, places, strict=True):
                values = change(band)
                if values.shape != whole.shape:
                    values, inner = whole.clone(), values
                    values[place] = inner
                level.append(values)
            placed.append(level)
        return placed

    def paint(levels: Sequence[Sequence[Tensor]]) -> Tensor:
        """The picture ``[C, H, W]`` of latents, in steps, before any network."""
        scaled = [[b * u for b in level] for level, u in zip(levels, part.units, strict=True)]
        return torch.einsum("chw,cd->dhw", synthesise_differentiably(low, scaled), axes)

    with torch.no_grad():
        correction = torch.from_numpy(part.decoded).permute(2, 0, 1) - paint(rounded)

    def assess(levels: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """The visual distance, the bits and the squared error of latents, in steps."""
        picture = paint(levels) + correction
        error = (picture - original).square().mean()
        return distance(_as_seen(picture, visible)).squeeze(0), rate(levels), error

    influence = MeanInfluence()
    rate = RateModel(part.rounded, part.coarsest, part.sixteenths, influence, observed=True)
    with torch.no_grad():
        scales = [max(value.item(), 1e-9) for value in assess(rounded)]
    done = 0
    for step in range(steps):
        if step and step % REFRESH == 0:
            with torch.no_grad():
                rate = RateModel(
                    [[_to_integers(b) for b in bands] for bands in place_all(_copy)],
                    part.coarsest,
                    part.sixteenths,
                    influence,
                    observed=step % OBSERVE == 0,
                )
        elapsed = time.monotonic() - start
        fraction = step / steps if seconds is None else max(step / steps, elapsed / seconds)
        if fraction >= 1:
            break
        optimizer.advance(1 + (LAST_RATE - 1) * fraction)
        width = FIRST_WIDTH + (LAST_WIDTH - FIRST_WIDTH) * fraction
        seen, bits, error = assess(place_all(partial(_round_softly, width=width)))
        loss = seen / scales[0] + BITS_WEIGHT * bits / scales[1] + ERROR_WEIGHT * error / scales[2]
        loss.backward()
        optimizer.step()
        done += 1
        if on_progress is not None:
            psnr = 10 * math.log10(4 / max(error.item(), 1e-12))
            on_progress(Progress(done, done / steps, time.monotonic() - start, psnr, 1.0))
    with torch.no_grad():
        return Refined([[band.numpy() for band in bands] for bands in place_all(_copy)], done)


def _copy(band: Tensor) -> Tensor:
    return band.detach().clone()


def _to_integers(band: Tensor) -> Integers:
    """Latents rounded to nearest."""
    rounded: Integers = band.round().numpy().astype(np.int32)
    return rounded


def _leave_frame(
    band: Tensor, frame: tuple[int, int, int, int], level: int
) -> tuple[slice, slice, slice]:
    """The place of the latents of a band ``[C, h, w]`` that are not of the frame."""
    top, bottom, left, right = (pixels >> (level + 1) for pixels in frame)
    _, height, width = band.shape
    return slice(None), slice(top, height - bottom), slice(left, width - right)


def _as_seen(picture: Tensor, visible: Tensor | None) -> Tensor:
    """``[1, 3, H, W]`` in 0..1 of a grey or RGB picture ``[C, H, W]`` in -1..1.

    What ``visible`` ``[1, H, W]`` says is transparent is black.
    """
    shown = (picture + 1) / 2
    return (shown if visible is None else shown * visible).expand(3, -1, -1)[None]


def _start_latents(rounded: Integers, exact: Floats) -> Tensor:
    """Latents as near to ``exact`` as they can be while they still belong to ``rounded``."""
    start = np.clip(exact, rounded - MARGIN, rounded + MARGIN).astype(np.float32)
    return torch.from_numpy(start).requires_grad_()
