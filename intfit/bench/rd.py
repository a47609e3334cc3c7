"""Rate and distortion of intfit beside those of the codecs that people use."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .. import api, metrics
from ..devices import choose_device
from ..errors import IntfitError, MediaError, UsageError
from ..media import audio, medium, sniff
from ..media.pixels import read_pixels, to_pillow
from ..settings import Settings
from . import rd_surface

#: The qualities, of 100, that picture codecs are run at.
QUALITIES = (2, 5, 10, 20, 30, 45, 60, 75, 85, 92)
#: The compression levels, in 0..1, that libsndfile's codecs are run at: 1 is the smallest file.
LEVELS = (0.99, 0.9, 0.8, 0.7, 0.6, 0.45, 0.3, 0.15, 0.0)
#: The most samples that a lossy codec may delay a recording by.
MAX_DELAY = 1 << 13

#: The metric that codecs are compared by on each medium, and whether more of it is better.
COMPARED_BY = {"image": ("psnr", True), "audio": ("snr", True), "mesh": ("mean_distance", False)}
#: The codecs that intfit is compared with on each medium.
RIVALS = {
    "image": ("jpeg", "webp", "avif"),
    "audio": ("mp3", "vorbis", "opus"),
    "mesh": rd_surface.RIVALS,
}

#: The result of a codec at one setting: the size in bytes, and the medium decoded from them.
Coded = tuple[int, Any]


@dataclass(frozen=True)
class Point:
    """The result of a codec at one setting.

    ``size`` is in bytes, ``rate`` in ``unit``, a key of :data:`.phrases.RATES`; ``distortion`` has
    every metric of the medium, None where it is not defined.
    """

    codec: str
    setting: str
    size: int
    unit: str
    rate: float
    distortion: dict[str, float | None]

    def quality(self, kind: str) -> float:
        """The metric of :data:`COMPARED_BY` in decibels, of which more is better.

        A mean distance d (% of the box diagonal) becomes -20 log10(d).
        """
        metric, more_is_better = COMPARED_BY[kind]
        value = self.distortion[metric] or 1e-9
        return value if more_is_better else rd_surface.to_quality(metric, value)


def _code_picture(name: str, quality: int, data: bytes) -> Coded:
    """Code a picture by Pillow, slowly and well.

    JPEG with its usual 4:2:0 and optimised tables, WebP by method 6, AVIF at speed 4.
    """
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"optimize": True},
        "webp": {"method": 6},
        "avif": {"speed": 4},
    }
    pixels, facts, _ = read_pixels(data)
    buffer = io.BytesIO()
    original = to_pillow(pixels, facts)
    original.save(buffer, name.upper(), quality=quality, **options[name])
    decoded = np.asarray(Image.open(buffer).convert(original.mode))
    return buffer.tell(), decoded.reshape(pixels.shape)


def _code_recording(name: str, level: float, data: bytes) -> Coded:
    """Code a recording as MP3, Vorbis or Opus, at one of libsndfile's compression levels.

    The samples ``[N, C]`` are at the original's rate and without the codec's delay.
    """
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
    resampled = soxr.resample(values, native, rate, quality="VHQ") if rate != native else values
    with soundfile.SoundFile(
        buffer, "w", rate, resampled.shape[1], subtype, format=container, compression_level=level
    ) as file:
        audio.write_blocks(file, resampled)
    decoded, back = audio.read_samples(buffer.getvalue())
    if back["sample_rate"] != native:
        decoded = soxr.resample(decoded, back["sample_rate"], native, quality="VHQ")
    return buffer.tell(), align(decoded, values)


def align(decoded: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift ``decoded`` ``[M, C]`` in time, and cut it to the ``[N, C]`` of ``original``.

    Lossy codecs delay a recording. The shift, of at most :data:`MAX_DELAY` samples, is the one at
    which the two correlate most.
    """
    from scipy.signal import correlate

    pairs = zip(decoded.T, original.T, strict=True)
    correlation = np.sum([correlate(one, two, method="fft") for one, two in pairs], axis=0)
    lags = np.arange(len(correlation)) - (len(original) - 1)
    near = np.abs(lags) <= MAX_DELAY
    lag = int(lags[near][np.argmax(correlation[near])])
    moved = np.zeros_like(original)
    part = decoded[max(lag, 0) : max(lag, 0) + len(original) - max(-lag, 0)]
    moved[max(-lag, 0) : max(-lag, 0) + len(part)] = part
    return moved


def _list_settings(
    name: str, data: bytes, suffix: str
) -> Iterator[tuple[str, Callable[[], Coded]]]:
    """The name of every setting of a rival, and a function that runs it."""
    if name in RIVALS["image"]:
        for quality in QUALITIES:
            yield str(quality), partial(_code_picture, name, quality, data)
    elif name in RIVALS["audio"]:
        for level in LEVELS:
            yield str(level), partial(_code_recording, name, level, data)
    else:
        yield from rd_surface.list_settings(name, data, suffix)


