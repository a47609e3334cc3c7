"""MDCT latents as a field, for recordings: transformed, quantised at the rate asked for, packed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...coding.container import Stored
from ...coding.tensors import Tensors, payload_of, read_open, store_open, store_payload
from ...errors import UsageError
from ...plan import Plan
from ...settings import TRAINING_SETTINGS, Settings, flag
from ...signals import Evaluate, Floats, Grid
from ..assemble import assemble
from ..channels import decorrelation, mixing_inverse
from ..latent_steps import Candidate, StepSearch, step_index
from ..protocol import Encoding, Hooks, Prepared, goal_notes
from . import payload
from .config import MAX_CHANNELS, MdctConfig
from .transform import Bank, sounded

DECODES_ON_DEVICE = False


def configure(signal: Grid, plan: Plan, settings: Settings) -> MdctConfig:
    """The latents of a recording, at the step of the quality that is set.

    Raises:
        UsageError: if it has too many channels, or a setting is given that only training has.
    """
    if signal.out_features > MAX_CHANNELS:
        raise UsageError(
            f"{signal.out_features} channels are too many for latents: give --field siren"
        )
    config = MdctConfig(signal.out_features, signal.facts["frames"], 0)
    # padding is counted, too
    power = float(np.square(signal.targets()).sum()) / config.count()
    config = replace(config, step=step_index(settings.quality, loudness=power**0.5))
    if refused := settings.changed(TRAINING_SETTINGS):
        raise UsageError(
            f"{flag(refused[0])} is for --field siren: a recording's latents need no fit"
        )
    return config


def trains(plan: Plan) -> bool:
    """Nothing is trained."""
    return False


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Quantise at the step of the quality, the size or the goal, and write the file.

    Raises:
        UsageError: if no file is as small as asked.
    """
    start = time.monotonic()
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    signal, plan, config = prepared.signal, prepared.plan, prepared.config
    assert isinstance(signal, Grid)
    targets = signal.targets()
    pack = _packer(targets)

    def encode_at(step: int) -> Candidate[MdctConfig]:
        chosen = replace(config, step=step)
        data = pack(chosen)
        tensors = payload.unpack(data, chosen)
        samples = sounded(tensors, chosen)
        distortion = signal.quality(samples.reshape(targets.shape), targets)
        stored = store_open(tensors) if plan.profile == "open" else store_payload(data)
        file = assemble(prepared, chosen, stored, steps=0, distortion=distortion)
        return Candidate(chosen, data, distortion, file)

    search = StepSearch(encode_at, config.step)
    step = search.choose(goal=plan.goal, size=plan.target_size, bounded=plan.stops_at_goal)
    best = search.at(step)
    reached = None if plan.goal is None else best.distortion
    return Encoding(
        data=best.data,
        config=best.config,
        distortion=best.distortion,
        reached=reached,
        steps=0,
        seconds=time.monotonic() - start,
        teacher="none",
        notes=(*_effort_notes(prepared.settings), *goal_notes(plan.goal, reached)),
    )


def _packer(targets: Floats) -> Callable[[MdctConfig], bytes]:
    """What makes the payload of samples ``[N, C]`` at any step."""
    mixing = decorrelation(targets)
    mixed = targets @ mixing_inverse(mixing)
    return lambda config: payload.pack(mixed, mixing, config)


def _effort_notes(settings: Settings) -> tuple[str, ...]:
    """A note on an effort that was asked for in vain."""
    if settings.effort == Settings.effort:
        return ()
    return ("a recording's latents need no fit: --effort changes nothing without --field siren",)


def unpack(stored: Mapping[str, Stored], config: MdctConfig) -> Tensors:
    """The latents in a file, noise included, in the unit of the samples.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    return read_open(stored, config.shapes()) if data is None else payload.unpack(data, config)


def decode(tensors: Tensors, config: MdctConfig, device: str) -> Evaluate:
    """The field of these latents."""
    return Bank(sounded(tensors, config))


def parts(data: bytes, config: MdctConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    return dict(payload.parts(data, config))


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    return f"{prepared.config.count()} latents, in steps of {prepared.config.step_size:.3g}"
