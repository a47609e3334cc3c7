"""A field on quantised latents: a pyramid of wavelet bands, interpolated at the coordinate.

The latents are whole numbers of steps in a decorrelated colour space. Each stands for a smooth bump
or ripple of its level's size, so a fit needs no descent to start from: the wavelet transform gives
the exact latents, and rate and distortion together say how to round them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...coding.tensors import Tensors
from ...signals import Coordinates, Floats
from ..channels import decorrelation, mixing_inverse
from . import lifting as wavelet
from .config import ORIENTATIONS, WaveletConfig

#: Positions are taken to this part of a pixel, so that pixels are exact at float32 coordinates too.
SNAP = 1024


def colours(values: Floats) -> Floats:
    """The colours of a picture ``[H, W, C]``: the principal axes of how its pixels differ."""
    moves = (np.diff(values, axis=axis).reshape(-1, values.shape[-1]) for axis in (0, 1))
    return decorrelation(*moves)


def _first(values: Floats) -> Floats:
    """``[h, w, C]`` as ``[C, h, w]``."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def _last(values: Floats) -> Floats:
    """``[C, h, w]`` as ``[h, w, C]``."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def analysed(values: Floats, config: WaveletConfig, colours: Floats) -> Tensors:
    """The exact latents of a picture ``[H, W, C]``, not in steps but in the unit of its values."""
    coarsest, levels = wavelet.analyse(values @ mixing_inverse(colours), config.levels())
    found = {"colours": colours, "coarsest": _first(coarsest)}
    for level, bands in enumerate(levels):
        for orientation, (name, band) in enumerate(zip(ORIENTATIONS, bands, strict=True)):
            norm = np.float32(wavelet.norm(level, orientation))
            found[f"levels.{level}.{name}"] = _first(band) * norm
    return found


def mixed(tensors: Mapping[str, Floats], config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, along the colours.

    One channel at a time: what the transform needs besides is four times the size of a channel.
    """
    picture = np.empty((config.height, config.width, config.channels), np.float32)
    for channel in range(config.channels):
        picture[..., channel] = mixed_channel(tensors, config, channel)
    return picture


def mixed_channel(
    tensors: Mapping[str, Floats], config: WaveletConfig, channel: int, *, finest: int = 0
) -> Floats:
    """One channel ``[H, W]`` of :func:`mixed`, without levels below ``finest``."""

    def band(level: int, orientation: int) -> Floats:
        tensor = tensors[f"levels.{level}.{ORIENTATIONS[orientation]}"]
        if level < finest:
            return np.broadcast_to(np.float32(0), tensor.shape[1:])  # takes no memory
        scaled: Floats = tensor[channel] / np.float32(wavelet.norm(level, orientation))
        return scaled

    coarse_to_fine = reversed(range(config.levels()))
    levels = ((band(level, 0), band(level, 1), band(level, 2)) for level in coarse_to_fine)
    return wavelet.synthesise(tensors["coarsest"][channel], levels)


def pictured(tensors: Mapping[str, Floats], config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents in the unit of its values: undoes :func:`analysed`."""
    return mixed(tensors, config) @ tensors["colours"]


class Latent:
    """A field: coordinates ``[B, 2]`` in [-1, 1] along the longest axis to values ``[B, C]``.

    ``samples`` ``[H, W, C]`` are what its latents sum to at the pixels; between them, the cubic
    of Catmull and Rom (1974) interpolates, mirrored at the edges.
    """

    def __init__(self, samples: Floats) -> None:
        self.samples = samples

    def __call__(self, coords: Coordinates) -> Floats:
        samples = self.samples
        *sides, channels = samples.shape
        picked, weights = zip(
            *(
                _taps((coords[:, axis].astype(np.float64) * max(sides) + (size - 1)) / 2, size)
                for axis, size in enumerate(sides)
            ),
            strict=True,
        )
        flat = samples.reshape(-1, channels)
        total = np.zeros((len(coords), channels), np.float32)
        for row, down in zip(picked[0], weights[0], strict=True):
            if not down.any():
                continue  # at the pixels themselves, three of four weigh nothing
            line = np.zeros_like(total)
            for column, across in zip(picked[1], weights[1], strict=True):
                if across.any():
                    line += flat[row * sides[1] + column] * across[:, None]
            total += line * down[:, None]
        return total


def _taps(position: NDArray[np.float64], size: int) -> tuple[NDArray[Any], Floats]:
    """The four samples around each position of ``size``, ``[4, B]``, and their weights."""
    position = np.round(position * SNAP) / SNAP
    base = np.floor(position)
    t = (position - base).astype(np.float32)
    weights: Floats = np.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    ).astype(np.float32)
    taken = base.astype(np.int64) + np.arange(-1, 3)[:, None]
    taken = np.where(taken < 0, -1 - taken, taken)
    taken = np.where(taken >= size, 2 * size - 1 - taken, taken)
    return taken.clip(0, size - 1), weights
