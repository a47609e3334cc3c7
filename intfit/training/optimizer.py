"""Adam, on one tensor a group."""

from typing import Any

import torch
from torch import Tensor, nn

#: The decay of the mean of gradients; beta2, that of their squares, is the plan's.
BETA1 = 0.9
TINY = 1e-8


class Adam:
    """Adam (Kingma and Ba, ICLR 2015).

    All parameters of a group become views of one tensor, as do their gradients: a step costs about
    as much for a small tensor as for a large one. (PyTorch's own step takes twice as long for a
    small network, and making one 1.2 s, in which it imports a compiler.)
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, *, beta2: float) -> None:
        """``groups`` of ``params`` whose rates ``lr`` are shares of ``lr``; ``beta2`` is Adam's."""
        self._beta2 = beta2
        self._shares = [group["lr"] for group in groups]
        self._groups = [_flat(group["params"]) for group in groups]
        self._spare = [torch.empty_like(values) for values, _ in self._groups]
        self._means = [torch.zeros_like(values) for values, _ in self._groups]
        self._squares = [torch.zeros_like(values) for values, _ in self._groups]
        self._size, self._root = torch.zeros(2, device=self._groups[0][0].device).unbind()
        self._lr, self._steps = lr, 0

    def restart(self, lr: float) -> None:
        """Forget all gradients, and go on from here at another rate."""
        self._lr, self._steps = lr, 0
        for moment in (*self._means, *self._squares):
            moment.zero_()

    def advance(self, share: float) -> None:
        """Go on to the next step, at so large a share of the learning rate."""
        self._steps += 1
        self._size.fill_(share * self._lr / (1 - BETA1**self._steps))
        self._root.fill_((1 - self._beta2**self._steps) ** 0.5)

    def step(self) -> None:
        """Move the parameters by their gradients, which become zero.

        All that changes from step to step is in tensors: it can be recorded and done again.
        """
        for (values, gradient), mean, square, spare, own in zip(
            self._groups, self._means, self._squares, self._spare, self._shares, strict=True
        ):
            mean.lerp_(gradient, 1 - BETA1)
            square.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
            torch.sqrt(square, out=spare).div_(self._root).add_(TINY)
            values.sub_(torch.div(mean, spare, out=spare).mul_(self._size), alpha=own)
            gradient.zero_()


def _flat(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """The values and gradients of all parameters, which become views of them."""
    values = torch.cat([p.detach().flatten() for p in parameters])
    gradient = torch.zeros_like(values)
    sizes = [p.numel() for p in parameters]
    for p, own, slope in zip(parameters, values.split(sizes), gradient.split(sizes), strict=True):
        p.data = own.view_as(p)
        p.grad = slope.view_as(p)
    return values, gradient
