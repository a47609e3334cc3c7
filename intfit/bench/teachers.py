"""A comparison of teachers: the same network, initial parameters and seconds, one run each."""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ..codecs.protocol import Follow, Prepared, ignore_progress
from ..codecs.siren.fitting import start_training
from ..defaults import PUBLISHED_SCHEDULES
from ..errors import UsageError
from ..media import image
from ..media.pixels import read_pixels
from ..plan import make_plan
from ..schedules import RatioSchedule, interval_at
from ..settings import OptimizerName
from ..teachers import Score, Teacher, TeacherWrapper
from ..teachers.observing import SelectionObserver
from ..training.evaluation import CHUNK, MEASURE, evaluate, measure
from ..training.loop import Progress
from ..training.session import Session, train

#: The teachers that are compared by default. ``constant+dense`` and ``step+incremental`` are INT as
#: published; ``full`` is the paper's baseline, ``uniform`` the one at equal time.
USUAL = (
    "uniform", "uniform:8192", "uniform:20%", "full", "constant+dense", "step+incremental", "evos",
    "nint", "default",
)  # fmt: skip
#: The paper's table: every ratio schedule with every interval schedule.
INTERVALS = ("dense", "incremental", "decremental")
GRID = tuple(f"{ratio}+{interval}" for ratio in get_args(RatioSchedule) for interval in INTERVALS)
#: The teacher that the others are compared with.
BASELINE = "uniform"
#: Quality is measured after each of this many equal parts of a fit.
PARTS = 20
#: The moments of a fit, as shares of it, at which selections are kept.
MOMENTS = (0.2, 0.4)


@dataclass(frozen=True)
class Point:
    """The state of a fit after ``step`` steps and ``seconds``.

    ``quality`` is that of the parameters as they are then, in the medium's metric: on the whole
    signal (on 2^20 samples of a larger one, on a mesh's held-out points). ``ratio`` is the share of
    the examples in play, ``interval`` the steps from one selection to the next, and ``choosing``
    the teacher's share of the seconds so far.
    """

    step: int
    seconds: float
    quality: float
    ratio: float
    interval: int
    choosing: float


@dataclass(frozen=True)
class Run:
    """A fit with a teacher, on a ``share`` of the budget: points from its start to its end.

    ``selections`` are indices ``[B]`` by moment. ``values`` ``[n, c]`` are the network's at the
    end, where they were asked for. ``optimizer`` is None where it was the plan's own.
    """

    teacher: str
    seed: int
    share: float
    points: tuple[Point, ...]
    selections: dict[float, Tensor] = field(default_factory=dict)
    values: Tensor | None = None
    optimizer: OptimizerName | None = None

    @property
    def name(self) -> str:
        """The teacher, and after a slash the optimizer that was asked for."""
        return self.teacher if self.optimizer is None else f"{self.teacher}/{self.optimizer}"

    @property
    def end(self) -> Point:
        return self.points[-1]


class TimedTeacher(TeacherWrapper):
    """A teacher whose ``seconds`` of work are counted by ``now``; with a GPU, those of the host."""

    def __init__(self, teacher: Teacher, now: Callable[[], float]) -> None:
        super().__init__(teacher)
        self._now = now
        self.seconds = 0.0

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        began = self._now()
        indices = super().select(step, progress, score)
        self.seconds += self._now() - began
        return indices

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        began = self._now()
        super().observe(indices, errors)
        self.seconds += self._now() - began


