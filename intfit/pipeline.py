"""The whole route: a medium's bytes to a file's bytes, and back."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from . import fit as fitting
from .codec import container, quantize
from .devices import choose_device
from .errors import FileFormatError, MediaError, UsageError
from .fields.siren import Siren, SirenConfig
from .media import medium, sniff
from .media.signal import Signal
from .settings import Plan, Settings, header_keys, plan
from .teacher import Teacher, make_teacher

#: Called now and then while fitting, with where the fit stands.
Watch = Callable[[fitting.Progress], None]


@dataclass(frozen=True)
class Prepared:
    """An input that has been read and a network chosen for it, before any fitting."""

    kind: str
    signal: Signal
    plan: Plan
    config: SirenConfig
    device: torch.device


#: Given the teacher and what it is to teach, returns the teacher to use.
Teach = Callable[[Teacher, Prepared], Teacher]


@dataclass(frozen=True)
class Encoded:
    """What `encode` made: the file's bytes, and what there is to say of them."""

    data: bytes
    kind: str
    samples: int
    parameters: int
    seconds_of_sound: float | None
    metric: str
    distortion: float
    steps: int
    seconds: float
    device: str
    teacher: str
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """What `decode` made: the medium's bytes, and what there is to say of them."""

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
    device = choose_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not data:
        raise MediaError("the file is empty")
    kind = kind or sniff(data, suffix)
    signal: Signal = medium(kind).read(data, suffix=suffix, seed=settings.seed)
    if settings.target_psnr is not None and signal.metric == "iou":
        raise UsageError("--target-psnr is for images and audio, not for a mesh")
    chosen = plan(settings, kind=kind, n=signal.n)
    config = SirenConfig(
        in_features=signal.in_features,
        out_features=signal.out_features,
        width=chosen.width,
        depth=chosen.depth,
        omega_first=float(chosen.omega_first),
        omega=float(chosen.omega),
    )
    return Prepared(kind, signal, chosen, config, device)


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

    ``prepared`` is called once the medium has been read, ``watch`` now and then while fitting;
    ``teach`` may wrap the teacher. The distortion reported is that of the parameters as stored.

    Raises:
        IntfitError: as :func:`prepare`.
    """
    settings = settings or Settings()
    ready = prepare(data, settings, suffix=suffix, kind=kind)
    del data
    if prepared is not None:
        prepared(ready)
    return fit_prepared(ready, watch=watch, teach=teach)


def fit_prepared(
    prepared: Prepared,
    *,
    watch: Watch | None = None,
    teach: Teach | None = None,
) -> Encoded:
    """The second half of :func:`encode`."""
    device, chosen, config = prepared.device, prepared.plan, prepared.config
    signal = prepared.signal.to(device)
    # Parameters are drawn on the CPU, so that every device starts from the same field.
    field = Siren(config, generator=torch.Generator().manual_seed(chosen.seed)).to(device)
    glances = torch.Generator(device).manual_seed(chosen.seed + 1)
    teacher = make_teacher(
        chosen.teacher,
        signal.n,
        selection=chosen.selection,
        batch=chosen.batch,
        ratio=chosen.ratio,
        ratio_schedule=chosen.ratio_schedule,
        interval_schedule=chosen.interval_schedule,
        generator=torch.Generator(device).manual_seed(chosen.seed),
    )
    if teach is not None:
        teacher = teach(teacher, prepared)
    progress = None
    for progress in fitting.fit(field, signal, teacher, chosen, generator=glances):
        if watch is not None:
            watch(progress)
    assert progress is not None
    stored = quantize.store(field.state_dict(), chosen.precision)
    try:
        field.load_state_dict(quantize.restore(stored, config.shapes()))
    except FileFormatError:
        raise MediaError(
            f"the fit diverged, or left what {chosen.precision} can hold: try a lower --lr"
        ) from None
    distortion = fitting.measure(field, signal, count=fitting.MEASURE, generator=glances)
    keys = header_keys(chosen)
    report = {"metric": signal.metric, "distortion": round(distortion, 4), "steps": progress.step}
    header = {
        "profile": "open",
        "medium": prepared.kind,
        "facts": signal.facts,
        "field": {"kind": "siren", **asdict(config)},
        "fit": {**report, **keys},
    }
    facts = signal.facts
    return Encoded(
        data=container.dump(header, stored),
        kind=prepared.kind,
        samples=signal.facts.get("faces", signal.n),
        parameters=config.count(),
        seconds_of_sound=(
            facts["frames"] / facts["sample_rate"] if prepared.kind == "audio" else None
        ),
        metric=signal.metric,
        distortion=distortion,
        steps=progress.step,
        seconds=progress.seconds,
        device=str(device),
        teacher=keys["teacher"],
        seed=chosen.seed,
        notes=signal.notes,
    )


@dataclass(frozen=True)
class Loaded:
    """A file's field, ready to be evaluated, and the facts of its medium."""

    kind: str
    field: Siren
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
    kind, architecture, facts = container.identify(layout)
    module = medium(kind)
    try:
        module.check_facts(facts)
        config = SirenConfig(**architecture)
    except TypeError:
        raise FileFormatError("damaged: not a SIREN this version can build") from None
    except MediaError as error:
        raise FileFormatError(str(error)) from None
    dimensions = {"image": 2, "audio": 1, "mesh": 3}[kind]
    channels = facts["channels"] if kind != "mesh" else 1
    if (config.in_features, config.out_features) != (dimensions, channels):
        raise FileFormatError("damaged: the network in the header is not one for its medium")
    if config.count() != layout.parameters:
        raise FileFormatError("damaged: the tensors are not those of the network in the header")
    field = Siren(config)
    field.load_state_dict(quantize.restore(stored, config.shapes()))
    return Loaded(kind, field.to(target).requires_grad_(False), facts, target)


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
    if suffix.lower() not in module.suffixes():
        module.write(None, loaded.facts, suffix)  # raises the medium's own message, before the work
    rendered = render(loaded, target)
    facts = dict(loaded.facts)
    notes = []
    if loaded.kind == "audio" and target.sample_rate:
        facts["sample_rate"] = target.sample_rate
    if loaded.kind == "mesh" and rendered.metadata.get("fragments"):
        notes.append(f"{rendered.metadata['fragments']} floating fragments removed")
    data = module.write(rendered, facts, suffix)
    return Decoded(data, loaded.kind, module.describe(rendered, facts), tuple(notes))


def verify(loaded: Loaded, original: bytes, *, suffix: str = "") -> dict[str, float | None]:
    """The distortions of the field, decoded at the original's resolution, from the original.

    ``suffix`` hints at the original's format.

    Raises:
        IntfitError: if the original cannot be read, or is not of the same size.
    """
    module = medium(loaded.kind)
    result: dict[str, float | None] = module.distortion(
        original, loaded.facts, lambda: render(loaded, module.Target()), suffix=suffix
    )
    return result
