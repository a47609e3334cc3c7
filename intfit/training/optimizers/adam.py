"""Adam with weight decay, on one tensor a parameter group, for any number of equal networks."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ...devices import HostValues

#: The decay of the running mean of gradients; beta2, that of their squares, is the plan's.
BETA1 = 0.9
EPSILON = 1e-8
#: Parameters of a row are a multiple of so many: 64 bytes.
ALIGNMENT = 16


class Adam:
    """Adam (Kingma and Ba, ICLR 2015), with decoupled weight decay (Loshchilov and Hutter, 2019).

    All parameters of a group become views of one tensor, as do their gradients: a step costs about
    as much for a small tensor as for a large one. PyTorch's own Adam is slower for small networks,
    and takes a second to import. Networks of equal shapes share these tensors, a row each, and are
    moved together, each at its own learning rate.
    """

    def __init__(
        self,
        groups: Sequence[list[dict[str, Any]]],
        lr: float,
        *,
        beta2: float,
        decay: float = 0.0,
    ) -> None:
        """``groups``, of each network, of ``params``, whose own ``lr`` is a share of ``lr``.

        ``beta2`` is Adam's. In every step, the parameters that a group lists as ``decayed``, all of
        one shape, lose the share ``decay`` times the square of the learning rate: noise adds to
        their variance by that square, too, so what the two balance at does not depend on it.
        """
        self._beta2, self._decay, self._count = beta2, decay, len(groups)
        self._lr_shares = [group["lr"] for group in groups[0]]
        of_all = list(zip(*groups, strict=True))  # each group, of all networks
        self._groups = [_flatten([group["params"] for group in same]) for same in of_all]
        self._spare = [torch.empty_like(values) for values, _ in self._groups]
        self._means = [torch.zeros_like(values) for values, _ in self._groups]
        self._squares = [torch.zeros_like(values) for values, _ in self._groups]
        self._decayed = []
        for same, (values, _) in zip(of_all, self._groups, strict=True):
            if decay and (decayed := same[0].get("decayed")):
                self._decayed.append(_view_rows(values, decayed))
        # of each network: the learning rate, and what the decayed keep: see advance
        self._given = HostValues(self._count, 3, self._groups[0][0].device)
        columns = self._given.on_device.split(1, dim=1)
        self._corrected_lr, self._correction, self._kept = columns
        self.lrs = [lr] * self._count  # the learning rates at their full shares
        self._steps = [0] * self._count

    def restart(self, lr: float, *, network: int = 0) -> None:
        """Forget all gradients of a network, and continue from here at another learning rate."""
        self.lrs[network], self._steps[network] = lr, 0
        for moment in (*self._means, *self._squares):
            moment[network].zero_()

    def advance(self, lr_share: float, *, decay_share: float = 1.0, network: int = 0) -> None:
        """Go on to a network's next step, at these shares of its learning rate and of the decay."""
        self._steps[network] += 1
        lr, steps = lr_share * self.lrs[network], self._steps[network]
        self._given.set(
            network,
            lr / (1 - BETA1**steps),
            (1 - self._beta2**steps) ** 0.5,
            1 - lr**2 * decay_share * self._decay,
        )
        if self._count == 1:
            self.prepare()

    def prepare(self) -> None:
        """Do what is left for the next step once all networks have advanced.

        Where there is one, :meth:`advance` does it itself.
        """
        self._given.send()

    def step(self) -> None:
        """Move the parameters by their gradients, and set these to zero.

        All that changes from step to step is in tensors, so that a step can be recorded and
        replayed.
        """
        for decayed in self._decayed:
            decayed.mul_(self._kept[:, :, None])
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


def _flatten(parameters: list[list[nn.Parameter]]) -> tuple[Tensor, Tensor]:
    """The values and gradients ``[n, P]`` of ``n`` networks' parameters, now views of a row.

    Rows end in some zeros, so that all begin at addresses alike: sums depend on these.
    """
    sizes = [p.numel() for p in parameters[0]]
    end = parameters[0][0].new_zeros(-sum(sizes) % ALIGNMENT)
    rows = [torch.cat([*(p.detach().flatten() for p in own), end]) for own in parameters]
    values = torch.stack(rows)
    gradient = torch.zeros_like(values)
    for own, *both in zip(parameters, values, gradient, strict=True):
        parts = [row[: sum(sizes)].split(sizes) for row in both]
        for parameter, value, own_gradient in zip(own, *parts, strict=True):
            parameter.data = value.view_as(parameter)
            parameter.grad = own_gradient.view_as(parameter)
    return values, gradient


def _view_rows(values: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Parameters of one shape ``[n, k, m]``, evenly spaced in ``values`` ``[n, P]``.

    ``parameters`` are those of the first network, views of ``values`` already.
    """
    start, size = values.data_ptr(), parameters[0].numel()
    places = [(p.data_ptr() - start) // values.element_size() for p in parameters]
    gaps = {after - before for before, after in pairwise(places)} or {size}
    assert len(gaps) == 1
    shape = len(values), len(parameters), size
    return values.as_strided(shape, (values.stride(0), gaps.pop(), 1), places[0])
