"""A start for the first layer of a SIREN: the waves of the picture that it will fit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..signals import Grid

#: A frequency is drawn in proportion to its amplitude to this power, then multiplied by the factor:
#: the layers that follow make higher ones of it.
POWER, FACTOR = 1.5, 0.5
#: Larger pictures are averaged in blocks until their longest side is at most this.
LONGEST = 512


class Waves(NamedTuple):
    """Frequencies ``[n, 2]``, (y, x), in radians per unit of the coordinates; phases ``[n]``."""

    frequencies: NDArray[np.float32]
    phases: NDArray[np.float32]


def draw_waves(picture: Grid, count: int, rng: np.random.Generator) -> Waves:
    """Draw ``count`` waves: frequencies of the picture, each twice, a quarter of a period apart.

    They spread evenly over the cumulated spectrum, so that each stands for a share of it. With two
    at right angles, the next layer can move a wave anywhere. A picture of one colour has no
    frequencies: all are 0.
    """
    pairs = -(-count // 2)
    block = min(-(-max(picture.shape) // LONGEST), *picture.shape)
    sides = np.array(picture.shape) // block * block
    spectrum = _measure_spectrum(picture, block) ** POWER
    total = np.cumsum(spectrum, dtype=np.float64)
    if not total[-1]:
        return Waves(np.zeros((count, 2), np.float32), np.zeros(count, np.float32))
    shares = (np.arange(pairs) + rng.random(pairs)) / pairs
    chosen = np.searchsorted(total, shares * total[-1], side="right").clip(max=total.size - 1)
    rows, columns = np.unravel_index(chosen, spectrum.shape)
    rows = np.where(rows > spectrum.shape[0] // 2, rows - spectrum.shape[0], rows)
    # in cycles of the sides that were measured; the longest of the picture is 2 units long
    cycles = np.stack([rows, columns], axis=1)
    radians = np.pi * FACTOR * cycles * max(picture.shape) / sides
    phases = rng.uniform(-np.pi, np.pi, pairs)[:, None] + [0, np.pi / 2]
    return Waves(
        np.repeat(radians, 2, axis=0)[:count].astype(np.float32),
        phases.flatten()[:count].astype(np.float32),
    )


def _measure_spectrum(picture: Grid, block: int) -> NDArray[np.float32]:
    """Amplitudes ``[h, w // 2 + 1]`` of all frequencies but 0, over all channels together.

    The picture is averaged in blocks of ``block`` by ``block`` pixels first.
    """
    height, width = (size // block * block for size in picture.shape)
    values = picture.values.reshape(*picture.shape, -1)[:height, :width]
    power = np.zeros((height // block, width // block // 2 + 1), dtype=np.float32)
    window = np.hanning(height // block + 2)[1:-1, None] * np.hanning(width // block + 2)[1:-1]
    for channel in np.moveaxis(values, -1, 0):
        blocks = channel.reshape(height // block, block, width // block, block)
        means = blocks.mean(axis=(1, 3), dtype=np.float32)
        power += np.square(np.abs(np.fft.rfft2((means - means.mean()) * window)))
    power[0, 0] = 0
    return np.sqrt(power)
