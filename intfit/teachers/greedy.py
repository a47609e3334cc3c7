"""Greedy teachers, faithful to their papers: INT and, of the same authors, NINT."""

from typing import Any

import torch
from torch import Tensor

from .base import Scheduled, Score, Walk


class TopInt(Scheduled):
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
        generator: torch.Generator,
        **schedules: Any,
    ) -> None:
        super().__init__(**schedules)
        self._walk = Walk(n, size=batch, generator=generator)
        self._generator = generator
        self._chosen = torch.arange(0)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        if self.selects(step, progress):
            pool = self._walk.pool()
            count = max(1, round(self.ratio(progress) * len(pool)))
            self._chosen = pool if count == len(pool) else self._select(pool, count, score)
        return self._chosen

    def _select(self, pool: Tensor, count: int, score: Score) -> Tensor:
        return pool[torch.topk(score(pool), count, sorted=False).indices]


class Nint(TopInt):
    """NINT (CVPR 2026): ranks by what the tangent kernel makes of the residuals, not by these.

    An example counts as much as a step on the whole pool would move it, its own residual and its
    neighbours' together. :data:`RANDOM` of what is chosen is drawn uniformly from the rest. (The
    authors' code lets the kernel fade out within 60 steps; here it stays, as in their text.)
    """

    #: The share of a selection that is drawn rather than ranked.
    RANDOM = 0.7

    def _select(self, pool: Tensor, count: int, score: Score) -> Tensor:
        ranked = max(1, round((1 - self.RANDOM) * count))
        order = torch.argsort(score.pulls(pool), descending=True)
        rest = order[ranked:]
        shuffled = torch.randperm(len(rest), generator=self._generator, device=rest.device)
        return pool[torch.cat([order[:ranked], rest[shuffled[: count - ranked]]])]