def make_teacher_settings(name: str, n: int) -> dict[str, Any]:
    """The settings that make the teacher called ``name`` for ``n`` examples.

    ``default``, ``full``, ``uniform``, ``uniform:N`` (draws a step), ``uniform:P%`` (of the
    examples), ``evos``, ``nint``, and greedy INT as ``RATIO+INTERVAL``.

    Raises:
        UsageError: for any other name.
    """
    if name == "default":
        return {}
    if name in ("full", "uniform", "evos", "nint"):
        return {"teacher": name}
    if match := re.fullmatch(r"uniform:0*([1-9]\d{0,8})(%?)", name):
        count = int(match[1])
        return {"teacher": "uniform", "batch": max(1, n * count // 100) if match[2] else count}
    ratio, _, interval = name.partition("+")
    if ratio in get_args(RatioSchedule) and interval:
        return {"selection": "top", "ratio_schedule": ratio, "interval_schedule": interval}
    raise UsageError(
        f"--teachers {name!r} is not default, full, uniform, uniform:N, uniform:P%, evos, nint or "
        "RATIO+INTERVAL, as in step+incremental"
    )


def halve(data: bytes) -> bytes:
    """An image at half its size, by averaging 2 x 2 pixels: a TIFF without a palette.

    Raises:
        MediaError: if the input is not an image that can be read.
    """
    pixels, facts, _ = read_pixels(data)
    height, width, channels = (pixels.shape[0] // 2, pixels.shape[1] // 2, pixels.shape[2])
    blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, channels)
    means = blocks.mean(axis=(1, 3), dtype=np.float64)
    means = means if pixels.dtype.kind == "f" else means.round()
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    mode = facts["mode"] if facts["mode"] in ("I;16", "F") else modes[channels]
    small = facts | {"mode": mode, "width": width, "height": height}
    return image.write(means.astype(pixels.dtype), small, image.Target(), ".tiff")[0]


def _change_settings(prepared: Prepared, changes: Mapping[str, Any]) -> Prepared:
    """The same input and network with some settings changed, and the plan that follows."""
    settings, signal = replace(prepared.settings, **changes), prepared.signal
    features = signal.in_features, signal.out_features
    plan = make_plan(settings, kind=prepared.kind, n=signal.n, features=features)
    return replace(prepared, settings=settings, plan=plan)


def run_teacher(
    prepared: Prepared,
    name: str,
    *,
    seed: int,
    optimizer: OptimizerName | None = None,
    share: float = 1.0,
    parts: int = PARTS,
    keep_values: bool = False,
    now: Callable[[], float] = time.monotonic,
    extra_settings: Mapping[str, Any] = MappingProxyType({}),
    follow: Follow = ignore_progress,
) -> Run:
    """Fit ``prepared`` with a teacher, on a ``share`` of its seconds or steps.

    The initial parameters follow from the ``seed`` alone. Quality is measured at the start and
    after each of ``parts`` equal parts, in time that does not count; ``now`` is the clock.
    An ``optimizer`` of None is the plan's own. ``extra_settings`` override the teacher's own.
    ``keep_values`` keeps the network's values at the end. ``follow`` is told how far the fit is.

    Raises:
        UsageError: as :func:`make_teacher_settings`.
    """
    changes = make_teacher_settings(name, prepared.signal.n) | dict(extra_settings) | {"seed": seed}
    if prepared.settings.max_time is not None:
        changes["max_time"] = prepared.settings.max_time * share
    if prepared.settings.steps is not None:
        changes["steps"] = max(1, round(prepared.settings.steps * share))
    prepared = _change_settings(prepared, changes)
    if optimizer is not None:
        prepared = replace(prepared, plan=replace(prepared.plan, optimizer=optimizer))
    plan, session = prepared.plan, start_training(prepared)
    timed = TimedTeacher(session.teacher, now)
    selections: dict[float, Tensor] = {}

    def keep_selection(step: int, moment: float, indices: Tensor) -> None:
        selections[moment] = indices

    observer = SelectionObserver(timed, session.examples.n, MOMENTS, keep_selection)
    session = replace(session, teacher=observer)
    selects = prepared.settings.teacher in PUBLISHED_SCHEDULES
    points: list[Point] = []

    def add_point(progress: Progress) -> None:
        follow(f"{name}, seed {seed}", progress.fraction)
        if progress.fraction < len(points) / parts:
            return
        point = Point(
            progress.step,
            progress.seconds,
            _measure_quality(session),
            progress.ratio,
            interval_at(plan.interval_schedule, progress.fraction) if selects else 1,
            timed.seconds / max(progress.seconds, 1e-9),
        )
        points.append(point)

    train(session, plan, on_progress=add_point, now=now)
    values = _evaluate_all(session) if keep_values else None
    return Run(name, seed, share, tuple(points), selections, values, optimizer)


def _measure_quality(session: Session) -> float:
    """The network's quality; on the same samples each time, where the signal is too large."""
    generator = torch.Generator(session.generator.device).manual_seed(0)
    return measure(session.network, session.examples, count=MEASURE, generator=generator)


def _evaluate_all(session: Session) -> Tensor:
    """The network's values ``[n, c]`` at all examples, on the CPU."""
    everything = torch.arange(session.examples.n, device=session.generator.device)
    coords = (session.examples.gather(part)[0] for part in everything.split(CHUNK))
    return torch.cat([evaluate(session.network, part).cpu() for part in coords])


def compare(
    prepared: Prepared,
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    optimizers: Sequence[OptimizerName | None] = (None,),
    shares: Sequence[float] = (1.0,),
    keep_values: bool = False,
    now: Callable[[], float] = time.monotonic,
    follow: Follow = ignore_progress,
) -> Iterator[Run]:
    """Fit ``prepared`` with every teacher and optimizer, from every seed, on every share.

    The shares are of the budget; an optimizer None is the plan's own.

    The baseline is fitted on the whole budget only. ``keep_values`` keeps those of the first seed;
    ``now`` is the clock, in seconds; ``follow`` is told how far each fit is.

    Raises:
        UsageError: before the first fit, where no teacher has one of the names.
    """
    for name in names:
        _change_settings(prepared, make_teacher_settings(name, prepared.signal.n))
    for name, optimizer in itertools.product(names, optimizers):
        for share in (1.0,) if name == BASELINE else shares:
            for seed in seeds:
                keep = keep_values and seed == seeds[0] and share == max(shares)
                yield run_teacher(
                    prepared, name, seed=seed, optimizer=optimizer, share=share, keep_values=keep,
                    now=now, follow=follow,
                )  # fmt: skip


def find_seconds_to(run: Run, quality: float) -> float | None:
    """The seconds after which a run reached ``quality``; None where it never did.

    Linear between two points.
    """
    before = None
    for point in run.points:
        if point.quality >= quality:
            if before is None:
                return point.seconds
            part = (quality - before.quality) / (point.quality - before.quality)
            return before.seconds + part * (point.seconds - before.seconds)
        before = point
    return None


def _mean_if_known(values: Sequence[float | None]) -> float | None:
    """The mean; None where there are no values, or one of them is None."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


@dataclass(frozen=True)
class Summary:
    """The row of a :attr:`Run.name`: means over seeds, on the whole budget.

    ``quality`` is the mean at the end, ``low`` and ``high`` the worst and the best; ``steps`` and
    ``choosing`` are as in :class:`Point`. ``catches_up`` is the share of the budget after which it
    is as good as the baseline of the same seed is at its end; ``budget`` the least share tried with
    which a whole fit ends as good; ``reached`` the seconds to each of the qualities asked for. They
    are None where that is never reached.
    """

    name: str
    quality: float
    low: float
    high: float
    steps: float
    choosing: float
    catches_up: float | None
    budget: float | None
    reached: tuple[float | None, ...]


def summarise(runs: Sequence[Run], *, qualities: Sequence[float] = ()) -> list[Summary]:
    """A row for each name in ``runs``, in their order.

    With several optimizers, the baseline is the one that was run first.
    """

    def runs_of(name: str, share: float) -> list[Run]:
        return [run for run in runs if run.name == name and run.share == share]

    def mean_quality(some: Sequence[Run]) -> float:
        return fmean(run.end.quality for run in some)

    def catch_up(run: Run, baseline: Run) -> float | None:
        seconds = find_seconds_to(run, baseline.end.quality)
        return None if seconds is None else seconds / baseline.end.seconds

    largest_share = max(run.share for run in runs)
    uniform = next((run.name for run in runs if run.teacher == BASELINE), BASELINE)
    baseline = runs_of(uniform, 1.0)
    rows = []
    for name in dict.fromkeys(run.name for run in runs):
        own = runs_of(name, largest_share)
        qualities_at_end = [run.end.quality for run in own]
        shares = sorted({run.share for run in runs if run.name == name})
        good_shares = [
            share
            for share in shares
            if baseline and mean_quality(runs_of(name, share)) >= mean_quality(baseline)
        ]
        pairs = zip(own, baseline, strict=True) if baseline else ()
        rows.append(
            Summary(
                name,
                fmean(qualities_at_end),
                min(qualities_at_end),
                max(qualities_at_end),
                fmean(run.end.step for run in own),
                fmean(run.end.choosing for run in own),
                _mean_if_known([catch_up(*pair) for pair in pairs]),
                good_shares[0] if good_shares else None,
                tuple(_mean_if_known([find_seconds_to(run, q) for run in own]) for q in qualities),
            )
        )
    return rows
