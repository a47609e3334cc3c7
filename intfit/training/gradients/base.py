"""The gradient of a field's loss: the door to all ways of taking it, and what they share."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ...networks.siren import Siren

Loss = Literal["l2", "l1"]


@dataclass(frozen=True)
class Lesson:
    """Examples to learn from, as a part of ``count`` in all.

    ``coords`` ``[B, d]`` and ``targets`` ``[B, c]``; ``weights`` ``[B]`` say how much each example
    counts, None: all alike.
    """

    coords: Tensor
    targets: Tensor
    loss: Loss
    count: int
    weights: Tensor | None = None

    def parts(self, size: int) -> Iterator["Lesson"]:
        """In parts of ``size`` examples, the last of which may be smaller."""
        for first in range(0, len(self.coords), size):
            part = slice(first, first + size)
            weights = None if self.weights is None else self.weights[part]
            yield replace(
                self, coords=self.coords[part], targets=self.targets[part], weights=weights
            )


class Gradient(Protocol):
    """Adds what ``loss.backward()`` would to the ``grad`` of a field's parameters."""

    def __call__(self, lesson: Lesson) -> Tensor:
        """Learn the lesson; returns the discrepancies ``[B]``: absolute errors, summed."""


def in_place(parameter: nn.Parameter) -> Tensor:
    """The gradient of a parameter, to be added to."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def folding(field: Siren) -> list[tuple[float, float]]:
    """For each layer, what its weight and bias are multiplied by, and what its bias is less then.

    So phases are counted in turns, a sine is a cosine of a quarter of a turn less, and the gain is
    in the last layer.
    """
    config = field.config
    omegas = [config.omega_first, *[config.omega] * (config.depth - 1)]
    return [*((omega / (2 * math.pi), 0.25) for omega in omegas), (field.gain, 0.0)]
