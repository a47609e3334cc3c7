"""One training step: examples gathered, the gradient of their loss, and the optimizer's move."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from ..teachers import Teacher
from .cuda_graph import StepFunction
from .evaluation import CHUNK
from .examples import Examples
from .gradients.base import Batch, GradientFunction
from .optimizer import Adam


class TrainingStep:
    """The part of a training step that runs on the device; batches of any size.

    ``gradient`` and ``rounding`` may be replaced between two steps. ``rounding`` is entered while
    the gradient is computed, and rounds the parameters meanwhile; at first it does nothing.
    ``guidance``, a tensor of one number, is how strongly a network is told where creases are;
    None: not at all.
    """

    def __init__(self, examples: Examples, optimizer: Adam, gradient: GradientFunction) -> None:
        self._examples, self._optimizer = examples, optimizer
        self.gradient = gradient
        self.rounding: AbstractContextManager[None] = nullcontext()
        self.guidance: Tensor | None = None

    @property
    def parts(self) -> tuple[object, ...]:
        return self.gradient, self.rounding, self.guidance

    def __call__(self, indices: Tensor, weights: Tensor | None) -> Tensor:
        errors = []
        with self.rounding:
            for first in range(0, len(indices), CHUNK):
                part = slice(first, first + CHUNK)
                coords, targets = self._examples.gather(indices[part])
                part_weights = None if weights is None else weights[part]
                batch = Batch(coords, targets, self._examples.loss, len(indices), part_weights)
                if self.guidance is not None:
                    sides = self._examples.gather_sides(indices[part])
                    batch = replace(batch, sides=sides, guidance=self.guidance)
                errors.append(self.gradient(batch))
        self._optimizer.step()
        return errors[0] if len(errors) == 1 else torch.cat(errors)


class DrawnStep:
    """A training step on the examples that a teacher draws, who is told their errors.

    For a teacher that was prepared: see :meth:`intfit.teachers.Teacher.prepare`.
    """

    def __init__(self, step: TrainingStep, teacher: Teacher) -> None:
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
