"""The whole route: a medium's bytes to a file's bytes, and back."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from . import fit as fitting
from . import latents, rate
from .codec import container, quantize
from .codec.container import Header
from .devices import choose_device
from .errors import FileFormatError, MediaError, UsageError
from .fields.architecture import Config, LatentsConfig, SirenConfig, architecture
from .fields.siren import Siren
from .latents import LatentsField
from .media import medium, sniff
from .rate import Rounding
from .schema import FIELDS, FIT
from .search import COST, search
from .settings import (
    GOALS,
    PRESETS,
    SECONDS,
    Goal,
    Plan,
    Settings,
    check,
    field_of,
    plan,
    widest_in,
)
from .signal import Signal
from .teachers import Teacher, make_teacher

#: Called now and then while fitting, with where the fit stands.
Watch = Callable[[fitting.Progress], None]


@dataclass(frozen=True)
class Prepared:
    """An input that has been read and a network chosen for it, before any fitting."""

    kind: str
    signal: Signal
    settings: Settings
    plan: Plan
    config: Config
    device: torch.device


#: The metrics that a goal can be given in, by the medium's own.
REACHABLE = {"psnr": {"psnr"}, "snr": {"psnr", "snr"}, "iou": {"mean_distance"}}

#: Given the teacher and what it is to teach, returns the teacher to use.
Teach = Callable[[Teacher, Prepared], Teacher]


@dataclass(frozen=True)
class Encoded:
    """What `encode` made: the file's bytes, and what there is to say of them.

    ``samples`` counts pixels, samples of each channel, or faces, which take ``raw_size`` bytes
    uncompressed; ``rate`` is in the unit that
    ``rate_name`` names (``bpp``, ``kbps``, ``bytes_per_1000_faces``); ``distortion`` in dB or, for
    ``iou``, a share; ``reached`` is the value in the goal's metric where there is a goal;
    ``seconds`` are those of the fit, or of all fits of a search.
    """

    data: bytes
    kind: str
    samples: int
    raw_size: int
    rate_name: str
    rate: float
    parameters: int
    metric: str
    distortion: float
    reached: float | None
    steps: int
    seconds: float
    device: str
    teacher: str
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """What `decode` made: the medium's bytes, and what there is to say of them.

    ``size`` is a phrase: 640 x 480, 2.5 s at 16000 Hz, 81920 faces.
    """

    data: bytes
    kind: str
    size: str
    notes: tuple[str, ...]


def prepare(
    data: bytes, settings: Settings, *, suffix: str = "", kind: str | None = None
) -> Prepared:
    """Read a medium's bytes and choose a network for it.

    ``kind`` overrides what the content says; ``suffix`` is a hint.

    Raises:
        IntfitError: if the bytes cannot be fitted, or the settings make no sense for them.
    """
    check(settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not data:
        raise MediaError("the file is empty")
    kind = kind or sniff(data, suffix)
    signal: Signal = medium(kind).read(data, suffix=suffix, seed=settings.seed)
    flag = next((name for name in GOALS if getattr(settings, name) is not None), None)
    if flag is not None and GOALS[flag] not in REACHABLE[signal.metric]:
        raise UsageError(f"--{flag.replace('_', '-')} is not for a medium of this kind, {kind}")
    try:
        medium(kind).check_facts(signal.facts)
    except MediaError:
        raise MediaError("its size, rate or range is beyond what an intfit file holds") from None
    return _planned(kind, signal, settings)


def _planned(kind: str, signal: Signal, settings: Settings) -> Prepared:
    """A network chosen for a signal."""
    settings = replace(settings, field=field_of(settings, kind, signal.out_features))
    size = _target_size(settings, kind, signal)
    frame = _frame(kind, signal.facts)
    features = signal.in_features, signal.out_features
    chosen = plan(settings, kind=kind, n=signal.n, features=features, size=size, frame=frame)
    config: Config
    if settings.field == "latent":
        if kind == "mesh":
            raise UsageError("--field latent is for images and recordings, not for a mesh")
        config = latents.configured(signal, settings.quality)
        return Prepared(kind, signal, settings, chosen, config, choose_device(settings.device))
    config = SirenConfig(
        in_features=signal.in_features,
        out_features=signal.out_features,
        width=chosen.width,
        depth=chosen.depth,
        omega_first=float(chosen.omega_first),
        omega=float(chosen.omega),
    )
    return Prepared(kind, signal, settings, chosen, config, choose_device(settings.device))


def _target_size(settings: Settings, kind: str, signal: Signal) -> int | None:
    """The bytes that the file may have, whichever way they were asked for."""
    unit, each = medium(kind).rate(signal.facts, 1)
    for name, wanted in (("bpp", settings.target_bpp), ("kbps", settings.target_kbps)):
        if wanted is not None:
            if unit != name:
                raise UsageError(f"--target-{name} is not for a medium of this kind, {kind}")
            return int(wanted / each)
    return settings.target_size


def encode(
    data: bytes,
    settings: Settings | None = None,
    *,
    suffix: str = "",
    kind: str | None = None,
    prepared: Callable[[Prepared], None] | None = None,
    watch: Watch | None = None,
    teach: Teach | None = None,
) -> Encoded:
    """Fit a field to a medium's bytes and pack it.

    A goal without a size is searched for: with two short fits, then one or two whole ones.

    ``prepared`` is called before every fit, ``watch`` now and then in it; ``teach`` may wrap the
    teacher. The distortion reported is that of the parameters as stored.

    Raises:
        IntfitError: as :func:`prepare`.
    """
    settings = settings or Settings()
    ready = prepare(data, settings, suffix=suffix, kind=kind)
    del data

    def run(ready: Prepared) -> Encoded:
        if prepared is not None:
            prepared(ready)
        return fit_prepared(ready, watch=watch, teach=teach)

    if not isinstance(ready.config, SirenConfig):
        if prepared is not None:
            prepared(ready)
        return _rounded(ready)
    return run(ready) if ready.plan.goal is None or ready.plan.stops else _searched(ready, run)


def _searched(ready: Prepared, run: Callable[[Prepared], Encoded]) -> Encoded:
    """The smallest file found that reaches the goal; the best one where none does."""
    settings, goal, preset = ready.settings, ready.plan.goal, PRESETS[ready.kind]
    assert goal is not None
    found: list[tuple[float, Encoded]] = []
    spent = 0.0

    def score(width: int, share: float) -> float:
        nonlocal spent
        planned = _planned(ready.kind, ready.signal, replace(settings, width=width))
        steps, seconds = planned.plan.steps, planned.plan.max_time
        if steps is not None and ready.plan.steps is not None:
            steps = min(steps, ready.plan.steps)  # small networks could use more, at twice the time
        chosen = replace(
            planned.plan,
            steps=None if steps is None else max(1, round(steps * share)),
            max_time=None if seconds is None else seconds * share / COST,
            stops=False,
            profile="open" if share < 1 else settings.profile,
        )
        encoded = run(replace(planned, plan=chosen))
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


def _rounded(ready: Prepared) -> Encoded:
    """The second half of :func:`encode` for latents: nothing to fit, only how finely to round."""
    assert not isinstance(ready.config, SirenConfig)
    start = time.monotonic()
    signal, chosen = ready.signal, ready.plan

    def file(
        config: LatentsConfig, stored: dict[str, container.Stored], distortion: float
    ) -> bytes:
        described = _header(replace(ready, config=config), 0, round(distortion, 4))
        return container.dump(described, stored)

    config, data, distortion = latents.encoded(
        signal,
        ready.config,
        file,
        profile=chosen.profile,
        goal=chosen.goal,
        size=chosen.target_size,
        bounded=chosen.stops,
    )
    reached = None if chosen.goal is None else distortion
    notes = (*_effortless(ready.settings), *_compared(chosen.goal, reached, better=""))
    return _described(
        replace(ready, config=config),
        data,
        distortion,
        reached=reached,
        steps=0,
        seconds=time.monotonic() - start,
        device="cpu",
        teacher="none",
        notes=notes,
    )


def _described(
    prepared: Prepared,
    data: bytes,
    distortion: float,
    *,
    reached: float | None,
    steps: int,
    seconds: float,
    device: str,
    teacher: str,
    notes: tuple[str, ...],
) -> Encoded:
    """What there is to say of a file that was made."""
    signal, module = prepared.signal, medium(prepared.kind)
    unit, bits = module.rate(signal.facts, len(data))
    return Encoded(
        data=data,
        kind=prepared.kind,
        samples=module.samples_in(signal.facts),
        raw_size=module.raw_size(signal.facts),
        rate_name=unit,
        rate=bits,
        parameters=prepared.config.count(),
        metric=signal.metric,
        distortion=distortion,
        reached=reached,
        steps=steps,
        seconds=seconds,
        device=device,
        teacher=teacher,
        seed=prepared.plan.seed,
        notes=(*signal.notes, *notes),
    )


def _effortless(settings: Settings) -> tuple[str, ...]:
    """A note on an effort that was asked for in vain."""
    if settings.effort == Settings.effort:
        return ()
    return ("latents need no fit: --effort changes nothing without --field siren",)


def fit_prepared(
    prepared: Prepared,
    *,
    watch: Watch | None = None,
    teach: Teach | None = None,
) -> Encoded:
    """The second half of :func:`encode`."""
    device, chosen, config = prepared.device, prepared.plan, prepared.config
    assert isinstance(config, SirenConfig)
    signal = prepared.signal.to(device)
    # Parameters are drawn on the CPU, so that every device starts from the same field.
    field = Siren(config, generator=torch.Generator().manual_seed(chosen.seed)).to(device)
    glances = torch.Generator(device).manual_seed(chosen.seed + 1)
    draws = torch.Generator(device).manual_seed(chosen.seed)
    teacher = make_teacher(chosen, signal.n, shape=signal.shape, generator=draws)
    if teach is not None:
        teacher = teach(teacher, prepared)
    rounding: list[Rounding] = []

    def settle() -> Rounding:
        refuse_divergence(field)
        field.wrap_phases()
        most = None if chosen.target_size is None else 8 * 0.995 * (chosen.target_size - frame)
        steps = rate.settle(field, signal, price=chosen.price, generator=glances, max_bits=most)
        rounding.append(Rounding(field, steps))
        return rounding[-1]

    frame = _frame(prepared.kind, signal.facts)
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
        stored = _packed(field, steps, chosen.target_size, frame)
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
    data = container.dump(_header(prepared, progress.step, round(distortion, 4)), stored)
    return _described(
        prepared,
        data,
        distortion,
        reached=reached,
        steps=progress.step,
        seconds=progress.seconds,
        device=str(device),
        teacher=chosen.teacher_name,
        notes=_compared(goal, reached),
    )


def _header(prepared: Prepared, steps: int, distortion: float) -> Header:
    chosen, config = prepared.plan, prepared.config
    field = "siren" if isinstance(config, SirenConfig) else "latent"
    return Header(
        medium=prepared.kind,
        facts=prepared.signal.facts,
        field=field,
        network={name: getattr(config, name) for name in FIELDS[field]},
        fit={
            "distortion": distortion,
            "steps": steps,
            "teacher": chosen.teacher_name if steps else "none",
            "seed": chosen.seed,
        },
    )


def _frame(kind: str, facts: dict[str, Any]) -> int:
    """The most bytes that a packed file takes besides its payload, however long its numbers are."""
    network = dict(zip(FIELDS["siren"], (8192, 64, 1e8 / 3, 1e8 / 3), strict=True))
    fit = dict(zip(FIT, (-119.1234, 10**9, "int-proportional", 2**63), strict=True))
    header = Header(kind, facts, "siren", network, fit)
    return len(container.dump(header, quantize.pack({}))) + 24  # the payload's own size, twice


def _packed(
    field: Siren, steps: rate.Steps, size: int | None, frame: int
) -> dict[str, container.Stored]:
    """The payload of a field; coarser than ``steps`` where the file would exceed ``size``."""
    parameters = dict(field.named_parameters())
    while True:
        stored = quantize.pack(quantize.quantize(parameters, steps))
        if size is None or frame + len(stored[container.PAYLOAD].data) <= size:
            return stored
        if not any(steps.values()):
            raise UsageError(f"{size} bytes are too few for this network: give a smaller --depth")
        steps = {name: max(index - 1, 0) for name, index in steps.items()}


def refuse_divergence(field: Siren) -> None:
    """Raise MediaError where a parameter is not a number any more."""
    if not all(bool(tensor.isfinite().all()) for tensor in field.parameters()):
        raise MediaError("the fit diverged: try a lower --lr")


def export(data: bytes) -> bytes:
    """The file in ``data`` in the open profile: named float32 tensors.

    Raises:
        FileFormatError: if it is not a sound intfit file.
    """
    loaded = load(data, device="cpu")
    layout, stored = container.load(data)
    if isinstance(loaded.config, SirenConfig):
        tensors = loaded.field.state_dict()
    else:
        tensors = latents.tensors_of(stored, loaded.config)
    return container.dump(layout.header, quantize.store(tensors, "float32"))


def _compared(
    goal: Goal | None,
    reached: float | None,
    *,
    better: str = ": a higher --effort or larger network gets further",
) -> tuple[str, ...]:
    """A note on what was reached of a goal, where the summary does not say."""
    if goal is None or reached is None:
        return ()
    unit = "% mean distance" if goal.metric == "mean_distance" else "dB"
    if goal.score(reached) < 0:
        return (f"{reached:.4g} {unit} as stored, not the {goal.value:g} asked for{better}",)
    return (f"{reached:.4g} {unit}",) if goal.metric == "mean_distance" else ()


@dataclass(frozen=True)
class Loaded:
    """A file's field, ready to be evaluated, and the facts of its medium."""

    kind: str
    field: Siren | LatentsField
    config: Config
    facts: dict[str, Any]
    device: torch.device

    def __call__(self, coords: Tensor) -> Tensor:
        """Values ``[B, c]`` at coordinates ``[B, d]`` in [-1, 1] along the longest axis."""
        values = fitting.evaluate(self.field, coords.to(self.device))
        if not bool(values.isfinite().all()):
            raise FileFormatError("damaged: the network gives values that are not numbers")
        return values


