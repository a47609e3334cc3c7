"""The field of a surface's latents: cubic B-splines."""

import numpy as np
from numpy.typing import NDArray

from ...signals import Coordinates, Evaluate, Floats

#: A field's values are distances in these, cut off beyond: see :mod:`.media.sampling`.
CLAMP = 0.1


def find_taps(
    points: NDArray[np.floating], side: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The 64 nodes around each of ``points`` ``[B, 3]`` in the cube [-1, 1], and their weights.

    Flat indices ``[B, 64]`` in a grid of ``side`` nodes a side, and the values ``[B, 64]`` of their
    cubic B-splines at the point.
    """
    cells = side - 3
    places = (np.clip(points, -1, 1).astype(np.float64) + 1) * (cells / 2)
    first = np.clip(np.floor(places).astype(np.int64), 0, cells - 1)
    t = places - first
    weights = (
        np.stack(
            [
                (1 - t) ** 3,
                (3 * t - 6) * t * t + 4,
                ((3 - 3 * t) * t + 3) * t + 1,
                t**3,
            ],
            axis=-1,
        )
        / 6
    )
    x, y, z = weights[:, 0], weights[:, 1], weights[:, 2]
    shares = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    steps = np.arange(4)
    taps = (steps[:, None, None] * side + steps[:, None]) * side + steps
    base = (first[:, 0] * side + first[:, 1]) * side + first[:, 2]
    return base[:, None] + taps.reshape(64), shares.reshape(len(points), 64)


class SplineField:
    """A field: coordinates ``[B, 3]`` to distances ``[B, 1]``, in :data:`CLAMP` and within +-1.

    The splines have ``coefficients`` ``[n, n, n]``, in coordinates, over the cube [-1, 1]; outside,
    the nearest place of its border counts. Of an open surface, ``parts`` has the ``trim``.
    """

    def __init__(self, coefficients: Floats) -> None:
        self.coefficients = coefficients
        self.parts: dict[str, Evaluate] = {}

    def __call__(self, coords: Coordinates) -> Floats:
        from scipy.ndimage import map_coordinates

        cells = len(self.coefficients) - 3
        places = (np.clip(coords, -1, 1).T.astype(np.float64) + 1) * (cells / 2) + 1
        values = map_coordinates(
            self.coefficients, places, np.float32, order=3, mode="nearest", prefilter=False
        )
        return np.asarray((values[:, None] / np.float32(CLAMP)).clip(-1, 1), np.float32)
