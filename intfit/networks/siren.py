"""SIREN: a multilayer perceptron whose activations are sines (Sitzmann et al., NeurIPS 2020)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .architecture import SirenConfig


class Layer(nn.Module):
    """A weight ``[n, m]`` and a bias ``[n]``, in this order.

    ``nn.Linear`` would draw initial values of its own, and ``skip_init``, which prevents that,
    imports SymPy.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)


class Siren(nn.Module):
    """A field: coordinates ``[B, d]`` in [-1, 1] to values ``[B, c]``, about in [-1, 1].

    Initialised as in the paper: the first layer's weights U(-1/d, 1/d), the others'
    U(-sqrt(6/w)/omega, sqrt(6/w)/omega), so that every layer's pre-activation is close to N(0, 1).
    """

    #: A linear layer ``[c, d]`` from the inputs straight to the outputs, if any.
    skip: nn.Parameter | None
    #: What the outputs are multiplied by.
    gain = 1.0

    def __init__(self, config: SirenConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.register_parameter("skip", None)
        self.layers = nn.ModuleList()
        for name, shape in config.shapes().items():
            if not name.endswith("weight"):
                continue
            bound = math.sqrt(6 / shape[1]) / config.omega if self.layers else 1 / shape[1]
            edge = 1 / math.sqrt(shape[1])
            weight = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(shape[0]).uniform_(-edge, edge, generator=generator)
            self.layers.append(Layer(weight, bias))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Parameter groups, each with its own learning rate.

        A step of the first layer moves its sine's phase ``omega_first`` times as far, so a network
        with a high first frequency takes smaller steps there: without them, audio is not learnt.

        ``decayed`` are the weights between two layers of sines. Each layer multiplies the
        frequencies of the one before by them, so a network is rough where they are large.
        """
        first, *others = self.layers
        slower = min(1.0, self.config.omega / self.config.omega_first)
        return [
            {"params": list(first.parameters()), "lr": lr * slower},
            {
                "params": [p for layer in others for p in layer.parameters()],
                "lr": lr,
                "decayed": [layer.get_parameter("weight") for layer in others[:-1]],
            },
        ]

    def set_first_layer(self, frequencies: Tensor, phases: Tensor) -> None:
        """Begin with these frequencies ``[w, d]`` and phases ``[w]`` of the first sines."""
        weight, bias = self.layers[0].parameters()
        with torch.no_grad():
            weight.copy_(frequencies / self.config.omega_first)
            bias.copy_(phases / self.config.omega_first)

    def wrap_phases(self) -> None:
        """Bring every bias into the period of its sine around 0: the same function, fewer bits."""
        for layer in list(self.layers)[:-1]:
            first = layer is self.layers[0]
            period = 2 * math.pi / (self.config.omega_first if first else self.config.omega)
            with torch.no_grad():
                bias = layer.get_parameter("bias")
                bias.sub_(period * (bias / period).round())

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[B, c]`` at coordinates ``[B, d]``, float32."""
        values = self.last_layer(coords)
        return add_creases(values) if self.config.creases else values

    def last_layer(self, coords: Tensor, arguments: list[Tensor] | None = None) -> Tensor:
        """The values ``[B, c + 2 * creases]`` of the last layer at coordinates ``[B, d]``.

        The arguments of the hidden layers' sines, ``[B, w]`` each, are appended to ``arguments``.
        """
        omega, omega_first = self.config.omega, self.config.omega_first
        (weight, bias), *hidden, (last_weight, last_bias) = (
            (layer.get_parameter("weight"), layer.get_parameter("bias")) for layer in self.layers
        )
        # autograd needs the arguments of the sines, so they are overwritten without gradients only
        sin = torch.sin if torch.is_grad_enabled() else _replace_by_sine
        x = sin(omega_first * torch.addmm(bias, coords, weight.t()))
        for weight, bias in hidden:
            # omega is folded into the (small) weight rather than applied to the (large) activation
            x = torch.addmm(omega * bias, x, (omega * weight).t())
            if arguments is not None:
                arguments.append(x)
            x = sin(x)
        values = torch.addmm(last_bias, x, last_weight.t())
        if self.skip is not None:
            values = torch.addmm(values, coords, self.skip.t())
        return values if self.gain == 1 else self.gain * values


def _replace_by_sine(x: Tensor) -> Tensor:
    """The sine of ``x``, in its place; on the CPU by NumPy, which takes half of the time."""
    if x.device.type != "cpu" or x.requires_grad:
        return torch.sin_(x)
    array = x.numpy()
    with np.errstate(invalid="ignore"):  # of infinities, as PyTorch does
        np.sin(array, out=array)
    return x


def add_creases(values: Tensor) -> Tensor:
    """A field ``[B, 1]`` with creases, of the last layer's values ``[B, 1 + 2 * creases]``.

    Of values u, v, w, ... it is u + v |w| + ...: smooth but where a w is 0, and there it bends by
    v, inwards or outwards.
    """
    bends, sides = values[:, 1::2], values[:, 2::2]
    return values[:, :1] + (bends * sides.abs()).sum(dim=1, keepdim=True)


def set_parameters(network: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Give a network's parameters new values, by name."""
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            tensor.copy_(parameters[name])
