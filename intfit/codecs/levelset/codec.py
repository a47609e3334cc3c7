"""Quantised B-spline coefficients near the surface as a field, for surfaces.

The latents of a level are a least-squares solution, rounded to what is cheapest in squared distance
plus lambda times bits. They correct a base, a small SIREN that the teacher fits, where that takes
fewer bytes than coarse latents. A surface with holes has a trim beside them, another SIREN.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...coding import weights
from ...coding.container import Stored
from ...coding.header import Header
from ...coding.tensors import Tensors, payload_of, read_open, store_open, store_payload
from ...defaults import MIDDLE_QUALITY
from ...errors import MediaError, UsageError
from ...metrics import iou
from ...plan import Plan
from ...settings import (
    SIREN_SETTINGS,
    TRAINING_SETTINGS,
    Settings,
    flag,
    refuse_settings,
    too_few_bytes,
)
from ...signals import DistanceSamples, Evaluate
from ..assemble import assemble
from ..protocol import NO_ONNX, Encoding, Hooks, Prepared, goal_notes, note_lost
from ..trim import EXCHANGE, Trim, TrimField, choose_trim, fit_trims, note_trim
from ..trim_config import trim_shapes
from . import payload
from .base import predict_coefficients
from .base_fitting import Base, fit_base
from .config import BASE, COARSEST, FINEST, LevelSetConfig
from .fitting import fit_latents
from .interpolation import SplineField
from .payload import LENGTH_SIZE
from .pyramid import Grid

if TYPE_CHECKING:
    from torch import nn

DECODES_ON_DEVICE = False
#: Why a setting of training is refused, or has no effect.
NO_FIT = "a surface's latents are not trained like a SIREN"
#: The index of the step at the middle quality, and what a point of quality adds to it: 20 points
#: halve the step, and add a level.
MIDDLE_INDEX, INDICES_PER_QUALITY = 96, 0.8
#: A file of twice the size has an index higher by about so much; one that is a decibel nearer, by
#: so much: first guesses, where a size or a goal is given.
INDICES_PER_DOUBLE_SIZE, DECIBELS_PER_INDEX = 14.0, 0.33
#: The neurons of a base by the coarsest step that has so many, the finest first; where there are
#: several, the usual one is last.
USUAL_BASES = ((112, (24,)), (80, (16,)), (COARSEST, (16, 12)))
#: From this effort on, latents without a base are compared with it, and all of its sizes.
EFFORT_TO_COMPARE = 3
#: The share of points far from the surface that may lie on the wrong side of what a base is part
#: of, of a closed surface and of an open one, where they lie beside its caps; and how far that is,
#: in clamps.
MOST_STRAYS, MOST_STRAYS_OPEN, FAR = 2e-4, 5e-3, 0.3
#: Bytes of a file besides its payload, about.
HEADER_SIZE = 270
#: Points on the surface that latents are fitted to, and off it at each scale.
ON, AROUND = 1 << 18, 1 << 15


def configure(signal: DistanceSamples, plan: Plan, settings: Settings) -> LevelSetConfig:
    """The latents of a surface, at the step of the quality that is set.

    Raises:
        UsageError: if it has colours, or a setting is given that only training has.
    """
    if signal.colours is not None:
        raise UsageError("latents of a surface have no colours: give --field siren")
    refuse_settings(settings, SIREN_SETTINGS, NO_FIT)
    refuse_settings(settings, TRAINING_SETTINGS, NO_FIT)
    quality = MIDDLE_QUALITY if settings.quality is None else settings.quality
    index = round(MIDDLE_INDEX + INDICES_PER_QUALITY * (quality - MIDDLE_QUALITY))
    extent = tuple(signal.facts["extent"])
    return LevelSetConfig(min(max(index, COARSEST), FINEST), extent=extent)


def trains(plan: Plan) -> bool:
    """What is trained is too small for a device, and bounds its own threads."""
    return False


@dataclass(frozen=True)
class _Candidate:
    """A file at some step: its architecture, bytes and field.

    ``distance`` estimates the mean distance in %, that of caps aside; ``overlap`` is the IoU.
    """

    config: LevelSetConfig
    data: bytes
    field: SplineField
    distance: float
    overlap: float
    trim: Trim | None
    steps: int


@dataclass(frozen=True)
class _Fitted:
    """Latents at some step, packed, with the base that they correct, and their field.

    ``distance`` as in :class:`_Candidate`.
    """

    config: LevelSetConfig
    base: Base | None
    latents: bytes
    field: SplineField
    distance: float

    @property
    def size(self) -> int:
        """Bytes of a file without a trim, about."""
        return HEADER_SIZE + len(self.latents) + (0 if self.base is None else len(self.base.packed))

    def cost(self) -> float:
        """The logarithm of the size at equal distance, about."""
        return math.log(self.size) + EXCHANGE * math.log(max(self.distance, 1e-9))


def _list_bases(step: int, effort: int) -> tuple[int | None, ...]:
    """The neurons of the bases that are tried at a step; None for none."""
    usual = next(neurons for coarsest, neurons in USUAL_BASES if step >= coarsest)
    return (None, *usual) if effort >= EFFORT_TO_COMPARE else usual[-1:]


def _assemble_best(
    prepared: Prepared,
    signal: DistanceSamples,
    fitted: _Fitted,
    trims: tuple[Trim, ...],
) -> _Candidate:
    """The file of latents that were fitted, with the trim that pays.

    Raises:
        MediaError: if the latents hold no surface.
    """
    config, field, distance, base = fitted.config, fitted.field, fitted.distance, fitted.base
    overlap = _measure_overlap(signal, field)
    if not overlap:
        raise MediaError("the latents hold no surface: a higher --quality may")
    trim = choose_trim(trims, fitted.size, distance)
    measured: dict[str, Any] = {"mean_distance": min(float(f"{distance:.4g}"), 100.0)}
    networks = [] if base is None else [base.packed]
    tensors = {"coefficients": field.coefficients}
    if base is not None:
        tensors |= base.dequantise()
    if trim is not None:
        config = replace(config, trim=trim.width)
        measured["trim"] = trim.width
        field.parts["trim"] = trim.field()
        networks.append(weights.pack(trim.tensors))
        tensors |= trim.dequantise()
    if prepared.plan.profile == "open":
        stored = store_open(tensors)
    else:
        stored = store_payload(payload.join(networks, fitted.latents))
    steps = sum(0 if each is None else each.steps for each in (base, trim))
    data = assemble(prepared, config, stored, steps=steps, distortion=overlap, measured=measured)
    return _Candidate(config, data, field, distance, overlap, trim, steps)


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Fit the latents at the step of the quality, the size or the goal, and write the file.

    Raises:
        UsageError: if no file is as small as asked.
        MediaError: if the latents hold no surface.
    """
    start = time.monotonic()
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    hooks.enter("fitting")
    signal, plan = prepared.signal, prepared.plan
    assert isinstance(signal, DistanceSamples)
    samples = signal.draw(ON, AROUND)
    effort = prepared.settings.effort
    trims = fit_trims(signal, plan, effort)

    @cache
    def base_of(neurons: int) -> Base:
        return fit_base(prepared, neurons, hooks)

    def fit_at(config: LevelSetConfig) -> _Fitted | None:
        """Fit the latents; None where a base leaves strays."""
        base = None if config.neurons is None else base_of(config.neurons)
        first = None if base is None else base.predict(config)
        quantised, coefficients = fit_latents(samples, config, first)
        field = SplineField(_to_tensors(coefficients, config)["coefficients"])
        most = MOST_STRAYS if signal.draw_trim is None else MOST_STRAYS_OPEN
        if base is not None and _measure_strays(signal, field) > most:
            return None
        latents = payload.pack(quantised, config, first)
        return _Fitted(config, base, latents, field, _estimate_distance(signal, field))

    @cache
    def encode_at(step: int) -> _Candidate:
        config = replace(prepared.config, step=step)
        fits = [fit_at(replace(config, neurons=each)) for each in _list_bases(step, effort)]
        best = min(filter(None, fits), key=_Fitted.cost, default=None) or fit_at(config)
        assert best is not None  # without a base there always are some
        return _assemble_best(prepared, signal, best, trims)

    best = encode_at(_choose_step(prepared, signal, encode_at))
    reached = None if plan.goal is None else _measure_distance(signal, best)
    return Encoding(
        data=best.data,
        config=best.config,
        network=best.config.describe(),
        distortion=best.overlap,
        reached=reached,
        steps=best.steps,
        seconds=time.monotonic() - start,
        teacher=plan.teacher_name if best.steps else "none",
        notes=(
            *_note_time(prepared.settings),
            *note_trim(best.trim),
            *note_lost(_measure_lost(signal, best.field), flag("quality")),
            *goal_notes(plan.goal, reached),
        ),
    )


