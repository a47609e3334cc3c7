"""The wavelet transform of a picture: 9/7 wavelets of Cohen, Daubechies and Feauveau (1992).

It is nearly orthonormal: a squared error of the coefficients, scaled by :data:`NORMS`, is one of
the picture. Sides may have any length; the picture is mirrored at its edges.

The lifting is our own, because PyWavelets' symmetric mode is expansive: it gives more coefficients
than there are pixels.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ...coding.tensors import Tensors
from ...signals import Floats
from ..channels import invert_axes, principal_axes
from .config import ORIENTATIONS, WaveletConfig

#: The bands of a level, ``[h, w, C]`` each: detail across, down, and both ways.
Bands = tuple[Floats, Floats, Floats]

#: The lifting steps (Daubechies and Sweldens 1998), and the scale that makes bands orthonormal.
LIFTING_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
SCALE = 1.1496043988602418
#: The norm of the picture that a single coefficient of 1 stands for, by level from the finest on:
#: of detail one way, and both ways. Coarser levels are as the last.
NORMS = ((1.0113, 1.0404), (0.9984, 0.9672), (1.0458, 1.0396), (1.0668, 1.0751), (1.0729, 1.0859))
#: Columns that are merged at once, which bounds the memory that this takes.
STRIPE = 128


def _lift(target: Floats, source: Floats, offset: int, step: float) -> None:
    """Add ``step`` times its two neighbours, in ``source`` from ``offset`` on, to each sample.

    Samples lie along the first axis.
    """
    first = np.arange(len(target)) + offset
    last = len(source) - 1
    neighbours = source[first.clip(0, last)]
    neighbours += source[(first + 1).clip(0, last)]
    neighbours *= np.float32(step)
    target += neighbours


def _split(values: Floats) -> tuple[Floats, Floats]:
    """The low and the high band of ``[n, ...]`` along the first axis; n is 2 at least."""
    even, odd = values[0::2].copy(), values[1::2].copy()
    _lift(odd, even, 0, LIFTING_STEPS[0])
    _lift(even, odd, -1, LIFTING_STEPS[1])
    _lift(odd, even, 0, LIFTING_STEPS[2])
    _lift(even, odd, -1, LIFTING_STEPS[3])
    even *= np.float32(SCALE)
    odd /= np.float32(SCALE)
    return even, odd


def _merge(low: Floats, high: Floats) -> Floats:
    """The values of a low and a high band: undoes :func:`_split`."""
    even, odd = low / np.float32(SCALE), high * np.float32(SCALE)
    _lift(even, odd, -1, -LIFTING_STEPS[3])
    _lift(odd, even, 0, -LIFTING_STEPS[2])
    _lift(even, odd, -1, -LIFTING_STEPS[1])
    _lift(odd, even, 0, -LIFTING_STEPS[0])
    values = np.empty((len(even) + len(odd), *even.shape[1:]), np.float32)
    values[0::2], values[1::2] = even, odd
    return values


def _transpose(values: Floats) -> Floats:
    """``[h, w, C]`` as ``[w, h, C]``, copied: lifting is several times faster on whole rows."""
    return np.ascontiguousarray(values.swapaxes(0, 1))


def _merge_transposed(low: Floats, high: Floats) -> Floats:
    """The values of a low and a high band, transposed.

    In stripes of columns: a large picture would otherwise take four times its memory.
    """
    columns, *rest = low.shape[1:]
    values = np.empty((columns, len(low) + len(high), *rest), np.float32)
    for first in range(0, columns, STRIPE):
        part = slice(first, first + STRIPE)
        values[part] = _merge(low[:, part], high[:, part]).swapaxes(0, 1)
    return values


def transform_forward(values: Floats, levels: int) -> tuple[Floats, list[Bands]]:
    """The coarsest picture and the bands of each level, the finest first, of ``[H, W, C]``."""
    bands = []
    for _ in range(levels):
        low, high = _split(_transpose(values))
        values, down = _split(_transpose(low))
        across, both = _split(_transpose(high))
        bands.append((across, down, both))
    return values, bands


def transform_back(coarsest: Floats, levels: Iterable[Bands]) -> Floats:
    """The picture ``[H, W, ...]`` of bands, whose ``levels`` are given from the coarsest on.

    Undoes :func:`transform_forward`. In a large picture, each of these arrays is some hundred
    megabytes: none is kept for long.
    """
    values = coarsest
    for across, down, both in levels:
        low, high = _merge_transposed(values, down), _merge_transposed(across, both)
        values = _merge_transposed(low, high)
    return values


def _norm(level: int, orientation: int) -> np.float32:
    """The entry of :data:`NORMS` for a band; orientation 2 is detail both ways."""
    return np.float32(NORMS[min(level, len(NORMS) - 1)][orientation == 2])


def principal_colours(values: Floats, *, apart: bool = False) -> Floats:
    """The axes ``[C, C]`` to decorrelate the colours of a picture ``[H, W, C]`` by.

    The principal axes of the differences between neighbouring pixels. Opacity, where there is some,
    is one more colour, or is left as it is where it is to be kept ``apart``: the last axis.
    """
    channels = values.shape[-1]
    if apart and channels in (2, 4):
        axes = np.eye(channels, dtype=np.float32)
        axes[:-1, :-1] = principal_colours(values[..., :-1])
        return axes
    differences = (np.diff(values, axis=axis).reshape(-1, values.shape[-1]) for axis in (0, 1))
    return principal_axes(*differences)


def _channels_first(values: Floats) -> Floats:
    """``[h, w, C]`` as ``[C, h, w]``."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def analyse(values: Floats, config: WaveletConfig, colours: Floats) -> Tensors:
    """The exact latents of a picture ``[H, W, C]``, in the unit of its values.

    Named and shaped as :meth:`.WaveletConfig.shapes` lists them, without post-filters. ``colours``
    ``[C, C]`` are the axes to decorrelate its channels by.
    """
    coarsest, levels = transform_forward(values @ invert_axes(colours), config.levels())
    latents = {"colours": colours, "coarsest": _channels_first(coarsest)}
    for level, bands in enumerate(levels):
        for orientation, (name, band) in enumerate(zip(ORIENTATIONS, bands, strict=True)):
            latents[f"levels.{level}.{name}"] = _channels_first(band) * _norm(level, orientation)
    return latents


