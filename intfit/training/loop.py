"""The training loop: an iterator of progress that prints nothing."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..devices import wait_for
from ..networks.siren import Siren
from ..plan import Plan
from ..settings import Goal
from ..teachers import Teacher
from .cuda_graph import CudaGraphStep, choose_recorder
from .evaluation import MEASURE, evaluate, measure
from .examples import Examples, quality
from .gradients.choice import choose_gradients
from .optimizer import Adam
from .preconditioned import make_optimizer
from .scoring import Scorer
from .step import DrawnStep, TrainingStep, train_step

#: Examples of the subsample that progress is reported on; the least seconds between two reports.
SUBSAMPLE = 1 << 12
REPORT_SECONDS = 0.5
#: Steps between two checks of the goal: counted, not timed, so that the same command always stops
#: at the same step.
GOAL_STEPS = 50
#: The last share of a fit, in which the parameters are rounded.
FINISH = 0.15
#: The learning rate rises over so many steps, or over this share of a fit of few steps.
WARM_UP, WARM_UP_SHARE = 50, 0.05
#: A fit has stalled if after this share of it, more than this share of the signal's variance is
#: left as error: its learning rate was too high. It is divided by so much for another start.
STALL_AT, STALLED_SHARE, STALL_LR_FACTOR = 0.1, 0.7, 4
#: From then on, a fit is checked at every so many steps. It has failed where its error is this many
#: times the least seen, at so many checks in a row.
CHECK_STEPS, FAILED_RATIO, FAILED_CHECKS = 500, 1.5, 2
#: It goes on from where its error was least, with the learning rate divided by this.
FAILED_LR_FACTOR = 2

#: How strongly a network is told where creases are, relative to the distances, at first; and the
#: share of a fit in which it is told.
GUIDANCE, GUIDED = 0.5, 0.5

#: The shares of a fit at which it is asked whether it is promising.
PROMISE_AT = (0.1, 0.2)

#: Called before a fit's last stretch. Rounds the network's parameters while what it returns is
#: entered.
ChooseRounding = Callable[[], AbstractContextManager[None]]
#: Whether a fit that is so far on is still worth its time.
IsPromising = Callable[[float], bool]


class GaveUpError(Exception):
    """A fit ended early: what it could still gain is not worth it."""


@dataclass(frozen=True)
class Progress:
    """Where a fit stands.

    ``fraction`` of the schedule done, in [0, 1]; ``seconds`` of training; ``distortion`` in the
    medium's metric, estimated on a few thousand examples; ``ratio`` of the examples in play.
    """

    step: int
    fraction: float
    seconds: float
    distortion: float
    ratio: float


class Clock:
    """The seconds that a fit has run, as counted by ``now``: it stands still while paused."""

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


def fit(
    network: Siren,
    examples: Examples,
    teacher: Teacher,
    plan: Plan,
    *,
    generator: torch.Generator,
    choose_rounding: ChooseRounding | None = None,
    is_promising: IsPromising | None = None,
    restarts: bool = True,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Fit ``network`` to ``examples`` in place; reports progress now and then, and at the end.

    The schedule takes ``plan.steps`` or ``plan.max_time`` seconds, whichever is over first. Where
    the plan stops at its goal and reaches it early, only the last stretch is left, in proportion.
    The clock stands still while the caller has a report. Nothing waits for the device in between,
    but for a check at every :data:`CHECK_STEPS` steps. If it ``restarts``, a fit that stalls starts
    over, once, with a lower learning rate. A fit that gets much worse than it was returns to its
    best state, with a lower learning rate.

    ``is_promising`` is asked at :data:`PROMISE_AT`, shares of the fit, which it is given.

    ``choose_rounding`` is called before the last stretch; what it returns is then entered in every
    step, to round the parameters. ``now`` counts the seconds. ``generator`` draws the examples that
    are measured on: reports change neither the teacher's draws nor the result.

    Raises:
        GaveUpError: where ``is_promising`` says no.
    """
    one = _Fit(network, examples, teacher, plan, generator)
    yield from one.run(choose_rounding, is_promising, restarts, now)