def _choose_step(
    prepared: Prepared, signal: DistanceSamples, encode_at: Callable[[int], _Candidate]
) -> int:
    """The index of the finest step within the size, or of the coarsest that reaches the goal.

    With both, the goal's step is no finer than the size allows; with neither, that of the quality.

    Raises:
        UsageError: if no file is as small as asked.
    """
    plan = prepared.plan
    first: int = prepared.config.step
    finest, size, goal = first, plan.target_size, plan.goal
    if size is not None:
        finest = _search(
            first,
            lambda step: math.log2(len(encode_at(step).data) / size) * INDICES_PER_DOUBLE_SIZE,
            FINEST,
        )
        if finest < COARSEST:
            raise too_few_bytes(size, len(encode_at(COARSEST).data))
    elif goal is not None and not plan.stops_at_goal:
        finest = FINEST
    if goal is None:
        return finest

    def miss(step: int) -> float:
        found = encode_at(step)
        distance = max(found.distance, _measure_distance(signal, found))
        return -goal.margin(distance) / DECIBELS_PER_INDEX

    # the coarsest step that reaches the goal is one above the finest that misses it
    step = min(_search(min(first, finest), lambda step: -miss(step), finest) + 1, finest)
    # a coarser step may take more bytes, where it has another base
    while size is not None and step < finest and len(encode_at(step).data) > size:
        step += 1
    return step


