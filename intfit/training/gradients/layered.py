"""The gradient of a wide SIREN on a GPU: a kernel a layer, with its sines.

Automatic differentiation takes a dozen kernels a layer, each of which passes over all activations.
For batches of some thousand examples that is mostly waiting for kernels to start. Here a layer is
one matrix product forward and two backward: sines are computed of the phases as these are read, and
a product by their slopes ends the one that gives the gradient of the layer below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...devices import pad, runs_triton
from ...networks.siren import Siren
from .base import Batch
from .compiled import OPTIONS, CompiledGradient, has_tensor_cores

#: The widest networks; the largest batches: PyTorch's own products are good for larger ones.
MAX_WIDTH, MAX_BATCH = 256, 1 << 14
#: Inputs and outputs at most.
MAX_INPUTS, MAX_OUTPUTS = 32, 16
#: Examples and neurons of a program, and how many of the other side it multiplies at once.
ROWS, COLUMNS, STEP = 64, 64, 32
#: Examples of a program of the first and of the last layer, which work on all neurons.
FEW_ROWS = 16
#: Parts of a batch that the gradients of weights are summed of apart, so that enough programs run.
SPLITS = 8
#: While a program multiplies, it loads the next factors.
PIPELINED = {"num_stages": 3}


def supports(network: Siren, *, batch: int) -> bool:
    """Whether :class:`LayeredGradient` is to be used for ``network``, where it is now."""
    config, device = network.config, next(network.parameters()).device
    return (
        runs_triton(device)
        and has_tensor_cores(device)
        and not config.creases
        and batch <= MAX_BATCH
        and config.width <= MAX_WIDTH
        and config.in_features <= MAX_INPUTS
        and config.out_features <= MAX_OUTPUTS
    )


@dataclass(frozen=True)
class _Memory:
    """Phases of all layers ``[n, depth, rows, w]``, and the loss's gradients by them.

    And those by the outputs, ``[n, rows, c]``.
    """

    rows: int
    turns: Tensor
    deltas: Tensor
    output_deltas: Tensor


class LayeredGradient(CompiledGradient):
    """The :class:`.base.GradientFunction` of wide SIRENs of one architecture."""

    def __init__(self, networks: Sequence[Siren]) -> None:
        super().__init__(networks, programs=SPLITS)
        self._memory: list[_Memory] = []  # at most one, which rough and exact gradient share

    def _reserve(self, rows: int) -> "_Memory":
        """Room for batches of so many examples."""
        if not self._memory or self._memory[0].rows < rows:
            count, device = self._count, self._device
            turns = torch.empty(count, self._config.depth, rows, self._width, device=device)
            outputs = torch.empty(count, rows, pad(self._config.out_features), device=device)
            self._memory[:] = [_Memory(rows, turns, torch.empty_like(turns), outputs)]
        return self._memory[0]

    def _differentiate(self, batch: Batch, errors: Tensor) -> int:
        from . import layer_kernels as kernels  # only where Triton is

        config, count = self._config, batch.coords.shape[-2]
        memory = self._reserve(count)
        n, depth, width, total = self._count, config.depth, self._width, self._total
        inputs, outputs = pad(config.in_features), pad(config.out_features)
        hidden_size = width * width + width
        hidden = width * inputs + width  # where the parameters of hidden layers begin
        last = hidden + (depth - 1) * hidden_size
        skip = last + outputs * width + outputs
        sizes: dict[str, Any] = {"ROWS": ROWS, "COLUMNS": COLUMNS, "STEP": STEP, "WIDTH": width}
        sizes |= {"PRECISION": self._precision, **OPTIONS, **PIPELINED}
        few = {"ROWS": FEW_ROWS, "WIDTH": width, "INPUTS": inputs, **OPTIONS}
        rows, turns, deltas = memory.rows, memory.turns, memory.deltas
        parameters, partials, output_deltas = (
            self._scaled, self._partial_gradients, memory.output_deltas,
        )  # fmt: skip

        by_rows = -(-count // FEW_ROWS), n
        by_tiles = -(-count // ROWS), width // COLUMNS, n
        kernels.first_layer[by_rows](
            batch.coords, parameters, turns, count, rows, depth, config.in_features, total, **few
        )
        for layer in range(1, depth):
            place = hidden + (layer - 1) * hidden_size
            kernels.hidden_layer[by_tiles](
                parameters, turns, count, rows, depth, layer, place, total, **sizes
            )
        kernels.output_layer[by_rows](
            batch.coords, batch.targets, batch.weights, errors, parameters, turns, output_deltas,
            count, rows, depth, last, config.in_features, config.out_features, total,
            1 / (batch.count * config.out_features),
            STEP=STEP, OUTPUTS=outputs, L1=batch.loss == "l1", SKIP=self._has_skip,
            EXACT=self._exact, **few,
        )  # fmt: skip
        kernels.backward_layer[by_tiles](
            parameters, output_deltas, turns, deltas, count, rows, depth, depth - 1, 1, last, total,
            ABOVE=outputs, **sizes | {"STEP": outputs},
        )  # fmt: skip
        for layer in range(depth - 2, -1, -1):
            place = hidden + layer * hidden_size
            kernels.backward_layer[by_tiles](
                parameters, deltas[:, layer + 1], turns, deltas, count, rows, depth, layer, depth,
                place, total, ABOVE=width, **sizes,
            )  # fmt: skip
        blocks = (width // ROWS) * (width // COLUMNS)
        if depth > 1:
            kernels.weight_gradients[(blocks, SPLITS, n * (depth - 1))](
                deltas[:, 1:], turns, partials, count, rows, depth, depth, hidden, SPLITS, total,
                ABOVE=width, GROUP=depth - 1, **sizes,
            )  # fmt: skip
        kernels.weight_gradients[(width // COLUMNS, SPLITS, n)](
            output_deltas, turns[:, depth - 1 :], partials, count, rows, depth, 1, last, SPLITS,
            total, ABOVE=outputs, GROUP=1, **sizes | {"ROWS": outputs},
        )  # fmt: skip
        of_inputs = {"STEP": STEP, "INPUTS": inputs, "PRECISION": self._precision, **OPTIONS}
        kernels.input_gradients[(width // ROWS, SPLITS, n)](
            deltas, batch.coords, partials, count, rows, depth, 0, SPLITS, config.in_features,
            total, ROWS=ROWS, ABOVE=width, BIASED=True, **of_inputs,
        )  # fmt: skip
        if self._has_skip:
            kernels.input_gradients[(1, SPLITS, n)](
                output_deltas, batch.coords, partials, count, rows, 1, skip, SPLITS,
                config.in_features, total, ROWS=outputs, ABOVE=outputs, BIASED=False, **of_inputs,
            )  # fmt: skip
        return SPLITS
