"""Fewer triangles for the same surface: quadric edge collapses (Garland and Heckbert 1997)."""

import fast_simplification
import numpy as np

from .search import Surface

#: The library raises the error that it allows a collapse step by step, in absolute units. So much
#: larger than 1 a surface must be for the first steps to be small.
ENLARGEMENT = 100.0
#: Points on each of two surfaces that their distance is measured at.
POINTS = 1 << 14
#: A simplified surface is near enough to a tolerance at this share of it.
NEAR = 0.85
#: Counts that are tried at most; each time the fewest faces that a closed surface needs.
TRIALS, FEWEST = 6, 4


def simplify(surface: Surface, count: int) -> Surface:
    """The surface with about ``count`` faces, or all of its own where it has no more."""
    if len(surface.faces) <= max(count, FEWEST):
        return surface
    vertices, faces = fast_simplification.simplify(
        ENLARGEMENT * surface.vertices,
        surface.faces.astype(np.int32),
        target_count=max(count, FEWEST),
    )
    if len(faces) < FEWEST:  # collapsed into nothing
        return surface
    return Surface(vertices / ENLARGEMENT, faces)


def measure_deviation(one: Surface, other: Surface) -> float:
    """The mean distance between two surfaces: that of the points of each from the other, halved."""
    rng = np.random.default_rng(3)
    _, on_one = one.draw_points(POINTS, rng)
    _, on_other = other.draw_points(POINTS, rng)
    there, back = other.measure_distances(on_one), one.measure_distances(on_other)
    return float(there.mean() + back.mean()) / 2


def simplify_within(
    surface: Surface, tolerance: float, *, fewest: int = 0
) -> tuple[Surface, float]:
    """About the fewest faces whose mean distance from the surface is at most ``tolerance``.

    And that distance, 0 where nothing was simplified; but not below ``fewest`` faces. The number is
    searched for: on a smooth surface the distance falls in proportion to it.
    """
    best, reached = surface, 0.0
    low, high = FEWEST, len(surface.faces)
    if FEWEST < fewest < high:
        found = simplify(surface, fewest)
        deviation = measure_deviation(found, surface)
        if deviation <= tolerance:
            return found, deviation
        low = fewest
    count = max(high // 8, low + 1)
    for _ in range(TRIALS):
        if not low < count < high:
            break
        found = simplify(best, count)  # from fewer faces, which takes less time
        deviation = measure_deviation(found, surface)
        if deviation <= tolerance:
            best, reached, high = found, deviation, count
            if deviation >= NEAR * tolerance:
                break
        else:
            low = count
        # within the bounds that are known, and a little on the safe side
        guess = count * deviation / (0.93 * tolerance) if deviation > 0 else low
        count = int(np.clip(guess, low + (high - low) // 16, high - (high - low) // 16))
    return best, reached
