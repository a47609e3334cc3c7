"""What a teacher chose, kept: for ``--save-selection`` and the bench's maps."""

from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import Around, Score, Teacher

#: A map shows the latest draws that together make this share of the signal: one selection of
#: greedy INT, or as many small batches.
SHARE = 0.1


class SelectionObserver(Around):
    """A teacher that hands on what another one chooses of ``n`` examples, now and then.

    ``keep`` is called with the step, the moment and the indices ``[B]`` chosen of late, on the CPU,
    once for each of the ``moments``, shares of the fit in rising order.
    """

    def __init__(
        self,
        teacher: Teacher,
        n: int,
        moments: Sequence[float],
        keep: Callable[[int, float, Tensor], None],
    ) -> None:
        super().__init__(teacher)
        self._n, self._keep = n, keep
        self._recent: deque[Tensor] = deque()
        self._due = deque(moments)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        chosen = super().choose(step, progress, score)
        if not self._due:
            return chosen
        self._recent.append(chosen)
        enough = self._n * SHARE
        while sum(map(len, self._recent)) - len(self._recent[0]) >= enough:
            self._recent.popleft()
        full = sum(map(len, self._recent)) >= min(enough, len(chosen) * (step + 1))
        if progress >= self._due[0] and full:
            moment = self._due.popleft()
            while self._due and progress >= self._due[0]:
                moment = self._due.popleft()
            self._keep(step, moment, torch.unique(torch.cat(list(self._recent))).cpu())
        return chosen
