"""EVOS, an evolutionary selector (Zhang et al., CVPR 2025)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .base import EpochPools, ScheduledTeacher, Score


class Evos(ScheduledTeacher):
    """The fittest examples survive: those whose errors, or the edges of whose errors, are largest.

    Fitness is measured on the whole pool, in steps that then learn from the whole pool. The
    ``interval_schedule`` says how many steps apart these are. A step in between learns from
    ``ratio`` of the pool: partly survivors, and for :data:`MUTATION_SHARE`, examples drawn afresh
    from the others. Survivors have the best of two ranks: that of the error, and that of the
    error's Laplacian on the grid of ``shape`` that the examples lie on (EVOS' crossover guided by
    frequency). Without a grid, or where the pool is a part of it, the error alone counts. The loss
    is the usual one, without the authors' second term for the Laplacian.
    """

    #: The share of a selection that is drawn rather than ranked.
    MUTATION_SHARE = 0.5

    def __init__(
        self,
        n: int,
        *,
        shape: Sequence[int],
        batch: int,
        generator: torch.Generator,
        **schedules: Any,
    ) -> None:
        super().__init__(**schedules)
        self._pools = EpochPools(n, size=batch, generator=generator)
        self._shape = tuple(shape) if batch >= n else ()
        self._generator = generator
        self._ranked = torch.arange(0)  # the pool, fittest first

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        if self.selects_at(step, progress):
            pool = self._pools.next()
            self._ranked = pool[torch.argsort(self._rank_pool(score.residuals(pool)))]
            return pool
        count = max(1, round(self.ratio(progress) * len(self._ranked)))
        survivors = count - round(self.MUTATION_SHARE * count)
        others = self._ranked[survivors:]
        order = torch.randperm(len(others), generator=self._generator, device=others.device)
        return torch.cat([self._ranked[:survivors], others[order[: count - survivors]]])

    def _rank_pool(self, residuals: Tensor) -> Tensor:
        """The rank ``[B]`` of each example of the pool, fittest first, by residuals ``[B, c]``."""
        by_error = _rank_descending(residuals.abs().sum(dim=1))
        if not self._shape:
            return by_error
        edges = laplacian(residuals.T.reshape(-1, *self._shape)).abs().sum(dim=0)
        return torch.minimum(by_error, _rank_descending(edges.flatten()))


def _rank_descending(fitness: Tensor) -> Tensor:
    """The rank of each of ``[B]`` in the order of falling fitness."""
    ranks = torch.empty_like(fitness, dtype=torch.long)
    ranks[torch.argsort(fitness, descending=True)] = torch.arange(
        len(fitness), device=fitness.device
    )
    return ranks


def laplacian(values: Tensor) -> Tensor:
    """The discrete Laplacian of ``[c, N]`` or ``[c, H, W]``, mirrored at the borders."""
    total = torch.zeros_like(values)
    for axis in range(1, values.dim()):
        line = values.movedim(axis, -1)
        wide = pad(line.flatten(0, -2)[None], (1, 1), mode="replicate")[0].reshape(
            *line.shape[:-1], -1
        )
        total += (wide[..., 2:] + wide[..., :-2] - 2 * line).movedim(-1, axis)
    return total
