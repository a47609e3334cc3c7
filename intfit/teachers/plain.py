"""Teachers that do not look: everything, or whatever is drawn."""

import torch
from torch import Tensor

from .base import Score, Teacher


class Full(Teacher):
    """Every example at every step: what INT is measured against in the paper."""

    def __init__(self, n: int, *, device: torch.device) -> None:
        self._all = torch.arange(n, device=device)

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        return self._all


class Uniform(Teacher):
    """``batch`` examples drawn uniformly, with replacement: the baseline at equal time."""

    def __init__(self, n: int, *, batch: int, generator: torch.Generator) -> None:
        self._n, self._batch, self._generator = n, batch, generator

    def choose(self, step: int, progress: float, score: Score) -> Tensor:
        generator = self._generator
        return torch.randint(self._n, (self._batch,), generator=generator, device=generator.device)
