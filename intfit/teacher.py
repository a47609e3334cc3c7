"""Teachers decide which examples the next step learns from.

INT, Implicit Neural Teaching (Zhang et al., ICML 2024): evaluate the field on the examples, rank
them by discrepancy (absolute error summed over channels) and learn from the worst. Here in two
forms: ``top``, greedy and faithful to the paper, and ``proportional``, which draws small batches in
proportion to the discrepancy. Their rivals, ``full`` and ``uniform``, come through the same door.

A teacher sees indices and errors, never the medium and never the field.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .devices import precise
from .schedules import RatioSchedule, interval_at, ratio_at
from .settings import POOL, SelectionName, TeacherName

#: Discrepancies ``[B]`` of the examples at indices ``[B]``, by a forward pass without gradients.
Score = Callable[[Tensor], Tensor]


class Teacher(Protocol):
    """Chooses examples."""

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        """Indices ``[B]`` for this step, which is ``progress`` in [0, 1] of the way through."""

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        """The discrepancies ``[B]`` that the step found at ``indices``, before it learnt."""

    def ratio(self, progress: float) -> float:
        """Share of the examples in play at ``progress``; 1 where the teacher does not select."""


class Full:
    """Every example at every step: what INT is measured against in the paper."""

    def __init__(self, n: int, *, device: torch.device) -> None:
        self._all = torch.arange(n, device=device)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        return self._all

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        pass

    def ratio(self, progress: float) -> float:
        return 1.0


class Uniform:
    """``batch`` examples drawn uniformly, with replacement: the baseline at equal time."""

    def __init__(self, n: int, *, batch: int, generator: torch.Generator) -> None:
        self._n, self._batch, self._generator = n, batch, generator

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        generator = self._generator
        return torch.randint(self._n, (self._batch,), generator=generator, device=generator.device)

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        pass

    def ratio(self, progress: float) -> float:
        return 1.0


class TopInt:
    """INT as published: the ``ratio`` of the pool with the largest discrepancy, greedily.

    The pool is the whole signal where it has at most ``batch`` examples. A larger one is walked
    through in pools of ``batch``, a fresh permutation an epoch (the paper's mini-batch INT).
    Between selections the last subset is learnt from again.
    """

    def __init__(
        self,
        n: int,
        *,
        batch: int,
        start: float,
        ratio_schedule: RatioSchedule,
        interval_schedule: str,
        generator: torch.Generator,
    ) -> None:
        self._n, self._batch, self._generator = n, min(batch, n), generator
        self._start, self._ratio_schedule = start, ratio_schedule
        self._interval_schedule = interval_schedule
        self._everything = torch.arange(n, device=generator.device)
        self._order = self._everything
        self._position = n
        self._chosen = self._everything[:0]
        self._due = 0

    def ratio(self, progress: float) -> float:
        return ratio_at(self._ratio_schedule, progress, start=self._start)

    def _pool(self) -> Tensor:
        if self._batch == self._n:
            return self._everything
        if self._position + self._batch > self._n:
            device = self._generator.device
            self._order = torch.randperm(self._n, generator=self._generator, device=device)
            self._position = 0
        self._position += self._batch
        return self._order[self._position - self._batch : self._position]

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        if step >= self._due:
            self._due = step + interval_at(self._interval_schedule, progress)
            pool = self._pool()
            count = max(1, round(self.ratio(progress) * len(pool)))
            if count == len(pool):
                self._chosen = pool
            else:
                self._chosen = pool[torch.topk(score(pool), count, sorted=False).indices]
        return self._chosen

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        pass


class ProportionalInt:
    """INT in its stochastic form: small batches drawn in proportion to the discrepancy.

    The probability of an example is ``1 - ratio`` times its share of all discrepancy, plus a floor
    of ``ratio`` times uniform. As in the greedy form, a ratio of 1 is no selection at all.

    No scoring pass is made. Discrepancies are cached, and refreshed by the steps themselves: each
    one has just computed the errors of the examples it drew. Examples not drawn yet count as bad
    as an untrained field is, so that all are tried. The table to draw from is rebuilt from the
    cache at the interval, on a fresh uniform pool where the signal is larger than ``POOL``.
    """

    def __init__(
        self,
        n: int,
        *,
        batch: int,
        start: float,
        ratio_schedule: RatioSchedule,
        interval_schedule: str,
        generator: torch.Generator,
    ) -> None:
        self._n, self._batch, self._generator = n, batch, generator
        self._start, self._ratio_schedule = start, ratio_schedule
        self._interval_schedule = interval_schedule
        self._scores = torch.ones(n, device=generator.device)
        self._pool: Tensor | None = None
        self._precise = precise(generator.device)
        self._table = self._scores[:0].to(self._precise)
        self._due = 0
        self._drawn: list[Tensor] = []

    def ratio(self, progress: float) -> float:
        return ratio_at(self._ratio_schedule, progress, start=self._start)

    def _rebuild(self, progress: float) -> None:
        generator, device = self._generator, self._generator.device
        scores = self._scores
        if self._n > POOL:
            self._pool = torch.randint(self._n, (POOL,), generator=generator, device=device)
            scores = scores[self._pool]
        ratio = self.ratio(progress)
        weights = (1 - ratio) * scores / scores.mean().clamp_min(1e-12) + ratio
        self._table = torch.cumsum(weights, 0, dtype=self._precise)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        if step >= self._due:
            self._due = step + interval_at(self._interval_schedule, progress)
            self._rebuild(progress)
            self._drawn = []
        if not self._drawn:
            self._drawn = self._batches(min(self._due - step, max(1, POOL // self._batch)))
        return self._drawn.pop()

    def _batches(self, count: int) -> list[Tensor]:
        """``count`` batches of indices ``[batch]``: drawn together, which costs far less.

        Each batch has one draw in each of ``batch`` equal slices of the table: less variance than
        independent draws, and indices in order, which gather faster.
        """
        generator, device = self._generator, self._generator.device
        slices = torch.arange(self._batch, device=device, dtype=self._precise)[:, None]
        shape = (self._batch, count)
        jitter = torch.rand(shape, generator=generator, device=device, dtype=self._precise)
        points = (slices + jitter) * (self._table[-1] / self._batch)
        drawn = torch.searchsorted(self._table, points).clamp_(max=len(self._table) - 1)
        drawn = drawn if self._pool is None else self._pool[drawn]
        return list(drawn.t().contiguous())

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._scores.scatter_(0, indices, errors)


def make_teacher(
    name: TeacherName,
    n: int,
    *,
    selection: SelectionName,
    batch: int,
    ratio: float,
    ratio_schedule: RatioSchedule,
    interval_schedule: str,
    generator: torch.Generator,
) -> Teacher:
    """The teacher called ``name`` for ``n`` examples; draws on ``generator``'s device."""
    if name == "full":
        return Full(n, device=generator.device)
    if name == "uniform":
        return Uniform(n, batch=batch, generator=generator)
    kind = TopInt if selection == "top" else ProportionalInt
    return kind(
        n,
        batch=batch,
        start=ratio,
        ratio_schedule=ratio_schedule,
        interval_schedule=interval_schedule,
        generator=generator,
    )
