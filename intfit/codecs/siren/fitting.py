"""The training of one SIREN on a medium, and its packing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ...coding.container import PAYLOAD, Stored
from ...coding.tensors import Tensors, store_open, store_payload
from ...defaults import COLOUR_SECONDS
from ...errors import FileFormatError, MediaError, UsageError
from ...networks.architecture import SirenConfig
from ...networks.siren import Siren
from ...plan import Plan, leave_room_for_colours, plan_colours
from ...signals import ColourSamples, DistanceSamples, Grid, Signal
from ...training.evaluation import MEASURE, evaluate, measure
from ...training.examples import Examples, PointExamples, examples_of
from ...training.loop import Progress
from ...training.quantisation import Steps, quantise
from ...training.session import (
    OnProgress,
    Session,
    Stepwise,
    finish,
    start_session,
    train_quantised_stepwise,
    train_stepwise,
)
from ...training.spectrum import draw_waves
from ..assemble import assemble, measure_overhead
from ..protocol import ADVICE, Encoding, Hooks, Prepared, WrapTeacher, goal_notes, note_lost
from ..trim import USUAL_SIZE, Trim, choose_trim, fit_trims, note_trim
from .config import (
    COLOURS,
    AnyConfig,
    TrimmedConfig,
    colours_of,
    distance_of,
    with_neuron_steps,
)
from .packing import pack, unpack

#: The share of the bytes allowed that parameters may take by their estimated bits, which may be a
#: little too few.
BIT_MARGIN = 0.995
#: By how many indices steps may become finer than they were in training.
MOST_SHIFTS = 12
#: The most of a file's bytes that a trim may take.
MOST_OF_TRIM = 0.1
#: Points on a surface that a field's distance from it is estimated at.
ESTIMATE = 1 << 14


def fit(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Train the SIREN of ``prepared`` and write its file.

    Raises:
        IntfitError: if training diverges, or the packed file cannot be as small as asked.
    """
    begin(prepared, hooks)
    return finish(fit_stepwise(prepared, hooks, start_training(prepared, hooks.wrap_teacher)))


def begin(prepared: Prepared, hooks: Hooks) -> None:
    """Tell whoever listens that the fit begins."""
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    hooks.enter("fitting")


class _Painter(NamedTuple):
    """The network of a surface's colours that is to be trained, and its plan."""

    session: Session
    plan: Plan


def fit_stepwise(prepared: Prepared, hooks: Hooks, session: Session) -> Stepwise[Encoding]:
    """As :func:`fit`, step by step, from what :func:`start_training` gave."""
    plan, config, size = prepared.plan, prepared.config, prepared.plan.target_size
    trim = _fit_trim(prepared)
    if trim is not None:
        config = TrimmedConfig(config, trim.width)
        session = replace(session, examples=_measure_trimmed(session.examples, trim))
    painter = _start_painter(prepared)
    if painter is not None:
        plan = leave_room_for_colours(plan)
    overhead = measure_overhead(
        prepared.kind,
        prepared.signal.facts,
        prepared.metadata,
        config=with_neuron_steps(config),
        plan=prepared.plan,
    )
    room = None if size is None else size - overhead - (0 if trim is None else trim.size)
    bits = None if room is None else 8 * BIT_MARGIN * room * plan.size_share
    reports = _Reports(hooks.progress, colours=painter is not None)
    trained = yield from _train(session, plan, bits, reports.of_distance)
    networks, finest = {"": session.network}, trained.finest
    if painter is not None:
        bits = None if bits is None else bits / plan.size_share * painter.plan.size_share
        painted = yield from _train(painter.session, painter.plan, bits, reports.of_colours)
        networks[COLOURS] = painter.session.network
        finest = _join(finest, painted.finest)
        trained = replace(trained, seconds=trained.seconds + painted.seconds)
    parameters = {
        f"{prefix}{name}": parameter
        for prefix, network in networks.items()
        for name, parameter in network.named_parameters()
    }
    if plan.profile == "packed":
        hooks.enter("coding")
        config, stored = _pack(parameters, finest, config, size, overhead, trim)
    else:
        own = {} if trim is None else trim.dequantise()
        stored = store_open(_copy_arrays(parameters) | own, plan.precision)
    _restore(parameters, stored, config, plan)
    # measured after rounding: the distortion reported is that of the file
    found = _measure_fit(session, painter, trim, plan)
    data = assemble(
        prepared,
        config,
        stored,
        steps=trained.steps,
        distortion=found.distortion,
        measured=found.facts,
    )
    beside = "" if painter is None else f" and {painter.plan.width} x {painter.plan.depth}"
    return Encoding(
        data=data,
        config=config,
        network=f"SIREN {plan.width} x {plan.depth}{beside}, {trained.steps} steps",
        distortion=found.distortion,
        reached=found.reached,
        steps=trained.steps,
        seconds=trained.seconds,
        teacher=plan.teacher_name,
        notes=found.notes,
    )


