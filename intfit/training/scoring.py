"""What a teacher may ask of a fit, answered: see :class:`.teachers.Score`."""

import torch
from torch import Tensor, nn

from .examples import Examples

#: How far the parameters move, as a share of their size, where the tangent kernel is felt out: far
#: above what float32 rounds off, and far below where a sine turns over.
NUDGE = 1e-3


class Look:
    """Errors of ``field`` on the examples of ``signal``, at most ``chunk`` of them at once."""

    def __init__(self, field: nn.Module, signal: Examples, *, chunk: int) -> None:
        self._field, self._signal, self._chunk = field, signal, chunk

    def __call__(self, indices: Tensor) -> Tensor:
        return self.residuals(indices).abs().sum(dim=1)

    def residuals(self, indices: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [self._signal.gather(part) for part in indices.split(self._chunk)]
            return torch.cat([self._field(x) - t for x, t in parts])

    def pulls(self, indices: Tensor) -> Tensor:
        parameters = list(self._field.parameters())
        before = self.residuals(indices)
        gradient = [torch.zeros_like(p) for p in parameters]
        for part, residuals in zip(
            indices.split(self._chunk), before.split(self._chunk), strict=True
        ):
            values = self._field(self._signal.gather(part)[0])
            for total, more in zip(
                gradient, torch.autograd.grad(values, parameters, residuals), strict=True
            ):
                total += more
        size = torch.stack([p.detach().norm() for p in parameters]).norm()
        step = NUDGE * size / torch.stack([g.norm() for g in gradient]).norm().clamp_min(1e-30)
        kept = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, g in zip(parameters, gradient, strict=True):
                p.sub_(step * g)
            after = self.residuals(indices)
            for p, value in zip(parameters, kept, strict=True):
                p.copy_(value)
        moved: Tensor = (after - before).norm(dim=1)
        return moved
