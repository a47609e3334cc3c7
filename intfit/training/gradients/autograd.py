"""The gradient of any network by PyTorch's automatic differentiation."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

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
            difference: Tensor = self._network(batch.coords) - batch.targets
            losses = difference.abs() if batch.loss == "l1" else difference.square()
            if batch.weights is not None:
                losses = losses * batch.weights[:, None]
            (losses.mean() * (len(difference) / batch.count)).backward()
        return difference.detach().abs().sum(dim=1)


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
