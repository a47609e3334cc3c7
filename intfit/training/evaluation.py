"""A network's values and distortion, without gradients and in bounded memory."""

from functools import partial

import torch
from torch import Tensor, nn

from .examples import Examples, Metric

#: Examples of one forward or backward pass; larger batches take several.
CHUNK = 1 << 16
#: Points of one forward pass on the CPU: few enough for the caches.
CPU_CHUNK = 1 << 13
#: Examples that a reported distortion is measured on at most.
MEASURE = 1 << 20


def evaluate(network: nn.Module, coords: Tensor) -> Tensor:
    """The network's values ``[B, c]`` at ``[B, d]``, without gradients."""
    with torch.no_grad():
        size = CPU_CHUNK if coords.device.type == "cpu" else CHUNK
        return torch.cat([network(part) for part in coords.split(size)])


def measure(
    network: nn.Module,
    examples: Examples,
    *,
    count: int,
    generator: torch.Generator,
    metric: Metric | None = None,
) -> float:
    """The network's distortion on at most ``count`` examples.

    In ``metric``, or the medium's own where that is None; ``generator`` draws the examples.
    """
    return examples.measure(
        partial(evaluate, network), count=count, generator=generator, metric=metric
    )
