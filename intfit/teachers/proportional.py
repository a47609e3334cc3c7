"""INT in its stochastic form: the default teacher."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..devices import HostValues, precise
from ..plan import POOL
from .base import ScheduledTeacher, Score

#: The progress, in [0, 1], until which importance is introduced by degrees.
IMPORTANCE_RAMP = 0.25
#: The least importance that an example has once it is sharpened, relative to the most important
#: one: what counts for nothing goes wrong.
LEAST_IMPORTANCE = 0.02


class ProportionalInt(ScheduledTeacher):
    """INT in its stochastic form: small batches drawn in proportion to the discrepancy.

    The probability ``p`` of an example is ``1 - ratio`` times its share of all discrepancies, plus
    ``ratio`` times its share of uniform draws. So as in the greedy form, a ratio of 1 does not
    select by error. Where examples have an ``importance`` ``[n]``, both terms are multiplied by it,
    by degrees: at first, unimportant examples too must come out roughly right. (Until then the
    uniform term makes up only about ``ratio`` of all draws.) Once they have, it is sharpened, by
    degrees, up to the power ``importance_power``.

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
        importance_power: float = 1.0,
        **schedules: Any,
    ) -> None:
        super().__init__(**schedules)
        self._n, self._batch, self._generator = n, batch, generator
        self._importance, self._importance_power = importance, importance_power
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
        self._left = 0
        # which of these batches is next, and the exponent of weights
        self._given, self._row, self._joined = HostValues(1, 2, device), 0, False
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
        self._left -= 1
        self._given.set(self._row, self._left, -(progress**2))
        if not self._joined:
            self._given.send()
        return True

    def draw(self) -> Tensor:
        turn, exponent = self._given.on_device.flatten().split(1)
        positions = self._batches.index_select(0, turn.long()).flatten()
        oversampling = self._oversampling.index_select(0, positions)
        self._weights = oversampling.clamp_min_(1e-12).pow_(exponent)
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
        if importance is not None:
            importance = _importance_at(progress, importance, self._importance_power)
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


def _importance_at(progress: float, importance: Tensor, last_power: float) -> Tensor:
    """How much each example counts at ``progress``, ``[n]``, of its ``importance`` ``[n]``."""
    if progress < IMPORTANCE_RAMP:
        return importance ** (progress / IMPORTANCE_RAMP)
    if last_power == 1:
        return importance
    rise = (progress - IMPORTANCE_RAMP) / (1 - IMPORTANCE_RAMP)
    power = 1 + (last_power - 1) * rise
    sharpened = (importance / importance.max()).pow_(power).clamp_min_(LEAST_IMPORTANCE)
    return sharpened.div_(sharpened.mean())


class JointDraws:
    """The draws of several teachers of one device and batch, all at once.

    Every teacher still prepares its own, from its own table and its own random numbers. The tensors
    that its draws are read from become views of tensors that all share.
    """

    def __init__(self, teachers: Sequence[ProportionalInt]) -> None:
        """None of ``teachers`` has more than :data:`POOL` examples."""
        device = teachers[0]._discrepancies.device
        sizes = [teacher._n for teacher in teachers]
        self._firsts = find_firsts(sizes, device)
        self._discrepancies = torch.cat([teacher._discrepancies for teacher in teachers])
        self._oversampling = torch.cat([teacher._oversampling for teacher in teachers])
        self._batches = torch.stack([teacher._batches for teacher in teachers])
        self._given = HostValues(len(teachers), 2, device)
        self._rows = torch.arange(len(teachers), device=device)
        self._weights: Tensor | None = None
        shared = self._discrepancies.split(sizes), self._oversampling.split(sizes), self._batches
        for row, (teacher, *own) in enumerate(zip(teachers, *shared, strict=True)):
            teacher._discrepancies, teacher._oversampling, teacher._batches = own
            teacher._given, teacher._row, teacher._joined = self._given, row, True

    def send(self) -> None:
        """Tell the device of the step that all teachers have prepared."""
        self._given.send()

    def draw(self) -> Tensor:
        """The indices ``[n, B]`` of the step, each row among its own teacher's examples."""
        turns, exponents = self._given.on_device.split(1, dim=1)
        positions = self._batches[self._rows, turns.flatten().long()]
        places = (positions + self._firsts).flatten()
        oversampling = self._oversampling.index_select(0, places)
        weights = oversampling.clamp_min_(1e-12).view_as(positions)
        self._weights = weights.pow_(exponents)
        return positions

    def weights(self) -> Tensor | None:
        """How much each of these counts in the loss, ``[n, B]``."""
        return self._weights

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        """Take note of the discrepancies ``[n, B]`` at ``indices``, from before the step."""
        places = (indices + self._firsts).flatten()
        self._discrepancies.scatter_(0, places, errors.flatten())


def find_firsts(sizes: Sequence[int], device: torch.device) -> Tensor:
    """Where each of several parts begins, ``[n, 1]``, once they are put one after another."""
    return torch.tensor([0, *sizes[:-1]], device=device).cumsum(0)[:, None]
