"""The quantisation steps of a fitted network, at which distortion and rate are in balance.

Rounding a tensor of n parameters in steps of s adds kappa s^2 to the squared error, where kappa is
its sensitivity. At a given total of bits the sum of these is least where kappa s^2 / n is the same
for every tensor. That leaves one number to search for: the level of all steps together.

The same holds for the neurons of a layer. Those that matter little to the outputs take coarser
steps: of a surface's SIREN, steps of neurons that differ save an eighth of the bytes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..coding import integers as entropy
from ..coding import weights
from ..coding.integers import LARGEST, Integers
from ..coding.steps import (
    FINEST_WEIGHT_STEP,
    WEIGHT_STEPS_PER_OCTAVE,
    nearest_weight_step,
    step_size,
)
from ..coding.weights import QuantisedTensor, finer_steps, fold_growth, wider_spreads
from ..networks.siren import Siren, add_creases, set_parameters
from ..signals import Floats
from .evaluation import evaluate
from .examples import Examples

#: Examples that sensitivities and distortions are measured on.
EXAMPLES = 1 << 14
#: The noise added to a tensor to measure its sensitivity, relative to its root mean square.
NOISE_SHARE = 0.02
#: It is less where it would change the outputs by more than this share of their variance: there
#: sines turn around and hide the sensitivity, above all in the first layer of a recording.
MAX_CHANGE = 1e-2
#: Strides of the search for a level, coarse to fine, in steps of the index.
STRIDES = (12, 4, 1)
#: The share of the distortion added by rounding that the last stretch of a fit does not win back.
REMAINING_SHARE = 0.4

#: Examples that neurons are compared on at once: their gradients are held for all layers.
COMPARED = 1 << 11
#: A neuron's steps are at most so many halves of an octave finer than the coarsest of its layer.
MOST_FINER = 24


@dataclass(frozen=True)
class Steps:
    """The quantisation steps of a network's parameters.

    ``indices`` has the index of each parameter's step by name. ``finer`` has for some layers, by
    name (``layers.1``), by how many halves of an octave the steps of each neuron's weights and bias
    are finer than that, ``[w]``.
    """

    indices: dict[str, int]
    finer: dict[str, Integers] = field(default_factory=dict)

    def sizes(self, name: str) -> float | Floats:
        """The step of a parameter: a number, or an array that has one for each of its rows."""
        finer = self.finer.get(name.rpartition(".")[0])
        if finer is None:
            return step_size(self.indices[name], WEIGHT_STEPS_PER_OCTAVE)
        return finer_steps(name, self.indices[name], finer)

    def shift(self, by: int) -> "Steps":
        """The same, finer by so many indices; those at an end stay there."""
        indices = {
            name: min(max(index + by, 0), FINEST_WEIGHT_STEP)
            for name, index in self.indices.items()
        }
        return replace(self, indices=indices)


def quantise(parameters: Mapping[str, Tensor], steps: Steps) -> dict[str, QuantisedTensor]:
    """Parameters as whole multiples of their steps, clamped to what a payload can hold."""
    quantised = {}
    for name, index in steps.indices.items():
        size = torch.as_tensor(steps.sizes(name))
        integers = (parameters[name].detach().cpu() / size).round_()
        integers = integers.clamp_(-LARGEST, LARGEST).to(torch.int32)
        quantised[name] = QuantisedTensor(index, integers.numpy())
    return quantised


def dequantise(quantised: Mapping[str, QuantisedTensor], steps: Steps) -> dict[str, Tensor]:
    """The float32 parameters of quantised ones."""
    return {
        name: torch.from_numpy(tensor.dequantise(steps.sizes(name)))
        for name, tensor in quantised.items()
    }


def count_bits(quantised: Mapping[str, QuantisedTensor], finer: Mapping[str, Integers]) -> float:
    """Bits that the parameters take in a payload, about, where steps are ``finer`` by neuron."""

    def find_halves(layer: str) -> Integers:
        return finer.get(layer, np.zeros(1, np.int32))

    runs = [
        (tensor.integers, wider_spreads(name, find_halves) if finer else None)
        for name, tensor in quantised.items()
    ]
    if finer:
        runs.append((fold_growth([*finer.values()]), None))
    return sum(8 * weights.OVERHEAD + entropy.fit_model(*run)[1] for run in runs)


def compare_neurons(
    network: Siren, coords: Tensor, *, generator: torch.Generator
) -> dict[str, Integers]:
    """By how many halves of an octave each neuron's steps are finer, for all hidden layers.

    The names are those of :attr:`Steps.finer`. The squared error that noise on a neuron's weights
    adds is in proportion to the mean square g of the derivative of the outputs by its sine's
    argument, at ``coords`` ``[B, d]``: its steps are to those of others as 1 / sqrt(g).
    """
    totals = [torch.zeros(network.config.width) for _ in range(network.config.depth - 1)]
    for part in coords.split(COMPARED) if totals else ():
        arguments: list[Tensor] = []
        values = network.last_layer(part, arguments)
        values = add_creases(values) if network.config.creases else values
        # random signs: on average, the square of a sum over outputs is the sum of their squares
        signs = torch.randint(2, values.shape, generator=generator, device=generator.device) * 2 - 1
        signed = (values * signs.to(values.device)).sum()
        for total, gradient in zip(totals, torch.autograd.grad(signed, arguments), strict=True):
            total += gradient.square().sum(dim=0).cpu()
    finer = {}
    for index, squares in enumerate(totals, start=1):
        octaves = torch.log2(squares.clamp_min(1e-30) / squares.max().clamp_min(1e-30))
        halves = octaves.round().clamp_(-MOST_FINER, 0).to(torch.int32)
        finer[f"layers.{index}"] = (halves - halves.min()).numpy()
    return finer


def measure_sensitivities(
    network: nn.Module,
    coords: Tensor,
    finer: Mapping[str, Integers] | None = None,
    *,
    generator: torch.Generator,
) -> dict[str, float]:
    """The squared error added by noise of variance 1 on one parameter, for each tensor.

    Where the steps of some neurons are ``finer``, the noise on their parameters is as much less.

    Measured by the change of the outputs at ``coords`` ``[B, d]`` when a tensor gets a little
    noise: a Gauss-Newton approximation, which needs neither targets nor second derivatives.
    """
    unit = Steps({name: 0 for name, _ in network.named_parameters()}, dict(finer or {}))
    outputs = evaluate(network, coords)
    variance = max(float(outputs.var()), 1e-12) if outputs.numel() > 1 else 1e-12
    sensitivities = {}
    for name, tensor in network.named_parameters():
        exact = tensor.detach().clone()
        scale = NOISE_SHARE * float(exact.square().mean().sqrt().clamp_min(1e-9))
        noise = torch.randn(exact.shape, generator=generator, device=generator.device)
        noise *= torch.as_tensor(unit.sizes(name), dtype=noise.dtype, device=noise.device)
        while True:
            with torch.no_grad():
                tensor.add_(noise.to(exact.device), alpha=scale)
                change = float((evaluate(network, coords) - outputs).square().mean())
                tensor.copy_(exact)
            if change <= MAX_CHANGE * variance or scale < 1e-9:
                break
            scale /= 4
        sensitivities[name] = max(change, 1e-20) / scale**2 / exact.numel()
    return sensitivities


def choose_steps(
    network: nn.Module,
    examples: Examples,
    *,
    rd_lambda: float,
    generator: torch.Generator,
    max_bits: float | None = None,
    by_neuron: bool = False,
) -> Steps:
    """The quantisation steps for ``network``, which is left as it was.

    They minimise ln(distortion) + ``rd_lambda`` x bits a parameter, where examples count by their
    importance. Or, where all parameters may take ``max_bits`` bits, they are the finest possible.
    Those of a :class:`.Siren` may differ ``by_neuron``.
    """
    # Training examples: those that a surface is measured on tell inside from outside only.
    indices = torch.randint(
        examples.n,
        (min(examples.n, EXAMPLES),),
        generator=generator,
        device=generator.device,
    )
    coords, targets = examples.gather(indices)
    importance = None if examples.importance is None else examples.importance[indices, None]
    parameters = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    count = sum(tensor.numel() for tensor in parameters.values())
    finer = {}
    if by_neuron and isinstance(network, Siren):
        finer = compare_neurons(network, coords, generator=generator)
    sensitivities = measure_sensitivities(network, coords, finer, generator=generator)

    def steps_at(level: int) -> Steps:
        scale = 2.0 ** (level / WEIGHT_STEPS_PER_OCTAVE)
        indices = {
            name: nearest_weight_step(scale / math.sqrt(sensitivity))
            for name, sensitivity in sensitivities.items()
        }
        return Steps(indices, finer)

    def measure_loss() -> float:
        difference = evaluate(network, coords) - targets
        losses = difference.abs() if examples.loss == "l1" else difference.square()
        losses = losses if importance is None else losses * importance
        return max(float(losses.mean()), 1e-12)

    exact_loss = measure_loss()

    def cost(level: int) -> float:
        steps = steps_at(level)
        quantised = quantise(parameters, steps)
        bits = count_bits(quantised, finer)
        if max_bits is not None:
            not_finest = min(steps.indices.values()) < FINEST_WEIGHT_STEP
            return level if bits <= max_bits and not_finest else math.inf
        set_parameters(network, dequantise(quantised, steps))
        added = max(measure_loss() - exact_loss, 0.0)
        return math.log(exact_loss + REMAINING_SHARE * added) + rd_lambda * bits / count

    level = round(WEIGHT_STEPS_PER_OCTAVE * math.log2(math.sqrt(exact_loss / count)))
    if max_bits is not None:
        while cost(level) == math.inf and any(steps_at(level).indices.values()):
            level += STRIDES[0]
    for stride in STRIDES:
        level = _minimise(cost, level, stride)
    set_parameters(network, parameters)
    return steps_at(level)


def _minimise(cost: Callable[[int], float], start: int, stride: int) -> int:
    """The minimum of a convex ``cost`` among start, start +- stride, ..."""
    best, least = start, cost(start)
    for direction in (stride, -stride):
        while (value := cost(best + direction)) < least:
            best, least = best + direction, value
    return best


class RoundedTensors:
    """Rounds parameters to multiples of ``sizes``, of their shapes, while it is entered."""

    def __init__(self, parameters: Sequence[Tensor], sizes: Sequence[Tensor]) -> None:
        self.parameters, self.sizes = [*parameters], [*sizes]
        self._exact = [tensor.clone() for tensor in self.parameters]

    def __enter__(self) -> None:
        torch._foreach_copy_(self._exact, self.parameters)
        torch._foreach_div_(self.parameters, self.sizes)
        torch._foreach_round_(self.parameters)
        torch._foreach_mul_(self.parameters, self.sizes)

    def __exit__(self, *_: object) -> None:
        torch._foreach_copy_(self.parameters, self._exact)


class Rounding(RoundedTensors):
    """Rounds a network's parameters while it is entered: for a forward and backward pass, say.

    Gradients taken at the rounded values then move the exact ones: straight-through estimation
    (Bengio et al. 2013).
    """

    def __init__(self, network: nn.Module, steps: Steps) -> None:
        names, tensors = zip(*network.named_parameters(), strict=True)
        sizes = [
            torch.as_tensor(steps.sizes(name), dtype=tensor.dtype, device=tensor.device)
            .expand_as(tensor)
            .contiguous()
            for name, tensor in zip(names, tensors, strict=True)
        ]
        super().__init__([tensor.detach() for tensor in tensors], sizes)  # the same memory
        self.steps = steps


def join(roundings: Sequence[RoundedTensors]) -> RoundedTensors:
    """One for the parameters of all."""
    return RoundedTensors(
        [tensor for one in roundings for tensor in one.parameters],
        [size for one in roundings for size in one.sizes],
    )
