"""INT's premise on a toy: descent in the parameters is descent in the space of functions.

A field learns a sine on 100 points by plain gradient descent in its parameters. Beside it a
function, 100 numbers that started at the same values, descends by itself, through the field's
tangent kernel as it stands at the end. If the two run alike, then what is left of the error says
what the field will learn next, and examples can be chosen by it (section 3 of INT).
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
POINTS = 100
#: Wide and of low frequency, so that the kernel changes little; the step as a share of the largest
#: that descent through the kernel at the start could take before it diverges.
NETWORK = SirenConfig(in_features=1, out_features=1, width=256, depth=2, omega_first=3.0, omega=3.0)
SHARE = 0.1


@dataclass(frozen=True)
class Moment:
    """Values ``[100]`` of both functions after ``step`` steps, on points ``[100]`` in [-pi, pi]."""

    step: int
    points: Tensor
    target: Tensor
    by_parameters: Tensor
    by_function: Tensor

    def left(self, values: Tensor) -> float:
        """The root mean square of the error of ``values`` ``[100]``."""
        return float((values - self.target).square().mean().sqrt())

    @property
    def apart(self) -> float:
        """The root mean square of the difference of the two functions."""
        return float((self.by_parameters - self.by_function).square().mean().sqrt())


def kernel(field: nn.Module, coords: Tensor) -> Tensor:
    """The empirical tangent kernel ``[B, B]`` of a field with one output at ``[B, d]``."""
    parameters = list(field.parameters())
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
        for value in field(coords)[:, 0]
    ]
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def descend(seed: int = 0) -> Iterator[Moment]:
    """Both functions at each of :data:`STEPS`."""
    points = torch.linspace(-math.pi, math.pi, POINTS)
    coords, target = (points / math.pi)[:, None], torch.sin(points)
    field = Siren(NETWORK, generator=torch.Generator().manual_seed(seed))
    largest = torch.linalg.eigvalsh(kernel(field, coords))[-1]
    rate = SHARE * float(1 / largest)
    optimizer = torch.optim.SGD(field.parameters(), lr=rate)
    trained: dict[int, Tensor] = {}
    for step in range(STEPS[-1] + 1):
        values = field(coords)[:, 0]
        if step in STEPS:
            trained[step] = values.detach().clone()
        optimizer.zero_grad()
        ((values - target).square().sum() / 2).backward()
        optimizer.step()
    final = kernel(field, coords)
    function = trained[0].clone()
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            yield Moment(step, points, target, trained[step], function.clone())
        function -= rate * final @ (function - target)
