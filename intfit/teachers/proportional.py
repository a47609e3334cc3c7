"""INT in its stochastic form: the default teacher."""

from typing import Any

import torch
from torch import Tensor

from ..devices import precise
from ..plan import POOL
from .base import ScheduledTeacher, Score

#: The progress, in [0, 1], until which importance is introduced by degrees.
IMPORTANCE_RAMP = 0.25


class ProportionalInt(ScheduledTeacher):
    """INT in its stochastic form: small batches drawn in proportion to the discrepancy.

    The probability ``p`` of an example is ``1 - ratio`` times its share of all discrepancies, plus
    ``ratio`` times its share of uniform draws. So as in the greedy form, a ratio of 1 does not
    select by error. Where examples have an ``importance`` ``[n]``, both terms are multiplied by it,
    by degrees: at first, unimportant examples too must come out roughly right. (Until then the
    uniform term makes up only about ``ratio`` of all draws.)

    As the fit goes on, what is drawn more often than its share counts less in the loss: its weight
    is its share over ``p``, to the power of the progress squared (as in prioritised replay, Schaul
    et al. 2016). So the fit begins with what it gets wrong, and ends on the distortion that it is
    measured by, with less noise in its steps than uniform draws have.

    No scoring pass is made. Discrepancies are cached, and updated by the steps themselves, each of
    which has computed the errors of its examples. Examples that have not been drawn yet count as
    being as bad as those of an untrained network, so that all are tried. The table to draw from is
    rebuilt from the cache at each interval: of a new uniform pool, where the signal is larger than
    ``POOL``.
    """

    def __init__(
        self,
        n: int,
        *,
        batch: int,
        generator: torch.Generator,
        importance: Tensor | None = None,
        **schedules: Any,
    ) -> None:
        super().__init__(**schedules)
        self._n, self._batch, self._generator = n, batch, generator
        self._importance = importance
        device = generator.device
        self._discrepancies = torch.ones(n, device=device)
        # what a step reads stays in place: it may be recorded and replayed
        self._pool = torch.zeros(POOL, dtype=torch.long, device=device) if n > POOL else None
        self._precise = precise(generator.device)
        # of each example of the pool: the sum of probabilities up to it, times a constant
        self._cumulative = self._discrepancies[:0].to(self._precise)
        # of each example of the pool: how many times its share it is drawn
        self._oversampling = torch.ones(min(n, POOL), device=device)
        # positions in the pool for the next steps, from the last one on; how many steps are left
        most = max(1, POOL // batch)
        self._batches = torch.zeros(most, batch, dtype=torch.long, device=device)
        self._left, self._turn = 0, torch.zeros(1, dtype=torch.long, device=device)
        self._exponent = torch.zeros((), device=device)
        self._weights: Tensor | None = None

    def weights(self) -> Tensor | None:
        return self._weights

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        self.prepare(step, progress)
        return self.draw()

    def prepare(self, step: int, progress: float) -> bool:
        """Rebuild the table and draw the next batches, where that is due. Always true."""
        if self.selects_at(step, progress):
            self._rebuild(progress)
            self._left = 0
        if not self._left:
            self._left = min(self._next_selection - step, len(self._batches))
            self._batches[: self._left] = self._draw_batches(self._left)
            self._turn.fill_(self._left)
        self._left -= 1
        self._exponent.fill_(-(progress**2))
        return True

    def draw(self) -> Tensor:
        positions = self._batches.index_select(0, self._turn.sub_(1)).flatten()
        oversampling = self._oversampling.index_select(0, positions)
        self._weights = oversampling.clamp_min_(1e-12).pow_(self._exponent)
        return positions if self._pool is None else self._pool.index_select(0, positions)

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._discrepancies.scatter_(0, indices, errors)

    def _rebuild(self, progress: float) -> None:
        """Rebuild the table to draw from, of a new pool if there is one."""
        generator, device = self._generator, self._generator.device
        # a fit that diverges goes on to its end, where that is reported
        discrepancies = self._discrepancies.nan_to_num_(nan=0.0, posinf=0.0)
        importance, ratio = self._importance, self.ratio(progress)
        if self._n > POOL:
            assert self._pool is not None
            torch.randint(self._n, (POOL,), generator=generator, device=device, out=self._pool)
            discrepancies = discrepancies[self._pool]
            importance = None if importance is None else importance[self._pool]
        if importance is not None and progress < IMPORTANCE_RAMP:
            importance = importance ** (progress / IMPORTANCE_RAMP)
        counted = discrepancies if importance is None else discrepancies * importance
        mean = counted.mean().clamp_min(1e-12)
        torch.mul(discrepancies, (1 - ratio) / mean, out=self._oversampling).add_(ratio)
        probabilities = self._oversampling
        if importance is not None:
            probabilities = probabilities * importance
        self._cumulative = torch.cumsum(probabilities, 0, dtype=self._precise)

    def _draw_batches(self, count: int) -> Tensor:
        """``count`` batches of positions in the table, drawn together: ``[count, batch]``.

        An example is drawn as often as its probability times the number of draws, rounded up or
        down (systematic resampling): far less variance than independent draws have, in less time.
        The draws lie in order, and each of ``count`` in a row goes to another batch, at random:
        indices in order are gathered faster.
        """
        generator, device, draws = self._generator, self._generator.device, self._batch * count
        offset = torch.rand(1, generator=generator, device=device, dtype=self._precise)
        scale = draws / self._cumulative[-1]
        ends = torch.addcmul(offset, self._cumulative, scale).to(torch.int32)
        ends.clamp_(max=draws)
        ends[-1] = draws
        # count how many examples end before each draw: faster than repeat_interleave
        ended = ends.new_zeros(draws + 1).index_add_(0, ends, ends.new_ones(1).expand_as(ends))
        positions = torch.cumsum(ended[:draws], 0, dtype=ends.dtype).view(self._batch, count)
        order = torch.randperm(count, generator=generator, device=device)
        turns = torch.randint(count, (self._batch, 1), generator=generator, device=device)
        batches = torch.cat([positions, positions], dim=1).gather(1, order + turns)
        return batches.t()
