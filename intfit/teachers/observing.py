"""A record of what a teacher selects, for ``--save-selection`` and the bench's maps."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .base import Score, Teacher, TeacherWrapper

#: A map shows the latest selections that together make up this share of the signal: one selection
#: of greedy INT, or as many small batches.
MAP_SHARE = 0.1


class SelectionObserver(TeacherWrapper):
    """Reports what a teacher of ``n`` examples has selected lately, at some moments of a fit.

    The ``moments`` are shares of the fit in [0, 1], rising. At each one, ``keep`` is called with
    the step, the moment and the indices ``[B]`` selected lately, on the CPU, without repeats.
    """

    def __init__(
        self,
        teacher: Teacher,
        n: int,
        moments: Sequence[float],
        keep: Callable[[int, float, Tensor], None],
    ) -> None:
        super().__init__(teacher)
        self._map_size, self._keep = n * MAP_SHARE, keep
        self._recent: deque[Tensor] = deque()
        self._moments = deque(moments)

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        indices = super().select(step, progress, score)
        if not self._moments:
            return indices
        self._recent.append(indices)
        while self._count_recent() - len(self._recent[0]) >= self._map_size:
            self._recent.popleft()
        full = self._count_recent() >= min(self._map_size, len(indices) * (step + 1))
        if progress >= self._moments[0] and full:
            moment = self._moments.popleft()
            while self._moments and progress >= self._moments[0]:
                moment = self._moments.popleft()
            self._keep(step, moment, torch.unique(torch.cat(list(self._recent))).cpu())
        return indices

    def _count_recent(self) -> int:
        return sum(map(len, self._recent))
