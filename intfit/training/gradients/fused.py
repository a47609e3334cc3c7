"""The gradient of a small SIREN on a GPU, all layers in one kernel.

Layer by layer, a step of a small network is some fifty kernels that have next to nothing to do.
Here each program takes tiles of examples through the whole network and back, and sums its own
gradients.

Networks of one architecture, each with examples of its own, go through the same kernel at once. How
many programs each then has depends on how many networks there are, and so do the last digits of its
sums.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ...devices import pad, runs_triton
from ...networks.siren import Siren
from . import layered
from .base import Batch, Loss
from .compiled import OPTIONS, CompiledGradient, count_multiprocessors, has_tensor_cores

#: The largest networks: neurons a layer, inputs and outputs. Larger ones overflow the registers.
MAX_WIDTH, MAX_INPUTS, MAX_OUTPUTS = 128, 32, 16
#: The widest network without tensor cores.
MAX_WIDTH_WITHOUT = 64
#: The most examples of a tile, and the most activations of one of its layers: as many as the
#: registers hold.
MAX_TILE, MAX_TILE_ACTIVATIONS = 32, 2048
#: Programs of all networks for each multiprocessor, where there are several: enough to leave few
#: idle at the end.
PROGRAMS_IN_TURN = 4


def supports(network: Siren) -> bool:
    """Whether :class:`FusedGradient` can be used for ``network``, where it is now."""
    config, device = network.config, next(network.parameters()).device
    if config.creases:
        return False
    return (
        runs_triton(device)
        and config.width <= (MAX_WIDTH if has_tensor_cores(device) else MAX_WIDTH_WITHOUT)
        and config.in_features <= MAX_INPUTS
        and config.out_features <= MAX_OUTPUTS
    )


def make_fused(
    networks: Sequence[Siren], *, batch: int, loss: Loss
) -> tuple[CompiledGradient, CompiledGradient] | None:
    """The gradient in kernels, a fast and an exact one, compiled for batches of this size.

    None where there can be none. Triton may be installed and not work: it needs a C compiler, and
    supports some GPUs only.
    """
    small = supports(networks[0])
    if not (small or layered.supports(networks[0])):
        return None
    try:
        kind = FusedGradient if small else layered.LayeredGradient
        exact = kind(networks)
        fast = exact.make_rough()
        for gradient in {fast, exact}:
            gradient.compile(batch, loss)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        warnings.warn(f"slower, since Triton does not work here: {first}", stacklevel=2)
        return None
    return fast, exact


class FusedGradient(CompiledGradient):
    """The :class:`.base.GradientFunction` of small SIRENs of one architecture."""

    def __init__(self, networks: Sequence[Siren]) -> None:
        self._programs = count_multiprocessors(next(networks[0].parameters()).device)
        if (count := len(networks)) > 1:
            self._programs = min(self._programs, -(-PROGRAMS_IN_TURN * self._programs // count))
        super().__init__(networks, programs=self._programs)
        self._max_tile = min(MAX_TILE, MAX_TILE_ACTIVATIONS // self._width)
        layers, tile = max(1, self._config.depth - 1), self._max_tile * self._width
        programs = self._count * self._programs
        self._activations = torch.empty(programs, layers, tile, device=self._device)

    def _differentiate(self, batch: Batch, errors: Tensor) -> int:
        from . import kernels  # only where Triton is

        config, count = self._config, batch.coords.shape[-2]
        tile = min(pad(-(-count // self._programs)), self._max_tile)
        programs = min(-(-count // tile), self._programs)
        kernels.forward_backward[(programs, self._count)](
            batch.coords,
            batch.targets,
            batch.weights,
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
            INPUTS=pad(config.in_features),
            OUTPUTS=pad(config.out_features),
            L1=batch.loss == "l1",
            SKIP=self._has_skip,
            PRECISION=self._precision,
            EXACT=self._exact,
            **OPTIONS,
        )
        return programs
