"""What filters that keep edges would add to a picture: section 6.5.1."""

import numpy as np

#: Guide, filtered channels, radius, variance of what is flat.
GUIDED = [
    (0, (1, 2), 1, 0.1), (0, (1, 2), 2, 0.02), (0, (1, 2), 5, 0.1), (0, (0,), 1, 0.3),
    (0, (0,), 1, 0.05), (0, (0,), 3, 0.3), (1, (1,), 2, 0.1), (2, (2,), 2, 0.1),
]  # fmt: skip


def mean(plane, radius):
    """Means of squares, edges continued."""
    rows, columns = plane.shape
    y = np.clip(np.arange(-radius, rows + radius), 0, rows - 1)
    x = np.clip(np.arange(-radius, columns + radius), 0, columns - 1)
    sums = np.pad(plane[y][:, x].cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    size = 2 * radius + 1
    box = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return box / size**2


def guided(guide, plane, radius, flat):
    """The guided filter."""
    covariance = mean(guide * plane, radius) - mean(guide, radius) * mean(plane, radius)
    variance = mean(guide**2, radius) - mean(guide, radius) ** 2
    a = covariance / (variance + flat)
    b = mean(plane, radius) - a * mean(guide, radius)
    return mean(a, radius) * guide + mean(b, radius)


def non_local(planes, bound):
    """What means over pixels with like surroundings add to ``[3, H, W]``."""
    _, height, width = planes.shape
    total, weights = np.zeros_like(planes), np.ones((height, width))
    for y in range(4):
        for x in range(-3, 4):
            if y == 0 and x <= 0:
                continue
            first = [(r, c) for r in (0, height - y) for c in (max(0, -x), width - max(0, x))]
            (top, left), (_, right), (bottom, _), _ = first
            if bottom <= top or right <= left:
                continue
            here = planes[:, top:bottom, left:right]
            change = planes[:, top + y : bottom + y, left + x : right + x] - here
            weight = np.maximum(0, 1 - mean(change[0] ** 2, 1) / bound) ** 2
            total[:, top:bottom, left:right] += weight * change
            total[:, top + y : bottom + y, left + x : right + x] -= weight * change
            weights[top:bottom, left:right] += weight
            weights[top + y : bottom + y, left + x : right + x] += weight
    return total / weights


def smoothings(picture):
    """All 17 of a picture ``[H, W, 3]`` in steps, ``[H, W, 17]``."""
    planes = np.moveaxis(picture, -1, 0)
    found = [
        guided(planes[guide], planes[channel], radius, flat) - planes[channel]
        for guide, channels, radius, flat in GUIDED
        for channel in channels
    ]
    for bound in (1, 0.3):
        found += list(non_local(planes, bound))
    return np.clip(np.stack(found, axis=-1), -8, 8)
