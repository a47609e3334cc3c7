"""A small SIREN's loss and gradient on a GPU, all layers in one kernel.

Layer by layer, a step of a small network is some fifty kernels that have next to nothing to do.
Here each program takes tiles of examples through the whole network and back and sums up its own
gradients. Two small kernels come before and after: one brings the parameters together, another adds
up the programs' gradients, always in the same order, so that the same examples give the same bits.
"""

import importlib.util
import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...networks.siren import Siren
from .base import Lesson, Loss, folding, in_place

#: The largest networks: neurons a layer, inputs and outputs. More of them overflow the registers.
MOST_NEURONS, MOST_INPUTS, MOST_OUTPUTS = 128, 32, 16
#: Products of layers wider than this run on tensor cores, each as three of the 11-bit halves of its
#: factors: no worse than float32's. (Emulated: gradients within 2e-5 either way; with one product
#: of halves alone within 1e-3.) Narrower layers take fewer instructions without tensor cores.
NARROW, PRECISION = 32, ("ieee", "tf32x3")
#: Compute capability from which tensor cores do that, and the widest layers that do without.
TENSOR_CORES, MOST_WITHOUT = 8, 64
#: A tile's examples, and activations of a layer, at most, and its warps: what registers hold.
MOST_EXAMPLES, MOST_ACTIVATIONS, WARPS = 32, 2048, 8
#: Programs that Triton's interpreter runs, for tests; a GPU runs one a multiprocessor.
INTERPRETED = 3
#: Parameters that a program of the small kernels works on; those of so many programs at a time.
BLOCK, ROWS = 64, 32


def available() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def suits(field: Siren) -> bool:
    """Whether :class:`Fused` is for ``field``, where it is now."""
    config, device = field.config, next(field.parameters()).device
    if device.type != "cuda" or torch.version.hip is not None or not available():
        return False
    return (
        config.width <= (MOST_NEURONS if _tensor_cores(device) else MOST_WITHOUT)
        and config.in_features <= MOST_INPUTS
        and config.out_features <= MOST_OUTPUTS
    )


def _tensor_cores(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] >= TENSOR_CORES


@dataclass(frozen=True)
class _Place:
    """Where a parameter and its gradient are, and how the kernels see it: times and plus."""

    parameter: nn.Parameter
    shape: tuple[int, int]
    times: float = 1.0
    plus: float = 0.0

    def addresses(self, tensor: Tensor) -> Tensor:
        """Of each element, ``[prod(shape)]``; 0 beyond ``tensor``."""
        found = torch.zeros(self.shape, dtype=torch.long)
        each = tensor.data_ptr() + tensor.element_size() * torch.arange(tensor.numel())
        height, breadth = torch.atleast_2d(tensor).shape
        found[:height, :breadth] = each.view(height, breadth)
        return found.flatten()


def _padded(size: int) -> int:
    """The side of a matrix that kernels can multiply: a power of two, 16 or more."""
    return max(16, 1 << (size - 1).bit_length())


def _places(field: Siren) -> list[_Place]:
    """In the order that the kernels have them in."""
    config = field.config
    inside, width, outside = map(_padded, (config.in_features, config.width, config.out_features))
    heights = [width] * config.depth + [outside]
    breadths = [inside] + [width] * config.depth
    places = []
    every = zip(field.layers, heights, breadths, folding(field), strict=True)
    for layer, height, breadth, (scale, lag) in every:
        places.append(_Place(layer.get_parameter("weight"), (height, breadth), scale))
        places.append(_Place(layer.get_parameter("bias"), (1, height), scale, -lag))
    if field.skip is not None:
        places.append(_Place(field.skip, (outside, inside), field.gain))
    return places


def fused(field: Siren, *, batch: int, loss: Loss) -> "Fused | None":
    """Gradients in one kernel, ready for such batches; None where that cannot be.

    Triton may well be there and not work: it needs a C compiler and knows some GPUs only.
    """
    if not suits(field):
        return None
    try:
        gradient = Fused(field)
        gradient.compile(batch, loss)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        warnings.warn(f"slower, since Triton does not work here: {first}", stacklevel=2)
        return None
    return gradient


