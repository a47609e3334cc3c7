"""What surrounds a latent: windows of latents of its own band and of others, and of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .low_pass import UNIT, Fixed
from .network import DIFFERENCE_INPUTS, latent_inputs

#: Network inputs, with the signs of what they stand for.
Inputs = NDArray[np.int16]
#: Indices of rows, of columns, or into a flattened array.
Places = NDArray[np.intp]
#: Places around a latent, as (y, x).
Window = Sequence[tuple[int, int]]

#: What is added around a band or a picture: enough for any window, and for bands that are smaller
#: than others by two.
FRAME = 4
#: Windows, as (y, x): of the band itself, of a place with its neighbours, of its four nearest ones,
#: of it alone.
OWN = tuple((y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0))
NEAR = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
CROSS = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
CENTRE = ((0, 0),)
#: Windows of the differences of the low-pass picture: to the right, below, second ones across and
#: down, and mixed. A latent of detail lies between the picture's value at its place and those
#: to the right and below.
DIFFERENCES = (
    tuple((y, x) for y in range(-1, 3) for x in range(-2, 3)),
    tuple((y, x) for y in range(-2, 3) for x in range(-1, 3)),
    tuple((y, x) for y in range(-1, 3) for x in range(-1, 3)),
    tuple((y, x) for y in range(-1, 3) for x in range(-1, 3)),
    tuple((y, x) for y in range(-1, 2) for x in range(-1, 2)),
)
#: The nearest of the first two: all that magnitudes depend on.
NEAR_DIFFERENCES = (
    tuple((y, x) for y in range(-1, 3) for x in range(-1, 2)),
    tuple((y, x) for y in range(-1, 2) for x in range(-1, 3)),
)


def signed_inputs(latents: NDArray[Any], step: int = UNIT, seen_by: int = UNIT) -> Inputs:
    """Latents of any shape as network inputs with their signs.

    Their quantisation ``step`` is that of the latents they are ``seen_by`` unless it is given.
    """
    inputs = latent_inputs(step, seen_by).take(np.abs(latents).astype(np.intp), mode="clip")
    signed: Inputs = np.where(latents < 0, -inputs, inputs)
    return signed


def frame(band: NDArray[Any], step: int = UNIT, seen_by: int = UNIT) -> Inputs:
    """A band ``[h, w]`` of latents as :func:`signed_inputs`, in a frame of zeros."""
    return np.pad(signed_inputs(band, step, seen_by), FRAME)


def frame_differences(low: Fixed, step: int) -> Inputs:
    """The differences ``[5, h, w]`` of a low-pass picture ``[h, w]``, as signed network inputs.

    In the order of :data:`DIFFERENCES`, each in a frame in which the picture's edges are repeated.
    ``step`` is that of the latents that see them.
    """
    bounded = (4 * low // step).clip(-(1 << 24), 1 << 24).astype(np.int32)
    picture = np.pad(bounded, FRAME + 1, mode="edge")
    here, right, below = picture[1:-1, 1:-1], picture[1:-1, 2:], picture[2:, 1:-1]
    differences = np.stack(
        [
            right - here,
            below - here,
            picture[1:-1, :-2] - 2 * here + right,
            picture[:-2, 1:-1] - 2 * here + below,
            here - right - below + picture[2:, 2:],
        ]
    )
    inputs = DIFFERENCE_INPUTS.take(np.abs(differences), mode="clip")
    signed: Inputs = np.where(differences < 0, -inputs, inputs)
    return signed


@dataclass(frozen=True)
class View:
    """A framed array ``[h, w]`` as latents see it: they are 2^``octaves`` times as many each way.

    Or several ``[k, h, w]``. ``band`` says which band it is: so many levels above, its orientation
    and channel.
    """

    framed: Inputs
    octaves: int = 0
    band: tuple[int, int, int] = (0, 0, 0)

    def gather(self, rows: Places, columns: Places, *windows: Window) -> Inputs:
        """The values ``[F, n]`` around latents at ``rows`` and ``columns`` ``[n]``.

        There is a window for each array.
        """
        height, width = self.framed.shape[-2:]
        places = ((rows >> self.octaves) + FRAME) * width + ((columns >> self.octaves) + FRAME)
        offsets = np.array(
            [(k * height + y) * width + x for k, window in enumerate(windows) for y, x in window],
            np.intp,
        )
        values: Inputs = self.framed.reshape(-1).take(offsets[:, None] + places, mode="clip")
        return values


def spread(nonzero: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
    """Where any value of a ``window`` is true, in a framed array ``[h, w]``.

    The outer half of the frame is left out: it is false.
    """
    found = np.zeros_like(nonzero)
    edge = FRAME // 2
    inner = found[edge:-edge, edge:-edge]
    height, width = inner.shape
    for y, x in window:
        inner |= nonzero[edge + y : edge + y + height, edge + x : edge + x + width]
    return found
