"""What gradients that are computed by Triton's kernels have in common.

One small kernel gathers the parameters of networks, scaled and padded, and another adds up the
gradients of all programs, always in the same order, so that the same examples give the same bits.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from ...devices import pad
from ...networks.siren import Siren
from .base import Batch, Loss, gradient_of, scale_layers

#: Layers wider than this are multiplied on tensor cores, each product as three of the 11-bit halves
#: of its factors, which is as precise as float32, or, where that may be less, as one. Narrower ones
#: are faster without tensor cores.
NARROW, PRECISIONS, ROUGH_PRECISION = 32, ("ieee", "tf32x3"), "tf32"
#: The compute capability from which tensor cores can do that.
TENSOR_CORE_CAPABILITY = 8
#: Programs in Triton's interpreter, for tests; a GPU runs one on each multiprocessor.
INTERPRETED_PROGRAMS = 3
#: Parameters of one program of the two small kernels, and programs whose gradients it adds at once.
BLOCK, ROWS = 64, 32
#: How all kernels are compiled, if no otherwise; fusing is Triton's default, which could change.
OPTIONS: dict[str, Any] = {"num_warps": 8, "num_stages": 1, "enable_fp_fusion": True}


def has_tensor_cores(device: torch.device) -> bool:
    """Whether a CUDA device multiplies float32 on tensor cores."""
    return torch.cuda.get_device_capability(device)[0] >= TENSOR_CORE_CAPABILITY


def count_multiprocessors(device: torch.device) -> int:
    """The programs that a device runs at once, about."""
    if device.type != "cuda":
        return INTERPRETED_PROGRAMS
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


@dataclass(frozen=True)
class _Matrix:
    """A parameter as the kernels see it: times ``scale``, plus ``offset``, padded to ``shape``."""

    parameter: nn.Parameter
    shape: tuple[int, int]
    scale: float = 1.0
    offset: float = 0.0

    def addresses(self, tensor: Tensor) -> Tensor:
        """The address of each element of ``tensor``, ``[prod(shape)]``; 0 for the padding."""
        padded = torch.zeros(self.shape, dtype=torch.long)
        own = tensor.data_ptr() + tensor.element_size() * torch.arange(tensor.numel())
        height, width = torch.atleast_2d(tensor).shape
        padded[:height, :width] = own.view(height, width)
        return padded.flatten()


def _list_matrices(network: Siren) -> list[_Matrix]:
    """All parameters, in the kernels' order."""
    config = network.config
    inputs, width, outputs = map(pad, (config.in_features, config.width, config.out_features))
    heights = [width] * config.depth + [outputs]
    widths = [inputs] + [width] * config.depth
    matrices = []
    layers = zip(network.layers, heights, widths, scale_layers(network), strict=True)
    for layer, layer_height, layer_width, (scale, offset) in layers:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        matrices.append(_Matrix(weight, (layer_height, layer_width), scale))
        matrices.append(_Matrix(bias, (1, layer_height), scale, -offset))
    if network.skip is not None:
        matrices.append(_Matrix(network.skip, (outputs, inputs), network.gain))
    return matrices


class CompiledGradient:
    """A base of :class:`.base.GradientFunction` of SIRENs of one architecture, in kernels.

    Parameters are read anew at each call, from where they were when this was made; their gradients
    too stay in place. A call allocates nothing but what it returns, and weights where there are
    none; it does not wait for the device. The first call compiles, which takes a second or two
    where it is not cached.
    """

    def __init__(self, networks: Sequence[Siren], *, programs: int) -> None:
        """Each network has the gradients of up to ``programs`` added up."""
        self._config = networks[0].config
        self._has_skip = networks[0].skip is not None
        self._width, self._count = pad(self._config.width), len(networks)
        matrices = [matrix for network in networks for matrix in _list_matrices(network)]
        values = [matrix.parameter.detach() for matrix in matrices]
        gradients = [gradient_of(matrix.parameter) for matrix in matrices]
        self._kept_alive = values, gradients  # the kernels have their addresses only

        self._device = device = values[0].device
        tensor_cores = device.type != "cuda" or has_tensor_cores(device)
        self._exact = PRECISIONS[tensor_cores and self._width > NARROW]
        self._precision = self._exact

        def join(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(device)

        own = _list_matrices(networks[0])
        sizes = [math.prod(matrix.shape) for matrix in own]
        sized = list(zip(own, sizes, strict=True))
        self._sources = join([m.addresses(v) for m, v in zip(matrices, values, strict=True)])
        self._destinations = join(
            [m.addresses(g) for m, g in zip(matrices, gradients, strict=True)]
        )
        self._scales = join([torch.full((size,), matrix.scale) for matrix, size in sized])
        self._offsets = join([torch.full((size,), matrix.offset) for matrix, size in sized])
        # a captured graph keeps using these, so they do not depend on the size of a batch
        self._total = sum(sizes)
        self._scaled = torch.empty(self._count, self._total, device=device)
        self._partial_gradients = torch.empty(self._count * programs, self._total, device=device)

    def make_rough(self) -> Self:
        """One that multiplies with 11 bits of mantissa; this one if that would be no faster.

        Three bits more than bfloat16 has, with which fits on the CPU come out as well. The two
        share all memory.
        """
        if self._exact == PRECISIONS[False]:
            return self
        rough = copy.copy(self)
        rough._precision = ROUGH_PRECISION
        return rough

    def compile(self, batch: int, loss: Loss) -> None:
        """Compile what batches of this size need; gradients become zero."""
        config, device = self._config, self._device
        coords = torch.zeros(self._count, batch, config.in_features, device=device)
        targets = torch.zeros(self._count, batch, config.out_features, device=device)
        self(Batch(coords, targets, loss, batch))
        for gradient in self._kept_alive[1]:
            gradient.zero_()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        from . import kernels  # only where Triton is

        errors = torch.empty(batch.coords.shape[:-1], device=self._device)
        weights = batch.weights
        if weights is None:  # a second kernel, without weights, would have to be compiled, too
            weights = torch.ones_like(errors)
        batch = replace(
            batch,
            coords=batch.coords.contiguous(),
            targets=batch.targets.contiguous(),
            weights=weights.contiguous(),
        )
        blocks = -(-self._total // BLOCK), self._count
        with torch.cuda.device_of(errors):
            kernels.gather[blocks](
                self._sources,
                self._scales,
                self._offsets,
                self._scaled,
                self._total,
                BLOCK,
                **OPTIONS,
            )
            programs = self._differentiate(batch, errors)
            kernels.scatter[blocks](
                self._partial_gradients,
                self._scales,
                self._destinations,
                programs,
                self._total,
                ROWS,
                BLOCK,
                **OPTIONS,
            )
        return errors

    def _differentiate(self, batch: Batch, errors: Tensor) -> int:
        """Set ``errors``, and the partial gradients of each network by so many programs."""
        raise NotImplementedError
