"""SIREN: a multilayer perceptron whose activations are sines (Sitzmann et al., NeurIPS 2020)."""

import itertools
import math
import reprlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import FileFormatError

#: Limits on what a file may ask for, so that a hostile header cannot ask for an absurd network.
MAX_WIDTH = 8192
MAX_DEPTH = 64
MAX_FEATURES = 1024


@dataclass(frozen=True)
class SirenConfig:
    """The architecture of a SIREN, as it stands in a file's header.

    ``depth`` counts the sine layers; one linear layer follows them. ``omega_first`` scales the
    argument of the first sine and so sets the highest frequency the field starts from; ``omega``
    scales all others.
    """

    in_features: int
    out_features: int
    width: int
    depth: int
    omega_first: float
    omega: float

    def __post_init__(self) -> None:
        def whole(value: Any, limit: int) -> bool:
            return type(value) is int and 1 <= value <= limit

        frequencies = (self.omega_first, self.omega)
        if not (
            whole(self.in_features, 3)
            and whole(self.out_features, MAX_FEATURES)
            and whole(self.width, MAX_WIDTH)
            and whole(self.depth, MAX_DEPTH)
            and all(type(f) in (int, float) and 0 < f < 1e9 for f in frequencies)
        ):
            said = ", ".join(f"{key} {reprlib.repr(value)}" for key, value in vars(self).items())
            raise FileFormatError(f"not a SIREN this version can build: {said}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order."""
        sizes = [self.in_features, *[self.width] * self.depth, self.out_features]
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            shapes[f"layers.{i}.weight"] = (m, n)
            shapes[f"layers.{i}.bias"] = (m,)
        return shapes

    def count(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())


class Siren(nn.Module):
    """A field: coordinates ``[B, d]`` in [-1, 1] to values ``[B, c]``, about [-1, 1].

    Initialised as in the paper: first layer U(-1/d, 1/d), the others
    U(-sqrt(6/w)/omega, sqrt(6/w)/omega), so that every layer's pre-activation is close to N(0, 1).
    """

    def __init__(self, config: SirenConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList()
        for name, shape in config.shapes().items():
            if not name.endswith("weight"):
                continue
            layer = nn.utils.skip_init(nn.Linear, shape[1], shape[0])
            first = not self.layers
            bound = 1 / shape[1] if first else math.sqrt(6 / shape[1]) / config.omega
            edge = 1 / math.sqrt(shape[1])
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-edge, edge, generator=generator)
            self.layers.append(layer)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups, each with its own learning rate.

        A step of the first layer moves its sine's phase ``omega_first`` times as far, so a field
        with a high first frequency takes smaller ones there: without this, audio does not fit.
        """
        first, *others = self.layers
        slower = min(1.0, self.config.omega / self.config.omega_first)
        return [
            {"params": list(first.parameters()), "lr": lr * slower},
            {"params": [p for layer in others for p in layer.parameters()], "lr": lr},
        ]

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[B, c]`` at coordinates ``[B, d]``, float32."""
        omega, omega_first = self.config.omega, self.config.omega_first
        (weight, bias), *hidden, (last_weight, last_bias) = (
            (layer.get_parameter("weight"), layer.get_parameter("bias")) for layer in self.layers
        )
        x = torch.sin(omega_first * torch.addmm(bias, coords, weight.t()))
        for weight, bias in hidden:
            # omega is folded into the (small) weight rather than applied to the (large) activation
            x = torch.sin(torch.addmm(omega * bias, x, (omega * weight).t()))
        return torch.addmm(last_bias, x, last_weight.t())
