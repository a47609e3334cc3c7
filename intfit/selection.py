"""``--save-selection``: pictures of what the teacher chose."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .media import medium
from .teacher import Score, Teacher

if TYPE_CHECKING:
    from .pipeline import Prepared

#: Takes a step, a picture's bytes and its suffix, and keeps it.
Save = Callable[[int, bytes, str], None]

#: Maps are saved at this many equal parts of the fit.
MAPS = 10
#: A map shows the latest draws that together make this share of the signal: one selection of
#: greedy INT, or as many small batches.
SHARE = 0.1


class Recorder:
    """A teacher that draws what another one chooses, now and then."""

    def __init__(self, teacher: Teacher, prepared: "Prepared", save: Save) -> None:
        self._teacher, self._prepared, self._save = teacher, prepared, save
        self._recent: deque[Tensor] = deque()
        self._due = 0

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        chosen = self._teacher.choose(step, progress, score)
        self._recent.append(chosen)
        enough = self._prepared.signal.n * SHARE
        while sum(map(len, self._recent)) - len(self._recent[0]) >= enough:
            self._recent.popleft()
        full = sum(map(len, self._recent)) >= min(enough, len(chosen) * (step + 1))
        if progress * MAPS >= self._due and full:
            self._due = int(progress * MAPS) + 1
            indices = torch.unique(torch.cat(list(self._recent))).cpu().numpy()
            module = medium(self._prepared.kind)
            self._save(step, *module.draw_selection(self._prepared.signal, indices))
        return chosen

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._teacher.observe(indices, errors)

    def ratio(self, progress: float) -> float:
        return self._teacher.ratio(progress)
