"""What of the decoder network's last layer suits one picture: its modulation, and its change.

That layer is linear, so that the best of both is a least-squares solution: it needs no training.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ....coding import integers, weights
from ....coding.steps import WEIGHT_STEPS_PER_OCTAVE, nearest_weight_step, step_size
from ....coding.tensors import Tensors
from ....coding.weights import QuantisedTensor
from ....signals import Floats
from ...latent_steps import RD_LAMBDA
from ..decoder_network import Inputs, compute_activations, last_layer, split_blocks

#: The root of the squared error, in quantisation steps of latents, that a change by one step of its
#: own makes: those that are tried. At high rates, the first is the best of a uniform quantiser.
STEPS = tuple(factor * (12 * RD_LAMBDA / (2 * np.log(2))) ** 0.5 for factor in (1, 2, 4))
#: A change is rounded to 0 below so much of a step.
DEADZONE = 0.62
#: Added to the Gram matrix, relative to its diagonal.
RIDGE = 1e-4

#: A Gram matrix, or the products with it.
Matrix = NDArray[np.float64]


def fit_last_layer(
    inputs: Inputs, tensors: Tensors, error: Floats
) -> Iterator[tuple[str, QuantisedTensor]]:
    """The best modulation for a picture, if its file has one, and then the best change.

    Each with its name, as a file's tensors have it. The change is left out where it is not worth
    its bytes. ``error`` ``[H, W, C]`` is what the post-filter left, in decorrelated colours.
    """
    gram, moments = accumulate(inputs, tensors, error)
    places = inputs.config.height * inputs.config.width / 4
    if inputs.config.is_modulated():
        basis = tensors["common.last.basis"].astype(np.float64)
        seen = (basis.reshape(-1, len(gram)) @ gram).reshape(len(basis), -1)
        of_basis = seen @ basis.reshape(len(basis), -1).T
        products = basis.reshape(len(basis), -1) @ moments.T.reshape(-1, 1)
        size = len(basis)
        found = _quantise("modulation", of_basis, products, np.ones(size), (size,), places)
        modulation = found or QuantisedTensor(0, np.zeros(size, np.int32))
        yield "modulation", modulation
        moments -= gram @ np.tensordot(modulation.dequantise().astype(np.float64), basis, 1).T
    scale = tensors["common.last.scale"].astype(np.float64)
    shape = (moments.shape[1], len(gram))
    change = _quantise("adaptation", gram, moments, scale, shape, places)
    if change is not None:
        yield "adaptation", change


def _quantise(
    name: str,
    gram: Matrix,
    moments: Matrix,
    scale: Matrix,
    shape: tuple[int, ...],
    places: float,
) -> QuantisedTensor | None:
    """The least-squares solution for ``gram`` ``[D, D]`` and ``moments`` ``[D, C]``, in steps.

    In the unit of 1 / ``scale`` ``[D]``; transposed, in this ``shape``. At the step with the least
    squared error plus lambda times bits in a picture of so many ``places``; None where the bits of
    a tensor of this ``name`` are worth more than the solution.
    """
    best, least = None, 0.0
    for size in STEPS:
        step = nearest_weight_step(size / places**0.5)
        unit = step_size(step, WEIGHT_STEPS_PER_OCTAVE) / scale
        # in units of whole numbers
        scaled, products = gram * np.outer(unit, unit), moments * unit[:, None]
        rounded = _round(scaled, products)
        if not (np.abs(rounded) <= integers.LARGEST).all():
            continue  # of an input that is next to nothing, it can be beyond all bounds
        found = QuantisedTensor(step, rounded.T.reshape(shape).astype(np.int32))
        lost = float((rounded * (scaled @ rounded) - 2 * rounded * products).sum())
        cost = lost + RD_LAMBDA * 8 * len(weights.pack({name: found}))
        if cost < least:
            best, least = found, cost
    return best


def accumulate(inputs: Inputs, tensors: Tensors, error: Floats) -> tuple[Matrix, Matrix]:
    """The Gram matrix of what the last layer sees, and its products with the error that is left."""
    last, step = last_layer(tensors), np.float32(inputs.config.step_size)
    size = last.shape[1]
    gram, moments = np.zeros((size, size)), np.zeros((size, len(last)))
    for first, activations in compute_activations(inputs, tensors, keep=True):
        index = np.arange(first, first + activations.shape[1])
        seen = activations.reshape(size, -1)
        left = split_blocks(error, index).reshape(len(last), -1) / step - last @ seen
        gram += seen @ seen.T
        moments += seen @ left.T
    return gram, moments


def _round(gram: Matrix, moments: Matrix) -> Matrix:
    """The least-squares solution ``[D, C]`` in whole numbers.

    One row after the other, the largest first; those that follow make up for the error of those
    before (optimal brain quantisation, Frantar and Alistarh 2022).
    """
    size = np.sqrt(np.diag(gram)) + 1e-9
    normal = gram / np.outer(size, size) + RIDGE * np.eye(len(gram))
    solution = np.linalg.solve(normal, moments / size[:, None]) / size[:, None]
    order = np.argsort(-np.square(solution * size[:, None]).sum(axis=1))
    solution = solution[order]
    inverse = np.linalg.inv(normal[np.ix_(order, order)] * np.outer(size[order], size[order]))
    rounded = np.zeros_like(solution)
    for place in range(len(order)):
        row = solution[place]
        rounded[order[place]] = np.copysign(np.floor(np.abs(row) + 1 - DEADZONE), row)
        column = inverse[place:, place] / inverse[place, place]
        solution[place:] -= np.outer(column, row - rounded[order[place]])
        inverse[place:, place:] -= np.outer(column, column) * inverse[place, place]
    return rounded