class Fused:
    """The :class:`.gradient.Gradient` of a small SIREN.

    Parameters are read anew at each call, where they were when this was made; gradients too stay in
    place. A call allocates nothing but what it returns and does not wait for the device; the first
    one compiles, which takes a second or two if it has not been done before.
    """

    def __init__(self, field: Siren) -> None:
        config = self._config = field.config
        self._skips = field.skip is not None
        self._width = _padded(config.width)
        places = _places(field)
        values = [place.parameter.detach() for place in places]
        gradients = [in_place(place.parameter) for place in places]
        self._alive = values, gradients  # the kernels have nothing but their addresses

        self._device = device = values[0].device
        self._programs, tensor_cores = INTERPRETED, True
        if device.type == "cuda":
            self._programs = torch.cuda.get_device_properties(device).multi_processor_count
            tensor_cores = _tensor_cores(device)
        self._precision = PRECISION[tensor_cores and self._width > NARROW]
        self._most = min(MOST_EXAMPLES, MOST_ACTIVATIONS // self._width)

        def together(parts: list[Tensor]) -> Tensor:
            return torch.cat(parts).to(device)

        every = list(zip(places, values, gradients, strict=True))
        self._sources = together([place.addresses(value) for place, value, _ in every])
        self._destinations = together([place.addresses(grad) for place, _, grad in every])
        sizes = [math.prod(place.shape) for place in places]
        pairs = list(zip(places, sizes, strict=True))
        self._times = together([torch.full((size,), place.times) for place, size in pairs])
        self._plus = together([torch.full((size,), place.plus) for place, size in pairs])
        # a captured graph goes on using these: they are for batches of any size
        self._total = sum(sizes)
        self._folded = torch.empty(self._total, device=device)
        self._partials = torch.empty(self._programs, self._total, device=device)
        layers = max(1, config.depth - 1)
        self._kept = torch.empty(self._programs, layers, self._most * self._width, device=device)

    def compile(self, batch: int, loss: Loss) -> None:
        """Compile what batches of this size need; gradients become zero."""
        config, device = self._config, self._device
        coords = torch.zeros(batch, config.in_features, device=device)
        targets = torch.zeros(batch, config.out_features, device=device)
        for weights in (None, coords[:, 0].contiguous()):
            self(Lesson(coords, targets, loss, batch, weights))
        for gradient in self._alive[1]:
            gradient.zero_()

    @torch.no_grad()
    def __call__(self, lesson: Lesson) -> Tensor:
        from . import kernels

        config, batch, weights = self._config, len(lesson.coords), lesson.weights
        errors = torch.empty(batch, device=self._device)
        tile = min(_padded(-(-batch // self._programs)), self._most)
        programs = min(-(-batch // tile), self._programs)
        blocks = (-(-self._total // BLOCK),)
        # fused: said, for Triton changes what it does unasked
        options = {"num_warps": WARPS, "num_stages": 1, "enable_fp_fusion": True}
        with torch.cuda.device_of(errors):
            kernels.gather[blocks](
                self._sources, self._times, self._plus, self._folded, self._total, BLOCK, **options
            )
            kernels.descend[(programs,)](
                lesson.coords.contiguous(),
                lesson.targets.contiguous(),
                errors if weights is None else weights.contiguous(),
                errors,
                self._folded,
                self._kept,
                self._partials,
                batch,
                config.depth,
                config.in_features,
                config.out_features,
                self._total,
                1 / (lesson.count * config.out_features),
                TILE=tile,
                WIDTH=self._width,
                INSIDE=_padded(config.in_features),
                OUTSIDE=_padded(config.out_features),
                L1=lesson.loss == "l1",
                WEIGHTED=weights is not None,
                SKIP=self._skips,
                PRECISION=self._precision,
                **options,
            )
            kernels.scatter[blocks](
                self._partials,
                self._times,
                self._destinations,
                programs,
                self._total,
                ROWS,
                BLOCK,
                **options,
            )
        return errors
