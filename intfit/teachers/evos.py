"""EVOS, an evolutionary selector (Zhang et al., CVPR 2025)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .base import Scheduled, Score, Walk


class Evos(Scheduled):
    """The fittest survive: those with the largest errors, and those whose edges are worst.

    Fitness is known from the last evaluation of the whole pool, which is learnt from in that step;
    the ``interval_schedule`` says how many steps later the next is due. In between, a step learns
    from ``ratio`` of the pool: :data:`MUTATION` of that is drawn afresh from those who did not
    survive. Survivors are the best by the better of two ranks: of the error, and of its Laplacian
    on the grid of ``shape`` that the examples lie on (the crossover guided by frequency). Without a
    grid, or where the pool is a part of it, the error alone counts. The loss is the fit's own, not
    the authors' sum with that of the Laplacians.
    """

    #: The share of what is learnt from that is drawn rather than ranked.
    MUTATION = 0.5

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
        self._walk = Walk(n, size=batch, generator=generator)
        self._shape = tuple(shape) if batch >= n else ()
        self._generator = generator
        self._pool = self._ranked = torch.arange(0)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        if self.selects(step, progress):
            self._pool = self._walk.pool()
            self._ranked = self._pool[torch.argsort(self._rank(score.residuals(self._pool)))]
            return self._pool
        budget = max(1, round(self.ratio(progress) * len(self._pool)))
        survivors = budget - round(self.MUTATION * budget)
        rest = self._ranked[survivors:]
        order = torch.randperm(len(rest), generator=self._generator, device=rest.device)
        return torch.cat([self._ranked[:survivors], rest[order[: budget - survivors]]])

    def _rank(self, residuals: Tensor) -> Tensor:
        """The rank ``[B]`` of each example of the pool, fittest first, by residuals ``[B, c]``."""
        by_error = _positions(residuals.abs().sum(dim=1))
        if not self._shape:
            return by_error
        edges = laplacian(residuals.T.reshape(-1, *self._shape)).abs().sum(dim=0)
        return torch.minimum(by_error, _positions(edges.flatten()))


def _positions(fitness: Tensor) -> Tensor:
    """Where each of ``[B]`` stands in the order of falling fitness."""
    positions = torch.empty_like(fitness, dtype=torch.long)
    positions[torch.argsort(fitness, descending=True)] = torch.arange(
        len(fitness), device=fitness.device
    )
    return positions


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
