"""Rate and distortion side by side with what people use."""

import hashlib
import importlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .. import api as pipeline
from .. import metrics
from ..devices import choose_device
from ..errors import IntfitError, MediaError, UsageError
from ..media import audio, medium, sniff
from ..media.pixels import read_pixels, to_pillow
from ..media.triangles import read_triangles
from ..settings import Settings

#: The settings that rivals are run at; each curve keeps what no other point of it beats.
QUALITIES = (2, 5, 10, 20, 30, 45, 60, 75, 85, 92)
LEVELS = (0.99, 0.9, 0.8, 0.7, 0.6, 0.45, 0.3, 0.15, 0.0)
REDUCTIONS = (0.995, 0.99, 0.98, 0.96, 0.93, 0.88, 0.8, 0.65, 0.0)
BITS = (7, 8, 9, 10, 11)
#: Samples that a lossy codec may delay a recording by.
DELAY = 1 << 13

#: What a medium is judged by: metric, and whether more is better.
JUDGED = {"image": ("psnr", True), "audio": ("snr", True), "mesh": ("mean_distance", False)}
RIVALS = {
    "image": ("jpeg", "webp", "avif"),
    "audio": ("mp3", "vorbis", "opus"),
    "mesh": ("draco",),
}

#: A codec at one setting: bytes, and the medium decoded from them.
Coded = tuple[int, Any]


@dataclass(frozen=True)
class Point:
    """A codec at one setting: bytes of the file, rate in the medium's unit, and distortions."""

    codec: str
    setting: str
    size: int
    unit: str
    rate: float
    distortion: dict[str, float | None]

    def quality(self, kind: str) -> float:
        """Decibels, the more the better."""
        metric, more = JUDGED[kind]
        value = self.distortion[metric] or 1e-9
        return value if more else -20 * math.log10(max(value, 1e-9))


def _pillow(name: str, quality: int, data: bytes) -> Coded:
    """JPEG with its usual 4:2:0 and optimised tables, WebP and AVIF at a patient effort."""
    every: dict[str, dict[str, Any]] = {
        "jpeg": {"optimize": True},
        "webp": {"method": 6},
        "avif": {"speed": 4},
    }
    pixels, facts, _ = read_pixels(data)
    buffer = io.BytesIO()
    original = to_pillow(pixels, facts)
    original.save(buffer, name.upper(), quality=quality, **every[name])
    decoded = np.asarray(Image.open(buffer).convert(original.mode))
    return buffer.tell(), decoded.reshape(pixels.shape)


def _soundfile(name: str, level: float, data: bytes) -> Coded:
    """MP3, Vorbis and Opus at one of libsndfile's levels, back in place and at the same rate."""
    import soundfile
    import soxr

    formats = {
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "vorbis": ("OGG", "VORBIS"),
        "opus": ("OGG", "OPUS"),
    }
    container, subtype = formats[name]
    values, facts = audio.read_samples(data)
    native = facts["sample_rate"]
    rate = 48000 if name == "opus" else native
    buffer = io.BytesIO()
    fed = soxr.resample(values, native, rate, quality="VHQ") if rate != native else values
    with soundfile.SoundFile(
        buffer, "w", rate, fed.shape[1], subtype, format=container, compression_level=level
    ) as file:
        audio.write_blocks(file, fed)
    decoded, back = audio.read_samples(buffer.getvalue())
    if back["sample_rate"] != native:
        decoded = soxr.resample(decoded, back["sample_rate"], native, quality="VHQ")
    return buffer.tell(), aligned(decoded, values)


def aligned(decoded: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float32]:
    """``decoded`` ``[M, C]`` moved and cut to lie on ``original`` ``[N, C]``.

    Lossy codecs delay: the shift is where the two correlate most, within DELAY.
    """
    from scipy.signal import correlate

    pairs = zip(decoded.T, original.T, strict=True)
    found = np.sum([correlate(one, two, method="fft") for one, two in pairs], axis=0)
    lags = np.arange(len(found)) - (len(original) - 1)
    near = np.abs(lags) <= DELAY
    lag = int(lags[near][np.argmax(found[near])])
    moved = np.zeros_like(original)
    part = decoded[max(lag, 0) : max(lag, 0) + len(original) - max(-lag, 0)]
    moved[max(-lag, 0) : max(-lag, 0) + len(part)] = part
    return moved


def _draco(setting: tuple[float, int], data: bytes, suffix: str) -> Coded:
    """Draco after quadric decimation, at so many bits a coordinate."""
    import DracoPy
    import fast_simplification
    import trimesh

    reduction, bits = setting
    vertices, faces, _ = read_triangles(data, suffix)
    if reduction:
        vertices, faces = fast_simplification.simplify(
            vertices.astype(np.float32), faces.astype(np.int32), reduction
        )
    coded = DracoPy.encode(
        np.asarray(vertices, np.float32),
        np.asarray(faces, np.uint32),
        quantization_bits=bits,
        compression_level=10,
    )
    back = DracoPy.decode(coded)
    return len(coded), trimesh.Trimesh(back.points, back.faces, process=False)


def _rival(name: str, data: bytes, suffix: str) -> Iterator[tuple[str, Callable[[], Coded]]]:
    """Every setting of a rival, and how to run it."""
    if name in RIVALS["image"]:
        for quality in QUALITIES:
            yield str(quality), partial(_pillow, name, quality, data)
    elif name in RIVALS["audio"]:
        for level in LEVELS:
            yield str(level), partial(_soundfile, name, level, data)
    else:
        for reduction in REDUCTIONS:
            for bits in BITS:
                setting = (reduction, bits)
                yield f"{reduction}/{bits}", partial(_draco, setting, data, suffix)


