"""Encoding with a SIREN: fitted step by step, then packed; a goal may be searched for."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from ...api import Encoded, Prepared, Teach, Watch, compared, described, frame, header, planned
from ...coding import container, quantize
from ...errors import FileFormatError, MediaError, UsageError
from ...networks.architecture import SirenConfig
from ...networks.siren import Siren
from ...settings import PRESETS, SECONDS, widest_in
from ...signals import Evaluate, Floats
from ...teachers import make_teacher
from ...training import loop as fitting
from ...training import quantisation as rate
from ...training.examples import examples_of
from ...training.quantisation import Rounding
from .width_search import COST, search


def searched(ready: Prepared, run: Callable[[Prepared], Encoded]) -> Encoded:
    """The smallest file found that reaches the goal; the best one where none does."""
    settings, goal, preset = ready.settings, ready.plan.goal, PRESETS[ready.kind]
    assert goal is not None
    found: list[tuple[float, Encoded]] = []
    spent = 0.0

    def score(width: int, share: float) -> float:
        nonlocal spent
        narrower = planned(ready.kind, ready.signal, replace(settings, width=width))
        steps, seconds = narrower.plan.steps, narrower.plan.max_time
        if steps is not None and ready.plan.steps is not None:
            steps = min(steps, ready.plan.steps)  # small networks could use more, at twice the time
        chosen = replace(
            narrower.plan,
            steps=None if steps is None else max(1, round(steps * share)),
            max_time=None if seconds is None else seconds * share / COST,
            stops=False,
            profile="open" if share < 1 else settings.profile,
        )
        encoded = run(replace(narrower, plan=chosen))
        assert encoded.reached is not None
        spent += encoded.seconds
        above = goal.score(encoded.reached)
        if share == 1:
            found.append((above, encoded))
        return above

    seconds = settings.max_time / COST if settings.max_time else SECONDS[settings.effort]
    widest = widest_in(preset, ready.plan.depth, seconds)
    start = min(ready.plan.width, widest)
    search(score, start=start, widest=widest, slope=preset.octave, late=preset.late)
    reaching = [encoded for above, encoded in found if above >= 0]
    best = max(found, key=lambda pair: pair[0])[1]
    if reaching:
        best = min(reaching, key=lambda encoded: len(encoded.data))
    return replace(best, seconds=spent)


def fit_prepared(
    prepared: Prepared,
    *,
    watch: Watch | None = None,
    teach: Teach | None = None,
) -> Encoded:
    """The second half of :func:`.encode`."""
    device, chosen, config = torch.device(prepared.device), prepared.plan, prepared.config
    assert isinstance(config, SirenConfig)
    signal = examples_of(prepared.signal, device)
    # Parameters are drawn on the CPU, so that every device starts from the same field.
    field = Siren(config, generator=torch.Generator().manual_seed(chosen.seed)).to(device)
    glances = torch.Generator(device).manual_seed(chosen.seed + 1)
    draws = torch.Generator(device).manual_seed(chosen.seed)
    teacher = make_teacher(
        chosen, signal.n, shape=signal.shape, generator=draws, importance=signal.importance
    )
    if teach is not None:
        teacher = teach(teacher, prepared)
    rounding: list[Rounding] = []

    def settle() -> Rounding:
        refuse_divergence(field)
        field.wrap_phases()
        most = None if chosen.target_size is None else 8 * 0.995 * (chosen.target_size - room)
        steps = rate.settle(field, signal, price=chosen.price, generator=glances, max_bits=most)
        rounding.append(Rounding(field, steps))
        return rounding[-1]

    room = frame(prepared.kind, prepared.signal.facts)
    progress = None
    packed = chosen.profile == "packed"
    for progress in fitting.fit(
        field, signal, teacher, chosen, generator=glances, settle=settle if packed else None
    ):
        if watch is not None:
            watch(progress)
    assert progress is not None
    if packed:
        refuse_divergence(field)
        steps = (rounding[-1] if rounding else settle()).steps
        stored = _packed(field, steps, chosen.target_size, room)
    else:
        stored = quantize.store(field.state_dict(), chosen.precision)
    try:
        rate.assign(field, quantize.restore(stored, config.shapes()))
    except FileFormatError:
        raise MediaError(
            f"the fit diverged, or left what {chosen.precision} can hold: try a lower --lr"
        ) from None
    distortion = fitting.measure(field, signal, count=fitting.MEASURE, generator=glances)
    goal = chosen.goal
    reached = None
    if goal is not None:
        reached = fitting.measure(
            field, signal, count=fitting.MEASURE, generator=glances, metric=goal.metric
        )
    data = container.dump(header(prepared, progress.step, round(distortion, 4)), stored)
    return described(
        prepared,
        data,
        distortion,
        reached=reached,
        steps=progress.step,
        seconds=progress.seconds,
        device=prepared.device,
        teacher=chosen.teacher_name,
        notes=compared(goal, reached),
    )


def _packed(
    field: Siren, steps: rate.Steps, size: int | None, room: int
) -> dict[str, container.Stored]:
    """The payload of a field; coarser than ``steps`` where the file would exceed ``size``."""
    parameters = dict(field.named_parameters())
    while True:
        stored = quantize.pack(quantize.quantize(parameters, steps))
        if size is None or room + len(stored[container.PAYLOAD].data) <= size:
            return stored
        if not any(steps.values()):
            raise UsageError(f"{size} bytes are too few for this network: give a smaller --depth")
        steps = {name: max(index - 1, 0) for name, index in steps.items()}


def refuse_divergence(field: Siren) -> None:
    """Raise MediaError where a parameter is not a number any more."""
    if not all(bool(tensor.isfinite().all()) for tensor in field.parameters()):
        raise MediaError("the fit diverged: try a lower --lr")


def restored(stored: Mapping[str, container.Stored], config: SirenConfig, device: str) -> Evaluate:
    """The field of a file's tensors, in either profile, on ``device``.

    Raises:
        FileFormatError: if they are not those of the network.
    """
    fitting.keep_freed_memory()
    parameters = quantize.restore(stored, config.shapes())  # before the network takes any memory
    field = Siren(config)
    rate.assign(field, parameters)
    field = field.to(device).requires_grad_(False)

    def values(coords: Floats) -> Floats:
        found: Floats = fitting.evaluate(field, torch.from_numpy(coords).to(device)).cpu().numpy()
        return found

    return values