def _fit_trim(prepared: Prepared) -> Trim | None:
    """The trim of a surface with holes, where one pays."""
    plan, signal = prepared.plan, prepared.signal
    if not isinstance(signal, DistanceSamples) or signal.draw_trim is None:
        return None
    allowed = plan.target_size or USUAL_SIZE
    trims = fit_trims(signal, plan, prepared.settings.effort)
    # a trim may not take the room that the network needs
    return choose_trim(tuple(t for t in trims if t.size <= MOST_OF_TRIM * allowed), allowed)


def _start_painter(prepared: Prepared) -> _Painter | None:
    """The network of a surface's colours, initialised; None where there are none."""
    config, signal = colours_of(prepared.config), prepared.signal
    if config is None:
        return None
    assert isinstance(signal, DistanceSamples)
    assert signal.colours is not None
    plan = plan_colours(prepared.plan, prepared.settings, signal.colours.n)
    return _Painter(_start(prepared, config, signal.colours, plan), plan)


def _restore(
    parameters: Mapping[str, torch.Tensor],
    stored: Mapping[str, Stored],
    config: AnyConfig,
    plan: Plan,
) -> None:
    """Give networks the parameters that are stored.

    Raises:
        MediaError: if these are not numbers.
    """
    try:
        restored = unpack(stored, config)
    except FileFormatError:
        raise MediaError(
            f"the fit diverged, or left what {plan.precision} can hold: try a lower --lr"
        ) from None
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(restored[name]))


class _Measured(NamedTuple):
    """What is found of a fit: see :class:`.Encoding`. ``facts`` are those that depend on it."""

    distortion: float
    reached: float | None
    facts: dict[str, Any]
    notes: tuple[str, ...]


def _measure_fit(
    session: Session, painter: _Painter | None, trim: Trim | None, plan: Plan
) -> _Measured:
    """How good networks are.

    Raises:
        MediaError: if there is no surface.
    """
    examples = session.examples
    measure_as = partial(measure, session.network, examples, generator=session.generator)
    distortion = measure_as(count=MEASURE)
    lost = _measure_lost(session.network, examples) if examples.metric == "iou" else 0.0
    if not distortion and lost == 1:
        raise MediaError(
            "the fit found no surface: more --effort or --steps may, unless it is too thin"
        )
    reached = None
    if plan.goal is not None:
        reached = measure_as(count=MEASURE, metric=plan.goal.metric)
    notes = goal_notes(plan.goal, reached, advice=ADVICE)
    notes = (*note_lost(lost, "--effort or --quality"), *notes)
    if painter is not None:
        own = painter.session
        psnr = measure(own.network, own.examples, count=MEASURE, generator=session.generator)
        notes = (f"colours: {psnr:.1f} dB", *notes)
    facts: dict[str, Any] = {} if trim is None else {"trim": trim.width}
    if examples.metric == "iou":
        near = measure_as(count=ESTIMATE, metric="mean_distance")
        facts["mean_distance"] = min(float(f"{near:.4g}"), 100.0)
    return _Measured(distortion, reached, facts, (*note_trim(trim), *notes))


def _measure_trimmed(examples: Examples, trim: Trim) -> Examples:
    """Examples of a surface whose distance is measured with its holes open."""
    assert isinstance(examples, PointExamples)
    measure_distance: Callable[..., float] = examples.measure_distance
    return replace(examples, measure_distance=partial(measure_distance, trim=trim.field()))


class _Reports:
    """Progress passed on: of one fit, or of two one after the other as of one."""

    def __init__(self, on_progress: OnProgress | None, *, colours: bool) -> None:
        self._on_progress = on_progress
        self._first_share = 1 / (1 + COLOUR_SECONDS) if colours else 1.0
        self._last: Progress | None = None

    def of_distance(self, progress: Progress) -> None:
        """A report of the network of distances, or of the only one."""
        self._last = replace(progress, fraction=progress.fraction * self._first_share)
        self._pass_on(self._last)

    def of_colours(self, progress: Progress) -> None:
        """A report of the network of colours; the distortion stays that of the other."""
        assert self._last is not None
        done = self._first_share + progress.fraction * (1 - self._first_share)
        seconds = self._last.seconds + progress.seconds
        self._pass_on(replace(self._last, step=progress.step, fraction=done, seconds=seconds))

    def _pass_on(self, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)


