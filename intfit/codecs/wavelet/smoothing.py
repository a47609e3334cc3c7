"""What filters that keep edges would add to a picture: inputs of the decoder network's last layer.

A small network cannot multiply or divide what it sees, as these filters do: the guided filter (He,
Sun and Tang 2010) and non-local means (Buades, Coll and Morel 2005).
"""

import numpy as np

from ...signals import Floats

#: Guided filters: guide, channels that are filtered, radius in pixels, and the variance, in squared
#: steps, up to which the guide is taken for flat.
GUIDED: tuple[tuple[int, tuple[int, ...], int, float], ...] = (
    (0, (1, 2), 1, 0.1),
    (0, (1, 2), 2, 0.02),
    (0, (1, 2), 5, 0.1),
    (0, (0,), 1, 0.3),
    (0, (0,), 1, 0.05),
    (0, (0,), 3, 0.3),
    (1, (1,), 2, 0.1),
    (2, (2,), 2, 0.1),
)
#: Non-local means: how far pixels are compared, and the mean squared differences, in squared steps,
#: of 3 x 3 pixels from which they are taken to have nothing in common.
SEARCHED, DIFFERENCES = 3, (1.0, 0.3)
#: How far a result sees, in pixels; the magnitude that results are clipped to, in steps.
HALO = 10
MAX_SMOOTHING = 8.0


def smooth(picture: Floats) -> Floats:
    """What filters would add to a picture ``[H, W, 3]`` in steps: ``[H, W, SMOOTHINGS]``."""
    planes: Floats = np.ascontiguousarray(np.moveaxis(picture, -1, 0))
    found: list[Floats] = []
    for guide, filtered, radius, flat in GUIDED:
        found += _filter_guided(planes, guide, filtered, radius, flat)
    found += _average_alike(planes)
    result = np.stack(found, axis=-1)
    return result.clip(-MAX_SMOOTHING, MAX_SMOOTHING, out=result)


def _average(values: Floats, radius: int) -> Floats:
    """The means of squares of 2 ``radius`` + 1 pixels of ``[H, W]``; edges are continued."""
    height, width = values.shape
    framed = np.pad(values, radius, mode="edge")
    rows = framed[:, :width].copy()
    for offset in range(1, 2 * radius + 1):
        rows += framed[:, offset : offset + width]
    total = rows[:height].copy()
    for offset in range(1, 2 * radius + 1):
        total += rows[offset : offset + height]
    total *= np.float32(1 / (2 * radius + 1) ** 2)
    return total


def _filter_guided(
    planes: Floats, guide: int, filtered: tuple[int, ...], radius: int, flat: float
) -> list[Floats]:
    """By how much a guided filter changes each of the ``filtered`` channels of ``[3, H, W]``."""
    seen = planes[guide]
    mean = _average(seen, radius)
    variance = _average(seen * seen, radius) - mean * mean
    variance += np.float32(flat)
    found = []
    for channel in filtered:
        values = planes[channel]
        own_mean = mean if channel == guide else _average(values, radius)
        slope: Floats = _average(seen * values, radius) - mean * own_mean
        slope /= variance
        offset = own_mean - slope * mean
        result = _average(slope, radius) * seen
        result += _average(offset, radius)
        result -= values
        found.append(result)
    return found


def _average_alike(planes: Floats) -> list[Floats]:
    """By how much means over pixels whose surroundings are alike differ from ``[3, H, W]``.

    Alike in the first channel. For each of :data:`DIFFERENCES`, three channels.
    """
    _, height, width = planes.shape
    totals = [np.zeros_like(planes) for _ in DIFFERENCES]
    weights = [np.ones((height, width), np.float32) for _ in DIFFERENCES]
    places = [(y, x) for y in range(SEARCHED + 1) for x in range(-SEARCHED, SEARCHED + 1)]
    for y, x in places:
        if (y, x) <= (0, 0) or y >= height or abs(x) >= width:
            continue  # each pair once
        here = slice(0, height - y), slice(max(0, -x), width - max(0, x))
        there = slice(y, height), slice(max(0, x), width - max(0, -x))
        difference: Floats = planes[:, *there] - planes[:, *here]
        distance = _average(np.square(difference[0]), 1)
        for bound, total, sum_of_weights in zip(DIFFERENCES, totals, weights, strict=True):
            weight = np.float32(1) - distance * np.float32(1 / bound)
            np.maximum(weight, 0, out=weight)
            weight *= weight
            weighted = difference * weight
            total[:, *here] += weighted
            total[:, *there] -= weighted
            sum_of_weights[here] += weight
            sum_of_weights[there] += weight
    return [
        plane for total, weight in zip(totals, weights, strict=True) for plane in total / weight
    ]
