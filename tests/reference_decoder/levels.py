"""The levels of a picture of latents, and how sizes of latents are distributed: 5 and 6.2."""

import decimal

from .coder import cumulative, precise


def level_count(height, width):
    count = 0
    while min(height, width) >> count >= 16:
        count += 1
    return count


def band_shapes(height, width):
    """For each level, the finest first, the sides of its bands: across, down, both."""
    found = []
    for _ in range(level_count(height, width)):
        tall, wide = (height + 1) // 2, (width + 1) // 2
        found.append([(tall, width // 2), (height // 2, wide), (height // 2, width // 2)])
        height, width = tall, wide
    return found


PASSES = [(0, 0), (1, 1), (0, 1), (1, 0)]
NORMS = [(1.0113, 1.0404), (0.9984, 0.9672), (1.0458, 1.0396), (1.0668, 1.0751), (1.0729, 1.0859)]


class Cache(dict):
    def __init__(self, make):
        self.make = make

    def __missing__(self, key):
        self[key] = self.make(key)
        return self[key]


def size_bounds(index):
    with precise():
        scale = (decimal.Decimal(2 * index + 1) / 8 - 5).exp()
        ratio = (-1 / scale).exp()
        reach = min(1000, int(12 * scale) + 2)
        weights = [int((1 << 40) * (1 - ratio) * ratio**m) for m in range(reach)]
        weights.append(int((1 << 40) * ratio**reach))
    return cumulative([max(weight, 1 << 18) for weight in weights]), reach


SIZE = Cache(size_bounds)
