"""What a file will take, in bytes and seconds, before it is encoded."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..defaults import TENSOR_BYTES, USUAL_BITS, step_seconds

if TYPE_CHECKING:
    from ..codecs.protocol import Prepared
    from ..signals import Grid

#: Pixels, and samples of each channel, of the part that is encoded on trial.
PART_PIXELS, PART_SAMPLES = 1 << 18, 1 << 18
#: Steps that a recording's envelope is trained in for it.
TRIAL_STEPS = 100
#: Bytes of a float in the open profile, by its precision.
FLOAT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: Bytes that a file takes for each tensor of the open profile, besides its numbers.
ENTRY_BYTES = 80
#: Seconds of a step of refinement, however few pixels there are, and for each of them, on the
#: machine of :data:`.defaults.SECONDS`; and how often latents are refined to fit a size or to reach
#: a goal.
STEP_SECONDS, REFINEMENT_SECONDS, REFINED_TRIES = 0.009, 0.95e-6, 2
#: Sizes of the network beside a picture's latents.
POSTFILTER_WIDTH, POSTFILTER_DEPTH = 16, 2


@dataclass(frozen=True)
class Forecast:
    """About how many bytes a file will have, and how many seconds its encoding will take.

    None where that is not known before it is tried: where a network is searched for, and of latents
    of surfaces.
    """

    size: int | None
    seconds: float | None


def forecast(prepared: "Prepared") -> Forecast:
    """About what a file will take.

    Of a SIREN it follows from its sizes. Latents, or a palette, of a part from the middle are made
    on trial, with no network beside them. Of a surface's latents nothing is known but a size that
    is asked for.
    """
    if prepared.field == "siren":
        return _forecast_siren(prepared)
    if prepared.kind == "mesh":
        return Forecast(prepared.plan.target_size, None)
    return _forecast_latents(prepared)


def _forecast_siren(prepared: "Prepared") -> Forecast:
    from ..codecs.assemble import measure_overhead

    plan, count = prepared.plan, prepared.config.count()
    seconds = plan.max_time
    if seconds is None and plan.steps is not None:
        seconds = plan.steps * step_seconds(plan.width, plan.depth, plan.batch)
    if plan.goal is not None and not plan.stops_at_goal:
        return Forecast(None, None)
    overhead = measure_overhead(prepared.kind, prepared.signal.facts, prepared.metadata)
    tensors = 2 * (plan.depth + 1)
    if plan.profile == "open":
        numbers = count * FLOAT_BYTES[plan.precision]
        return Forecast(numbers + overhead + ENTRY_BYTES * tensors, seconds)
    size = round(count * USUAL_BITS / 8) + TENSOR_BYTES * tensors + overhead
    return Forecast(min(size, plan.target_size or size), seconds)


def _forecast_latents(prepared: "Prepared") -> Forecast:
    from ..codecs import codec_of
    from ..codecs.protocol import Hooks
    from ..codecs.wavelet.codec import count_refining_steps
    from ..codecs.wavelet.encoding.refined import USUAL_SHARE
    from ..signals import Grid

    signal, plan = prepared.signal, prepared.plan
    is_wavelets = (prepared.field, prepared.kind) == ("latent", "image")
    assert isinstance(signal, Grid)
    part = crop(signal)
    share = part.n / signal.n
    codec = codec_of(prepared.field, prepared.kind)
    # a recording's envelope is trained in a few steps: it is part of every file
    steps = TRIAL_STEPS if prepared.kind == "audio" else 0
    trial = replace(plan, steps=steps, max_time=None, target_size=None)
    config = codec.configure(part, trial, prepared.settings)
    began = time.monotonic()
    encoding = codec.encode(replace(prepared, signal=part, plan=trial, config=config), Hooks())
    seconds = (time.monotonic() - began) / share
    refined = count_refining_steps(prepared) if is_wavelets else 0
    bytes_made = len(encoding.data) / share
    if refined:
        tries = 1 if plan.target_size is None and plan.goal is None else REFINED_TRIES
        # networks are adapted before and after
        each = STEP_SECONDS + signal.n * REFINEMENT_SECONDS
        seconds = tries * (2 * seconds + refined * each)
        seconds = seconds if plan.max_time is None else min(seconds, plan.max_time)
        bytes_made *= USUAL_SHARE
    elif codec.trains(plan):
        steps = plan.steps or 0
        each = step_seconds(POSTFILTER_WIDTH, POSTFILTER_DEPTH, plan.batch)
        seconds += plan.max_time if plan.max_time is not None else steps * each
    size = round(bytes_made) if plan.target_size is None else plan.target_size
    if prepared.field == "palette":  # which is as large as it is
        size = min(size, round(bytes_made))
    return Forecast(size, seconds)


def crop(signal: "Grid") -> "Grid":
    """The middle of a picture or a recording, of :data:`PART_PIXELS` or :data:`PART_SAMPLES`."""
    most = PART_SAMPLES if len(signal.shape) == 1 else round(PART_PIXELS**0.5)
    sides = [min(side, most) for side in signal.shape]
    firsts = [(side - kept) // 2 for side, kept in zip(signal.shape, sides, strict=True)]
    places = tuple(slice(a, a + kept) for a, kept in zip(firsts, sides, strict=True))
    values = signal.values.reshape(*signal.shape, -1)[places].reshape(-1, signal.out_features)
    names = ("frames",) if len(sides) == 1 else ("height", "width")
    facts = signal.facts | dict(zip(names, sides, strict=True))
    return replace(signal, shape=tuple(sides), values=values, facts=facts)