class Cache:
    """Results by content and settings, one small JSON file each, so that a run can go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def point(self, key: Sequence[str], make: Callable[[], Point]) -> Point:
        """The result under ``key``, made where it is not there."""
        name = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
        path = self._folder / f"{name}.json"
        try:
            return Point(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            point = make()
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(point)))
        temporary.replace(path)
        return point


def _code(*beginnings: str) -> str:
    """A digest of this package's sources, so that results of older code are not taken.

    Or only of those whose path within the package has one of the ``beginnings``.
    """
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith(beginnings or ""):
            found.update(path.read_bytes())
    return found.hexdigest()


def points(
    data: bytes,
    suffix: str,
    *,
    settings: Settings,
    qualities: Sequence[float],
    against: Sequence[str],
    cache: Cache,
) -> tuple[str, Iterator[Point | str]]:
    """The kind of a medium, and every codec at every setting; or why one was left out.

    Raises:
        UsageError: if a rival is not one for this medium, or its package is not installed.
    """
    kind = sniff(data, suffix)
    rivals = [name for name in against if name in RIVALS[kind]]
    if against and not rivals:
        raise UsageError(f"--against {','.join(against)}: none of them is for this kind, {kind}")
    rivals = rivals or list(RIVALS[kind])
    if kind == "mesh":
        for package in ("DracoPy", "fast_simplification"):
            try:
                importlib.import_module(package)
            except ImportError:
                raise UsageError(f"{package} is missing: pip install 'intfit[bench]'") from None
    return kind, _points(kind, data, suffix, settings, qualities, rivals, cache)


def _points(
    kind: str,
    data: bytes,
    suffix: str,
    settings: Settings,
    qualities: Sequence[float],
    rivals: Sequence[str],
    cache: Cache,
) -> Iterator[Point | str]:
    module = medium(kind)
    facts = module.read(data, suffix=suffix).facts
    measure: list[Any] = []

    def point(codec: str, setting: str, coded: Coded) -> Point:
        size, decoded = coded
        if not measure:
            measure.append(module.compare_with(data, facts, suffix=suffix))
        unit, rate = module.rate(facts, size)
        return Point(codec, setting, size, unit, rate, measure[0](decoded))

    def ours(quality: float) -> Point:
        encoded = pipeline.encode(data, replace(settings, quality=quality), suffix=suffix)
        loaded = pipeline.load(encoded.data, device=settings.device)
        decoded = pipeline.render(loaded, module.Target())
        return point("intfit", f"{quality:g}", (len(encoded.data), decoded))

    def rival(codec: str, setting: str, run: Callable[[], Coded]) -> Point:
        return point(codec, setting, run())

    digest = hashlib.sha256(data).hexdigest()
    described = json.dumps(asdict(settings), sort_keys=True)
    ours_made = f"{_code()} {torch.__version__} {choose_device(settings.device)}"
    theirs = _code("bench/rd.py", "metrics.py", "media/")
    for quality in qualities:
        key = (digest, "intfit", ours_made, described, f"{quality:g}")
        yield cache.point(key, partial(ours, quality))
    for name in rivals:
        for setting, run in _rival(name, data, suffix):
            try:
                yield cache.point(
                    (digest, name, theirs, setting),
                    partial(rival, name, setting, run),
                )
            except (MediaError, OSError, RuntimeError, ValueError, KeyError) as error:
                yield f"{name} at {setting} left out: {error}"


def curve(found: Sequence[Point], codec: str, kind: str) -> tuple[list[float], list[float]]:
    """Rates and qualities of a codec, both rising: what no other of its points beats."""
    mine = sorted((p.rate, -p.quality(kind)) for p in found if p.codec == codec)
    rates: list[float] = []
    qualities: list[float] = []
    for rate, negative in mine:
        if not qualities or -negative > qualities[-1]:
            rates.append(rate)
            qualities.append(-negative)
    return rates, qualities


def compared(found: Sequence[Point], kind: str) -> dict[str, float | None]:
    """BD-rate of intfit against each other codec, in percent; None where they do not overlap."""
    ours = curve(found, "intfit", kind)
    return {
        codec: metrics.bd_rate(*curve(found, codec, kind), *ours)
        for codec in dict.fromkeys(p.codec for p in found)
        if codec != "intfit"
    }


def plot(results: dict[str, tuple[str, list[Point]]], path: Path) -> None:
    """A picture of all curves, one panel a file.

    Raises:
        IntfitError: if matplotlib is missing, or the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("matplotlib is missing: pip install 'intfit[bench]'") from None
    figure = Figure(figsize=(5.5 * len(results), 4.2), layout="constrained")
    for index, (name, (kind, found)) in enumerate(results.items(), start=1):
        axes = figure.add_subplot(1, len(results), index)
        for codec in dict.fromkeys(p.codec for p in found):
            rates, qualities = curve(found, codec, kind)
            axes.plot(rates, qualities, marker="o", markersize=3, label=codec)
        metric, more = JUDGED[kind]
        label = metric if more else f"-20 log10 of {metric}"
        axes.set(title=name, xlabel=found[0].unit, ylabel=label)
        axes.set_xscale("log")
        axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise IntfitError(f"--plot {str(path)!r}: {error}") from None
