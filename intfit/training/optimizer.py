"""Adam with weight decay, on one tensor a parameter group."""

from typing import Any

import torch
from torch import Tensor, nn

#: The decay of the running mean of gradients; beta2, that of their squares, is the plan's.
BETA1 = 0.9
EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba, ICLR 2015), with decoupled weight decay (Loshchilov and Hutter, 2019).

    All parameters of a group become views of one tensor, as do their gradients: a step costs about
    as much for a small tensor as for a large one. PyTorch's own Adam is slower for small networks,
    and takes a second to import.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, *, beta2: float, decay: float = 0.0
    ) -> None:
        """``groups`` of ``params``, whose own ``lr`` is a share of ``lr``; ``beta2`` is Adam's.

        In every step, the parameters that a group lists as ``decayed`` lose the share ``decay``
        times the square of the learning rate: noise adds to their variance by that square, too, so
        what the two balance at does not depend on it.
        """
        self._beta2, self._decay = beta2, decay
        self._lr_shares = [group["lr"] for group in groups]
        self._groups = [_flatten(group["params"]) for group in groups]
        self._spare = [torch.empty_like(values) for values, _ in self._groups]
        self._means = [torch.zeros_like(values) for values, _ in self._groups]
        self._squares = [torch.zeros_like(values) for values, _ in self._groups]
        device = self._groups[0][0].device
        # the learning rate and the root of the second bias correction: see advance
        self._corrected_lr, self._correction = torch.zeros(2, device=device).unbind()
        decayed = [p for group in groups for p in group.get("decayed", ())] if decay else []
        self._decayed = [p.data for p in decayed]  # views of the groups' values
        self._kept = torch.ones((), device=device)  # the share that they keep
        self._lr, self._steps = lr, 0

    @property
    def lr(self) -> float:
        """The learning rate at its full share."""
        return self._lr

    def restart(self, lr: float) -> None:
        """Forget all gradients so far, and continue from here at another learning rate."""
        self._lr, self._steps = lr, 0
        for moment in (*self._means, *self._squares):
            moment.zero_()

    def advance(self, lr_share: float, *, decay_share: float = 1.0) -> None:
        """Go on to the next step, at these shares of the learning rate and of the decay."""
        self._steps += 1
        self._kept.fill_(1 - (lr_share * self._lr) ** 2 * decay_share * self._decay)
        self._corrected_lr.fill_(lr_share * self._lr / (1 - BETA1**self._steps))
        self._correction.fill_((1 - self._beta2**self._steps) ** 0.5)

    def step(self) -> None:
        """Move the parameters by their gradients, and set these to zero.

        All that changes from step to step is in tensors, so that a step can be recorded and
        replayed.
        """
        if self._decayed:
            torch._foreach_mul_(self._decayed, self._kept)
        self._prepare_gradients()
        for (_, gradient), mean, square, spare in zip(
            self._groups, self._means, self._squares, self._spare, strict=True
        ):
            mean.lerp_(gradient, 1 - BETA1)
            square.mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
            torch.sqrt(square, out=spare).div_(self._correction).add_(EPSILON)
            torch.div(mean, spare, out=spare).mul_(self._corrected_lr)
        self._change_moves()
        for (values, gradient), move, lr_share in zip(
            self._groups, self._spare, self._lr_shares, strict=True
        ):
            values.sub_(move, alpha=lr_share)
            gradient.zero_()

    def _prepare_gradients(self) -> None:
        """Change the gradients before their means are taken."""

    def _change_moves(self) -> None:
        """Change the moves, which are in ``_spare`` by group, before they are made."""


def _flatten(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """The values and gradients of all parameters ``[P]``, which become views of them."""
    values = torch.cat([p.detach().flatten() for p in parameters])
    gradient = torch.zeros_like(values)
    sizes = [p.numel() for p in parameters]
    parts = values.split(sizes), gradient.split(sizes)
    for parameter, own, own_gradient in zip(parameters, *parts, strict=True):
        parameter.data = own.view_as(parameter)
        parameter.grad = own_gradient.view_as(parameter)
    return values, gradient
