"""The gradient of a SIREN, written out for the CPU: no graph, no new memory, cheaper sines.

A sine and the cosine that its gradient needs are most of a small network's time. Here they share
one reduction of the argument, and each is a polynomial.

On CPUs that multiply bfloat16 matrices, the hidden layers are multiplied in that type, which takes
half the time or less. Weights, phases, sums, and the first and last layers stay in float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from ...networks.siren import Siren, add_creases
from .base import Batch, gradient_of, scale_layers

#: Activations of a layer that are worked on at once: few enough for the caches, and enough for a
#: matrix product to be worth its start.
TILE = 1 << 18
#: Inputs of a layer below which the transposed product for its gradient is several times faster.
NARROW = 8
#: The narrowest layers that bfloat16 makes faster, on CPUs with AVX512_BF16.
MIN_BFLOAT16_WIDTH = 48


#: Coefficients ``[1]``, lowest power first, except for that of the highest.
Coefficients = tuple[list[Tensor], float]


def _fit_polynomial(function: Callable[[Any], Any], degree: int) -> Coefficients:
    """Nearly the best polynomial of this degree from 0 to 1/4."""
    series = Chebyshev.interpolate(function, degree, [0, 0.25])
    *lower, highest = (float(c) for c in series.convert(kind=Polynomial).coef)
    return [torch.tensor([c]) for c in lower], highest


def _fit_wave(sine_degree: int, slope_degree: int) -> tuple[Coefficients, Coefficients]:
    """cos(2 pi r), and its derivative divided by r, as polynomials in r^2 of these degrees."""
    return (
        _fit_polynomial(lambda z: np.cos(2 * np.pi * np.sqrt(z)), sine_degree),
        _fit_polynomial(lambda z: -4 * np.pi**2 * np.sinc(2 * np.sqrt(z)), slope_degree),
    )


#: Within 8e-7 of the cosine, and within 8e-5 of its derivative: for float32.
WAVE = _fit_wave(5, 4)
#: Within 5e-5 and 4e-3: for bfloat16, which itself rounds by up to 2e-3 and 2e-2.
ROUGH_WAVE = _fit_wave(4, 3)


def _evaluate(polynomial: Coefficients, z: Tensor, out: Tensor) -> None:
    (*lower, second), highest = polynomial
    torch.add(second, z, alpha=highest, out=out)
    for coefficient in reversed(lower):
        torch.addcmul(coefficient, out, z, out=out)


def wave(
    turns: Tensor,
    sine: Tensor,
    slope: Tensor,
    spare: Tensor,
    polynomials: tuple[Coefficients, Coefficients] = WAVE,
) -> None:
    """Set ``sine`` to cos(2 pi ``turns``), and ``slope`` to its derivative by ``turns``.

    All are ``[B, w]``, float32; ``turns`` and ``spare`` are overwritten.
    """
    turns.sub_(torch.round(turns, out=spare))
    squares = torch.mul(turns, turns, out=spare)
    _evaluate(polynomials[0], squares, sine)
    _evaluate(polynomials[1], squares, slope)
    slope.mul_(turns)


def fast_dtype(width: int) -> torch.dtype:
    """The type in which this CPU multiplies hidden layers of this width fastest."""
    # PyTorch multiplies bfloat16 on any CPU, but slowly where the CPU itself cannot
    get_capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    fast = any(get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    fast = fast and torch.backends.mkldnn.is_available()
    return torch.bfloat16 if fast and width >= MIN_BFLOAT16_WIDTH else torch.float32


class GradientByHand:
    """The :class:`.base.GradientFunction` of a SIREN on the CPU.

    Hidden layers are multiplied in ``dtype``. Relative errors are about 1e-5, or 1e-2 where that is
    bfloat16. Parameters are read anew at each call, from where they were when this was made;
    their gradients too stay in place.
    """

    def __init__(self, network: Siren, *, dtype: torch.dtype = torch.float32) -> None:
        config = network.config
        layers = [
            (layer.get_parameter("weight"), layer.get_parameter("bias")) for layer in network.layers
        ]
        self._parameters = [(weight.detach(), bias.detach()) for weight, bias in layers]
        self._gradients = [(gradient_of(weight), gradient_of(bias)) for weight, bias in layers]
        self._scales, self._offsets = zip(*scale_layers(network), strict=True)
        dtypes = [torch.float32, *[dtype] * (config.depth - 1), torch.float32]
        self._scaled = [
            (torch.empty_like(weight, dtype=dtype), torch.empty_like(bias))
            for (weight, bias), dtype in zip(self._parameters, dtypes, strict=True)
        ]
        self._skip = None
        if network.skip is not None:
            self._skip = network.skip.detach(), gradient_of(network.skip)
        self._depth, self._creases = config.depth, config.creases
        self._max_rows = max(1, TILE // config.width)
        self._width, self._dtype = config.width, dtype
        self._reserve(0)

    def _reserve(self, rows: int) -> None:
        """Make room for a tile of ``rows`` examples, and no more: compact memory stays cached."""
        width, depth, dtype = self._width, self._depth, self._dtype
        self._work = torch.empty(4, rows, width)
        self._activations = torch.empty(2 * depth, rows, width, dtype=dtype)
        self._products = torch.empty(2, rows, width, dtype=dtype)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        layers = zip(self._parameters, self._scaled, self._scales, self._offsets, strict=True)
        for (weight, bias), (scaled_weight, scaled_bias), scale, offset in layers:
            torch.mul(weight, scale, out=scaled_weight)
            torch.mul(bias, scale, out=scaled_bias).sub_(offset)
        tiles = -(-len(batch.coords) // self._max_rows)
        rows = -(-len(batch.coords) // tiles)  # tiles of about the same size
        if rows > self._work.shape[1]:
            self._reserve(rows)
        errors = [self._forward_backward(part) for part in batch.split(rows)]
        return errors[0] if len(errors) == 1 else torch.cat(errors)

    def _forward_backward(self, batch: Batch) -> Tensor:
        """As :meth:`__call__`, for a tile."""
        coords, rows = batch.coords, len(batch.coords)
        turns, spare, sine, slope = self._work[:, :rows].unbind()
        product, other_product = self._products[:, :rows].unbind()
        activations = self._activations[:, :rows].unbind()
        sines, slopes = [*activations[: self._depth]], [*activations[self._depth :]]
        if product.dtype != turns.dtype:  # the last layer takes float32
            sines[-1], slopes[-1] = sine, slope
        inputs = [coords, *sines]
        for layer in range(self._depth):
            x, (weight, bias) = inputs[layer], self._scaled[layer]
            if weight.dtype == turns.dtype:
                torch.addmm(bias, x, weight.t(), out=turns)
            else:
                turns.copy_(torch.mm(x, weight.t(), out=product)).add_(bias)
            if sines[layer].dtype == turns.dtype:
                wave(turns, sines[layer], slopes[layer], spare)
            else:
                wave(turns, sine, slope, spare, ROUGH_WAVE)
                sines[layer].copy_(sine)
                slopes[layer].copy_(slope)
        weight, bias = self._scaled[-1]
        outputs = torch.addmm(bias, sines[-1], weight.t())
        if self._skip is not None:
            outputs.addmm_(coords, self._skip[0].t(), alpha=self._scales[-1])
        if self._creases:
            difference = add_creases(outputs).sub_(batch.targets)
            errors = difference[:, 0].abs()
            delta = _differentiate_creases(_differentiate_loss(difference, batch), outputs, batch)
        else:
            difference = outputs.sub_(batch.targets)
            errors = difference.abs().sum(dim=1)
            delta = _differentiate_loss(difference, batch)
        if self._skip is not None:
            self._skip[1].addmm_(delta.t(), coords, alpha=self._scales[-1])
        for layer in range(self._depth, -1, -1):
            self._add_gradient(layer, delta, inputs[layer])
            if layer:
                out = (turns, spare) if delta.dtype == turns.dtype else (product, other_product)
                delta = torch.mm(delta, self._scaled[layer][0], out=out[layer % 2])
                delta.mul_(slopes[layer - 1])
                if delta.dtype != inputs[layer - 1].dtype:
                    # the one of the other type's buffers that the next product is not written to
                    to_float32 = delta.dtype != turns.dtype
                    converted = turns if to_float32 else (product, other_product)[layer % 2]
                    delta = converted.copy_(delta)
        return errors

    def _add_gradient(self, layer: int, delta: Tensor, x: Tensor) -> None:
        """Add a layer's gradient: from that of its outputs ``[B, n]`` and its inputs ``[B, m]``."""
        (weight, bias), scale = self._gradients[layer], self._scales[layer]
        if x.shape[1] < NARROW:
            weight.add_(torch.mm(x.t(), delta).t(), alpha=scale)
        elif x.dtype == weight.dtype:
            weight.addmm_(delta.t(), x, alpha=scale)
        else:
            weight.add_(torch.mm(delta.t(), x), alpha=scale)
        bias.add_(delta.sum(dim=0), alpha=scale)


def _differentiate_loss(difference: Tensor, batch: Batch) -> Tensor:
    """The gradient of the loss by the outputs, in place of ``difference`` ``[B, c]``."""
    share = 1 / (batch.count * difference.shape[1])
    squared = batch.loss == "l2"
    delta = difference.mul_(2 * share) if squared else difference.sign_().mul_(share)
    if batch.weights is not None:
        delta.mul_(batch.weights[:, None])
    return delta


def _differentiate_creases(delta: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
    """The gradient by the last layer's ``outputs`` ``[B, 1 + 2 * K]``, from that by the field's.

    And that of the sides of creases, where the batch has them.
    """
    bends, sides = outputs[:, 1::2], outputs[:, 2::2]
    signs = sides.sign()
    found = torch.empty_like(outputs)
    found[:, :1] = delta
    torch.mul(delta, sides.abs(), out=found[:, 1::2])
    by_sides = delta * bends * signs
    if batch.sides is not None:
        wrong = torch.sub(sides, batch.sides).sign_().mul_(batch.weigh_sides())
        by_sides.add_(wrong, alpha=1 / batch.count)
    found[:, 2::2] = by_sides
    return found
