"""The public Python API: a medium's bytes to a file's bytes, and back.

Imports torch only where a network is trained, or a SIREN evaluated: latents do without, in less
time than importing it takes.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .codecs import choose_field, codec_of, read_config
from .codecs.assemble import overhead_bytes
from .codecs.protocol import Config, Hooks, Prepared
from .coding import container
from .coding.facts import check_facts
from .coding.tensors import Tensors, store_open
from .errors import FileFormatError, MediaError, UsageError
from .limits import USUAL, Limits
from .media import medium, sniff
from .plan import make_plan
from .settings import GOAL_METRICS, Settings, check_settings, flag
from .signals import Coordinates, Evaluate, Floats, Signal

#: The metrics that a goal can be given in, by the medium's own.
REACHABLE = {"psnr": {"psnr"}, "snr": {"psnr", "snr"}, "iou": {"mean_distance"}}


@dataclass(frozen=True)
class Encoded:
    """What :func:`encode` made: the file's bytes, and what there is to say of them.

    ``samples`` counts pixels, samples of each channel, or faces, which take ``raw_size`` bytes
    uncompressed; ``rate`` is in the unit that ``rate_name`` names (``bpp``, ``kbps``,
    ``bytes_per_1000_faces``). ``network`` describes the field and its training. ``distortion`` is
    in dB or, for ``iou``, a share; ``reached`` is the value in the goal's metric where there is a
    goal; ``seconds`` are those of the fit, or of all fits of a search.
    """

    data: bytes
    kind: str
    samples: int
    raw_size: int
    rate_name: str
    rate: float
    parameters: int
    network: str
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
class Field:
    """The field in a file, and the facts of its medium.

    Call it with coordinates ``[B, d]`` in [-1, 1] along the longest axis, in the order (y, x), (t)
    or (x, y, z): it gives values ``[B, c]`` in about [-1, 1]. Give the coordinates of a recording
    longer than a few seconds in float64: float32 does not tell its samples apart.
    """

    kind: str
    evaluate: Evaluate
    config: Config
    facts: dict[str, Any]
    device: str
    limits: Limits = USUAL

    def __call__(self, coords: Coordinates) -> Floats:
        """Values ``[B, c]``, float32, at coordinates ``[B, d]``, float64 or float32.

        Raises:
            FileFormatError: if a value is not a number.
        """
        coords = np.asarray(coords)
        precise = coords if coords.dtype == np.float64 else coords.astype(np.float32)
        values = self.evaluate(precise)
        if not np.isfinite(values).all():
            raise FileFormatError("damaged: the network gives values that are not numbers")
        return values


@dataclass(frozen=True)
class Decoded:
    """What :func:`decode` made: the medium's bytes, and what there is to say of them.

    ``size`` is a phrase: 640 x 480, 2.5 s at 16000 Hz, 81920 faces.
    """

    data: bytes
    kind: str
    size: str
    notes: tuple[str, ...]


def encode(
    data: bytes,
    settings: Settings | None = None,
    *,
    suffix: str = "",
    kind: str | None = None,
    hooks: Hooks | None = None,
) -> Encoded:
    """Fit a field to a medium's bytes and pack it.

    ``suffix`` (``.png``) hints at the format; ``kind`` (``image``, ``audio``, ``mesh``) overrides
    what the content says. The distortion reported is that of the parameters as stored.

    Raises:
        IntfitError: if the bytes cannot be fitted, or the settings make no sense for them.
    """
    prepared = prepare(data, settings or Settings(), suffix=suffix, kind=kind)
    del data
    codec = codec_of(prepared.field, prepared.kind)
    with _threads(prepared.settings.threads, needed=codec.trains(prepared.plan)):
        encoding = codec.encode(prepared, hooks or Hooks())
    signal, module = prepared.signal, medium(prepared.kind)
    rate_name, rate = module.rate(signal.facts, len(encoding.data))
    return Encoded(
        data=encoding.data,
        kind=prepared.kind,
        samples=module.count_samples(signal.facts),
        raw_size=module.raw_size(signal.facts),
        rate_name=rate_name,
        rate=rate,
        parameters=encoding.config.count(),
        network=encoding.network,
        metric=signal.metric,
        distortion=encoding.distortion,
        reached=encoding.reached,
        steps=encoding.steps,
        seconds=encoding.seconds,
        device=prepared.device,
        teacher=encoding.teacher,
        seed=prepared.plan.seed,
        notes=(*signal.notes, *encoding.notes),
    )


def prepare(
    data: bytes, settings: Settings, *, suffix: str = "", kind: str | None = None
) -> Prepared:
    """Read a medium's bytes, and choose a field, its architecture and every setting of its fit.

    Raises:
        IntfitError: as :func:`encode`.
    """
    check_settings(settings)
    if not data:
        raise MediaError("the file is empty")
    kind = kind or sniff(data, suffix)
    signal: Signal = medium(kind).read(
        data, suffix=suffix, seed=settings.seed, limits=Limits(settings.limit)
    )
    goals = settings.changed(GOAL_METRICS)
    if goals and GOAL_METRICS[goals[0]] not in REACHABLE[signal.metric]:
        raise UsageError(f"{flag(goals[0])} is not for a medium of this kind, {kind}")
    try:
        check_facts(kind, signal.facts)
    except FileFormatError:
        raise MediaError("its size, rate or range is beyond what an intfit file holds") from None
    field = choose_field(settings, kind, signal.out_features)
    settings = replace(settings, field=field)
    size = _target_size(settings, kind, signal.facts)
    codec = codec_of(field, kind)
    plan = make_plan(
        settings,
        kind=kind,
        n=signal.n,
        features=(signal.in_features, signal.out_features),
        size=size,
        overhead=overhead_bytes(kind, signal.facts),
    )
    config = codec.configure(signal, plan, settings)
    device = _choose_device(settings.device, needed=codec.trains(plan))
    return Prepared(kind, field, signal, settings, plan, config, device)


def _target_size(settings: Settings, kind: str, facts: dict[str, Any]) -> int | None:
    """The bytes that the file may have, whichever way they were asked for."""
    unit, each = medium(kind).rate(facts, 1)
    for name, wanted in (("bpp", settings.target_bpp), ("kbps", settings.target_kbps)):
        if wanted is not None:
            if unit != name:
                raise UsageError(f"--target-{name} is not for a medium of this kind, {kind}")
            return int(wanted / each)
    return settings.target_size


def _threads(threads: int | None, *, needed: bool) -> AbstractContextManager[None]:
    """Bounds torch's CPU threads while it is entered, where torch is ``needed``."""
    if not needed or threads is None:
        return nullcontext()
    from .devices import limit_threads

    return limit_threads(threads)


