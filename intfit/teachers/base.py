"""The one door: what a teacher is, and what it may ask of the fit. A leaf."""

from typing import Protocol

import torch
from torch import Tensor

from ..schedules import RatioSchedule, interval_at, ratio_at


class Score(Protocol):
    """What the field makes of examples, by passes that the fit's clock counts.

    Called, it gives the discrepancies ``[B]`` of the examples at indices ``[B]``: absolute errors,
    summed over channels, by a forward pass without gradients.
    """

    def __call__(self, indices: Tensor) -> Tensor: ...

    def residuals(self, indices: Tensor) -> Tensor:
        """Values less targets ``[B, c]`` at indices ``[B]``, by a forward pass."""

    def pulls(self, indices: Tensor) -> Tensor:
        """How far ``[B]`` descent on all of these examples moves each: the tangent kernel's word.

        The norm over channels of the empirical tangent kernel times the residuals of the examples
        at indices ``[B]``, up to a factor: a backward and two forward passes.
        """


class Teacher(Protocol):
    """Chooses examples. Sees indices and errors, never the medium and never the field."""

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        """Indices ``[B]`` for this step, which is ``progress`` in [0, 1] of the way through."""

    def weights(self) -> Tensor | None:
        """How much each of the examples last chosen counts in the loss, ``[B]``; None: all alike.

        On average 1 or less.
        """
        return None

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        """The discrepancies ``[B]`` that the step found at ``indices``, before it learnt."""
        return

    def ratio(self, progress: float) -> float:
        """Share of the examples in play at ``progress``; 1 where the teacher does not select."""
        return 1.0


class Around(Teacher):
    """A teacher that does as another one does: something to build on."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        return self._teacher.choose(step, progress, score)

    def weights(self) -> Tensor | None:
        return self._teacher.weights()

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._teacher.observe(indices, errors)

    def ratio(self, progress: float) -> float:
        return self._teacher.ratio(progress)


class Scheduled(Teacher):
    """A teacher with INT's two schedules: how many examples it takes, and how often it selects."""

    def __init__(
        self, *, start: float, ratio_schedule: RatioSchedule, interval_schedule: str
    ) -> None:
        self._start, self._ratio_schedule = start, ratio_schedule
        self._interval_schedule = interval_schedule
        self._due = 0

    def ratio(self, progress: float) -> float:
        return ratio_at(self._ratio_schedule, progress, start=self._start)

    def selects(self, step: int, progress: float) -> bool:
        """Whether a selection is due; if so, the next one is an interval away."""
        due = step >= self._due
        if due:
            self._due = step + interval_at(self._interval_schedule, progress)
        return due


class Walk:
    """Pools of at most ``size`` of ``n`` examples: all, or parts of a permutation an epoch."""

    def __init__(self, n: int, *, size: int, generator: torch.Generator) -> None:
        self._n, self._size, self._generator = n, min(size, n), generator
        self._everything = torch.arange(n, device=generator.device)
        self._order = self._everything
        self._position = n

    def pool(self) -> Tensor:
        """Indices ``[size]`` of the next pool."""
        if self._size == self._n:
            return self._everything
        if self._position + self._size > self._n:
            device = self._generator.device
            self._order = torch.randperm(self._n, generator=self._generator, device=device)
            self._position = 0
        self._position += self._size
        return self._order[self._position - self._size : self._position]
