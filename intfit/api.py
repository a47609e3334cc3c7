"""The public Python API: a medium to a file's bytes, and back.

Imports torch only where a network is trained, or a SIREN evaluated: importing it takes longer than
decoding latents does.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from .codecs import (
    choose_field,
    choose_tune,
    codec_of,
    find_smaller,
    note_drawing,
    read_config,
    suits_palette,
)
from .codecs.assemble import network_overhead
from .codecs.protocol import Config, Hooks, Prepared
from .coding import container
from .coding.facts import check_facts
from .coding.header import as_opened
from .coding.tensors import Tensors, store_open
from .complaints import collect_complaints, note_complaints
from .defaults import worthwhile_threads
from .encoded import Encoded, describe
from .errors import FileFormatError, MediaError, UsageError
from .field import Field, make_target, render
from .inputs import File, FilePath, read_file, read_source
from .limits import USUAL, Limits
from .media import medium, sniff
from .media.arrays import Arrays
from .plan import make_plan
from .settings import GOAL_METRICS, Settings, check_settings, flag
from .signals import Coordinates, Evaluate, Floats, Signal
from .targets import Asked
from .writing import write_whole

__all__ = [
    "Decoded", "Encoded", "Field", "Hooks", "Settings", "decode", "encode", "export", "load",
    "prepare", "render", "verify",
]  # fmt: skip

#: A medium: a file, by its path or its bytes, or arrays.
Source = File | Arrays
#: The metrics that a goal can be given in, by the metric of the medium.
REACHABLE = {"psnr": {"psnr"}, "snr": {"psnr", "snr"}, "iou": {"mean_distance"}}


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
    source: Source,
    settings: Settings | None = None,
    *,
    suffix: str = "",
    kind: str | None = None,
    rate: int | None = None,
    hooks: Hooks | None = None,
    path: FilePath | None = None,
) -> Encoded:
    """Fit a field to a medium and pack it.

    ``source`` is one of

    * a path (``str`` or ``os.PathLike``), or a file's ``bytes``, whose format ``suffix``
      (``.png``) hints at;
    * pixels: an array ``[H, W]`` or ``[H, W, C]``, uint8, uint16 or float32. float32 of one channel
      may have any range; uint16 and float32 colours (from 0 to 1) are kept at 8 bits;
    * samples: an array ``[T]`` or ``[T, C]``, float32 of full scale 1 or int16, with their ``rate``
      in Hz;
    * a mesh: a pair of vertices ``[V, 3]`` and faces ``[F, 3]``.

    ``kind`` (``image``, ``audio``, ``mesh``) overrides what a file's content says. With ``path``,
    the file is written there, too, whole or not at all, over what is there. The distortion reported
    is that of the parameters as stored.

    Raises:
        IntfitError: if the medium cannot be fitted, or the settings make no sense for it.
        ValueError: if an array does not have the shape and the type of a medium.
        OSError: if a file cannot be read or written.
    """
    given = read_source(source, suffix=suffix, rate=rate)
    del source
    settings, hooks, notes = settings or Settings(), hooks or Hooks(), given.notes
    prepare_as = partial(prepare, given.data, suffix=given.suffix, kind=given.kind or kind)
    prepared, prepare_smaller = prepare_as(settings), None
    smaller, note = find_smaller(settings, prepared.kind, prepared.field)
    if smaller is not None:
        prepare_smaller = partial(prepare_as, replace(settings, field=smaller))
    del given, prepare_as  # the bytes of the source, which may be many
    try:
        encoded = encode_prepared(prepared, hooks)
    except UsageError:
        if prepare_smaller is None:
            raise
        encoded = encode_prepared(prepare_smaller(), hooks)
        notes = (*notes, note)
    if path is not None:
        write_whole(path, encoded.data)
    return replace(encoded, notes=(*notes, *encoded.notes))


def encode_together(
    prepared: Sequence[Prepared], hooks: Sequence[Hooks]
) -> list[Encoded | Exception]:
    """As :func:`encode` for each of several media that :func:`prepare` has read, at once.

    They have one :func:`.siren.together.kin`. What ends the encoding of one of them is returned.
    """
    from .codecs.siren.together import fit_together

    with _limit_threads(_choose_threads(prepared[0]), needed=True):
        found = fit_together(prepared, hooks)
    return [
        each if isinstance(each, Exception) else describe(one, each)
        for one, each in zip(prepared, found, strict=True)
    ]


def encode_prepared(prepared: Prepared, hooks: Hooks) -> Encoded:
    """As :func:`encode`, of a medium that :func:`prepare` has read."""
    codec = codec_of(prepared.field, prepared.kind)
    with _limit_threads(_choose_threads(prepared), needed=codec.trains(prepared.plan)):
        return describe(prepared, codec.encode(prepared, hooks))


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
    with collect_complaints() as complaints:
        kind = kind or sniff(data, suffix)
        signal: Signal = medium(kind).read(
            data, suffix=suffix, seed=settings.seed, limits=Limits(settings.limit)
        )
        signal, metadata = _keep_metadata(signal, kind, data, settings)
    signal = replace(signal, notes=(*signal.notes, *note_complaints(complaints)))
    goals = settings.changed(GOAL_METRICS)
    if goals and GOAL_METRICS[goals[0]] not in REACHABLE[signal.metric]:
        raise UsageError(f"{flag(goals[0])} is not for a medium of this kind, {kind}")
    try:
        check_facts(kind, signal.facts)
    except FileFormatError:
        raise MediaError("its size, rate or range is beyond what an intfit file holds") from None
    smooth = all(getattr(signal, name, None) is None for name in ("colours", "sides"))
    sheet = signal.facts.get("thickness") is not None
    drawn, count = suits_palette(signal), signal.out_features
    field = choose_field(settings, kind, count, smooth=smooth, sheet=sheet, drawn=drawn)
    signal = replace(signal, notes=(*signal.notes, *note_drawing(signal, settings, field, drawn)))
    settings = replace(settings, field=field, tune=choose_tune(settings, kind, field, signal.n))
    size = _choose_target_size(settings, kind, signal.facts)
    codec = codec_of(field, kind)
    plan = make_plan(
        settings,
        kind=kind,
        n=signal.n,
        features=(signal.in_features, signal.out_features),
        size=size,
        overhead=network_overhead(kind, signal, size, metadata),
    )
    config = codec.configure(signal, plan, settings)
    device = _choose_device(settings.device, needed=codec.trains(plan))
    return Prepared(kind, field, signal, settings, plan, config, device, metadata)


def _keep_metadata(
    signal: Signal, kind: str, data: bytes, settings: Settings
) -> tuple[Signal, dict[str, str]]:
    """The signal, with a note on what is not kept, and the metadata that are."""
    from .media import metadata, protocol

    found = medium(kind).read_metadata(data)
    kept, lost = metadata.bound(found) if settings.metadata == "all" else ({}, found)
    if not lost:
        return signal, kept
    why = "--metadata all keeps them" if not kept and settings.metadata == "none" else "too long"
    note = f"{protocol.name_all(lost)} not kept: {why}"
    return replace(signal, notes=(*signal.notes, note)), kept


def _choose_target_size(settings: Settings, kind: str, facts: dict[str, Any]) -> int | None:
    """The bytes that the file may have at most, from the setting that bounds them, if one does.

    Raises:
        UsageError: if the setting is for another kind of medium.
    """
    unit, rate_of_byte = medium(kind).rate(facts, 1)
    for name, wanted in (("bpp", settings.target_bpp), ("kbps", settings.target_kbps)):
        if wanted is not None:
            if unit != name:
                raise UsageError(f"--target-{name} is not for a medium of this kind, {kind}")
            return int(wanted / rate_of_byte)
    return settings.target_size


def _choose_threads(prepared: Prepared) -> int:
    """The CPU threads to fit with: as set, or as many as the work can feed."""
    settings, plan = prepared.settings, prepared.plan
    if settings.threads is not None:
        return settings.threads
    # the network beside latents is a narrow one
    return 1 if prepared.field == "latent" else worthwhile_threads(plan.width, plan.batch)


def _limit_threads(threads: int | None, *, needed: bool) -> AbstractContextManager[None]:
    """Bound torch's CPU threads within the context, where torch is ``needed``."""
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
    file: File, *, device: str = "auto", threads: int | None = None, limits: Limits = USUAL
) -> Field:
    """The field in a file, given by its path or its bytes.

    ``device`` evaluates it (latents need none); ``threads`` bounds the CPU threads that do.
    ``limits`` bound what the file may ask for, here and in what is made of the field.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        DeviceError: if a device asked for by name is not there.
        OSError: if it cannot be read.
    """
    layout, config, tensors = _read(read_file(file), limits)
    header = layout.header
    codec = codec_of(header.field, header.medium)
    needed = codec.DECODES_ON_DEVICE
    device = _choose_device(device, needed=needed)
    field: Evaluate = codec.decode(tensors, config, device)

    def limited(evaluate: Evaluate) -> Evaluate:
        def evaluate_limited(coords: Coordinates) -> Floats:
            with _limit_threads(threads, needed=needed):
                return evaluate(coords)

        return evaluate_limited

    make_module = partial(codec.make_module, field, config)
    parts = {name: limited(part) for name, part in getattr(field, "parts", {}).items()}
    return Field(
        header.medium,
        limited(field),
        config,
        header.facts,
        device,
        limits,
        header.metadata,
        make_module,
        parts,
    )


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