class Cache:
    """Points by content and settings, one small JSON file each: a run that was ended can go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, key: Sequence[str], make: Callable[[], Point]) -> Point:
        """The point under ``key``; made and kept where it is not there."""
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


def _digest_sources(*beginnings: str) -> str:
    """A digest of this package's sources, so that points of other sources are not reused.

    With ``beginnings``, only of those whose path within the package begins with one of them.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith(beginnings or ""):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def measure_points(
    data: bytes,
    suffix: str,
    *,
    settings: Settings,
    qualities: Sequence[float],
    against: Sequence[str],
    cache: Cache,
) -> tuple[str, Iterator[Point | str]]:
    """The kind of a medium, and the points of every codec, as they are measured.

    In place of a point there may be a line that says why it was left out.

    Raises:
        MediaError: if the medium is of no kind that is known.
        UsageError: if none of the rivals is for this medium, or its package is not installed.
    """
    kind = sniff(data, suffix)
    rivals = [name for name in against if name in RIVALS[kind]]
    if against and not rivals:
        raise UsageError(f"--against {','.join(against)}: none of them is for this kind, {kind}")
    rivals = rivals or list(RIVALS[kind])
    if kind == "mesh":
        rd_surface.check_packages()
    return kind, _measure_points(kind, data, suffix, settings, qualities, rivals, cache)


def _measure_points(
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

    def make_point(codec: str, setting: str, coded: Coded) -> Point:
        size, decoded = coded
        if not measure:
            measure.append(module.compare_with(data, facts, suffix=suffix))
        unit, rate = module.rate(facts, size)
        return Point(codec, setting, size, unit, rate, measure[0](decoded))

    def measure_intfit(quality: float) -> Point:
        encoded = api.encode(data, replace(settings, quality=quality), suffix=suffix)
        loaded = api.load(encoded.data, device=settings.device)
        decoded = api.render(loaded, module.Target())
        return make_point("intfit", f"{quality:g}", (len(encoded.data), decoded))

    def measure_rival(codec: str, setting: str, run: Callable[[], Coded]) -> Point:
        return make_point(codec, setting, run())

    digest = hashlib.sha256(data).hexdigest()
    settings_text = json.dumps(asdict(settings), sort_keys=True)
    program = f"{_digest_sources()} {torch.__version__} {choose_device(settings.device)}"
    bench_sources = _digest_sources("bench/rd", "metrics.py", "media/")
    for quality in qualities:
        key = (digest, "intfit", program, settings_text, f"{quality:g}")
        yield cache.fetch(key, partial(measure_intfit, quality))
    for name in rivals:
        for setting, run in _list_settings(name, data, suffix):
            try:
                yield cache.fetch(
                    (digest, name, bench_sources, setting),
                    partial(measure_rival, name, setting, run),
                )
            except (MediaError, OSError, RuntimeError, ValueError, KeyError) as error:
                yield f"{name} at {setting} left out: {error}"


def trace_curve(points: Sequence[Point], codec: str, kind: str) -> tuple[list[float], list[float]]:
    """Rates and qualities of a codec, both rising.

    Of its points, those of a higher quality than all points of a lower rate.
    """
    pairs = sorted((p.rate, -p.quality(kind)) for p in points if p.codec == codec)
    rates: list[float] = []
    qualities: list[float] = []
    for rate, negative in pairs:
        if not qualities or -negative > qualities[-1]:
            rates.append(rate)
            qualities.append(-negative)
    return rates, qualities


def compare(points: Sequence[Point], kind: str) -> dict[str, float | None]:
    """The BD-rate of intfit against each other codec, in per cent, as :func:`.metrics.bd_rate`."""
    ours = trace_curve(points, "intfit", kind)
    return {
        codec: metrics.bd_rate(*trace_curve(points, codec, kind), *ours)
        for codec in dict.fromkeys(p.codec for p in points)
        if codec != "intfit"
    }


def plot_curves(results: dict[str, tuple[str, list[Point]]], path: Path) -> None:
    """Draw the curves of each file of ``results`` (its kind and points) in a panel of its own.

    Raises:
        UsageError: if matplotlib is missing.
        IntfitError: if the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("matplotlib is missing: pip install 'intfit[bench]'") from None
    figure = Figure(figsize=(5.5 * len(results), 4.2), layout="constrained")
    for index, (name, (kind, points)) in enumerate(results.items(), start=1):
        axes = figure.add_subplot(1, len(results), index)
        for codec in dict.fromkeys(p.codec for p in points):
            rates, qualities = trace_curve(points, codec, kind)
            axes.plot(rates, qualities, marker="o", markersize=3, label=codec)
        metric, more_is_better = COMPARED_BY[kind]
        label = metric if more_is_better else f"-20 log10 of {metric}"
        axes.set(title=name, xlabel=points[0].unit, ylabel=label)
        axes.set_xscale("log")
        axes.legend()
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise IntfitError(f"--plot {str(path)!r}: {error}") from None
