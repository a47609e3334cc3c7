"""What all ways of computing a network's gradient have in common."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ...networks.siren import Siren

Loss = Literal["l2", "l1"]

#: How much the side of a crease counts where it is farther off than distances are clamped to.
FAR_FROM_CREASES = 0.05


@dataclass(frozen=True)
class Batch:
    """Examples to train on, as a part of a batch of ``count`` in all.

    ``coords`` ``[B, d]`` and ``targets`` ``[B, c]``. ``weights`` ``[B]`` say how much each example
    counts in the loss; None: all alike. ``sides`` ``[B, K]`` are wanted of those outputs of a
    network whose absolute values are its creases, as strongly as ``guidance`` (a tensor of one
    number) says; None: whatever they are. For ``n`` networks at once, which have no creases, there
    are as many of each, ``[n, B, ...]``, and ``count`` is still that of one.
    """

    coords: Tensor
    targets: Tensor
    loss: Loss
    count: int
    weights: Tensor | None = None
    sides: Tensor | None = None
    guidance: Tensor | None = None

    def split(self, size: int) -> Iterator["Batch"]:
        """In parts of ``size`` examples, the last of which may be smaller."""
        for first in range(0, len(self.coords), size):
            part = slice(first, first + size)
            weights = None if self.weights is None else self.weights[part]
            sides = None if self.sides is None else self.sides[part]
            yield replace(
                self,
                coords=self.coords[part],
                targets=self.targets[part],
                weights=weights,
                sides=sides,
            )

    def weigh_sides(self) -> Tensor:
        """How much an error of each of ``sides`` counts in the loss, ``[B, K]``: most at creases.

        Raises:
            ValueError: if the batch has none.
        """
        if self.sides is None or self.guidance is None:
            raise ValueError("this batch has no sides")
        counts = (1 - self.sides.abs()).clamp_min_(FAR_FROM_CREASES).mul_(self.guidance)
        return counts if self.weights is None else counts.mul_(self.weights[:, None])


class GradientFunction(Protocol):
    """Forward and backward pass of a network: does what ``loss.backward()`` would.

    The loss is the mean over the ``count`` examples and their channels of the error, absolute or
    squared, times the example's weight.
    """

    def __call__(self, batch: Batch) -> Tensor:
        """Add the gradient of the batch's loss to the ``grad`` of the network's parameters.

        Returns the discrepancies ``[B]``, or ``[n, B]``: absolute errors, summed over channels.
        """


class EachGradient:
    """The :class:`GradientFunction` of several networks, by that of each, one after another."""

    def __init__(self, gradients: Sequence[GradientFunction]) -> None:
        self._gradients = gradients

    def __call__(self, batch: Batch) -> Tensor:
        coords, targets, weights = batch.coords, batch.targets, batch.weights
        errors = []
        for row, gradient in enumerate(self._gradients):
            own = None if weights is None else weights[row]
            part = replace(batch, coords=coords[row], targets=targets[row], weights=own)
            errors.append(gradient(part))
        return torch.stack(errors)


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """The ``grad`` of a parameter, which is made zero where there is none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def scale_layers(network: Siren) -> list[tuple[float, float]]:
    """A scale for the weight and bias of each layer, and an offset subtracted from its bias then.

    Phases are then in turns, the sine becomes a cosine of a phase a quarter of a turn smaller, and
    the network's gain is part of the last layer.
    """
    config = network.config
    omegas = [config.omega_first, *[config.omega] * (config.depth - 1)]
    return [*((omega / (2 * math.pi), 0.25) for omega in omegas), (network.gain, 0.0)]