@dataclass(frozen=True)
class _Trained:
    """The quantisation steps of a network that was trained (none in the open profile)."""

    finest: Steps
    steps: int
    seconds: float


def _train(
    session: Session, plan: Plan, bits: float | None, on_progress: OnProgress
) -> Stepwise[_Trained]:
    """Train a network, rounded at the end where the plan packs it, into at most ``bits``."""
    finest = Steps({})
    if plan.profile == "packed":
        finest, progress = yield from train_quantised_stepwise(
            session,
            plan,
            rd_lambda=plan.rd_lambda,
            max_bits=bits,
            by_neuron=True,
            on_progress=on_progress,
        )
    else:
        progress = yield from train_stepwise(session, plan, on_progress=on_progress)
    return _Trained(finest, progress.step, progress.seconds)


def start_training(prepared: Prepared, wrap_teacher: WrapTeacher | None = None) -> Session:
    """The SIREN of ``prepared``, but for colours, initialised, with its examples and teacher."""
    config = distance_of(prepared.config)
    session = _start(prepared, config, prepared.signal, prepared.plan)
    if wrap_teacher is None:
        return session
    return replace(session, teacher=wrap_teacher(session.teacher, prepared, None))


def _start(
    prepared: Prepared, config: SirenConfig, signal: Signal | ColourSamples, plan: Plan
) -> Session:
    network = Siren(config, generator=torch.Generator().manual_seed(plan.seed))
    if plan.follows_spectrum and isinstance(signal, Grid):
        waves = draw_waves(signal, config.width, np.random.default_rng(plan.seed))
        network.set_first_layer(*map(torch.from_numpy, waves))
    examples = examples_of(signal, torch.device(prepared.device))
    return start_session(network, examples, plan, prepared.device)


def _measure_lost(network: Siren, examples: Examples) -> float:
    """The share of the examples inside the surface where the field has none; 1 where all are."""
    coords, targets = examples.gather(torch.arange(examples.n, device=_device_of(network)))
    inside = targets[:, 0] < 0
    if not bool(inside.any()):
        return 1.0
    return float((evaluate(network, coords[inside]) >= 0).float().mean())


def _device_of(network: Siren) -> torch.device:
    return next(network.parameters()).device


def _copy_arrays(parameters: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().cpu().numpy() for name, tensor in parameters.items()}


def _join(steps: Steps, of_colours: Steps) -> Steps:
    """The steps of a surface's two networks, under the names that a file has."""
    indices = {f"{COLOURS}{name}": index for name, index in of_colours.indices.items()}
    finer = {f"{COLOURS}{layer}": halves for layer, halves in of_colours.finer.items()}
    return Steps(steps.indices | indices, steps.finer | finer)


def _pack(
    parameters: Mapping[str, torch.Tensor],
    steps: Steps,
    config: AnyConfig,
    size: int | None,
    overhead: int,
    trim: Trim | None,
) -> tuple[AnyConfig, dict[str, Stored]]:
    """The payload of networks, and their architecture as the file has it.

    Coarser than ``steps`` where the file would exceed ``size``, and finer where it need not be as
    coarse: what parameters take was estimated.
    """
    own = {} if trim is None else trim.tensors
    if any(halves.any() for halves in steps.finer.values()):
        config = with_neuron_steps(config)

    def pack_at(steps: Steps) -> dict[str, Stored]:
        return store_payload(pack(quantise(parameters, steps) | own, steps.finer, config))

    def fits(stored: dict[str, Stored]) -> bool:
        return size is None or overhead + len(stored[PAYLOAD].data) <= size

    stored = pack_at(steps)
    while not fits(stored):
        if not any(steps.indices.values()):
            raise UsageError(f"{size} bytes are too few for this network: give a smaller --depth")
        steps = steps.shift(-1)
        stored = pack_at(steps)
    if size is not None:
        for _ in range(MOST_SHIFTS):
            steps = steps.shift(1)
            if not fits(finer := pack_at(steps)):
                break
            stored = finer
    return config, stored
