"""The training loop: an iterator of progress, no printing."""

import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..devices import wait_for
from ..networks.siren import Siren
from ..plan import Plan
from ..settings import Goal
from ..teachers import Teacher
from .cuda_graph import Graphed, Work, recorder
from .examples import Examples, Metric, quality
from .gradients.base import Gradient, Lesson, Loss
from .gradients.by_hand import Descent, fast_kind
from .gradients.fused import fused
from .optimizer import Adam
from .scoring import Look

#: Examples a forward or backward pass takes at once; larger batches accumulate gradients.
CHUNK = 1 << 16
#: Examples that a glance at the distortion is measured on, and the seconds between two glances.
GLANCE = 1 << 12
GLANCE_SECONDS = 0.5
#: Examples that the reported distortion is measured on: all, up to a megapixel.
MEASURE = 1 << 20
#: Steps between two looks at whether the target is reached: counted, not timed, so that the same
#: command stops at the same step.
TARGET_EVERY = 50
#: The share of a fit, at its end and at its smallest learning rates, that has parameters rounded.
FINISH = 0.15
#: The learning rate climbs over so many steps, or over this share of a fit of few steps.
WARM_UP, WARM_UP_SHARE = 50, 0.05
#: A fit that this far on leaves more than this share of the signal's variance unexplained has
#: stalled: its learning rate was too high, and it starts over with so many times less. (Measured:
#: speech needs a quarter of what a cello does, and stays at 0 dB with more.)
STALL_AT, STALLED, SLOWER = 0.1, 0.7, 4


@dataclass(frozen=True)
class Progress:
    """Where a fit stands.

    ``fraction`` of the schedule done, in [0, 1]; ``distortion`` in the medium's metric, estimated
    on a few thousand examples; ``ratio`` of the examples in play.
    """

    step: int
    fraction: float
    seconds: float
    distortion: float
    ratio: float


class Clock:
    """The seconds that a fit has run, by ``now``: it stands still while paused."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._start = now()

    def seconds(self) -> float:
        return self._now() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        began = self._now()
        try:
            yield
        finally:
            self._start += self._now() - began


def keep_freed_memory() -> None:
    """Have glibc keep the blocks it frees.

    By default it hands blocks of a few MB back to the system, and a training step that allocates
    the same ones again spends 40 % of its time in page faults (measured: 25 ms against 15 ms a
    step of 8192 examples, SIREN 64 x 6, two cores). Does nothing under another C library.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            trim_threshold, mmap_threshold = -1, -3
            mallopt(mmap_threshold, 1 << 30)
            mallopt(trim_threshold, (1 << 31) - 1)


def evaluate(field: nn.Module, coords: Tensor) -> Tensor:
    """The field's values ``[B, c]`` at ``[B, d]`` without gradients, in bounded memory."""
    with torch.no_grad():
        return torch.cat([field(part) for part in coords.split(CHUNK)])


def measure(
    field: nn.Module,
    signal: Examples,
    *,
    count: int,
    generator: torch.Generator,
    metric: Metric | None = None,
) -> float:
    """The distortion of the field in ``metric``, or the medium's, on at most ``count`` examples."""
    return signal.measure(partial(evaluate, field), count=count, generator=generator, metric=metric)


def gradients_of(field: nn.Module, *, batch: int, loss: Loss) -> tuple[Gradient, Gradient]:
    """For most of a fit and for its end, which is in float32 throughout.

    For a SIREN by hand on the CPU, for a small one in one kernel on CUDA; or by autograd.
    """
    device = next(field.parameters()).device.type
    if isinstance(field, Siren) and type(field).forward is Siren.forward:
        if device == "cpu":
            exact, kind = Descent(field), fast_kind(field.config.width)
            return exact if kind == torch.float32 else Descent(field, kind=kind), exact
        one = fused(field, batch=batch, loss=loss)
        if one is not None:
            return one, one
    rough, fine = ("tf32", "ieee") if device == "cuda" else (None, None)
    return partial(by_autograd, field, rough), partial(by_autograd, field, fine)


@contextmanager
def multiplied(precision: str) -> Iterator[None]:
    """Matrices of float32 are multiplied in ``precision`` on CUDA: ``ieee`` or ``tf32``.

    TF32 rounds a quarter as much as bfloat16, which costs no quality where the last steps do not.
    """
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def by_autograd(field: nn.Module, precision: str | None, lesson: Lesson) -> Tensor:
    """The :class:`Gradient` of any field; matrices are :func:`multiplied` in ``precision``."""
    with nullcontext() if precision is None else multiplied(precision):
        difference: Tensor = field(lesson.coords) - lesson.targets
        absolute = difference.abs() if lesson.loss == "l1" else difference.square()
        if lesson.weights is not None:
            absolute = absolute * lesson.weights[:, None]
        (absolute.mean() * (len(difference) / lesson.count)).backward()
    return difference.detach().abs().sum(dim=1)


class Descend:
    """What a step does: examples gathered, their gradient, and the optimizer's step."""

    def __init__(self, signal: Examples, optimizer: Adam, gradient: Gradient) -> None:
        self._signal, self._optimizer = signal, optimizer
        self.gradient = gradient
        self.rounding: AbstractContextManager[None] = nullcontext()

    @property
    def parts(self) -> tuple[object, ...]:
        return self.gradient, self.rounding

    def __call__(self, indices: Tensor, weights: Tensor | None) -> Tensor:
        errors = []
        with self.rounding:
            for first in range(0, len(indices), CHUNK):
                part = slice(first, first + CHUNK)
                examples = self._signal.gather(indices[part])
                counts = None if weights is None else weights[part]
                lesson = Lesson(*examples, self._signal.loss, len(indices), counts)
                errors.append(self.gradient(lesson))
        self._optimizer.step()
        return errors[0] if len(errors) == 1 else torch.cat(errors)


