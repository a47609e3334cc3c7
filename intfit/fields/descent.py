"""A SIREN's loss and gradient, written out for the CPU: no graph, no new memory, cheaper sines.

A sine and the cosine that its gradient needs cost as much as some 25 passes over memory (measured:
3.2 ns against 0.12 ns an activation, one AVX2 core). Here one reduction of the argument serves both
of them, and a polynomial each: 13 passes.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor, nn

from .siren import Siren

#: Activations of a layer that are worked on at once: few enough for a core's cache.
TILE = 1 << 17


def _polynomial(function: Callable[[Any], Any], degree: int) -> list[Tensor]:
    """Coefficients ``[1]``, lowest power first, of nearly the best one of this degree to 1/4."""
    series = Chebyshev.interpolate(function, degree, [0, 0.25])
    return [torch.tensor([float(c)]) for c in series.convert(kind=Polynomial).coef]


#: cos(2 pi r) within 8e-7, and its derivative, within 8e-5, over r: polynomials in r^2.
SINE = _polynomial(lambda z: np.cos(2 * np.pi * np.sqrt(z)), 5)
SLOPE = _polynomial(lambda z: -4 * np.pi**2 * np.sinc(2 * np.sqrt(z)), 4)


def _evaluate(polynomial: list[Tensor], z: Tensor, out: Tensor) -> None:
    *rest, second, first = polynomial
    torch.add(second, z, alpha=float(first), out=out)
    for coefficient in reversed(rest):
        torch.addcmul(coefficient, out, z, out=out)


def wave(turns: Tensor, sine: Tensor, slope: Tensor, spare: Tensor) -> None:
    """``sine`` = cos(2 pi ``turns``), and ``slope``, its derivative by ``turns``.

    All ``[B, w]``, float32; ``turns`` and ``spare`` are overwritten.
    """
    turns.sub_(torch.round(turns, out=spare))
    squares = torch.mul(turns, turns, out=spare)
    _evaluate(SINE, squares, sine)
    _evaluate(SLOPE, squares, slope)
    slope.mul_(turns)


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class Descent:
    """Gradients of a SIREN's loss: what ``loss.backward()`` would add to its parameters' ``grad``.

    These are the gradients of the field but for rounding: relative errors of some 1e-5. Weights are
    read anew at each call, where they were when this was made; gradients too stay in place.
    """

    def __init__(self, field: Siren) -> None:
        config = field.config
        pairs = [
            (layer.get_parameter("weight"), layer.get_parameter("bias")) for layer in field.layers
        ]
        self._parameters = [(weight.detach(), bias.detach()) for weight, bias in pairs]
        self._gradients = [(_gradient(weight), _gradient(bias)) for weight, bias in pairs]
        # phases are counted in turns: these and the frequencies are folded into the weights
        omegas = [config.omega_first, *[config.omega] * (config.depth - 1)]
        self._scales = [*(omega / (2 * math.pi) for omega in omegas), 1.0]
        self._folded = [(torch.empty_like(w), torch.empty_like(b)) for w, b in self._parameters]
        self._depth = config.depth
        self._rows = max(1, TILE // config.width)
        self._space = torch.empty(2 + 2 * config.depth, self._rows, config.width)

    @torch.no_grad()
    def __call__(
        self,
        coords: Tensor,
        targets: Tensor,
        *,
        loss: Literal["l2", "l1"],
        count: int,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Add the gradient of the loss at ``coords`` ``[B, d]``, as a part of ``count`` examples.

        ``weights`` ``[B]`` say how much each example counts. Returns the discrepancies ``[B]``:
        absolute errors against ``targets`` ``[B, c]``, summed.
        """
        quarter = [0.25] * self._depth + [0.0]  # a sine is a cosine of a quarter of a turn less
        every = zip(self._parameters, self._folded, self._scales, quarter, strict=True)
        for (weight, bias), (folded, shifted), scale, lag in every:
            torch.mul(weight, scale, out=folded)
            torch.mul(bias, scale, out=shifted).sub_(lag)
        tiles = -(-len(coords) // self._rows)
        counts = [None] * tiles if weights is None else weights.chunk(tiles)
        parts = zip(coords.chunk(tiles), targets.chunk(tiles), counts, strict=False)
        errors = [self._tile(*part, loss=loss, count=count) for part in parts]
        return errors[0] if tiles == 1 else torch.cat(errors)

    def _tile(
        self, coords: Tensor, targets: Tensor, weights: Tensor | None, *, loss: str, count: int
    ) -> Tensor:
        turns, spare, *kept = self._space[:, : len(coords)].unbind()
        sines, slopes = kept[: self._depth], kept[self._depth :]
        inputs = [coords, *sines]
        *hidden, (weight, bias) = self._folded
        for x, (folded, shifted), sine, slope in zip(inputs, hidden, sines, slopes, strict=False):
            torch.addmm(shifted, x, folded.t(), out=turns)
            wave(turns, sine, slope, spare)
        difference = torch.addmm(bias, sines[-1], weight.t()).sub_(targets)
        errors = difference.abs().sum(dim=1)
        share = 1 / (count * difference.shape[1])
        delta = difference.mul_(2 * share) if loss == "l2" else difference.sign_().mul_(share)
        if weights is not None:
            delta.mul_(weights[:, None])
        for layer in range(self._depth, -1, -1):
            (weight, bias), scale = self._gradients[layer], self._scales[layer]
            weight.addmm_(delta.t(), inputs[layer], alpha=scale)
            bias.add_(delta.sum(dim=0), alpha=scale)
            if layer:
                below = turns if layer % 2 else spare
                delta = torch.mm(delta, self._folded[layer][0], out=below)
                delta.mul_(slopes[layer - 1])
        return errors