def export(file: File, *, suffix: str = ".safetensors", limits: Limits = USUAL) -> bytes:
    """The network in a file, for other programs to read.

    ``.safetensors``: the same file in the open profile, named float32 tensors. ``.onnx``: a model
    from coordinates ``[B, d]`` to values ``[B, c]``, of a SIREN only; needs ``intfit[onnx]``.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        UsageError: if it holds no network that the format can express, or onnx is missing.
        OSError: if it cannot be read.
    """
    layout, config, tensors = _read(read_file(file), limits)
    if suffix.lower() != container.ONNX_SUFFIX:
        return container.dump(as_opened(layout.header), store_open(tensors))
    codec = codec_of(layout.header.field, layout.header.medium)
    return codec.write_onnx(tensors, config, layout.header)


def decode(
    field: Field | File,
    target: Any = None,
    *,
    suffix: str = "",
    path: FilePath | None = None,
    **asked: Unpack[Asked],
) -> Decoded:
    """Render a field, or that in a file, and make a file of the format that ``suffix`` names.

    At its native resolution, unless the keywords of :meth:`.Field.render` say otherwise:
    ``scale``, ``size`` or ``region`` of an image; ``sample_rate``, ``start`` or ``duration`` of a
    recording; ``resolution``, ``voxel``, ``faces``, ``tolerance`` or ``watertight`` of a surface.
    (``target``, a ``Target`` of the medium's module, says the same.) With ``path``, the file is
    written there, too, whole or not at all, over what is there, in the format of its suffix.

    Raises:
        IntfitError: if the target lies outside the medium or is for another one, or the format
            cannot be written.
        ValueError: if both ``target`` and keywords are given.
        OSError: if a file cannot be read or written.
    """
    field = as_field(field)
    module = medium(field.kind)
    if target is not None and asked:
        raise ValueError("target and keywords both say what to decode: give one")
    target = target or make_target(field.kind, **asked)
    suffix = suffix or (Path(path).suffix if path is not None else "") or module.DEFAULT_SUFFIX
    module.check_format(suffix)  # before the work
    rendered = render(field, target)
    data, notes = module.write(rendered, field.facts, target, suffix, metadata=field.metadata)
    size = module.describe(rendered, field.facts, target, written=data)
    if path is not None:
        write_whole(path, data)
    return Decoded(data, field.kind, size, notes)