def learn(indices: Tensor, work: Work, optimizer: Adam, teacher: Teacher, *, share: float) -> None:
    """One step on the examples at ``indices``, at so large a share of the learning rate."""
    optimizer.advance(share)
    teacher.observe(indices, work(indices, teacher.weights()))


def _rate_at(fraction: float, step: int) -> float:
    """Share of the learning rate: a short warm-up, then a cosine to zero over the whole fit."""
    warm = min(1.0, max((step + 1) / WARM_UP, fraction / WARM_UP_SHARE))
    return warm * (1 + math.cos(math.pi * fraction)) / 2


def fit(
    field: Siren,
    signal: Examples,
    teacher: Teacher,
    plan: Plan,
    *,
    generator: torch.Generator,
    settle: Callable[[], AbstractContextManager[None]] | None = None,
    restarts: bool = True,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Fit ``field`` to ``signal`` in place; yields now and then, and once at the end.

    The schedule is laid out over ``plan.steps``, or over ``plan.max_time`` seconds where that is
    set. Where the plan stops at its goal and reaches it earlier, only the last stretch is left, in
    proportion. The clock stands still while the caller has what is yielded. Nothing waits for the
    device between two glances at the distortion, half a second apart. A fit that has learnt next to
    nothing after a tenth of its schedule starts over, once, with a lower learning rate and the rest
    of the schedule, if it ``restarts``.

    ``settle`` is called before the last stretch of the fit; what it returns rounds the parameters
    while it is entered, and does so in every step from then on.

    ``now`` is what seconds are counted by. ``generator`` draws the examples that glances are
    measured on, so that showing progress leaves the teacher's draws, and the file, as they are.
    """
    keep_freed_memory()
    optimizer = Adam(field.groups(1.0), plan.lr, beta2=plan.beta2)
    rough, exact = gradients_of(field, batch=min(plan.batch, signal.n), loss=signal.loss)
    descend = Descend(signal, optimizer, rough)
    device = next(field.parameters()).device
    work = Graphed(descend, record=recorder(device)) if device.type == "cuda" else descend
    newborn: list[Tensor] | None = [p.detach().clone() for p in field.parameters()]
    coords, targets = signal.draw_evaluation_examples(GLANCE, generator=generator)
    score = Look(field, signal, chunk=CHUNK)

    def stalled() -> bool:
        left = (evaluate(field, coords) - targets).square().mean()
        return (
            signal.loss == "l2"
            and len(targets) > 1
            and bool(left > STALLED * targets.var(dim=0).mean())
        )

    def glance(step: int, fraction: float, seconds: float) -> Progress:
        with descend.rounding:
            value = quality(signal.metric, evaluate(field, coords), targets)
        return Progress(step, fraction, seconds, value, teacher.ratio(fraction))

    rosy = 0.0  # how much too good the last cheap guess at the goal was

    def reached() -> bool:
        nonlocal rosy
        goal = plan.goal
        if goal is None or not plan.stops_at_goal:
            return False

        def above(goal: Goal, count: int) -> float:
            return goal.margin(
                measure(field, signal, count=count, generator=generator, metric=goal.metric)
            )

        guess = above(goal, GLANCE)  # cheap, and mostly says no
        if guess < rosy:
            return False
        exact = above(goal, MEASURE)
        rosy = max(0.0, guess - exact)
        return exact >= 0

    finishing = False
    enough = None  # the step at which the target was reached
    clock, glanced = Clock(now), 0.0
    step = 0
    while True:
        spent = clock.seconds()
        if plan.steps is not None:
            fraction = step / plan.steps
        else:
            assert plan.max_time is not None
            fraction = min(spent / plan.max_time, 1.0)
        if enough is not None:
            last = max(1.0, enough * FINISH / (1 - FINISH))
            fraction = max(fraction, 1 - FINISH * (1 - (step - enough) / last))
        if fraction >= 1:
            break
        if spent - glanced >= GLANCE_SECONDS:
            glanced = spent
            seen = glance(step, fraction, spent)
            with clock.paused():  # what is done with it is not the fit's time
                yield seen
        rounded = finishing and settle is not None
        if step % TARGET_EVERY == 0 and enough is None and not rounded and reached():
            if settle is None:
                break
            enough = step
            continue
        if not finishing and fraction >= 1 - FINISH:
            descend.gradient, finishing = exact, True
            if settle is not None:
                wait_for(device)  # what it has still to do is the fit's time
                with clock.paused():  # or there might be no time left to finish in
                    descend.rounding = settle()
        if newborn is not None and fraction >= STALL_AT:
            if restarts and step >= WARM_UP and stalled():
                with torch.no_grad():
                    for parameter, value in zip(field.parameters(), newborn, strict=True):
                        parameter.copy_(value)
                optimizer.restart(plan.lr / SLOWER)
            newborn = None
        chosen = teacher.choose(step, fraction, score)
        learn(chosen, work, optimizer, teacher, share=_rate_at(fraction, step))
        step += 1
    wait_for(device)
    seconds = clock.seconds()
    yield glance(step, 1.0, seconds)
