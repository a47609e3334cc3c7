"""Quantised MDCT coefficients as a field, for recordings.

Tuned for hearing, quantisation steps and noise follow an envelope, which small SIRENs are trained
for. Tuned for SNR, all steps are equal and nothing is trained.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ...coding.container import Stored
from ...coding.header import Header
from ...coding.tensors import Tensors, payload_of, read_open, store_open, store_payload
from ...errors import UsageError
from ...plan import Plan
from ...settings import SIREN_SETTINGS, TRAINING_SETTINGS, Settings, flag, refuse_settings
from ...signals import Evaluate, Floats, Grid
from ..assemble import assemble
from ..channels import invert_axes, principal_axes
from ..latent_steps import MIDDLE_SHARE, Candidate, StepSearch, step_index
from ..protocol import NO_ONNX, Encoding, Hooks, Prepared, goal_notes
from . import payload
from .blocks import read_size_tensor
from .config import (
    ENVELOPE_DEPTH,
    LEAD,
    MAX_CHANNELS,
    MAX_ENVELOPE_WIDTH,
    NEWEST_BANDS,
    NEWEST_SHARED,
    MdctConfig,
)
from .hearing import payload as hearing_payload
from .hearing.payload import Packer
from .interpolation import SincInterpolation
from .transform import STRETCH, Reals, pad, synthesise
from .waveform import payload as waveform_payload

if TYPE_CHECKING:
    from torch import nn

DECODES_ON_DEVICE = False
#: Why a setting of training is refused, or has no effect.
NO_FIT = "a recording that is tuned for SNR, or is short or silent, needs no fit"
#: The width of an envelope's networks, and that of a recording shorter than so many seconds.
NEURONS, FEW_NEURONS, SHORT = 16, 8, 2.0
#: A recording's step at the middle quality, tuned for hearing, as a share of its root mean square
#: where its envelope is even.
HEARING_SHARE = 0.5


def configure(signal: Grid, plan: Plan, settings: Settings) -> MdctConfig:
    """The latents of a recording, at the step of the quality that is set.

    Raises:
        UsageError: if it has too many channels, or a setting is given that only training has.
    """
    if signal.out_features > MAX_CHANNELS:
        raise UsageError(
            f"{signal.out_features} channels are too many for latents: give --field siren"
        )
    facts = signal.facts
    shape = signal.out_features, facts["frames"]
    config = MdctConfig(*shape, 0, rate=facts["sample_rate"], common=NEWEST_SHARED)
    if plan.tune == "hearing":
        refuse_settings(settings, SIREN_SETTINGS, "a recording's latents have another network")
        if settings.width is not None and settings.width > MAX_ENVELOPE_WIDTH:
            raise UsageError(
                f"--width {settings.width} is above {MAX_ENVELOPE_WIDTH}, the most of the network "
                "beside latents; --field siren has wider ones"
            )
        if facts["peak"] == 0:
            # silence has no envelope
            return replace(config, step=step_index(settings.quality, loudness=0.0))
        neurons = FEW_NEURONS if facts["frames"] < SHORT * facts["sample_rate"] else NEURONS
        config = replace(config, neurons=settings.width or neurons, bands=NEWEST_BANDS, common=None)
        return replace(config, step=hearing_step(settings.quality))
    # a mean over the padded frames
    power = float(np.square(signal.targets()).sum()) / config.count()
    config = replace(config, step=step_index(settings.quality, loudness=power**0.5))
    refuse_settings(settings, TRAINING_SETTINGS, NO_FIT)
    return config


def trains(plan: Plan) -> bool:
    """Whether there is an envelope to train."""
    return plan.tune == "hearing"


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Quantise at the step of the quality, the size or the goal, and write the file.

    Where a file is to be smaller than an envelope allows, it does without.

    Raises:
        UsageError: if no file is as small as asked.
    """
    start = time.monotonic()
    try:
        return _encode(prepared, hooks, start)
    except UsageError:
        if prepared.config.neurons is None or prepared.plan.target_size is None:
            raise
    config = replace(prepared.config, neurons=None, bands=None, common=NEWEST_SHARED)
    plain = replace(prepared, config=config, plan=replace(prepared.plan, tune="snr"))
    encoding = _encode(plain, Hooks(), start)
    note = "too few bytes for an envelope: tuned for SNR"
    return replace(encoding, notes=(*encoding.notes, note))


