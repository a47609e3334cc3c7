"""The gradient of any network by PyTorch's automatic differentiation."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from ...networks.siren import Siren, add_creases
from .base import Batch

Float32Precision = Literal["ieee", "tf32"]


class AutogradGradient:
    """The :class:`.base.GradientFunction` of any network.

    ``precision`` is that of float32 matrix products on CUDA; None leaves it as it is.
    """

    def __init__(self, network: nn.Module, *, precision: Float32Precision | None = None) -> None:
        self._network, self._precision = network, precision

    def __call__(self, batch: Batch) -> Tensor:
        with nullcontext() if self._precision is None else float32_precision(self._precision):
            outputs, sides = self._evaluate(batch)
            difference = outputs - batch.targets
            losses = difference.abs() if batch.loss == "l1" else difference.square()
            if batch.weights is not None:
                losses = losses * batch.weights[:, None]
            loss = losses.mean()
            if sides is not None and batch.sides is not None:
                counted = (sides - batch.sides).abs() * batch.weigh_sides()
                loss = loss + counted.sum() / len(difference)
            (loss * (len(difference) / batch.count)).backward()
        return difference.detach().abs().sum(dim=1)

    def _evaluate(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The network's values, and those of its outputs that the batch has ``sides`` for."""
        if batch.sides is None:
            return self._network(batch.coords), None
        assert isinstance(self._network, Siren)
        outputs = self._network.last_layer(batch.coords)
        return add_creases(outputs), outputs[:, 2::2]


@contextmanager
def float32_precision(precision: Float32Precision) -> Iterator[None]:
    """Set the precision of float32 matrix products on CUDA.

    ``tf32`` has 11 bits of mantissa, three more than bfloat16; ``ieee`` has all 24.
    """
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, precision
    try:
        yield
    finally:
        matmul.fp32_precision = before
