"""A network's values and distortion, without gradients and in bounded memory."""

from concurrent.futures import ThreadPoolExecutor
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
    if coords.device.type != "cpu":
        with torch.no_grad():
            return torch.cat([network(part) for part in coords.split(CHUNK)])

    def evaluate_part(part: Tensor) -> Tensor:
        with torch.no_grad():  # which each thread must say for itself
            values: Tensor = network(part)
        return values

    parts = coords.split(CPU_CHUNK)
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2:
        return torch.cat([evaluate_part(part) for part in parts])
    # threads share no layer: waiting for each other in each of them costs more than the sines
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            values = list(pool.map(evaluate_part, parts))
    finally:
        torch.set_num_threads(before)
    return torch.cat(values)


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
