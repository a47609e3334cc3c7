"""The field of a picture: its pixels, and what lies between them."""

from typing import Any

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
        samples = self.samples
        *sides, channels = samples.shape
        indices, weights = zip(
            *(
                _taps((coords[:, axis].astype(np.float64) * max(sides) + (size - 1)) / 2, size)
                for axis, size in enumerate(sides)
            ),
            strict=True,
        )
        flat = samples.reshape(-1, channels)
        total = np.zeros((len(coords), channels), np.float32)
        for row, down in zip(indices[0], weights[0], strict=True):
            if not down.any():
                continue  # at the pixels themselves, three of four weights are 0
            line = np.zeros_like(total)
            for column, across in zip(indices[1], weights[1], strict=True):
                if across.any():
                    line += flat[row * sides[1] + column] * across[:, None]
            total += line * down[:, None]
        return total


def _taps(position: NDArray[np.float64], size: int) -> tuple[NDArray[Any], Floats]:
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
    indices = base.astype(np.int64) + np.arange(-1, 3)[:, None]
    indices = np.where(indices < 0, -1 - indices, indices)
    indices = np.where(indices >= size, 2 * size - 1 - indices, indices)
    return indices.clip(0, size - 1), weights
