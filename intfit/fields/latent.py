"""A field on quantised latents: a pyramid of wavelet bands, interpolated at the coordinate.

The latents are whole numbers of steps in a decorrelated colour space. Each stands for a smooth bump
or ripple of its level's size, so a fit needs no descent to start from: the wavelet transform gives
the exact latents, and rate and distortion together say how to round them.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..grid import Floats
from . import wavelet
from .architecture import ORIENTATIONS, LatentConfig

#: The matrix of colours is kept in so many parts of 1.
COLOUR_UNIT = 127
#: Positions are taken to this part of a pixel: coordinates are no finer, and pixels are exact.
SNAP = 1024

#: Places of samples along an axis: whole, and between them.
Places = NDArray[np.int64]
Positions = NDArray[np.float64]
#: What samples are filtered with, so that B-splines run through them: it decays by its pole.
_THROUGH = np.sqrt(3) * (np.sqrt(3) - 2) ** np.abs(np.arange(-14, 15))
#: Tensors by name, as :meth:`.LatentConfig.shapes` lists them.
Tensors = dict[str, Floats]


def principal(*values: Floats) -> Floats:
    """The matrix ``[C, C]``, in whole 127ths, whose rows are the principal axes of ``[n, C]``.

    From the strongest on (Karhunen and Loeve).
    """
    spread = sum((part.T @ part).astype(np.float64) for part in values)
    _, vectors = np.linalg.eigh(spread)
    rows = vectors[:, ::-1].T
    rows = rows * np.where(rows.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    found: Floats = ((rows * COLOUR_UNIT).round() / COLOUR_UNIT).astype(np.float32)
    return found


def unmixing(colours: Floats) -> Floats:
    """What turns values ``[..., C]`` into those along ``colours``, from the right."""
    return np.linalg.inv(colours.astype(np.float64)).astype(np.float32)


def _first(values: Floats) -> Floats:
    """``[h, w, C]`` as ``[C, h, w]``."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def _last(values: Floats) -> Floats:
    """``[C, h, w]`` as ``[h, w, C]``."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1))


def analysed(values: Floats, config: LatentConfig, colours: Floats) -> Tensors:
    """The exact latents of a picture ``[H, W, C]``, not in steps but in the unit of its values."""
    coarsest, levels = wavelet.analyse(values @ unmixing(colours), config.levels())
    found = {"colours": colours, "coarsest": _first(coarsest)}
    for level, bands in enumerate(levels):
        for orientation, (name, band) in enumerate(zip(ORIENTATIONS, bands, strict=True)):
            norm = np.float32(wavelet.norm(level, orientation))
            found[f"levels.{level}.{name}"] = _first(band) * norm
    return found


def mixed(tensors: Mapping[str, Floats], config: LatentConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, along the colours."""
    levels = []
    for level in range(config.levels()):
        bands = (
            _last(tensors[f"levels.{level}.{name}"]) / np.float32(wavelet.norm(level, orientation))
            for orientation, name in enumerate(ORIENTATIONS)
        )
        levels.append(cast("wavelet.Bands", tuple(bands)))
    return wavelet.synthesise(_last(tensors["coarsest"]), levels)


def pictured(tensors: Mapping[str, Floats], config: LatentConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents in the unit of its values: undoes :func:`analysed`."""
    return mixed(tensors, config) @ tensors["colours"]


class Latent:
    """A field: coordinates ``[B, 2]`` in [-1, 1] along the longest axis to values ``[B, C]``.

    ``samples`` ``[H, W, C]`` are what its latents sum to at the pixels; between them runs the
    cubic spline through all of them (Unser, Aldroubi and Eden 1991), mirrored at the edges.
    """

    def __init__(self, samples: Floats) -> None:
        self.samples = samples

    @cached_property
    def _coefficients(self) -> Floats:
        """What the B-splines of the samples are weighted with, ``[H, W, C]``."""
        from scipy.ndimage import correlate1d  # only between pixels: a tenth of a second

        found = self.samples
        for axis in (0, 1):
            found = correlate1d(found, _THROUGH, axis=axis, output=np.float32, mode="reflect")
        return found

    def __call__(self, coords: Floats) -> Floats:
        height, width = self.samples.shape[:2]
        y, x = (
            _snapped((coords[:, axis].astype(np.float64) * max(height, width) + (size - 1)) / 2)
            for axis, size in enumerate((height, width))
        )
        # at a pixel, the sample itself: a spline comes as near as rounding lets it
        total: Floats = self.samples[
            _mirrored(np.floor(y).astype(np.int64), height),
            _mirrored(np.floor(x).astype(np.int64), width),
        ]
        between = (y % 1 != 0) | (x % 1 != 0)
        if between.any():
            total[between] = self._between(y[between], x[between])
        return total

    def _between(self, y: Positions, x: Positions) -> Floats:
        """Values ``[B, C]`` at positions along each axis, in pixels."""
        height, width, channels = self.samples.shape
        (rows, down), (columns, across) = _taps(y, height), _taps(x, width)
        flat = self._coefficients.reshape(-1, channels)
        total = np.zeros((len(y), channels), np.float32)
        for row, share in zip(rows, down, strict=True):
            line = np.zeros_like(total)
            for column, weight in zip(columns, across, strict=True):
                line += flat[row * width + column] * weight[:, None]
            total += line * share[:, None]
        return total


def _snapped(positions: Positions) -> Positions:
    """To whole parts of a pixel."""
    found: Positions = np.round(positions * SNAP) / SNAP
    return found


def _taps(position: Positions, size: int) -> tuple[Places, Floats]:
    """The four samples around each position of ``size``, ``[4, B]``, and their B-splines."""
    base = np.floor(position)
    t = (position - base).astype(np.float32)
    rest = 1 - t
    weights: Floats = np.stack(
        [
            rest * rest * rest / 6,
            2 / 3 - t * t * (1 + rest) / 2,
            2 / 3 - rest * rest * (1 + t) / 2,
            t * t * t / 6,
        ]
    ).astype(np.float32)
    return _mirrored(base.astype(np.int64) + np.arange(-1, 3)[:, None], size), weights


def _mirrored(places: Places, size: int) -> Places:
    """Places of samples, those beyond the edges mirrored."""
    found = np.where(places < 0, -1 - places, places)
    found = np.where(found >= size, 2 * size - 1 - found, found)
    return found.clip(0, size - 1)
