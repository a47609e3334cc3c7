"""The fastest way of computing the gradient, for a network on its device."""

import torch
from torch import nn

from ...networks.siren import Siren
from .autograd import AutogradGradient
from .base import GradientFunction, Loss
from .by_hand import GradientByHand, fast_dtype
from .fused import make_fused


def choose_gradients(
    network: nn.Module, *, batch: int, loss: Loss
) -> tuple[GradientFunction, GradientFunction]:
    """The gradient for most of a fit, and the more precise one for its end, in float32 throughout.

    A SIREN's are written by hand for the CPU, and fused into one kernel for a small one on CUDA;
    all others are autograd's. ``batch`` is the usual number of examples.
    """
    device = next(network.parameters()).device.type
    if isinstance(network, Siren) and type(network).forward is Siren.forward:
        if device == "cpu":
            exact, dtype = GradientByHand(network), fast_dtype(network.config.width)
            return exact if dtype == torch.float32 else GradientByHand(network, dtype=dtype), exact
        fused = make_fused(network, batch=batch, loss=loss)
        if fused is not None:
            return fused, fused
    if device == "cuda":
        fast = AutogradGradient(network, precision="tf32")
        return fast, AutogradGradient(network, precision="ieee")
    return AutogradGradient(network), AutogradGradient(network)
