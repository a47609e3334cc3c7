"""How coarsely to round a fitted network: where distortion and rate are in balance.

Rounding a tensor of n parameters in steps of s adds kappa s^2 to the squared error, where kappa is
its sensitivity. At a given total of bits the sum of these is least where kappa s^2 / n is the same
for every tensor. That leaves one number to search for: the level of all steps together.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..coding import integers as entropy
from ..coding import weights
from ..coding.integers import LARGEST
from ..coding.steps import (
    FINEST_WEIGHT_STEP,
    WEIGHT_STEPS_PER_OCTAVE,
    nearest_weight_step,
    step_size,
)
from ..coding.weights import QuantisedTensor
from ..networks.siren import set_parameters
from .examples import Examples
from .loop import evaluate

#: Examples that sensitivities and distortions are measured on.
EXAMPLES = 1 << 14
#: The share of a tensor's root mean square that it is disturbed by to find its sensitivity.
DISTURBANCE = 0.02
#: Or by less: the outputs must move by no more than this share of their variance, or sines that
#: turn around hide how sensitive they are (the first layer of a recording's network, above all).
LINEAR = 1e-2
#: The search goes over levels in twelfths of an octave, this far apart and then finer.
STRIDES = (12, 4, 1)
#: The share of what rounding adds to the distortion that the finishing fit does not win back.
LEFT = 0.4

#: Step index of every parameter, by name.
Steps = dict[str, int]


def quantise(parameters: Mapping[str, Tensor], steps: Steps) -> dict[str, QuantisedTensor]:
    """Parameters as whole multiples of their steps, clamped to what a payload can hold."""
    quantised = {}
    for name, index in steps.items():
        size = step_size(index, WEIGHT_STEPS_PER_OCTAVE)
        integers = (parameters[name].detach() / size).round_()
        integers = integers.clamp_(-LARGEST, LARGEST).to("cpu", torch.int32)
        quantised[name] = QuantisedTensor(index, integers.numpy())
    return quantised


def dequantise(quantised: Mapping[str, QuantisedTensor]) -> dict[str, Tensor]:
    """The float32 parameters of quantised ones."""
    return {name: torch.from_numpy(tensor.dequantise()) for name, tensor in quantised.items()}


def bits(quantised: Mapping[str, QuantisedTensor]) -> float:
    """Bits that the parameters take in a payload."""
    total = 8.0 * weights.OVERHEAD * len(quantised)
    for tensor in quantised.values():
        total += entropy.fitted(tensor.integers)[1]
    return total


def sensitivities(
    field: nn.Module, coords: Tensor, *, generator: torch.Generator
) -> dict[str, float]:
    """The squared error that a disturbance of variance 1 of one parameter adds, for each tensor.

    Measured on the outputs at ``coords`` ``[B, d]``, which a little noise in the tensor moves:
    Gauss and Newton's approximation, which needs neither targets nor second derivatives.
    """
    before = evaluate(field, coords)
    power = max(float(before.var()), 1e-12) if before.numel() > 1 else 1e-12
    found = {}
    for name, tensor in field.named_parameters():
        kept = tensor.detach().clone()
        scale = DISTURBANCE * float(kept.square().mean().sqrt().clamp_min(1e-9))
        noise = torch.randn(kept.shape, generator=generator, device=generator.device)
        while True:
            with torch.no_grad():
                tensor.add_(noise.to(kept.device), alpha=scale)
                moved = float((evaluate(field, coords) - before).square().mean())
                tensor.copy_(kept)
            if moved <= LINEAR * power or scale < 1e-9:
                break
            scale /= 4
        found[name] = max(moved, 1e-20) / scale**2 / kept.numel()
    return found


def choose_steps(
    field: nn.Module,
    signal: Examples,
    *,
    rd_lambda: float,
    generator: torch.Generator,
    max_bits: float | None = None,
) -> Steps:
    """The steps to round ``field`` with.

    They make ln(distortion) + ``rd_lambda`` x bits a parameter least. Examples count by their
    importance, whatever the teacher.
    Or, where ``max_bits`` bounds the bits of all parameters, they are the finest that these allow.
    The field is left as it was.
    """
    # Training examples: a surface's evaluation examples tell inside from outside, not distances.
    drawn = (min(signal.n, EXAMPLES),)
    indices = torch.randint(signal.n, drawn, generator=generator, device=generator.device)
    coords, targets = signal.gather(indices)
    importance = signal.importance
    counts = None if importance is None else importance[indices, None]
    parameters = {name: tensor.detach().clone() for name, tensor in field.named_parameters()}
    count = sum(tensor.numel() for tensor in parameters.values())
    sensitivity = sensitivities(field, coords, generator=generator)

    def steps_at(level: int) -> Steps:
        scale = 2.0 ** (level / WEIGHT_STEPS_PER_OCTAVE)
        return {name: nearest_weight_step(scale / math.sqrt(k)) for name, k in sensitivity.items()}

    def loss() -> float:
        difference = evaluate(field, coords) - targets
        absolute = difference.abs() if signal.loss == "l1" else difference.square()
        return max(float((absolute if counts is None else absolute * counts).mean()), 1e-12)

    untouched = loss()

    def cost(level: int) -> float:
        steps = steps_at(level)
        quantised = quantise(parameters, steps)
        taken = bits(quantised)
        if max_bits is not None:
            finer_still = min(steps.values()) < FINEST_WEIGHT_STEP
            return level if taken <= max_bits and finer_still else math.inf
        set_parameters(field, dequantise(quantised))
        added = max(loss() - untouched, 0.0)
        return math.log(untouched + LEFT * added) + rd_lambda * taken / count

    level = round(WEIGHT_STEPS_PER_OCTAVE * math.log2(math.sqrt(untouched / count)))
    if max_bits is not None:
        while cost(level) == math.inf and any(steps_at(level).values()):
            level += STRIDES[0]
    for stride in STRIDES:
        level = _descend(cost, level, stride)
    set_parameters(field, parameters)
    return steps_at(level)


def _descend(cost: Callable[[int], float], start: int, stride: int) -> int:
    """The least of a convex ``cost`` among start, start +- stride, ..."""
    best, least = start, cost(start)
    for direction in (stride, -stride):
        while (value := cost(best + direction)) < least:
            best, least = best + direction, value
    return best


class Rounding:
    """Rounds a field's parameters for a moment: for a step's forward and backward pass, say.

    Gradients taken at the rounded values then move the exact ones: straight-through estimation
    (Bengio et al. 2013).
    """

    def __init__(self, field: nn.Module, steps: Steps) -> None:
        names, tensors = zip(*field.named_parameters(), strict=True)
        self.steps = steps
        self._sizes = [step_size(steps[name], WEIGHT_STEPS_PER_OCTAVE) for name in names]
        self._parameters = [tensor.detach() for tensor in tensors]  # the same memory
        self._exact = [tensor.clone() for tensor in self._parameters]

    def __enter__(self) -> None:
        torch._foreach_copy_(self._exact, self._parameters)
        torch._foreach_div_(self._parameters, self._sizes)
        torch._foreach_round_(self._parameters)
        torch._foreach_mul_(self._parameters, self._sizes)

    def __exit__(self, *_: object) -> None:
        torch._foreach_copy_(self._parameters, self._exact)
