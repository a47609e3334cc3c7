"""The gradient of a small SIREN on a GPU, all layers in one kernel.

Layer by layer, a step of a small network is some fifty kernels that have next to nothing to do.
Here each program takes tiles of examples through the whole network and back, and sums its own
gradients. Two small kernels run before and after: one gathers the parameters, the other adds up the
gradients of all programs, always in the same order, so that the same examples give the same bits.
"""

import importlib.util
import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...networks.siren import Siren
from .base import Batch, Loss, gradient_of, scale_layers

#: The largest networks: neurons a layer, inputs and outputs. Larger ones overflow the registers.
MAX_WIDTH, MAX_INPUTS, MAX_OUTPUTS = 128, 32, 16
#: Layers wider than this are multiplied on tensor cores, each product as three of the 11-bit halves
#: of its factors, which is as precise as float32. Narrower ones are faster without tensor cores.
NARROW, PRECISIONS = 32, ("ieee", "tf32x3")
#: The compute capability from which tensor cores can do that; the widest network without them.
TENSOR_CORE_CAPABILITY, MAX_WIDTH_WITHOUT = 8, 64
#: The most examples of a tile, the most activations of one of its layers, and its warps: as many as
#: the registers hold.
MAX_TILE, MAX_TILE_ACTIVATIONS, WARPS = 32, 2048, 8
#: Programs in Triton's interpreter, for tests; a GPU runs one on each multiprocessor.
INTERPRETED_PROGRAMS = 3
#: Parameters of one program of the two small kernels, and programs whose gradients it adds at once.
BLOCK, ROWS = 64, 32


def is_available() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def supports(network: Siren) -> bool:
    """Whether :class:`FusedGradient` can be used for ``network``, where it is now."""
    config, device = network.config, next(network.parameters()).device
    if device.type != "cuda" or torch.version.hip is not None or not is_available():
        return False
    if config.creases:
        return False
    return (
        config.width <= (MAX_WIDTH if _has_tensor_cores(device) else MAX_WIDTH_WITHOUT)
        and config.in_features <= MAX_INPUTS
        and config.out_features <= MAX_OUTPUTS
    )


def _has_tensor_cores(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] >= TENSOR_CORE_CAPABILITY


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


def _pad(size: int) -> int:
    """The side of a matrix that the kernels can multiply: a power of two, 16 or more."""
    return max(16, 1 << (size - 1).bit_length())


def _list_matrices(network: Siren) -> list[_Matrix]:
    """All parameters, in the kernels' order."""
    config = network.config
    inputs, width, outputs = map(_pad, (config.in_features, config.width, config.out_features))
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


def make_fused(network: Siren, *, batch: int, loss: Loss) -> "FusedGradient | None":
    """The fused gradient, compiled for batches of this size; None where there can be none.

    Triton may be installed and not work: it needs a C compiler, and supports some GPUs only.
    """
    if not supports(network):
        return None
    try:
        gradient = FusedGradient(network)
        gradient.compile(batch, loss)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        warnings.warn(f"slower, since Triton does not work here: {first}", stacklevel=2)
        return None
    return gradient


class FusedGradient:
    """The :class:`.base.GradientFunction` of a small SIREN.

    Parameters are read anew at each call, from where they were when this was made; their gradients
    too stay in place. A call allocates nothing but what it returns, and weights where there are
    none; it does not wait for the device. The first call compiles, which takes a second or two
    where it is not cached.
    """

    def __init__(self, network: Siren) -> None:
        config = self._config = network.config
        self._has_skip = network.skip is not None
        self._width = _pad(config.width)
        matrices = _list_matrices(network)
        values = [matrix.parameter.detach() for matrix in matrices]
        gradients = [gradient_of(matrix.parameter) for matrix in matrices]
        self._kept_alive = values, gradients  # the kernels have their addresses only

        self._device = device = values[0].device
        self._programs, tensor_cores = INTERPRETED_PROGRAMS, True
        if device.type == "cuda":
            self._programs = torch.cuda.get_device_properties(device).multi_processor_count
            tensor_cores = _has_tensor_cores(device)
        self._precision = PRECISIONS[tensor_cores and self._width > NARROW]
        self._max_tile = min(MAX_TILE, MAX_TILE_ACTIVATIONS // self._width)

        def join(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(device)

        sizes = [math.prod(matrix.shape) for matrix in matrices]
        sized = list(zip(matrices, sizes, strict=True))
        self._sources = join([m.addresses(v) for m, v in zip(matrices, values, strict=True)])
        self._destinations = join(
            [m.addresses(g) for m, g in zip(matrices, gradients, strict=True)]
        )
        self._scales = join([torch.full((size,), matrix.scale) for matrix, size in sized])
        self._offsets = join([torch.full((size,), matrix.offset) for matrix, size in sized])
        # a captured graph keeps using these, so they do not depend on the size of a batch
        self._total = sum(sizes)
        self._scaled = torch.empty(self._total, device=device)
        self._partial_gradients = torch.empty(self._programs, self._total, device=device)
        layers, tile = max(1, config.depth - 1), self._max_tile * self._width
        self._activations = torch.empty(self._programs, layers, tile, device=device)

    def compile(self, batch: int, loss: Loss) -> None:
        """Compile what batches of this size need; gradients become zero."""
        config, device = self._config, self._device
        coords = torch.zeros(batch, config.in_features, device=device)
        targets = torch.zeros(batch, config.out_features, device=device)
        self(Batch(coords, targets, loss, batch))
        for gradient in self._kept_alive[1]:
            gradient.zero_()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        from . import kernels  # only where Triton is

        config, count, weights = self._config, len(batch.coords), batch.weights
        errors = torch.empty(count, device=self._device)
        if weights is None:  # a second kernel, without weights, would have to be compiled, too
            weights = torch.ones_like(errors)
        tile = min(_pad(-(-count // self._programs)), self._max_tile)
        programs = min(-(-count // tile), self._programs)
        blocks = (-(-self._total // BLOCK),)
        # fusing is Triton's default, which could change
        options = {"num_warps": WARPS, "num_stages": 1, "enable_fp_fusion": True}
        with torch.cuda.device_of(errors):
            kernels.gather[blocks](
                self._sources,
                self._scales,
                self._offsets,
                self._scaled,
                self._total,
                BLOCK,
                **options,
            )
            kernels.forward_backward[(programs,)](
                batch.coords.contiguous(),
                batch.targets.contiguous(),
                weights.contiguous(),
                errors,
                self._scaled,
                self._activations,
                self._partial_gradients,
                count,
                config.depth,
                config.in_features,
                config.out_features,
                self._total,
                1 / (batch.count * config.out_features),
                TILE=tile,
                WIDTH=self._width,
                INPUTS=_pad(config.in_features),
                OUTPUTS=_pad(config.out_features),
                L1=batch.loss == "l1",
                SKIP=self._has_skip,
                PRECISION=self._precision,
                **options,
            )
            kernels.scatter[blocks](
                self._partial_gradients,
                self._scales,
                self._destinations,
                programs,
                self._total,
                ROWS,
                BLOCK,
                **options,
            )
        return errors
