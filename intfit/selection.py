"""``--save-selection``: pictures of what the teacher chose."""

import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .media import medium
from .teacher import Score, Teacher

if TYPE_CHECKING:
    from .pipeline import Prepared, Teach

#: Maps are written at this many equal parts of the fit.
MAPS = 10
#: A map shows the latest draws that together make this share of the signal: one selection of
#: greedy INT, or as many small batches.
SHARE = 0.1


class Recorder:
    """A teacher that keeps what another one chooses, and writes it down now and then."""

    def __init__(self, teacher: Teacher, prepared: "Prepared", folder: Path, stem: str) -> None:
        self._teacher, self._prepared = teacher, prepared
        self._folder, self._stem = folder, stem
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
            self._write(step)
        return chosen

    def observe(self, indices: Tensor, errors: Tensor) -> None:
        self._teacher.observe(indices, errors)

    def ratio(self, progress: float) -> float:
        return self._teacher.ratio(progress)

    def _write(self, step: int) -> None:
        module = medium(self._prepared.kind)
        indices = torch.unique(torch.cat(list(self._recent))).cpu()
        data, suffix = module.draw_selection(self._prepared.signal, indices)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{self._stem}.step-{step:06d}{suffix}").write_bytes(data)


def recorder(folder: Path, name: str) -> "Teach":
    """Wraps a teacher so that maps of its choices go to ``folder``, named after ``name``."""
    stem = re.sub(r"[^\w.-]", "_", name)
    return lambda teacher, prepared: Recorder(teacher, prepared, folder, stem)
