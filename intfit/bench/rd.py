"""Rate and distortion of intfit beside those of the codecs that people use."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .. import api, metrics
from ..codecs.protocol import Follow, ignore_progress
from ..devices import choose_device
from ..errors import MediaError, UsageError
from ..media import medium, sniff
from ..metrics import perceptual
from ..settings import Settings
from . import plots, rd_surface
from .rivals import ON_REQUEST, RIVALS, Coded, list_settings, say_what_is_missing

#: The scores that codecs are compared by on each medium.
COMPARED_BY = {
    "image": ("psnr", "ssimulacra2", "ms_ssim"),
    "audio": ("snr", "zimtohrli", "visqol", "log_spectral_distance"),
    "mesh": rd_surface.SCORES,
}
#: What a plot's axis shows of a score, where that is not the score itself: see
#: :meth:`Point.quality`.
AXES = {
    "mean_distance": "-20 log10 of mean_distance",
    "normal_error": "-20 log10 of normal_error",
    "f_score": "-10 log10 of 1 - f_score",
    "ms_ssim": "-10 log10 of 1 - ms_ssim",
    "log_spectral_distance": "-log_spectral_distance",
}


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

    def quality(self, metric: str) -> float | None:
        """A score of :data:`COMPARED_BY`, of which more is better; None where it is not known.

        A surface's scores are those of :func:`.rd_surface.to_quality`, an MS-SSIM s becomes
        -10 log10(1 - s), a log-spectral distance changes its sign.
        """
        value = self.distortion.get(metric)
        if value is None:
            return None
        if metric in rd_surface.SCORES:
            return rd_surface.to_quality(metric, value)
        if metric == "ms_ssim":
            return -10 * math.log10(max(1 - value, 1e-9))
        return -value if metric == "log_spectral_distance" else value


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
    follow: Follow = ignore_progress,
) -> tuple[str, Iterator[Point | str]]:
    """The kind of a medium, and the points of every codec, as they are measured.

    In place of a point there may be a line that says why it was left out. ``follow`` is told
    before each point what is measured.

    Raises:
        MediaError: if the medium is of no kind that is known.
        UsageError: if none of the rivals is for this medium, or its package is not installed.
    """
    kind = sniff(data, suffix)
    rivals = [name for name in against if name in RIVALS[kind]]
    if against and not rivals:
        raise UsageError(f"--against {','.join(against)}: none of them is for this kind, {kind}")
    for name in rivals:
        if missing := say_what_is_missing(name):
            raise UsageError(f"--against {name}: {missing}")
    rivals = rivals or [name for name in RIVALS[kind] if name not in ON_REQUEST]
    return kind, _measure_points(kind, data, suffix, settings, qualities, rivals, cache, follow)


def _measure_points(
    kind: str,
    data: bytes,
    suffix: str,
    settings: Settings,
    qualities: Sequence[float],
    rivals: Sequence[str],
    cache: Cache,
    follow: Follow,
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
        follow(f"intfit at {quality:g}")
        encoded = api.encode(data, replace(settings, quality=quality), suffix=suffix)
        loaded = api.load(encoded.data, device=settings.device)
        decoded = api.render(loaded, module.Target())
        return make_point("intfit", f"{quality:g}", (len(encoded.data), decoded))

    def measure_rival(codec: str, setting: str, run: Callable[[], Coded]) -> Point:
        follow(f"{codec} at {setting}")
        return make_point(codec, setting, run())

    digest = hashlib.sha256(data).hexdigest()
    settings_text = json.dumps(asdict(settings), sort_keys=True)
    program = f"{_digest_sources()} {torch.__version__} {choose_device(settings.device)}"
    bench_sources = _digest_sources("bench/r", "metrics", "media/")
    unknown = ",".join(perceptual.list_missing(module.METRICS))
    for remedy, scores in perceptual.group_missing(module.METRICS).items():
        yield f"{','.join(scores)} left out: {remedy}"
    for quality in qualities:
        key = (digest, "intfit", program, settings_text, f"{quality:g}", unknown)
        yield cache.fetch(key, partial(measure_intfit, quality))
    for name in rivals:
        if missing := say_what_is_missing(name):
            yield f"{name} left out: {missing}"
            continue
        for setting, run in list_settings(name, data, suffix):
            try:
                yield cache.fetch(
                    (digest, name, bench_sources, setting, unknown),
                    partial(measure_rival, name, setting, run),
                )
            except (MediaError, OSError, RuntimeError, ValueError, KeyError) as error:
                yield f"{name} at {setting} left out: {error}"


def trace_curve(
    points: Sequence[Point], codec: str, metric: str
) -> tuple[list[float], list[float]]:
    """Rates and qualities of a codec by a score of :data:`COMPARED_BY`, both rising.

    Of its points, those of a higher quality than all points of a lower rate.
    """
    own = [(p.rate, p.quality(metric)) for p in points if p.codec == codec]
    pairs = sorted((rate, -quality) for rate, quality in own if quality is not None)
    rates: list[float] = []
    qualities: list[float] = []
    for rate, negative in pairs:
        if not qualities or -negative > qualities[-1]:
            rates.append(rate)
            qualities.append(-negative)
    return rates, qualities


def list_scores(points: Sequence[Point], kind: str) -> list[str]:
    """The scores of :data:`COMPARED_BY` that these points have."""
    return [m for m in COMPARED_BY[kind] if any(p.quality(m) is not None for p in points)]


def compare(points: Sequence[Point], kind: str) -> dict[str, dict[str, float | None]]:
    """The BD-rate of intfit against each other codec by each score, in per cent.

    As :func:`.metrics.bd_rate` has it: None where the two share no quality.
    """
    scores = list_scores(points, kind)
    return {
        codec: {
            score: metrics.bd_rate(
                *trace_curve(points, codec, score), *trace_curve(points, "intfit", score)
            )
            for score in scores
        }
        for codec in dict.fromkeys(p.codec for p in points)
        if codec != "intfit"
    }


def draw_curves(results: dict[str, tuple[str, list[Point]]]) -> Any:
    """A figure of the curves of each file of ``results`` (its kind and points), by each score.

    Raises:
        UsageError: if matplotlib is missing.
    """
    scores = {name: list_scores(points, kind) for name, (kind, points) in results.items()}
    rows = max(len(names) for names in scores.values())
    figure = plots.make_figure(5.5 * len(results), 4.2 * rows)
    for column, (name, (_, points)) in enumerate(results.items(), start=1):
        for row, score in enumerate(scores[name]):
            axes = figure.add_subplot(rows, len(results), row * len(results) + column)
            for codec in dict.fromkeys(p.codec for p in points):
                rates, qualities = trace_curve(points, codec, score)
                axes.plot(rates, qualities, marker="o", markersize=3, label=codec)
            axes.set(title=name, xlabel=points[0].unit, ylabel=AXES.get(score, score))
            axes.set_xscale("log")
            axes.legend()
    return figure