class _Fit:
    """One fit and its stages: see :func:`fit`."""

    def __init__(
        self,
        network: Siren,
        examples: Examples,
        teacher: Teacher,
        plan: Plan,
        generator: torch.Generator,
    ) -> None:
        self._network, self._examples, self._teacher, self._plan = network, examples, teacher, plan
        self._device = next(network.parameters()).device
        self._optimizer = make_optimizer(network, plan)
        gradient, self._exact_gradient = choose_gradients(
            network, batch=min(plan.batch, examples.n), loss=examples.loss
        )
        self._step = TrainingStep(examples, self._optimizer, gradient)
        if examples.gather_sides(torch.zeros(1, dtype=torch.long, device=self._device)) is not None:
            self._step.guidance = torch.zeros((), device=self._device)
        self._score = Scorer(network, examples)
        self._step_function: TrainingStep | CudaGraphStep = self._step
        # where the teacher draws in place, its part of a step is recorded, too
        self._drawn_step: CudaGraphStep | None = None
        if (record := choose_recorder(self._device)) is not None:
            self._step_function = CudaGraphStep(self._step, record=record)
            self._drawn_step = CudaGraphStep(DrawnStep(self._step, teacher), record=record)
        self._initial_parameters = [p.detach().clone() for p in network.parameters()]
        self._subsample = examples.draw_evaluation_examples(SUBSAMPLE, generator=generator)
        goal = plan.goal if plan.stops_at_goal else None
        self._goal = None if goal is None else _GoalCheck(network, examples, goal, generator)
        self._best = _BestState(network)

    def run(
        self,
        choose_rounding: ChooseRounding | None,
        is_promising: IsPromising | None,
        restarts: bool,
        now: Callable[[], float],
    ) -> Iterator[Progress]:
        """Train from the first step to the end of the schedule."""
        schedule, clock = _Schedule(self._plan), Clock(now)
        step, last_report = 0, 0.0
        finishing, may_stall = False, True
        promises = list(PROMISE_AT) if is_promising is not None else []
        while True:
            elapsed = clock.seconds()
            fraction = schedule.fraction(step, elapsed)
            if fraction >= 1:
                break
            if elapsed - last_report >= REPORT_SECONDS:
                last_report = elapsed
                progress = self._progress(step, fraction, elapsed)
                with clock.paused():
                    yield progress
            rounded = finishing and choose_rounding is not None
            if not schedule.goal_reached and not rounded and self._reaches_goal(step):
                if choose_rounding is None:
                    break
                schedule.finish_from(step)
                continue
            if not finishing and fraction >= 1 - FINISH:
                finishing = True
                self._step.gradient = self._exact_gradient
                if choose_rounding is not None:
                    wait_for(self._device)  # its queued work counts as training
                    with clock.paused():  # or a fit by time might have no steps left to finish in
                        self._step.rounding = choose_rounding()
            if may_stall and fraction >= STALL_AT:
                may_stall = False
                if restarts and step >= WARM_UP and self._has_stalled():
                    self._start_over()
                self._initial_parameters.clear()
            if not (may_stall or finishing) and step % CHECK_STEPS == 0:
                self._best.update(self._error(), self._optimizer)
            if promises and fraction >= promises[0]:
                share = promises.pop(0)
                if is_promising is not None and not is_promising(share):
                    raise GaveUpError
            self._train(step, fraction)
            step += 1
        wait_for(self._device)
        yield self._progress(step, 1.0, clock.seconds())

    def _train(self, step: int, fraction: float) -> None:
        """Make one step, at this fraction of the schedule."""
        self._guide(fraction)
        lr_share = _lr_share(fraction, step)
        decay_share = _decay_share(fraction, step, self._plan.steps_without_decay)
        if self._drawn_step is not None and self._teacher.prepare(step, fraction):
            self._optimizer.advance(lr_share, decay_share=decay_share)
            self._drawn_step()
            return
        train_step(
            self._teacher.select(step, fraction, self._score),
            self._step_function,
            self._optimizer,
            self._teacher,
            lr_share=lr_share,
            decay_share=decay_share,
        )

    def _guide(self, fraction: float) -> None:
        """Tell the network where creases are, less and less: in the end it knows better."""
        if self._step.guidance is not None:
            if fraction < GUIDED:
                self._step.guidance.fill_(GUIDANCE * (1 - fraction / GUIDED))
            else:
                self._step.guidance = None

    def _progress(self, step: int, fraction: float, seconds: float) -> Progress:
        coords, targets = self._subsample
        with self._step.rounding:
            values = evaluate(self._network, coords)
            distortion = quality(self._examples.metric, values, targets)
        return Progress(step, fraction, seconds, distortion, self._teacher.ratio(fraction))

    def _reaches_goal(self, step: int) -> bool:
        """Whether the goal is reached; checked at every GOAL_STEPS steps only."""
        return step % GOAL_STEPS == 0 and self._goal is not None and self._goal.is_reached()

    def _residuals(self) -> Tensor:
        """Values minus targets of the subsample ``[B, c]``."""
        coords, targets = self._subsample
        return evaluate(self._network, coords) - targets

    def _error(self) -> float:
        """The loss on the subsample, as an error: its root where the loss is of squares."""
        errors = self._residuals()
        return float(
            errors.abs().mean() if self._examples.loss == "l1" else errors.square().mean().sqrt()
        )

    def _has_stalled(self) -> bool:
        targets = self._subsample[1]
        error = self._residuals().square().mean()
        variance = targets.var(dim=0).mean()
        several = len(targets) > 1
        return self._examples.loss == "l2" and several and bool(error > STALLED_SHARE * variance)

    def _start_over(self) -> None:
        """Return to the initial parameters, with a lower learning rate."""
        parameters = self._network.parameters()
        with torch.no_grad():
            for parameter, initial in zip(parameters, self._initial_parameters, strict=True):
                parameter.copy_(initial)
        self._optimizer.restart(self._plan.lr / STALL_LR_FACTOR)