def _search(first: int, excess: Callable[[int], float], finest: int) -> int:
    """The finest step, up to ``finest``, whose ``excess`` is at most 0; below the coarsest if none.

    The excess of a step is about by how much its index is too large.
    """
    low, high, step = COARSEST - 1, finest + 1, first
    while high - low > 1:
        beyond = excess(step)
        low, high = (low, step) if beyond > 0 else (step, high)
        step = min(max(step - round(beyond), low + 1), high - 1)
    return low


def _measure_distance(signal: DistanceSamples, candidate: _Candidate) -> float:
    """The mean distance of a file's surface from the original, both ways, in %."""
    return signal.measure_distance(candidate.field, candidate.field.parts.get("trim"))


def _estimate_distance(signal: DistanceSamples, field: SplineField) -> float:
    """The mean distance of the original from the field's surface, in %, by the field's values."""
    return signal.clamp * float(np.abs(field(signal.surface_points)).mean())


def _measure_strays(signal: DistanceSamples, field: SplineField) -> float:
    """The share of points far from the original that are on the wrong side in the field."""
    far = np.abs(signal.targets[:, 0]) > FAR
    wrong = (field(signal.points[far])[:, 0] < 0) != (signal.targets[far, 0] < 0)
    return float(np.mean(wrong)) if len(wrong) else 0.0


def _measure_lost(signal: DistanceSamples, field: SplineField) -> float:
    """The share of the points inside the original near its surface that are outside the field."""
    inside = signal.points[signal.targets[:, 0] < 0]
    return float(np.mean(field(inside) >= 0)) if len(inside) else 0.0


def _measure_overlap(signal: DistanceSamples, field: SplineField) -> float:
    """The IoU of the field's body and the original's, at the points held out."""
    inside = signal.evaluation_targets < 0
    return iou(inside, field(signal.evaluation_points) < 0)


def _to_tensors(coefficients: Grid, config: LevelSetConfig) -> Tensors:
    """The tensors of coefficients in units."""
    return {"coefficients": coefficients.astype(np.float32) * np.float32(config.unit)}


def _note_time(settings: Settings) -> tuple[str, ...]:
    """A note that a time, where one is set, changes nothing."""
    if not settings.changed(("max_time",)):
        return ()
    return (f"{NO_FIT}: {flag('max_time')} changes nothing without --field siren",)


def unpack(stored: Mapping[str, Stored], config: LevelSetConfig) -> Tensors:
    """The coefficients in a file, in coordinates.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    if data is None:
        return read_open(stored, config.shapes())
    networks, latents = payload.split(data, config)
    own: Tensors = {}
    first = None
    if config.base is not None:
        found = weights.unpack(networks["base"], config.base.shapes())
        first = predict_coefficients(found, config.base, config)
        own |= {f"{BASE}{name}": tensor.dequantise() for name, tensor in found.items()}
    if config.trim is not None:
        found = weights.unpack(networks["trim"], trim_shapes(config.trim))
        own |= {name: tensor.dequantise() for name, tensor in found.items()}
    return _to_tensors(payload.unpack(latents, config, first), config) | own


def decode(tensors: Tensors, config: LevelSetConfig, device: str) -> Evaluate:
    """The field of these latents; it needs no device."""
    field = SplineField(tensors["coefficients"])
    if config.trim is not None:
        field.parts["trim"] = TrimField(tensors, config.trim)
    return field


def make_module(field: SplineField, config: LevelSetConfig) -> "nn.Module":
    """The B-splines as a module, differentiable in the coordinates."""
    from .module import SplineModule

    return SplineModule(field.coefficients)


def write_onnx(tensors: Tensors, config: LevelSetConfig, header: Header) -> bytes:
    """Latents are no network: raises UsageError."""
    raise UsageError(NO_ONNX)


def parts(data: bytes, config: LevelSetConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    networks, latents = payload.split(data, config)
    sizes = {name: float(LENGTH_SIZE + len(packed)) for name, packed in networks.items()}
    return sizes | {"latents": float(len(latents))}


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    step = prepared.config.step
    neurons = _list_bases(step, prepared.settings.effort)[-1]
    config = replace(prepared.config, neurons=neurons)
    return f"{config.describe()}, in steps of {config.step_size:.3g}"
