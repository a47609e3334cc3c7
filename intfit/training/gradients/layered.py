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
from .compiled import OPTIONS, ROUGH_PRECISION, CompiledGradient, has_tensor_cores

#: The widest networks, the most inputs and outputs.
MAX_WIDTH, MAX_INPUTS, MAX_OUTPUTS = 256, 32, 16
#: Examples of a program of the first and of the last layer, which work on all neurons.
FEW_ROWS = 16
#: From so many examples on a batch is large.
LARGE_BATCH = 1 << 14
#: Phases, which are less than a turn, and their gradients, which may be of any size, in half the
#: bytes.
HALVES = torch.float16, torch.bfloat16


@dataclass(frozen=True)
class Tiles:
    """Examples and neurons of a program, how many of the other side it multiplies at once, and how.

    A batch is in so many ``splits``, which the gradients of weights are summed of apart, so that
    enough programs run. While a program multiplies, it loads the factors of ``stages`` more.
    """

    rows: int
    columns: int
    step: int
    splits: int
    stages: int = 3


#: For some thousand examples, which must be many programs; and for large batches in half precision,
#: where what counts is that every phase is read, and its sine computed, by few.
SMALL, LARGE = Tiles(64, 64, 32, splits=8), Tiles(128, 128, 64, splits=32)


def supports(network: Siren) -> bool:
    """Whether :class:`LayeredGradient` is to be used for ``network``, where it is now."""
    config, device = network.config, next(network.parameters()).device
    return (
        runs_triton(device)
        and has_tensor_cores(device)
        and not config.creases
        and config.width <= MAX_WIDTH
        and config.in_features <= MAX_INPUTS
        and config.out_features <= MAX_OUTPUTS
    )


@dataclass(frozen=True)
class _Memory:
    """Phases of all layers ``[n, depth, rows, w]``, and the loss's gradients by them.

    And those by the outputs, ``[n, rows, c]``. ``forward`` and ``backward`` are the parameters
    ``[n, total]`` as the products of the two passes take them.
    """

    rows: int
    turns: Tensor
    deltas: Tensor
    output_deltas: Tensor
    forward: Tensor
    backward: Tensor


class LayeredGradient(CompiledGradient):
    """The :class:`.base.GradientFunction` of wide SIRENs of one architecture.

    The rough one of a large batch keeps phases and their gradients in half precision.
    """

    def __init__(self, networks: Sequence[Siren]) -> None:
        super().__init__(networks, programs=max(SMALL.splits, LARGE.splits))
        self._memory: dict[bool, _Memory] = {}  # in half precision or not; of all that are made

    def _reserve(self, rows: int, *, half: bool) -> _Memory:
        """Room for batches of so many examples."""
        known = self._memory.get(half)
        if known is not None and known.rows >= rows:
            return known
        kinds = HALVES if half else (torch.float32, torch.float32)
        shape = self._count, self._config.depth, rows, self._width
        turns, deltas = (torch.empty(shape, dtype=kind, device=self._device) for kind in kinds)
        outputs = deltas.new_empty(self._count, rows, pad(self._config.out_features))
        factors = [self._scaled.to(kind) for kind in kinds] if half else [self._scaled] * 2
        self._memory[half] = _Memory(rows, turns, deltas, outputs, *factors)
        return self._memory[half]

    def _differentiate(self, batch: Batch, errors: Tensor) -> int:
        from . import layer_kernels as kernels  # only where Triton is

        config, count = self._config, batch.coords.shape[-2]
        half = count >= LARGE_BATCH and self._precision == ROUGH_PRECISION
        tiles = LARGE if half else SMALL  # which fit the shared memory in half precision only
        memory = self._reserve(count, half=half)
        if half:
            memory.forward.copy_(self._scaled)
            memory.backward.copy_(self._scaled)
        n, depth, width, total = self._count, config.depth, self._width, self._total
        inputs, outputs = pad(config.in_features), pad(config.out_features)
        hidden_size = width * width + width
        hidden = width * inputs + width  # where the parameters of hidden layers begin
        last = hidden + (depth - 1) * hidden_size
        skip = last + outputs * width + outputs
        height, columns, step = (
            min(side, width) for side in (tiles.rows, tiles.columns, tiles.step)
        )
        sizes: dict[str, Any] = {"ROWS": height, "COLUMNS": columns, "STEP": step, "WIDTH": width}
        sizes |= {"PRECISION": self._precision, **OPTIONS, "num_stages": tiles.stages}
        few = {"ROWS": FEW_ROWS, "WIDTH": width, "INPUTS": inputs, **OPTIONS}
        rows, turns, deltas = memory.rows, memory.turns, memory.deltas
        parameters, partials, output_deltas = (
            self._scaled, self._partial_gradients, memory.output_deltas,
        )  # fmt: skip
        splits, share = tiles.splits, 1 / (batch.count * config.out_features)

        by_rows = -(-count // FEW_ROWS), n
        by_tiles = -(-count // height), width // columns, n
        kernels.first_layer[by_rows](
            batch.coords, parameters, turns, count, rows, depth, config.in_features, total, **few
        )
        for layer in range(1, depth):
            place = hidden + (layer - 1) * hidden_size
            kernels.hidden_layer[by_tiles](
                parameters, memory.forward, turns, count, rows, depth, layer, place, total, **sizes
            )
        kernels.output_layer[by_rows](
            batch.coords, batch.targets, batch.weights, errors, parameters, turns, output_deltas,
            count, rows, depth, last, config.in_features, config.out_features, total,
            STEP=min(SMALL.step, width), OUTPUTS=outputs, L1=batch.loss == "l1",
            SKIP=self._has_skip, EXACT=self._exact, **few,
        )  # fmt: skip
        kernels.backward_layer[by_tiles](
            memory.backward, output_deltas, turns, deltas, count, rows, depth, depth - 1, 1, last,
            total, ABOVE=outputs, **sizes | {"STEP": outputs},
        )  # fmt: skip
        for layer in range(depth - 2, -1, -1):
            place = hidden + layer * hidden_size
            kernels.backward_layer[by_tiles](
                memory.backward, deltas[:, layer + 1], turns, deltas, count, rows, depth, layer,
                depth, place, total, ABOVE=width, **sizes,
            )  # fmt: skip
        blocks = (width // height) * (width // columns)
        if depth > 1:
            kernels.weight_gradients[(blocks, splits, n * (depth - 1))](
                deltas[:, 1:], turns, partials, count, rows, depth, depth, hidden, splits, total,
                share, ABOVE=width, GROUP=depth - 1, **sizes,
            )  # fmt: skip
        kernels.weight_gradients[(width // columns, splits, n)](
            output_deltas, turns[:, depth - 1 :], partials, count, rows, depth, 1, last, splits,
            total, share, ABOVE=outputs, GROUP=1, **sizes | {"ROWS": outputs},
        )  # fmt: skip
        of_inputs = {"STEP": SMALL.step, "INPUTS": inputs, "PRECISION": self._precision, **OPTIONS}
        kernels.input_gradients[(width // height, splits, n)](
            deltas, batch.coords, partials, count, rows, depth, 0, splits, config.in_features,
            total, share, ROWS=height, ABOVE=width, BIASED=True, **of_inputs,
        )  # fmt: skip
        if self._has_skip:
            kernels.input_gradients[(1, splits, n)](
                output_deltas, batch.coords, partials, count, rows, 1, skip, splits,
                config.in_features, total, share, ROWS=outputs, ABOVE=outputs, BIASED=False,
                **of_inputs,
            )  # fmt: skip
        return splits
