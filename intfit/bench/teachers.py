"""Teachers side by side: the same network, the same initial weights, the same seconds, one run."""

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

from ..codecs.protocol import Prepared
from ..defaults import PUBLISHED_SCHEDULES
from ..errors import UsageError
from ..media import image
from ..media.pixels import read_pixels
from ..networks.siren import Siren
from ..plan import Plan, make_plan
from ..schedules import RatioSchedule, interval_at
from ..settings import Settings
from ..teachers import Around, Score, Teacher
from ..teachers.observing import SelectionObserver
from ..training import loop as fitting
from ..training.examples import examples_of
from ..training.session import start_session

#: Compared where nothing else is asked for. ``constant+dense`` and ``step+incremental`` are INT as
#: published; its full batch is the paper's baseline, uniform draws are the honest one.
USUAL = (
    "uniform", "uniform:8192", "uniform:20%", "full", "constant+dense", "step+incremental", "evos",
    "nint", "default",
)  # fmt: skip
#: The paper's table: every ratio schedule with every interval schedule.
INTERVALS = ("dense", "incremental", "decremental")
GRID = tuple(f"{ratio}+{interval}" for ratio in get_args(RatioSchedule) for interval in INTERVALS)
#: What the others are compared with.
BASELINE = "uniform"
#: Quality is measured at so many equal parts of a fit.
PARTS = 20
#: The moments of a fit at which what was chosen is kept.
MOMENTS = (0.2, 0.4)


@dataclass(frozen=True)
class Point:
    """A moment of a fit.

    ``quality`` of the weights as they were then, on the whole signal (on 2^20 samples of a larger
    one, on a mesh's points held out), in the medium's metric; ``ratio`` of the examples in play and
    steps to the next selection; ``choosing``, the share of the time so far that the teacher took.
    """

    step: int
    seconds: float
    quality: float
    ratio: float
    interval: int
    choosing: float


@dataclass(frozen=True)
class Run:
    """A fit with a teacher: ``share`` of the budget; points from its start to its end.

    ``chosen``: indices ``[B]`` by moment. ``values`` ``[n, c]`` are what the field holds at the
    end, where they were asked for.
    """

    teacher: str
    seed: int
    share: float
    points: tuple[Point, ...]
    chosen: dict[float, Tensor] = field(default_factory=dict)
    values: Tensor | None = None

    @property
    def end(self) -> Point:
        return self.points[-1]


class Timed(Around):
    """A teacher, and the ``seconds`` by ``now`` that it took: on a GPU, those of the host."""

    def __init__(self, teacher: Teacher, now: Callable[[], float]) -> None:
        super().__init__(teacher)
        self._now = now
        self.seconds = 0.0

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        began = self._now()
        chosen = super().choose(step, progress, score)
        self.seconds += self._now() - began
        return chosen

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        began = self._now()
        super().observe(indices, errors)
        self.seconds += self._now() - began


