"""One training step: examples gathered, the gradient of their loss, and the optimizer's move.

Of one network, or of several at once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..networks.siren import Siren
from ..plan import Plan
from ..teachers import Teacher
from .cuda_graph import CudaGraphStep, StepFunction, choose_recorder
from .evaluation import CHUNK
from .examples import Examples
from .gradients.base import Batch, GradientFunction
from .gradients.choice import choose_gradients
from .optimizers.adam import Adam
from .optimizers.preconditioned import make_optimizer
from .quantisation import RoundedTensors
from .scoring import Scorer

#: How strongly a network is told where creases are, relative to the distances, at first; and the
#: share of a fit in which it is told.
GUIDANCE, GUIDED = 0.5, 0.5


class Gatherer(Protocol):
    """Examples to train on, of one network, or of several: then ``[n, B]`` in place of ``[B]``."""

    @property
    def loss(self) -> Literal["l2", "l1"]:
        """The loss to minimise."""

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``[B, d]`` and targets ``[B, c]`` of indices ``[B]``."""


class Draws(Protocol):
    """What the device does for a teacher, or for several: see :class:`intfit.teachers.Teacher`."""

    def draw(self) -> Tensor | None:
        """The indices of the step that is prepared, ``[B]`` or ``[n, B]``."""

    def weights(self) -> Tensor | None:
        """How much each of these counts in the loss; None: all alike."""

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        """Take note of their discrepancies."""


@dataclass(frozen=True)
class Guidance:
    """Where creases are, of the examples at indices ``[B]``, and how strongly that is told.

    ``strength`` is a tensor of one number, so that it can change between recorded steps.
    """

    strength: Tensor
    gather: Callable[[Tensor], Tensor | None]


class TrainingStep:
    """The part of a training step that runs on the device; batches of any size.

    Of several networks, indices, weights and discrepancies are ``[n, B]``.

    ``gradient`` and ``rounding`` may be replaced between two steps. ``rounding`` is entered while
    the gradient is computed, and rounds the parameters meanwhile; at first it does nothing.
    ``guidance`` tells a network where creases are; None: nothing does.
    """

    def __init__(self, examples: Gatherer, optimizer: Adam, gradient: GradientFunction) -> None:
        self._examples, self._optimizer = examples, optimizer
        self.gradient = gradient
        self.rounding: AbstractContextManager[None] = nullcontext()
        self.guidance: Guidance | None = None

    @property
    def parts(self) -> tuple[object, ...]:
        return self.gradient, self.rounding, self.guidance

    def __call__(self, indices: Tensor, weights: Tensor | None) -> Tensor:
        errors, count = [], indices.shape[-1]
        with self.rounding:
            for first in range(0, count, CHUNK):
                part = ..., slice(first, first + CHUNK)
                coords, targets = self._examples.gather(indices[part])
                part_weights = None if weights is None else weights[part]
                batch = Batch(coords, targets, self._examples.loss, count, part_weights)
                if self.guidance is not None:
                    sides = self.guidance.gather(indices[part])
                    batch = replace(batch, sides=sides, guidance=self.guidance.strength)
                errors.append(self.gradient(batch))
        self._optimizer.step()
        return errors[0] if len(errors) == 1 else torch.cat(errors, dim=-1)


class DrawnStep:
    """A training step on the examples that a teacher draws, who is told their errors.

    For a teacher that was prepared: see :meth:`intfit.teachers.Teacher.prepare`.
    """

    def __init__(self, step: TrainingStep, teacher: Draws) -> None:
        self._step, self._teacher = step, teacher

    @property
    def parts(self) -> tuple[object, ...]:
        return self._step.parts

    def __call__(self) -> Tensor:
        indices = self._teacher.draw()
        assert indices is not None
        errors = self._step(indices, self._teacher.weights())
        self._teacher.observe(indices, errors)
        return errors


def train_step(
    indices: Tensor,
    step: StepFunction,
    optimizer: Adam,
    teacher: Teacher,
    *,
    lr_share: float,
    decay_share: float = 1.0,
) -> None:
    """Train on the examples at ``indices`` ``[B]``, and tell the teacher their errors.

    ``lr_share`` and ``decay_share`` are the shares of the optimizer's learning rate and weight
    decay to use, in [0, 1].
    """
    optimizer.advance(lr_share, decay_share=decay_share)
    teacher.observe(indices, step(indices, teacher.weights()))


class Trainer(Protocol):
    """Makes the steps of one fit, or has them made together with those of others.

    ``fits`` counts these fits, and ``turn`` says which of them this one is, from 0.
    """

    fits: int
    turn: int

    @property
    def lr(self) -> float:
        """The learning rate at its full share."""

    def restart(self, lr: float) -> None:
        """Forget all gradients so far, and continue from here at another learning rate."""

    def make_step(self, step: int, fraction: float, *, lr_share: float, decay_share: float) -> None:
        """Make a step at this ``fraction`` of the schedule: see :func:`train_step`."""

    def use_exact_gradient(self) -> None:
        """Compute gradients in float32 throughout from now on."""

    @property
    def rounding(self) -> AbstractContextManager[None]:
        """Rounds the parameters while it is entered; at first it does nothing."""

    def round(self, rounding: RoundedTensors) -> None:
        """Have it entered in every step from now on."""


class OwnTrainer:
    """The :class:`Trainer` of a network that is trained by itself."""

    fits, turn = 1, 0

    def __init__(self, network: Siren, examples: Examples, teacher: Teacher, plan: Plan) -> None:
        self._teacher = teacher
        self._optimizer = make_optimizer([network], plan)
        gradient, self._exact_gradient = choose_gradients(
            [network], batch=min(plan.batch, examples.n, CHUNK), loss=examples.loss
        )
        self._step = TrainingStep(examples, self._optimizer, gradient)
        device = next(network.parameters()).device
        if isinstance(network, Siren) and network.config.creases:
            strength = torch.zeros((), device=device)
            self._step.guidance = Guidance(strength, examples.gather_sides)
        self._score = Scorer(network, examples)
        self._step_function: TrainingStep | CudaGraphStep = self._step
        # where the teacher draws in place, its part of a step is recorded, too
        self._drawn_step: CudaGraphStep | None = None
        if (record := choose_recorder(device)) is not None:
            self._step_function = CudaGraphStep(self._step, record=record)
            self._drawn_step = CudaGraphStep(DrawnStep(self._step, teacher), record=record)

    @property
    def lr(self) -> float:
        return self._optimizer.lrs[0]

    def restart(self, lr: float) -> None:
        self._optimizer.restart(lr)

    def make_step(self, step: int, fraction: float, *, lr_share: float, decay_share: float) -> None:
        self._guide(fraction)
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
                self._step.guidance.strength.fill_(GUIDANCE * (1 - fraction / GUIDED))
            else:
                self._step.guidance = None

    def use_exact_gradient(self) -> None:
        self._step.gradient = self._exact_gradient

    @property
    def rounding(self) -> AbstractContextManager[None]:
        return self._step.rounding

    def round(self, rounding: RoundedTensors) -> None:
        self._step.rounding = rounding