def load(data: bytes, *, device: str = "auto", threads: int | None = None) -> Loaded:
    """The field in a file's bytes; ``threads`` bounds the CPU threads that evaluate it.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        DeviceError: if a device asked for by name is not there.
    """
    target = choose_device(device)
    if threads:
        torch.set_num_threads(threads)
    layout, stored = container.load(data)
    header = layout.header
    try:
        medium(header.medium).check_facts(header.facts)
    except MediaError as error:
        raise FileFormatError(str(error)) from None
    config = architecture(header)
    if not isinstance(config, SirenConfig):
        played = latents.field_of(latents.tensors_of(stored, config), config).to(target)
        return Loaded(header.medium, played, config, header.facts, target)
    parameters = quantize.restore(stored, config.shapes())  # before the network takes any memory
    field = Siren(config)
    rate.assign(field, parameters)
    field = field.to(target).requires_grad_(False)
    return Loaded(header.medium, field, config, header.facts, target)


def render(loaded: Loaded, target: Any) -> Any:
    """The medium at the resolution of ``target``, a ``Target`` of its module: native by default."""
    fitting.keep_freed_memory()
    return medium(loaded.kind).render(loaded, loaded.facts, target, device=loaded.device)


def decode(loaded: Loaded, target: Any = None, *, suffix: str = "") -> Decoded:
    """Render and write a file of the format ``suffix`` names.

    Raises:
        IntfitError: if the target lies outside the medium, or the format cannot be written.
    """
    module = medium(loaded.kind)
    target = target or module.Target()
    suffix = suffix or module.DEFAULT_SUFFIX
    module.check_format(suffix)  # before the work
    rendered = render(loaded, target)
    data, notes = module.write(rendered, loaded.facts, target, suffix)
    return Decoded(data, loaded.kind, module.describe(rendered, loaded.facts, target), notes)


def verify(loaded: Loaded, original: bytes, *, suffix: str = "") -> dict[str, float | None]:
    """The distortions of the field, decoded at the original's resolution, from the original.

    ``suffix`` hints at the original's format.

    Raises:
        IntfitError: if the original cannot be read, or is not of the same size.
    """
    module = medium(loaded.kind)
    try:
        measure = module.comparison(original, loaded.facts, suffix=suffix)
    except MediaError as error:
        raise MediaError(f"the original: {error}") from None
    result: dict[str, float | None] = measure(render(loaded, module.Target()))
    return result