class _BestState:
    """The parameters with which a fit had its least error, to return to when it fails."""

    def __init__(self, network: nn.Module) -> None:
        self._parameters = [parameter.detach() for parameter in network.parameters()]
        self._kept: list[Tensor] = []
        self._least = math.inf
        self._failed = 0  # checks in a row

    def update(self, error: float, optimizer: Adam) -> None:
        """Keep the state at a check where ``error`` is the least; return to it after a failure."""
        if error < self._least:
            self._least, self._failed = error, 0
            self._kept = [parameter.clone() for parameter in self._parameters]
            return
        # the comparison is false where the error is no longer a number
        self._failed = 0 if error <= FAILED_RATIO * self._least else self._failed + 1
        if self._failed < FAILED_CHECKS or not self._kept:
            return
        torch._foreach_copy_(self._parameters, self._kept)
        optimizer.restart(optimizer.lr / FAILED_LR_FACTOR)
        self._failed = 0


class _Schedule:
    """How much of a fit is done: by steps or by seconds, and at the end by steps since its goal."""

    def __init__(self, plan: Plan) -> None:
        self._steps, self._max_time = plan.steps, plan.max_time
        self._goal_step: int | None = None

    @property
    def goal_reached(self) -> bool:
        return self._goal_step is not None

    def finish_from(self, step: int) -> None:
        """Skip to the last stretch at ``step``: it takes its usual share of the shorter fit."""
        self._goal_step = step

    def fraction(self, step: int, elapsed: float) -> float:
        """The share of the schedule that is done, in [0, 1] or above."""
        fraction = 0.0 if self._steps is None else step / self._steps
        if self._max_time is not None:
            fraction = max(fraction, min(elapsed / self._max_time, 1.0))
        if self._goal_step is not None:
            stretch = max(1.0, self._goal_step * FINISH / (1 - FINISH))
            fraction = max(fraction, 1 - FINISH * (1 - (step - self._goal_step) / stretch))
        return fraction


class _GoalCheck:
    """Tells whether a network reaches a goal; mostly from a subsample, which is cheap."""

    def __init__(
        self, network: nn.Module, examples: Examples, goal: Goal, generator: torch.Generator
    ) -> None:
        self._network, self._examples, self._goal = network, examples, goal
        self._generator = generator
        self._subsample_bias = 0.0  # how much better the subsample looked at the last full check

    def is_reached(self) -> bool:
        estimate = self._margin(SUBSAMPLE)
        if estimate < self._subsample_bias:
            return False
        margin = self._margin(MEASURE)
        self._subsample_bias = max(0.0, estimate - margin)
        return margin >= 0

    def _margin(self, count: int) -> float:
        """How far the goal is exceeded, measured on ``count`` examples."""
        distortion = measure(
            self._network,
            self._examples,
            count=count,
            generator=self._generator,
            metric=self._goal.metric,
        )
        return self._goal.margin(distortion)


def _lr_share(fraction: float, step: int) -> float:
    """The share of the learning rate: a short warm-up, then a cosine to zero over the whole fit."""
    warm_up = min(1.0, max((step + 1) / WARM_UP, fraction / WARM_UP_SHARE))
    return warm_up * (1 + math.cos(math.pi * fraction)) / 2


def _decay_share(fraction: float, step: int, steps_without_decay: int) -> float:
    """The share of the weight decay, by the steps that the fit is going to take.

    The weights of a long fit would grow, by the noise of its gradients, until the network is too
    rough to be trained; a fit of no more than ``steps_without_decay`` steps needs no decay.
    """
    if step < WARM_UP or fraction <= 0:
        return 0.0
    return max(0.0, 1 - steps_without_decay * fraction / step)
