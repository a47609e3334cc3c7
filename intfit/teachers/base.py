"""What a teacher is, and what it may ask about the network's errors."""

from typing import Protocol

import torch
from torch import Tensor

from ..schedules import RatioSchedule, interval_at, ratio_at


class Score(Protocol):
    """What a teacher may ask about the network's errors; the passes count as training time."""

    def __call__(self, indices: Tensor) -> Tensor:
        """The discrepancies ``[B]`` at indices ``[B]``, by a forward pass without gradients.

        A discrepancy is an example's absolute error, summed over channels.
        """

    def residuals(self, indices: Tensor) -> Tensor:
        """Values minus targets ``[B, c]`` at indices ``[B]``, by a forward pass."""

    def tangent_kernel_response(self, indices: Tensor) -> Tensor:
        """How far ``[B]`` gradient descent on all of these examples moves each one's values.

        The empirical tangent kernel of the examples at indices ``[B]`` times their residuals: the
        norm over channels, up to a common factor. It takes a backward and two forward passes.
        """


class Teacher(Protocol):
    """Selects the examples of each step. Sees indices and errors, never medium or network."""

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        """Indices ``[B]`` for this step; ``progress`` in [0, 1] of the training is done."""

    def prepare(self, step: int, progress: float) -> bool:
        """Do what the host must for :meth:`draw` to give this step's examples; whether it can.

        Then this and ``draw`` stand for :meth:`select`. Most teachers cannot.
        """
        return False

    def draw(self) -> Tensor | None:
        """The indices ``[B]`` of the step that is prepared; None: only ``select`` gives them.

        Operations on tensors alone, of fixed shapes and at fixed places, which a CUDA graph can
        replay; so are :meth:`weights` and :meth:`observe` then.
        """
        return None

    def weights(self) -> Tensor | None:
        """How much each example selected last counts in the loss, ``[B]``; None: all alike.

        On average 1 or less.
        """
        return None

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        """Take note of the discrepancies ``[B]`` at ``indices``, from before the step."""
        return

    def ratio(self, progress: float) -> float:
        """Share of the examples in play at ``progress``; 1 where the teacher does not select."""
        return 1.0


class TeacherWrapper(Teacher):
    """A teacher that does as another one does; a base for those that do a little more."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        return self._teacher.select(step, progress, score)

    def weights(self) -> Tensor | None:
        return self._teacher.weights()

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._teacher.observe(indices, errors)

    def ratio(self, progress: float) -> float:
        return self._teacher.ratio(progress)


class ScheduledTeacher(Teacher):
    """A teacher with INT's two schedules: how many examples it takes, and how often it selects."""

    def __init__(
        self, *, start: float, ratio_schedule: RatioSchedule, interval_schedule: str
    ) -> None:
        """``start`` is the ratio that the ``ratio_schedule`` starts from."""
        self._start, self._ratio_schedule = start, ratio_schedule
        self._interval_schedule = interval_schedule
        self._next_selection = 0

    def ratio(self, progress: float) -> float:
        return ratio_at(self._ratio_schedule, progress, start=self._start)

    def selects_at(self, step: int, progress: float) -> bool:
        """Whether a selection is due at this step; if so, the next one is an interval later."""
        due = step >= self._next_selection
        if due:
            self._next_selection = step + interval_at(self._interval_schedule, progress)
        return due


class EpochPools:
    """Pools of at most ``size`` of ``n`` examples: all, or parts of a permutation each epoch."""

    def __init__(self, n: int, *, size: int, generator: torch.Generator) -> None:
        self._n, self._size, self._generator = n, min(size, n), generator
        self._everything = torch.arange(n, device=generator.device)
        self._order = self._everything
        self._position = n

    def next(self) -> Tensor:
        """Indices ``[size]`` of the next pool."""
        if self._size == self._n:
            return self._everything
        if self._position + self._size > self._n:
            device = self._generator.device
            self._order = torch.randperm(self._n, generator=self._generator, device=device)
            self._position = 0
        self._position += self._size
        return self._order[self._position - self._size : self._position]
