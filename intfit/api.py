"""The whole route: a medium's bytes to a file's bytes, and back.

Imports torch only where a SIREN is involved: latents do without, in less time than importing takes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .codecs import latents
from .codecs.wavelet.field import Tensors
from .coding import container
from .coding.container import Header, Stored
from .coding.header import FIELDS, FIT
from .errors import FileFormatError, MediaError, UsageError
from .media import medium, sniff
from .networks.architecture import Config, LatentConfig, LatentsConfig, SirenConfig, architecture
from .settings import GOALS, Goal, Plan, Settings, check, field_of, of_a_fit, plan
from .signals import Evaluate, Floats, Grid, Signal

if TYPE_CHECKING:
    from .teachers import Teacher
    from .training.loop import Progress

#: Called now and then while fitting, with where the fit stands.
Watch = Callable[["Progress"], None]


@dataclass(frozen=True)
class Prepared:
    """An input that has been read and a network chosen for it, before any fitting."""

    kind: str
    signal: Signal
    settings: Settings
    plan: Plan
    config: Config
    device: str


#: The metrics that a goal can be given in, by the medium's own.
REACHABLE = {"psnr": {"psnr"}, "snr": {"psnr", "snr"}, "iou": {"mean_distance"}}

#: Given the teacher and what it is to teach, returns the teacher to use.
Teach = Callable[["Teacher", Prepared], "Teacher"]


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
    return planned(kind, signal, settings)


def planned(kind: str, signal: Signal, settings: Settings) -> Prepared:
    """A network chosen for a signal."""
    settings = replace(settings, field=field_of(settings, kind, signal.out_features))
    size = _target_size(settings, kind, signal)
    room = frame(kind, signal.facts)
    features = signal.in_features, signal.out_features
    chosen = plan(settings, kind=kind, n=signal.n, features=features, size=size, frame=room)
    config: Config
    if settings.field == "latent":
        if not isinstance(signal, Grid):
            raise UsageError("--field latent is for images and recordings, not for a mesh")
        config = latents.configured(signal, settings.quality)
        if kind != "image" and (refused := of_a_fit(settings)) is not None:
            flag = f"--{refused.replace('_', '-')}"
            raise UsageError(f"{flag} is for --field siren: a recording's latents need no fit")
        fits = kind == "image" and bool(chosen.steps)
        device = _device(settings.device, settings.threads, fits=fits)
        return Prepared(kind, signal, settings, chosen, config, device)
    config = SirenConfig(
        in_features=signal.in_features,
        out_features=signal.out_features,
        width=chosen.width,
        depth=chosen.depth,
        omega_first=float(chosen.omega_first),
        omega=float(chosen.omega),
    )
    device = _device(settings.device, settings.threads, fits=True)
    return Prepared(kind, signal, settings, chosen, config, device)


def _device(name: str, threads: int | None, *, fits: bool) -> str:
    """The device of a SIREN, its CPU threads bounded; the CPU where nothing ``fits``.

    Raises:
        DeviceError: if a device asked for by name is not there.
    """
    if not fits and name in ("auto", "cpu"):
        return "cpu"
    import torch

    from .devices import choose_device

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(name)
    return str(chosen) if fits else "cpu"


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

    if not isinstance(ready.config, SirenConfig):
        if prepared is not None:
            prepared(ready)
        return _rounded(ready, watch)
    from .codecs.siren.fitting import fit_prepared, searched

    def run(ready: Prepared) -> Encoded:
        if prepared is not None:
            prepared(ready)
        return fit_prepared(ready, watch=watch, teach=teach)

    return run(ready) if ready.plan.goal is None or ready.plan.stops else searched(ready, run)


def _rounded(ready: Prepared, watch: Watch | None) -> Encoded:
    """The second half of :func:`encode` for latents: how finely to round, and what that took."""
    assert not isinstance(ready.config, SirenConfig)
    assert isinstance(ready.signal, Grid)
    start = time.monotonic()
    signal, chosen = ready.signal, ready.plan

    def steps(config: LatentsConfig) -> int:
        """Those that went into what a file holds."""
        fitted = isinstance(config, LatentConfig) and config.neurons is not None
        return chosen.steps or 0 if fitted else 0

    def file(config: LatentsConfig, stored: dict[str, Stored], distortion: float) -> bytes:
        said = header(replace(ready, config=config), steps(config), round(distortion, 4))
        return container.dump(said, stored)

    def correct(tensors: Tensors, config: LatentConfig, exact: Floats) -> bytes:
        from .codecs.wavelet import postfilter_fitting as correct

        signal = correct.errors(tensors, config, exact)
        return correct.fitted(signal, config, chosen, ready.device, watch=watch)

    made = latents.encoded(
        signal,
        ready.config,
        file,
        profile=chosen.profile,
        goal=chosen.goal,
        size=chosen.target_size,
        bounded=chosen.stops,
        correct=correct if chosen.steps else None,
    )
    reached = None if chosen.goal is None else made.distortion
    notes = (*_effortless(ready), *compared(chosen.goal, reached, better=""))
    return described(
        replace(ready, config=made.config),
        made.data,
        made.distortion,
        reached=reached,
        steps=steps(made.config),
        seconds=time.monotonic() - start,
        device=ready.device,
        teacher=chosen.teacher_name if steps(made.config) else "none",
        notes=notes,
    )


def described(
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
        samples=module.count_samples(signal.facts),
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


def _effortless(ready: Prepared) -> tuple[str, ...]:
    """A note on an effort that was asked for in vain."""
    if ready.kind == "image" or ready.settings.effort == Settings.effort:
        return ()
    return ("a recording's latents need no fit: --effort changes nothing without --field siren",)


def header(prepared: Prepared, steps: int, distortion: float) -> Header:
    """The header of a file of what was made."""
    chosen, config = prepared.plan, prepared.config
    field = "siren" if isinstance(config, SirenConfig) else "latent"
    return Header(
        medium=prepared.kind,
        facts=prepared.signal.facts,
        field=field,
        network={name: getattr(config, name, None) for name in FIELDS[field]},
        fit={
            "distortion": distortion,
            "steps": steps,
            "teacher": chosen.teacher_name if steps else "none",
            "seed": chosen.seed,
        },
    )


def frame(kind: str, facts: dict[str, Any]) -> int:
    """The most bytes that a packed file takes besides its payload, however long its numbers are."""
    network = dict(zip(FIELDS["siren"], (8192, 64, 1e8 / 3, 1e8 / 3), strict=True))
    fit = dict(zip(FIT, (-119.1234, 10**9, "int-proportional", 2**63), strict=True))
    empty = {container.PAYLOAD: Stored("U8", (0,), b"")}
    said = Header(kind, facts, "siren", network, fit)
    return len(container.dump(said, empty)) + 24  # the payload's own size, twice


def export(data: bytes) -> bytes:
    """The file in ``data`` in the open profile: named float32 tensors.

    Raises:
        FileFormatError: if it is not a sound intfit file.
    """
    loaded = load(data, device="cpu")
    layout, stored = container.load(data)
    if not isinstance(loaded.config, SirenConfig):
        tensors = latents.opened(latents.tensors_of(stored, loaded.config))
        return container.dump(layout.header, tensors)
    from .coding import quantize

    parameters = quantize.restore(stored, loaded.config.shapes())
    return container.dump(layout.header, quantize.store(parameters, "float32"))


def compared(
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
    """A file's field, ready to be evaluated, and the facts of its medium.

    ``field`` takes coordinates ``[B, d]`` to values ``[B, c]``, both NumPy.
    """

    kind: str
    field: Evaluate
    config: Config
    facts: dict[str, Any]
    device: str

    def __call__(self, coords: Floats) -> Floats:
        """Values ``[B, c]`` at coordinates ``[B, d]`` in [-1, 1] along the longest axis."""
        values = self.field(np.asarray(coords, np.float32))
        if not np.isfinite(values).all():
            raise FileFormatError("damaged: the network gives values that are not numbers")
        return values


def load(data: bytes, *, device: str = "auto", threads: int | None = None) -> Loaded:
    """The field in a file's bytes; ``threads`` bounds the CPU threads that evaluate it.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        DeviceError: if a device asked for by name is not there.
    """
    layout, stored = container.load(data)
    said = layout.header
    try:
        medium(said.medium).check_facts(said.facts)
    except MediaError as error:
        raise FileFormatError(str(error)) from None
    config = architecture(said)
    chosen = _device(device, threads, fits=isinstance(config, SirenConfig))
    if isinstance(config, SirenConfig):
        from .codecs.siren.fitting import restored

        field: Evaluate = restored(stored, config, chosen)
    else:
        field = latents.field_of(latents.tensors_of(stored, config), config)
    return Loaded(said.medium, field, config, said.facts, chosen)


def render(loaded: Loaded, target: Any) -> Any:
    """The medium at the resolution of ``target``, a ``Target`` of its module: native by default."""
    return medium(loaded.kind).render(loaded, loaded.facts, target)


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
        measure = module.compare_with(original, loaded.facts, suffix=suffix)
    except MediaError as error:
        raise MediaError(f"the original: {error}") from None
    result: dict[str, float | None] = measure(render(loaded, module.Target()))
    return result
