"""Several fits whose steps are made as one: of one architecture, on one device.

Every fit keeps its own network, examples, teacher and random numbers, and all that the host decides
about it. What the device does in a step is done for all at once.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from ..devices import precise
from ..plan import POOL, Plan
from ..teachers import JointDraws, ProportionalInt, Teacher
from ..teachers.proportional import find_firsts
from .cuda_graph import CudaGraphStep, choose_recorder
from .evaluation import CHUNK
from .examples import GridExamples, PointExamples, locate
from .gradients.choice import choose_gradients
from .optimizers.preconditioned import make_optimizer
from .quantisation import RoundedTensors, join
from .session import Session, Stepwise
from .step import DrawnStep, Gatherer, TrainingStep

T = TypeVar("T")


class _JointGrids:
    """The examples of several grids of as many axes: see :class:`.step.Gatherer`."""

    loss: Literal["l2"] = "l2"

    def __init__(self, grids: Sequence[GridExamples]) -> None:
        device = grids[0].values.device

        def column(numbers: Sequence[float], **options: Any) -> Tensor:
            return torch.tensor(numbers, device=device, **options)[:, None]

        self._values = torch.cat([grid.values for grid in grids])
        self._firsts = find_firsts([grid.n for grid in grids], device)
        self._sizes = [column(sizes) for sizes in zip(*(grid.shape for grid in grids), strict=True)]
        self._longest = column([max(grid.shape) for grid in grids], dtype=precise(device))
        self._scales = column([grid.scale for grid in grids])[:, :, None]
        self._offsets = column([grid.offset for grid in grids])[:, :, None]

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        values = self._values.index_select(0, (indices + self._firsts).flatten()).float()
        targets = values.unflatten(0, indices.shape).mul_(self._scales).add_(self._offsets)
        return locate(indices, self._sizes, self._longest), targets


class _JointPoints:
    """The examples of several surfaces: see :class:`.step.Gatherer`."""

    loss: Literal["l1"] = "l1"

    def __init__(self, surfaces: Sequence[PointExamples]) -> None:
        self._points = torch.cat([surface.points for surface in surfaces])
        self._targets = torch.cat([surface.targets for surface in surfaces])
        self._firsts = find_firsts([surface.n for surface in surfaces], self._points.device)

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        places = (indices + self._firsts).flatten()
        points, targets = self._points[places], self._targets[places]
        return points.unflatten(0, indices.shape), targets.unflatten(0, indices.shape)


#: The kinds of examples that can be gathered together.
_JOINERS: dict[type, Callable[[Any], Gatherer]] = {
    GridExamples: _JointGrids,
    PointExamples: _JointPoints,
}


def can_join(plan: Plan, n: int) -> bool:
    """Whether a fit of ``n`` examples can be made together with others.

    All fits of a group take the same number of steps, and their teachers draw in place.
    """
    by_steps = plan.max_time is None and plan.goal is None
    return by_steps and plan.teacher_name == "int-proportional" and n <= POOL


class JointTraining:
    """The steps of fits of one plan and architecture, all made at once."""

    def __init__(self, sessions: Sequence[Session], plan: Plan) -> None:
        """Parameters of networks and tensors of teachers become views of tensors of all."""
        networks = [session.network for session in sessions]
        teachers = [s.teacher for s in sessions if isinstance(s.teacher, ProportionalInt)]
        assert len(teachers) == len(sessions)  # see can_join
        examples = [session.examples for session in sessions]
        self.optimizer = make_optimizer(networks, plan)
        gradient, self._exact_gradient = choose_gradients(
            networks, batch=min(plan.batch, CHUNK), loss=examples[0].loss
        )
        self._draws = JointDraws(teachers)
        self._step = TrainingStep(_JOINERS[type(examples[0])](examples), self.optimizer, gradient)
        drawn_step = DrawnStep(self._step, self._draws)
        record = choose_recorder(next(networks[0].parameters()).device)
        self._make = drawn_step if record is None else CudaGraphStep(drawn_step, record=record)
        self._roundings: dict[int, RoundedTensors] = {}
        self._rounded = 0  # of how many fits the parameters are rounded in a step
        #: The sessions, whose steps are made by :meth:`make_step`.
        self.sessions = [
            replace(session, trainer=_Trainer(self, row, session.teacher, len(sessions)))
            for row, session in enumerate(sessions)
        ]

    def make_step(self) -> None:
        """Make the step that all fits have asked for; one that has not goes on as it was."""
        if len(self._roundings) != self._rounded:
            self._rounded = len(self._roundings)
            self._step.rounding = join(list(self._roundings.values()))
        self.optimizer.prepare()
        self._draws.send()
        self._make()

    def use_exact_gradient(self) -> None:
        self._step.gradient = self._exact_gradient

    def round(self, row: int, rounding: RoundedTensors) -> None:
        self._roundings[row] = rounding


class _Trainer:
    """The :class:`.step.Trainer` of one of several fits."""

    def __init__(self, joint: JointTraining, turn: int, teacher: Teacher, fits: int) -> None:
        self._joint, self.turn, self._teacher, self.fits = joint, turn, teacher, fits
        self._rounding: AbstractContextManager[None] = nullcontext()

    @property
    def lr(self) -> float:
        return self._joint.optimizer.lrs[self.turn]

    def restart(self, lr: float) -> None:
        self._joint.optimizer.restart(lr, network=self.turn)

    def make_step(self, step: int, fraction: float, *, lr_share: float, decay_share: float) -> None:
        self._teacher.prepare(step, fraction)
        self._joint.optimizer.advance(lr_share, decay_share=decay_share, network=self.turn)

    def use_exact_gradient(self) -> None:
        self._joint.use_exact_gradient()

    @property
    def rounding(self) -> AbstractContextManager[None]:
        return self._rounding

    def round(self, rounding: RoundedTensors) -> None:
        self._rounding = rounding
        self._joint.round(self.turn, rounding)


def finish_together(joint: JointTraining, fits: Sequence[Stepwise[T]]) -> list[T | Exception]:
    """Do the work of all fits, step by step; the result of each, or the error that ended it.

    ``fits`` train the ``joint`` sessions, in this order, in the same number of steps. The network
    of one that has failed goes on as it was, which costs little and changes no other.
    """
    outcomes: dict[int, T | Exception] = {}
    while len(outcomes) < len(fits):
        for row, one in enumerate(fits):
            if row in outcomes:
                continue
            try:
                next(one)
            except StopIteration as end:
                outcomes[row] = end.value
            except Exception as error:
                outcomes[row] = error
        if len(outcomes) < len(fits):
            joint.make_step()
    return [outcomes[row] for row in range(len(fits))]
