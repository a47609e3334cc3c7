"""Teachers that do not ask about errors: all examples, or uniform draws."""

import torch
from torch import Tensor

from .base import Score, Teacher


class Full(Teacher):
    """Every example at every step: the baseline of the INT paper."""

    def __init__(self, n: int, *, device: torch.device) -> None:
        self._all = torch.arange(n, device=device)

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        return self._all


class Uniform(Teacher):
    """``batch`` examples drawn uniformly, with replacement: the baseline at equal time."""

    def __init__(self, n: int, *, batch: int, generator: torch.Generator) -> None:
        self._n, self._batch, self._generator = n, batch, generator

    def select(self, step: int, progress: float, score: Score) -> Tensor:
        generator = self._generator
        return torch.randint(self._n, (self._batch,), generator=generator, device=generator.device)