def _choose_device(name: str, *, needed: bool) -> str:
    """The device of a network; the CPU where none is ``needed``.

    Raises:
        DeviceError: if a device asked for by name is not there.
    """
    if not needed and name in ("auto", "cpu"):
        return "cpu"
    from .devices import choose_device

    device = choose_device(name)
    return str(device) if needed else "cpu"


def load(
    data: bytes, *, device: str = "auto", threads: int | None = None, limits: Limits = USUAL
) -> Field:
    """The field in a file's bytes; ``threads`` bounds the CPU threads that evaluate it.

    ``limits`` bound what the file may ask for, here and in what is made of the field.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        DeviceError: if a device asked for by name is not there.
    """
    layout, config, tensors = _read(data, limits)
    header = layout.header
    codec = codec_of(header.field, header.medium)
    needed = codec.DECODES_ON_DEVICE
    chosen = _choose_device(device, needed=needed)
    field = codec.decode(tensors, config, chosen)

    def evaluate(coords: Floats) -> Floats:
        with _threads(threads, needed=needed):
            return field(coords)

    return Field(header.medium, evaluate, config, header.facts, chosen, limits)


def _read(data: bytes, limits: Limits) -> tuple[container.Layout, Config, Tensors]:
    """The layout of a file, its architecture and its tensors, checked.

    Raises:
        FileFormatError: if it is not a sound intfit file.
    """
    layout, stored = container.load(data)
    header = layout.header
    config = read_config(header)
    medium(header.medium).check_limits(header.facts, limits)
    return layout, config, codec_of(header.field, header.medium).unpack(stored, config)


def export(data: bytes, *, limits: Limits = USUAL) -> bytes:
    """The file in ``data`` in the open profile: named float32 tensors.

    Raises:
        FileFormatError: if it is not a sound intfit file.
    """
    layout, _, tensors = _read(data, limits)
    return container.dump(layout.header, store_open(tensors))


def decode(field: Field, target: Any = None, *, suffix: str = "") -> Decoded:
    """Render a field and write a file of the format that ``suffix`` names.

    ``target`` is a ``Target`` of the medium's module: the native resolution by default.

    Raises:
        IntfitError: if the target lies outside the medium, or the format cannot be written.
    """
    module = medium(field.kind)
    target = target or module.Target()
    suffix = suffix or module.DEFAULT_SUFFIX
    module.check_format(suffix)  # before the work
    rendered = render(field, target)
    data, notes = module.write(rendered, field.facts, target, suffix)
    size = module.describe(rendered, field.facts, target, written=data)
    return Decoded(data, field.kind, size, notes)


def render(field: Field, target: Any) -> Any:
    """The medium at the resolution of ``target``, a ``Target`` of the medium's module."""
    return medium(field.kind).render(field, field.facts, target, limits=field.limits)


def verify(field: Field, original: bytes, *, suffix: str = "") -> dict[str, float | None]:
    """The distortions of a field, decoded at the original's resolution, from the original.

    ``suffix`` hints at the original's format.

    Raises:
        IntfitError: if the original cannot be read, or is not of the same size.
    """
    module = medium(field.kind)
    try:
        measure = module.compare_with(original, field.facts, suffix=suffix, limits=field.limits)
    except MediaError as error:
        raise MediaError(f"the original: {error}") from None
    result: dict[str, float | None] = measure(render(field, module.Target()))
    return result
