"""What a teacher may ask about a network's errors: see :class:`intfit.teachers.Score`."""

import torch
from torch import Tensor, nn

from .evaluation import CHUNK
from .examples import Examples

#: The distance that parameters are moved to measure the tangent kernel's response, relative to
#: their norm: large enough for float32, and small enough for the sines to stay linear.
RELATIVE_MOVE = 1e-3


class Scorer:
    """Errors of ``network`` on ``examples``, at most ``chunk`` of them in one pass."""

    def __init__(self, network: nn.Module, examples: Examples, *, chunk: int = CHUNK) -> None:
        self._network, self._examples, self._chunk = network, examples, chunk

    def __call__(self, indices: Tensor) -> Tensor:
        return self.residuals(indices).abs().sum(dim=1)

    def residuals(self, indices: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [self._examples.gather(part) for part in indices.split(self._chunk)]
            return torch.cat([self._network(coords) - targets for coords, targets in parts])

    def tangent_kernel_response(self, indices: Tensor) -> Tensor:
        """As :meth:`intfit.teachers.Score.tangent_kernel_response`.

        Parameters are moved a little along the gradient, and back: the change of the residuals is
        the tangent kernel times the residuals, to first order.
        """
        parameters = list(self._network.parameters())
        before = self.residuals(indices)
        gradients = self._gradients(parameters, indices, before)
        norm = torch.stack([p.detach().norm() for p in parameters]).norm()
        gradient_norm = torch.stack([g.norm() for g in gradients]).norm().clamp_min(1e-30)
        step = RELATIVE_MOVE * norm / gradient_norm
        unmoved = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(step * gradient)
            after = self.residuals(indices)
            for parameter, value in zip(parameters, unmoved, strict=True):
                parameter.copy_(value)
        response: Tensor = (after - before).norm(dim=1)
        return response

    def _gradients(
        self, parameters: list[nn.Parameter], indices: Tensor, residuals: Tensor
    ) -> list[Tensor]:
        """The gradient of half the sum of squared residuals ``[B, c]``, for each parameter."""
        gradients = [torch.zeros_like(p) for p in parameters]
        chunks = indices.split(self._chunk), residuals.split(self._chunk)
        for part, part_residuals in zip(*chunks, strict=True):
            values = self._network(self._examples.gather(part)[0])
            part_gradients = torch.autograd.grad(values, parameters, part_residuals)
            for total, gradient in zip(gradients, part_gradients, strict=True):
                total += gradient
        return gradients