def as_field(field: Field | File) -> Field:
    """The field itself, or that in a file."""
    return load(field) if isinstance(field, str | os.PathLike | bytes) else field


def verify(
    field: Field | File, original: Source, *, suffix: str = "", hooks: Hooks | None = None
) -> dict[str, float | None]:
    """The distortions of a field, or of that in a file, at the original's resolution.

    ``original`` is whatever :func:`encode` takes; samples are at the field's own rate. ``suffix``
    hints at the format of bytes, and ``hooks`` are told the stages. Gives ``psnr`` (dB), ``ssim``,
    ``ms_ssim`` and ``ssimulacra2`` of an image, ``snr``, ``log_spectral_distance`` (dB),
    ``zimtohrli`` and ``visqol`` of a recording, ``iou``, ``mean_distance`` and ``max_distance`` (%
    of the box diagonal), ``normal_error`` (degrees), ``f_score`` (at 0.1 % of the diagonal), the
    number of ``faces`` compared and ``colour_psnr`` (dB) of a mesh; None where one is not defined
    or its package missing.

    Raises:
        IntfitError: if the original cannot be read, or is not of the same size.
        ValueError: if an array does not have the shape and the type of a medium.
        OSError: if a file cannot be read.
    """
    field, hooks = as_field(field), hooks or Hooks()
    module = medium(field.kind)
    given = read_source(original, suffix=suffix, rate=field.facts.get("sample_rate"))
    try:
        with collect_complaints():
            measure = module.compare_with(
                given.data, field.facts, suffix=given.suffix, limits=field.limits
            )
    except MediaError as error:
        raise MediaError(f"the original: {error}") from None
    hooks.enter("rendering")
    rendered = render(field, module.Target())
    hooks.enter("comparing")
    return measure(rendered)
