"""A SIREN's loss and gradient, written out for the CPU: no graph, no new memory, cheaper sines.

A sine and the cosine that its gradient needs cost as much as some 25 passes over memory (measured:
3.2 ns against 0.12 ns an activation, one AVX2 core). Here one reduction of the argument serves both
of them, and a polynomial each: 13 passes.

Where the CPU multiplies matrices of bfloat16, those between hidden layers are of that type, which
takes half the time or less. Weights, phases, sums, and the first and last layers stay in float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from ...networks.siren import Siren
from .base import Lesson, folding, in_place

#: Activations of a layer that are worked on at once: few enough for the caches, and enough for a
#: product to be worth its start.
TILE = 1 << 18
#: The narrowest layers that gain by bfloat16. (Measured, AVX512_BF16, one core: a step takes 0.97
#: times as long at 32 neurons, 1.11 at 48, 1.25 at 64 and 1.7 at 256.)
NARROW_FROM = 48


#: Coefficients ``[1]``, lowest power first, but for that of the highest.
Powers = tuple[list[Tensor], float]


def _polynomial(function: Callable[[Any], Any], degree: int) -> Powers:
    """Nearly the best polynomial of this degree from 0 to 1/4."""
    series = Chebyshev.interpolate(function, degree, [0, 0.25])
    *rest, first = (float(c) for c in series.convert(kind=Polynomial).coef)
    return [torch.tensor([c]) for c in rest], first


def _wave_of(sine: int, slope: int) -> tuple[Powers, Powers]:
    """cos(2 pi r), and its derivative over r, as polynomials in r^2 of these degrees."""
    return (
        _polynomial(lambda z: np.cos(2 * np.pi * np.sqrt(z)), sine),
        _polynomial(lambda z: -4 * np.pi**2 * np.sinc(2 * np.sqrt(z)), slope),
    )


#: Within 8e-7 and, of the derivative, 8e-5.
WAVE = _wave_of(5, 4)
#: Within 5e-5 and 4e-3, where a bfloat16 is within 2e-3 and 2e-2.
ROUGH = _wave_of(4, 3)


def _evaluate(polynomial: Powers, z: Tensor, out: Tensor) -> None:
    (*rest, second), first = polynomial
    torch.add(second, z, alpha=first, out=out)
    for coefficient in reversed(rest):
        torch.addcmul(coefficient, out, z, out=out)


def wave(
    turns: Tensor,
    sine: Tensor,
    slope: Tensor,
    spare: Tensor,
    polynomials: tuple[Powers, Powers] = WAVE,
) -> None:
    """``sine`` = cos(2 pi ``turns``), and ``slope``, its derivative by ``turns``.

    All ``[B, w]``, float32; ``turns`` and ``spare`` are overwritten.
    """
    turns.sub_(torch.round(turns, out=spare))
    squares = torch.mul(turns, turns, out=spare)
    _evaluate(polynomials[0], squares, sine)
    _evaluate(polynomials[1], squares, slope)
    slope.mul_(turns)


def fast_kind(width: int) -> torch.dtype:
    """The type to multiply hidden layers of this width in, on this CPU."""
    # PyTorch multiplies bfloat16 on any CPU, but slowly where the CPU does not
    can: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    fast = any(can().get(name) for name in ("avx512_bf16", "amx_bf16"))
    fast = fast and torch.backends.mkldnn.is_available()
    return torch.bfloat16 if fast and width >= NARROW_FROM else torch.float32


class Descent:
    """The :class:`.gradient.Gradient` of a SIREN.

    It is that of the field but for rounding: relative errors of some 1e-5, or 1e-2
    where ``kind``, the type that hidden layers are multiplied in, is bfloat16. Weights are read
    anew at each call, where they were when this was made; gradients too stay in place.
    """

    def __init__(self, field: Siren, *, kind: torch.dtype = torch.float32) -> None:
        config = field.config
        pairs = [
            (layer.get_parameter("weight"), layer.get_parameter("bias")) for layer in field.layers
        ]
        self._parameters = [(weight.detach(), bias.detach()) for weight, bias in pairs]
        self._gradients = [(in_place(weight), in_place(bias)) for weight, bias in pairs]
        self._scales, self._lags = zip(*folding(field), strict=True)
        kinds = [torch.float32, *[kind] * (config.depth - 1), torch.float32]
        self._folded = [
            (torch.empty_like(weight, dtype=kind), torch.empty_like(bias))
            for (weight, bias), kind in zip(self._parameters, kinds, strict=True)
        ]
        self._skip = None if field.skip is None else (field.skip.detach(), in_place(field.skip))
        self._depth = config.depth
        self._rows = max(1, TILE // config.width)
        self._width, self._kind = config.width, kind
        self._reserve(0)

    def _reserve(self, rows: int) -> None:
        """Room for so many examples at a time, and no more: what is close together stays cached."""
        width, depth, kind = self._width, self._depth, self._kind
        self._work = torch.empty(4, rows, width)
        self._kept = torch.empty(2 * depth, rows, width, dtype=kind)
        self._spare = torch.empty(2, rows, width, dtype=kind)

    @torch.no_grad()
    def __call__(self, lesson: Lesson) -> Tensor:
        every = zip(self._parameters, self._folded, self._scales, self._lags, strict=True)
        for (weight, bias), (folded, shifted), scale, lag in every:
            torch.mul(weight, scale, out=folded)
            torch.mul(bias, scale, out=shifted).sub_(lag)
        rows = -(-len(lesson.coords) // -(-len(lesson.coords) // self._rows))  # tiles alike
        if rows > self._work.shape[1]:
            self._reserve(rows)
        errors = [self._tile(part) for part in lesson.parts(rows)]
        return errors[0] if len(errors) == 1 else torch.cat(errors)

    def _tile(self, lesson: Lesson) -> Tensor:
        coords = lesson.coords
        turns, spare, sine, slope = self._work[:, : len(coords)].unbind()
        narrow, other = self._spare[:, : len(coords)].unbind()
        kept = self._kept[:, : len(coords)].unbind()
        sines, slopes = [*kept[: self._depth]], [*kept[self._depth :]]
        if narrow.dtype != turns.dtype:  # what the last layer needs is not
            sines[-1], slopes[-1] = sine, slope
        inputs = [coords, *sines]
        for layer in range(self._depth):
            x, (weight, bias) = inputs[layer], self._folded[layer]
            if weight.dtype == turns.dtype:
                torch.addmm(bias, x, weight.t(), out=turns)
            else:
                turns.copy_(torch.mm(x, weight.t(), out=narrow)).add_(bias)
            if sines[layer].dtype == turns.dtype:
                wave(turns, sines[layer], slopes[layer], spare)
            else:
                wave(turns, sine, slope, spare, ROUGH)
                sines[layer].copy_(sine)
                slopes[layer].copy_(slope)
        weight, bias = self._folded[-1]
        difference = torch.addmm(bias, sines[-1], weight.t()).sub_(lesson.targets)
        if self._skip is not None:
            difference.addmm_(coords, self._skip[0].t(), alpha=self._scales[-1])
        errors = difference.abs().sum(dim=1)
        share = 1 / (lesson.count * difference.shape[1])
        squared = lesson.loss == "l2"
        delta = difference.mul_(2 * share) if squared else difference.sign_().mul_(share)
        if lesson.weights is not None:
            delta.mul_(lesson.weights[:, None])
        if self._skip is not None:
            self._skip[1].addmm_(delta.t(), coords, alpha=self._scales[-1])
        for layer in range(self._depth, -1, -1):
            (weight, bias), scale, x = self._gradients[layer], self._scales[layer], inputs[layer]
            if x.dtype == weight.dtype:
                weight.addmm_(delta.t(), x, alpha=scale)
            else:
                weight.add_(torch.mm(delta.t(), x), alpha=scale)
            bias.add_(delta.sum(dim=0), alpha=scale)
            if layer:
                below = (turns, spare) if delta.dtype == turns.dtype else (narrow, other)
                delta = torch.mm(delta, self._folded[layer][0], out=below[layer % 2])
                delta.mul_(slopes[layer - 1])
                if delta.dtype != inputs[layer - 1].dtype:
                    # not where the next product goes
                    as_next = turns if delta.dtype != turns.dtype else (narrow, other)[layer % 2]
                    delta = as_next.copy_(delta)
        return errors
