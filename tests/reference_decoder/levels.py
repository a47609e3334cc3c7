"""The levels of a picture of latents: section 5."""


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