def settings_of(name: str, n: int) -> dict[str, Any]:
    """The settings that make the teacher called ``name`` for ``n`` examples.

    ``default``, ``full``, ``uniform``, ``uniform:N`` (draws a step), ``uniform:P%`` (of the
    examples), ``evos``, ``nint``, and greedy INT as ``RATIO+INTERVAL``.

    Raises:
        UsageError: for a name of none of these.
    """
    if name == "default":
        return {}
    if name in ("full", "uniform", "evos", "nint"):
        return {"teacher": name}
    if found := re.fullmatch(r"uniform:0*([1-9]\d{0,8})(%?)", name):
        count = int(found[1])
        return {"teacher": "uniform", "batch": max(1, n * count // 100) if found[2] else count}
    ratio, _, interval = name.partition("+")
    if ratio in get_args(RatioSchedule) and interval:
        return {"selection": "top", "ratio_schedule": ratio, "interval_schedule": interval}
    raise UsageError(
        f"--teachers {name!r} is not default, full, uniform, uniform:N, uniform:P%, evos, nint or "
        "RATIO+INTERVAL, as in step+incremental"
    )


def halved(data: bytes) -> bytes:
    """An image at half its size, by averaging 2 x 2 pixels: a TIFF without a palette.

    Raises:
        MediaError: if the input is no image that can be read.
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


def _planned(ready: Prepared, changes: dict[str, Any]) -> tuple[Settings, Plan]:
    changed = replace(ready.settings, **changes)
    features = ready.signal.in_features, ready.signal.out_features
    return changed, make_plan(changed, kind=ready.kind, n=ready.signal.n, features=features)


def fitted(
    ready: Prepared,
    name: str,
    *,
    seed: int,
    share: float = 1.0,
    parts: int = PARTS,
    values: bool = False,
    now: Callable[[], float] = time.monotonic,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Run:
    """Fit ``ready`` with a teacher, on ``share`` of its seconds or steps; ``values`` keeps the end.

    Initial weights are those of the ``seed``, whoever teaches. The clock of the fit stands still
    while quality is measured, at its start and after each of ``parts``; seconds are counted by
    ``now``. ``more`` settings go before the teacher's own.

    Raises:
        UsageError: as :func:`settings_of`.
    """
    given = ready.settings
    changes = settings_of(name, ready.signal.n) | dict(more) | {"seed": seed}
    if given.max_time is not None:
        changes["max_time"] = given.max_time * share
    if given.steps is not None:
        changes["steps"] = max(1, round(given.steps * share))
    settings, chosen = _planned(ready, changes)
    network = Siren(ready.config, generator=torch.Generator().manual_seed(seed))
    examples = examples_of(ready.signal, torch.device(ready.device))
    session = start_session(network, examples, chosen, ready.device)
    siren, signal, device = session.network, session.examples, torch.device(ready.device)
    timed = Timed(session.teacher, now)
    kept: dict[float, Tensor] = {}
    teacher = SelectionObserver(
        timed, signal.n, MOMENTS, lambda _, when, those: kept.update({when: those})
    )
    points: list[Point] = []
    for at in fitting.fit(siren, signal, teacher, chosen, generator=session.generator, now=now):
        if at.fraction >= len(points) / parts:
            # the same samples every time, where the signal is too large for all
            same = torch.Generator(device).manual_seed(0)
            quality = fitting.measure(siren, signal, count=fitting.MEASURE, generator=same)
            selects = settings.teacher in PUBLISHED_SCHEDULES
            interval = interval_at(chosen.interval_schedule, at.fraction) if selects else 1
            choosing = timed.seconds / max(at.seconds, 1e-9)
            points.append(Point(at.step, at.seconds, quality, at.ratio, interval, choosing))
    held = None
    if values:
        everything = torch.arange(signal.n, device=device)
        chunks = (signal.gather(part)[0] for part in everything.split(fitting.CHUNK))
        held = torch.cat([fitting.evaluate(siren, chunk).cpu() for chunk in chunks])
    return Run(name, seed, share, tuple(points), kept, held)


def compare(
    ready: Prepared,
    names: Sequence[str],
    *,
    seeds: Sequence[int],
    shares: Sequence[float] = (1.0,),
    values: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Run]:
    """Fit ``ready`` with every teacher, from every seed, on every share of the budget.

    The baseline takes the whole budget only. ``values`` are kept of the first seed; seconds are
    counted by ``now``.
    """
    for name in names:  # before the first fit
        _planned(ready, settings_of(name, ready.signal.n))
    for name in names:
        for share in (1.0,) if name == BASELINE else shares:
            for seed in seeds:
                wanted = values and seed == seeds[0] and share == max(shares)
                yield fitted(ready, name, seed=seed, share=share, values=wanted, now=now)


def seconds_to(run: Run, quality: float) -> float | None:
    """When the fit reached ``quality``, between two points by a line; None where it did not."""
    before = None
    for point in run.points:
        if point.quality >= quality:
            if before is None:
                return point.seconds
            part = (quality - before.quality) / (point.quality - before.quality)
            return before.seconds + part * (point.seconds - before.seconds)
        before = point
    return None


def _mean(found: Sequence[float | None]) -> float | None:
    """The mean; None where one of them is."""
    known = [each for each in found if each is not None]
    return fmean(known) if known and len(known) == len(found) else None


@dataclass(frozen=True)
class Summary:
    """A teacher's row: means over seeds, on the whole budget.

    ``catches_up``: the share of the budget after which it is as good as the baseline at its end,
    seed by seed;
    ``budget``: the least share of those tried on which a whole fit of it ends as good.
    ``reached``: seconds to each of the qualities asked for. None where it never is.
    """

    teacher: str
    quality: float
    low: float
    high: float
    steps: float
    choosing: float
    catches_up: float | None
    budget: float | None
    reached: tuple[float | None, ...]


def summaries(runs: Sequence[Run], *, qualities: Sequence[float] = ()) -> list[Summary]:
    """A row for each teacher in ``runs``, in their order."""

    def of(name: str, share: float) -> list[Run]:
        return [run for run in runs if run.teacher == name and run.share == share]

    def ended(some: Sequence[Run]) -> float:
        return fmean(run.end.quality for run in some)

    def caught_up(run: Run, base: Run) -> float | None:
        seconds = seconds_to(run, base.end.quality)
        return None if seconds is None else seconds / base.end.seconds

    most = max(run.share for run in runs)
    base = of(BASELINE, 1.0)
    rows = []
    for name in dict.fromkeys(run.teacher for run in runs):
        mine = of(name, most)
        ends = [run.end.quality for run in mine]
        tried = sorted({run.share for run in runs if run.teacher == name})
        enough = [share for share in tried if base and ended(of(name, share)) >= ended(base)]
        rows.append(
            Summary(
                name,
                fmean(ends),
                min(ends),
                max(ends),
                fmean(run.end.step for run in mine),
                fmean(run.end.choosing for run in mine),
                _mean([caught_up(*pair) for pair in zip(mine, base, strict=True)] if base else []),
                enough[0] if enough else None,
                tuple(_mean([seconds_to(run, q) for run in mine]) for q in qualities),
            )
        )
    return rows
