"""Greedy teachers, as published: INT and, by the same authors, NINT."""

from typing import Any

import torch
from torch import Tensor

from .base import EpochPools, ScheduledTeacher, Score


class TopInt(ScheduledTeacher):
    """INT as published: the ``ratio`` of the pool with the largest discrepancy, greedily.

    The pool is the whole signal where it has at most ``batch`` examples. A larger signal is gone
    through in pools of ``batch``, in a new permutation each epoch (the paper's mini-batch INT).
    Between two selections, every step learns from the last subset again.
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
        self._pools = EpochPools(n, size=batch, generator=generator)
        self._generator = generator
        self._subset = torch.arange(0)

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        if self.selects_at(step, progress):
            pool = self._pools.next()
            count = max(1, round(self.ratio(progress) * len(pool)))
            self._subset = pool if count == len(pool) else self._pick_best(pool, count, score)
        return self._subset

    def _pick_best(self, pool: Tensor, count: int, score: Score) -> Tensor:
        """The ``count`` best indices of ``pool`` to learn from."""
        return pool[torch.topk(score(pool), count, sorted=False).indices]


class Nint(TopInt):
    """NINT (CVPR 2026): ranks by the tangent kernel's response, not by the residuals.

    An example's response says how far a step on the whole pool would move its values, which depends
    on its neighbours' residuals, too. :data:`RANDOM_SHARE` of a selection is drawn uniformly from
    the rest. (In the authors' code the kernel fades out within 60 steps; here it stays, as in their
    text.)
    """

    #: The share of a selection that is drawn rather than ranked.
    RANDOM_SHARE = 0.7

    def _pick_best(self, pool: Tensor, count: int, score: Score) -> Tensor:
        ranked = max(1, round((1 - self.RANDOM_SHARE) * count))
        order = torch.argsort(score.tangent_kernel_response(pool), descending=True)
        rest = order[ranked:]
        shuffled = torch.randperm(len(rest), generator=self._generator, device=rest.device)
        return pool[torch.cat([order[:ranked], rest[shuffled[: count - ranked]]])]