def _encode(prepared: Prepared, hooks: Hooks, start: float) -> Encoding:
    """:func:`encode` with or without an envelope, as the config says."""
    signal, plan, config = prepared.signal, prepared.plan, prepared.config
    if hooks.wrap_teacher is not None:
        raise UsageError("--save-selection is for --field siren, or for images")
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    assert isinstance(signal, Grid)
    pack, steps = _make_packer(signal, prepared, hooks)

    def encode_at(step: int) -> Candidate[MdctConfig]:
        at_step = replace(config, step=step)
        data = pack(at_step)
        hooks.enter("measuring")
        tensors = unpack_payload(data, at_step)
        stored = store_open(tensors) if plan.profile == "open" else store_payload(data)
        samples = reconstruct(tensors, at_step)
        del tensors  # a long recording's take hundreds of megabytes, as do its targets
        targets = signal.targets()
        distortion = signal.quality(samples.reshape(targets.shape), targets)
        file = assemble(prepared, at_step, stored, steps=steps, distortion=distortion)
        return Candidate(at_step, data, distortion, file, steps)

    if config.neurons is None:
        hooks.enter("coding")
    search = StepSearch(encode_at, config.step)
    step = search.choose(goal=plan.goal, size=plan.target_size, bounded=plan.stops_at_goal)
    best = search.at(step)
    reached = None if plan.goal is None else best.distortion
    return Encoding(
        data=best.data,
        config=best.config,
        network=best.config.describe(),
        distortion=best.distortion,
        reached=reached,
        steps=steps,
        seconds=time.monotonic() - start,
        teacher=plan.teacher_name if steps else "none",
        notes=(
            *([] if steps else _note_effort(prepared.settings)),
            *goal_notes(plan.goal, reached),
        ),
    )


def _make_packer(
    signal: Grid, prepared: Prepared, hooks: Hooks
) -> tuple[Callable[[MdctConfig], bytes], int]:
    """A function from a config, whose step may differ, to the payload of a recording.

    And the steps of training that went into it.
    """
    targets = signal.targets()
    axes, config = principal_axes(targets), prepared.config
    rotate(targets, invert_axes(axes))
    if config.neurons is None:
        return partial(waveform_payload.pack, targets, axes), 0
    from .hearing.training import train_networks

    padded = pad(targets, config)
    del targets  # some hundred megabytes of a long recording
    hooks.enter("fitting")
    networks, steps = train_networks(
        padded, config, prepared.plan, prepared.device, on_progress=hooks.progress
    )
    return Packer(padded, axes, networks, config, report=hooks.advance).pack, steps


def _format_of(config: MdctConfig) -> ModuleType:
    """The module that reads the payload of such a recording."""
    if config.neurons is not None:
        return hearing_payload
    return payload if config.common is None else waveform_payload


def unpack_payload(data: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, as :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if it does not hold them.
    """
    tensors: Tensors = _format_of(config).unpack(data, config)
    return tensors


def hearing_step(quality: float | None) -> int:
    """The index of the step at a quality, tuned for hearing."""
    return step_index(quality, loudness=HEARING_SHARE / MIDDLE_SHARE)


def _note_effort(settings: Settings) -> tuple[str, ...]:
    """Notes that an effort or a time, where one is set, changes nothing."""
    names = [flag(name) for name in settings.changed(("effort", "max_time"))]
    return tuple(f"{NO_FIT}: {name} changes nothing without --field siren" for name in names)


def unpack(stored: Mapping[str, Stored], config: MdctConfig) -> Tensors:
    """The latents in a file, with their noise if there is any, in the unit of the samples.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    return read_open(stored, config.shapes()) if data is None else unpack_payload(data, config)


def decode(tensors: Tensors, config: MdctConfig, device: str) -> Evaluate:
    """The field of these latents; it needs no device.

    Raises:
        FileFormatError: if their blocks do not fill the recording.
    """
    return SincInterpolation(reconstruct(tensors, config))


def make_module(field: SincInterpolation, config: MdctConfig) -> "nn.Module":
    """The interpolation of the recording's samples, differentiable in the coordinates."""
    from .module import SincModule

    return SincModule(field.samples)


def write_onnx(tensors: Tensors, config: MdctConfig, header: Header) -> bytes:
    """Latents are no network: raises UsageError."""
    raise UsageError(NO_ONNX)


def reconstruct(tensors: Tensors, config: MdctConfig) -> Floats:
    """The samples ``[N, C]`` of tensors as :meth:`.MdctConfig.shapes` lists them.

    Raises:
        FileFormatError: if their blocks do not fill the recording.
    """
    sizes = read_size_tensor(tensors["blocks"])
    samples = synthesise(tensors["latents"], sizes)[LEAD : LEAD + config.frames]
    rotate(samples, tensors["channels"])
    return samples.astype(np.float32, copy=False)


def rotate(samples: Reals, matrix: Floats) -> None:
    """Multiply samples ``[N, C]`` by a ``matrix`` ``[C, C]``, in place."""
    for start in range(0, len(samples), STRETCH):
        samples[start : start + STRETCH] = samples[start : start + STRETCH] @ matrix


def parts(data: bytes, config: MdctConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    return dict(_format_of(config).parts(data, config))


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    config, plan = prepared.config, prepared.plan
    phrase = f"{config.count()} latents, in steps of {config.step_size:.3g}"
    if config.neurons is None:
        return phrase
    return f"{phrase}, SIREN {config.neurons} x {ENVELOPE_DEPTH}, {plan.steps} steps"
