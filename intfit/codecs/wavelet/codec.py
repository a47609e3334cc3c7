"""Quantised wavelet coefficients as a field, for images, with post-filters.

The transform gives the exact latents; rate-distortion optimised quantisation rounds them. Tuned for
PSNR, a picture's own post-filter, a SIREN, is then trained on the error that is left, and is kept
where it is worth its bytes. Tuned for the eye, bands have different steps, and latents are refined.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...coding.container import Stored
from ...coding.header import Header
from ...coding.tensors import Tensors, payload_of, read_open
from ...defaults import REFINEMENT_STEPS, refinement_steps
from ...errors import UsageError
from ...plan import Plan
from ...settings import SIREN_SETTINGS, TRAINING_SETTINGS, Settings, flag, refuse_settings
from ...signals import Evaluate, Grid
from ..latent_steps import step_index
from ..protocol import NO_ONNX, Encoding, Hooks, Prepared, goal_notes
from . import payload
from .config import (
    MAX_OWN_WIDTH,
    NEWEST_BANDS,
    NEWEST_CONTEXTS,
    NEWEST_SHARED,
    NEWEST_TRELLIS,
    SHARED_FOR_REFINED,
    WaveletConfig,
)
from .decoder_network import reconstruct
from .encoding.encoder import Encoder
from .encoding.refined import Refined, can_refine, count_steps
from .interpolation import CubicInterpolation
from .transform import analyse, principal_colours

if TYPE_CHECKING:
    from torch import nn

DECODES_ON_DEVICE = False
#: From so many pixels on, a trellis pays for its entry in the header and for the starts of lanes.
TRELLIS_PIXELS = 6400
#: Modes of pictures that are no photographs, and always tuned for PSNR.
NOT_FOR_EYES = frozenset({"1", "I;16", "F"})


def configure(signal: Grid, plan: Plan, settings: Settings) -> WaveletConfig:
    """The latents of a picture, at the step of the quality that is set.

    Raises:
        UsageError: if a setting is given that only a plain SIREN has.
    """
    refuse_settings(settings, SIREN_SETTINGS, "an image's latents have another network")
    if settings.width is not None and settings.width > MAX_OWN_WIDTH:
        raise UsageError(
            f"--width {settings.width} is above {MAX_OWN_WIDTH}, the most of the network beside "
            "latents; --field siren has wider ones"
        )
    height, width = signal.shape
    step = step_index(settings.quality)
    config = WaveletConfig(signal.out_features, height, width, step, contexts=NEWEST_CONTEXTS)
    if plan.tune == "visual" and signal.facts["mode"] not in NOT_FOR_EYES:
        config = replace(config, bands=NEWEST_BANDS)
    refined = count_steps(config, plan, settings) > 0
    # refined latents are each rounded by themselves: a path would undo how they suit each other
    if config.levels() and height * width >= TRELLIS_PIXELS and not refined:
        config = replace(config, trellis=NEWEST_TRELLIS)
    if not config.can_share_network():
        return config
    return replace(config, common=SHARED_FOR_REFINED if refined else NEWEST_SHARED)


def trains(plan: Plan) -> bool:
    """Whether the effort has steps for an own post-filter, or to refine latents."""
    return bool(plan.steps)


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Quantise at the step of the quality, the size or the goal; train an own post-filter.

    Raises:
        UsageError: if no file is as small as asked.
    """
    start = time.monotonic()
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    hooks.enter("transform")
    signal = prepared.signal
    assert isinstance(signal, Grid)
    pixels = signal.targets().reshape(*signal.shape, -1)
    colours = principal_colours(pixels, apart=count_refining_steps(prepared) > 0)
    exact = analyse(pixels, prepared.config, colours)
    encoder = Encoder(prepared, hooks, pixels, exact, start)
    hooks.enter("coding")
    best = encoder.encode()
    plan = prepared.plan
    reached = None if plan.goal is None else best.distortion
    network = best.config.describe()
    refining = encoder.find_refined(best)
    refined = 0 if refining is None else refining.steps
    if refined:
        network += f", refined in {refined} steps"
    elif best.steps:
        network += f", {best.steps} steps"
    elif encoder.tried:
        network += ", SIREN not worth its bytes"
    notes = goal_notes(plan.goal, reached)
    notes += refinement_notes(encoder, refining)
    if hooks.wrap_teacher is not None and not encoder.tried:
        notes += ("no network was trained: there are no maps of a selection",)
    vain = [] if encoder.tried else prepared.settings.changed(TRAINING_SETTINGS)
    if refined and "steps" in vain:
        vain.remove("steps")
    if vain:
        names = ", ".join(map(flag, vain))
        way = "--field siren" if best.config.bands is None else "--tune psnr or --field siren"
        notes += (f"no SIREN was trained: {names} changed nothing without {way}",)
    return Encoding(
        data=best.data,
        config=best.config,
        network=network,
        distortion=best.distortion,
        reached=reached,
        steps=best.steps,
        seconds=time.monotonic() - start,
        teacher=plan.teacher_name if best.steps else "none",
        notes=notes,
    )


def refinement_notes(encoder: Encoder, refined: Refined | None) -> tuple[str, ...]:
    """Notes on why latents were not refined for the eye, or not all, though the effort says so."""
    n, efforts = encoder.prepared.signal.n, REFINEMENT_STEPS
    if not encoder.refining:
        if not (can_refine(encoder.prepared.config) and efforts[encoder.prepared.settings.effort]):
            return ()
        effort = next(effort for effort in efforts if refinement_steps(effort, n))
        return (f"so large a picture is refined for the eye from -e {effort} on",)
    if refined is not None and refined.share == 1:
        return ()
    if refined is None:
        return ("its latents were not refined for the eye: no file of refined ones was found",)
    if not refined.steps:
        return ("--max-time left no time to refine its latents for the eye",)
    return (f"--max-time ended when {refined.share:.0%} of it was refined for the eye",)


def unpack(stored: Mapping[str, Stored], config: WaveletConfig) -> Tensors:
    """The latents in a file, in the unit of the picture's values, and all post-filters.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    return read_open(stored, config.shapes()) if data is None else payload.unpack(data, config)


def decode(tensors: Tensors, config: WaveletConfig, device: str) -> Evaluate:
    """The field of these latents; it needs no device."""
    return CubicInterpolation(reconstruct(tensors, config))


def make_module(field: CubicInterpolation, config: WaveletConfig) -> "nn.Module":
    """The interpolation of the picture's pixels, differentiable in the coordinates."""
    from .module import CubicModule

    return CubicModule(field.samples)


def write_onnx(tensors: Tensors, config: WaveletConfig, header: Header) -> bytes:
    """Latents are no network: raises UsageError."""
    raise UsageError(NO_ONNX)


def parts(data: bytes, config: WaveletConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    return dict(payload.parts(data, config))


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    phrase = f"{prepared.config.count()} latents, in steps of {prepared.config.step_size:.3g}"
    refining = count_refining_steps(prepared)
    return f"{phrase}, refined in {refining} steps" if refining else phrase


def count_refining_steps(prepared: Prepared) -> int:
    """The steps in which latents are to be refined for the eye; 0 for none."""
    return count_steps(prepared.config, prepared.plan, prepared.settings)
