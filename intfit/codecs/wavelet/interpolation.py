"""The field of a picture: its pixels, and what lies between them."""

import numpy as np
from numpy.typing import NDArray

from ...signals import Coordinates, Floats

#: Positions are rounded to this part of a pixel: pixels are exact at float32 coordinates too.
POSITIONS_PER_PIXEL = 1024


class CubicInterpolation:
    """A field: coordinates ``[B, 2]`` in [-1, 1] along the longest axis to values ``[B, C]``.

    ``samples`` ``[H, W, C]`` are its values at the centres of pixels. Between them, the cubic of
    Catmull and Rom (1974) interpolates; beyond the edges, samples are mirrored.
    """

    def __init__(self, samples: Floats) -> None:
        self.samples = samples

    def __call__(self, coords: Coordinates) -> Floats:
        axes = _as_grid(coords)
        if axes is not None:
            return self._interpolate_grid(*axes)
        samples = self.samples
        channels = samples.shape[-1]
        indices, weights = zip(*(self._taps(coords[:, axis], axis) for axis in (0, 1)), strict=True)
        flat = samples.reshape(-1, channels)
        total = np.zeros((len(coords), channels), np.float32)
        for row, down in zip(indices[0], weights[0], strict=True):
            if not down.any():
                continue  # at the pixels themselves, three of four weights are 0
            line = np.zeros_like(total)
            for column, across in zip(indices[1], weights[1], strict=True):
                if across.any():
                    line += flat[row * samples.shape[1] + column] * across[:, None]
            total += line * down[:, None]
        return total

    def _interpolate_grid(self, ys: Coordinates, xs: Coordinates) -> Floats:
        """The values ``[Y * X, C]`` at all pairs of ``ys`` and ``xs``: row by row, then across.

        They are those of the points one by one, to the bit: the same sums in the same order.
        """
        channels = self.samples.shape[-1]
        (rows, downs), (columns, acrosses) = self._taps(ys, 0), self._taps(xs, 1)
        needed, positions = np.unique(rows, return_inverse=True)
        source = self.samples[needed]
        lines = np.zeros((len(needed), len(xs) * channels), np.float32)
        for column, across in zip(columns, acrosses, strict=True):
            if across.any():
                lines += source[:, column].reshape(lines.shape) * np.repeat(across, channels)
        total = np.zeros((len(ys), len(xs) * channels), np.float32)
        for row, down in zip(positions.reshape(rows.shape), downs, strict=True):
            if down.any():
                total += lines[row] * down[:, None]
        return total.reshape(-1, channels)

    def _taps(self, coords: Coordinates, axis: int) -> tuple[NDArray[np.int64], Floats]:
        """The indices ``[4, B]`` of the samples around ``[B]`` of an axis, and their weights."""
        *sides, _ = self.samples.shape
        size = sides[axis]
        return _taps((coords.astype(np.float64) * max(sides) + (size - 1)) / 2, size)


def _as_grid(coords: Coordinates) -> tuple[Coordinates, Coordinates] | None:
    """``[Y]`` and ``[X]`` whose pairs the coordinates ``[Y * X, 2]`` are, row by row, if so."""
    if not len(coords):
        return None
    width = int(np.argmax(coords[:, 0] != coords[0, 0])) or len(coords)
    if len(coords) % width:
        return None
    grid = coords.reshape(-1, width, 2)
    ys, xs = grid[:, 0, 0], grid[0, :, 1]
    if (grid[:, :, 0] == ys[:, None]).all() and (grid[:, :, 1] == xs).all():
        return ys, xs
    return None


def _taps(position: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], Floats]:
    """The indices ``[4, B]`` of the samples around positions ``[B]``, and their weights ``[4, B]``.

    Positions are in samples of an axis of ``size``.
    """
    position = np.round(position * POSITIONS_PER_PIXEL) / POSITIONS_PER_PIXEL
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
    indices: NDArray[np.int64] = base.astype(np.int64) + np.arange(-1, 3)[:, None]
    indices = np.where(indices < 0, -1 - indices, indices)
    indices = np.where(indices >= size, 2 * size - 1 - indices, indices)
    return indices.clip(0, size - 1), weights