def synthesise_decorrelated(tensors: Mapping[str, Floats], config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, in decorrelated colours.

    One channel at a time: what the transform needs besides is some times the size of a channel.
    """
    picture = np.empty((config.height, config.width, config.channels), np.float32)
    for channel in range(config.channels):
        picture[..., channel] = synthesise_channel(tensors, config, channel)
    return picture


def synthesise_channel(
    tensors: Mapping[str, Floats], config: WaveletConfig, channel: int, *, finest: int = 0
) -> Floats:
    """One channel ``[H, W]`` of :func:`synthesise_decorrelated`.

    The levels below ``finest`` are taken to be 0: a picture of the same size with less detail.
    """

    def band(level: int, orientation: int) -> Floats:
        tensor = tensors[f"levels.{level}.{ORIENTATIONS[orientation]}"]
        if level < finest:
            return np.broadcast_to(np.float32(0), tensor.shape[1:])  # takes no memory
        scaled: Floats = tensor[channel] / _norm(level, orientation)
        return scaled

    coarse_to_fine = reversed(range(config.levels()))
    levels = ((band(level, 0), band(level, 1), band(level, 2)) for level in coarse_to_fine)
    return transform_back(tensors["coarsest"][channel], levels)


def synthesise_low_band(
    tensors: Mapping[str, Floats], config: WaveletConfig, channel: int, *, finest: int = 1
) -> Floats:
    """One channel of the picture before the levels below ``finest`` are merged.

    ``[ceil(H / 2), ceil(W / 2)]`` before the finest alone is. Its values are then twice as large as
    the picture's.
    """
    levels = (
        (
            tensors[f"levels.{level}.across"][channel] / _norm(level, 0),
            tensors[f"levels.{level}.down"][channel] / _norm(level, 1),
            tensors[f"levels.{level}.both"][channel] / _norm(level, 2),
        )
        for level in reversed(range(finest, config.levels()))
    )
    return transform_back(tensors["coarsest"][channel], levels)


def synthesise(tensors: Mapping[str, Floats], config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents: undoes :func:`analyse`. Without any post-filter."""
    return synthesise_decorrelated(tensors, config) @ tensors["colours"]
