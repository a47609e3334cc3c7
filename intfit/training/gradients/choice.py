"""The fastest way of computing the gradient, for networks on their device."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ...networks.siren import Siren
from .autograd import AutogradGradient
from .base import EachGradient, GradientFunction, Loss
from .by_hand import GradientByHand, fast_dtype
from .fused import make_fused


def choose_gradients(
    networks: Sequence[nn.Module], *, batch: int, loss: Loss
) -> tuple[GradientFunction, GradientFunction]:
    """The gradient for most of a fit, and the more precise one for its end, in float32 throughout.

    A SIREN's are written by hand for the CPU; on CUDA they are one kernel for a small one, and a
    kernel a layer for a wide one; all others are autograd's. ``batch`` is the number of examples
    that they are usually called with. Several networks, which have one architecture, take batches
    of ``[n, B, ...]``.
    """
    device = next(networks[0].parameters()).device.type
    sirens = [
        network
        for network in networks
        if isinstance(network, Siren) and type(network).forward is Siren.forward
    ]
    if len(sirens) == len(networks):
        if device == "cpu":
            exact, dtype = _of_each(GradientByHand, sirens), fast_dtype(sirens[0].config.width)
            if dtype == torch.float32:
                return exact, exact
            return _of_each(partial(GradientByHand, dtype=dtype), sirens), exact
        fused = make_fused(sirens, batch=batch, loss=loss)
        if fused is not None:
            return fused
    if device == "cuda":
        fast = _of_each(partial(AutogradGradient, precision="tf32"), networks)
        return fast, _of_each(partial(AutogradGradient, precision="ieee"), networks)
    by_autograd = _of_each(AutogradGradient, networks)
    return by_autograd, by_autograd


def _of_each(make: Callable[[Any], GradientFunction], networks: Sequence[Any]) -> GradientFunction:
    gradients = [make(network) for network in networks]
    return gradients[0] if len(gradients) == 1 else EachGradient(gradients)
