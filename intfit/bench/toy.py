"""INT's premise on a toy: descent in the parameters is descent in the space of functions.

A network learns a sine on 100 points by plain gradient descent on its parameters. Beside it, a
function that is nothing but its 100 values, equal to the network's at the start, is moved at every
step by the network's final tangent kernel times its own error. If the two stay close, the remaining
error tells what the network will learn next, and examples can be selected by it (section 3 of INT,
Zhang et al., ICML 2024).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..networks.architecture import SirenConfig
from ..networks.siren import Siren

#: The steps at which the two are compared.
STEPS = (0, 100, 200, 300, 500, 1000)
#: The points of the sine.
POINTS = 100
#: The network: wide and of low frequency, so that its kernel changes little.
NETWORK = SirenConfig(in_features=1, out_features=1, width=256, depth=2, omega_first=3.0, omega=3.0)
#: The learning rate as a share of 1 / the largest eigenvalue of the kernel at the start.
LR_SHARE = 0.1


@dataclass(frozen=True)
class Moment:
    """Values ``[100]`` of both functions after ``step`` steps, on points ``[100]`` in [-pi, pi]."""

    step: int
    points: Tensor
    target: Tensor
    by_parameters: Tensor
    by_function: Tensor

    def error(self, values: Tensor) -> float:
        """The root mean square of the error of ``values`` ``[100]``."""
        return float((values - self.target).square().mean().sqrt())

    @property
    def difference(self) -> float:
        """The root mean square of the difference of the two functions."""
        return float((self.by_parameters - self.by_function).square().mean().sqrt())


def tangent_kernel(network: nn.Module, coords: Tensor) -> Tensor:
    """The empirical tangent kernel ``[B, B]`` of a network with one output at ``[B, d]``."""
    parameters = list(network.parameters())
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
        for value in network(coords)[:, 0]
    ]
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def train_both(seed: int = 0) -> Iterator[Moment]:
    """Train the network and move the function; yields both at each of :data:`STEPS`."""
    points = torch.linspace(-math.pi, math.pi, POINTS)
    coords, target = (points / math.pi)[:, None], torch.sin(points)
    network = Siren(NETWORK, generator=torch.Generator().manual_seed(seed))
    largest = torch.linalg.eigvalsh(tangent_kernel(network, coords))[-1]
    lr = LR_SHARE * float(1 / largest)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    trained: dict[int, Tensor] = {}
    for step in range(STEPS[-1] + 1):
        values = network(coords)[:, 0]
        if step in STEPS:
            trained[step] = values.detach().clone()
        optimizer.zero_grad()
        ((values - target).square().sum() / 2).backward()
        optimizer.step()
    final_kernel = tangent_kernel(network, coords)
    function = trained[0].clone()
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            yield Moment(step, points, target, trained[step], function.clone())
        function -= lr * final_kernel @ (function - target)
