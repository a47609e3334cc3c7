"""The smallest network that reaches a distortion asked for: two short fits, then one, at most two.

Decibels grow about as the logarithm of the number of weights, so a few points tell where to go.
"""

import math
from collections.abc import Callable

#: The share of a whole fit that a trial takes.
TRIAL = 0.08
#: Fits that a search takes at most, in whole ones.
COST = 2 + 2 * TRIAL
#: Decibels above the goal that are aimed at, and that are near enough not to fit again.
MARGIN, NEAR = 0.1, 0.5
#: What the last fit aims at above the margin, as a share of how far the one before it was off.
CARE = 0.2
#: The furthest step, in octaves of weights; the narrowest network tried.
FURTHEST, NARROWEST = 4.0, 4


def search(
    score: Callable[[int, float], float], *, start: int, widest: int, slope: float, late: float
) -> None:
    """Fit networks of several widths, the last one or two of them in whole.

    ``score`` fits a network of a width for a share of a whole fit, and returns by how many decibels
    it exceeds the goal. ``slope`` is what an octave of weights is expected to gain, ``late`` what
    a fit gains after the share of a trial.
    """

    def further(width: int, reached: float, margin: float = MARGIN) -> int:
        """The width to exceed the goal by ``margin``, where ``width`` did by ``reached``."""
        octaves = max(-FURTHEST, min(FURTHEST, (margin - reached) / slope))
        # even; weights grow as the square of the width
        return max(NARROWEST, min(widest, 2 * round(width * 2 ** (octaves / 2) / 2)))

    width, reached = start, score(start, TRIAL) + late
    second = further(width, reached)
    if second != width:
        value = score(second, TRIAL) + late
        octaves = 2 * math.log2(second / width)
        if abs(octaves) >= 0.5:  # of nearer ones the noise says more than the distance
            slope = max(slope / 2, min(slope * 2, (value - reached) / octaves))
        width, reached = second, value
    width = further(width, reached)
    reached = score(width, 1.0)
    again = further(width, reached, MARGIN + CARE * abs(reached))
    if not 0 <= reached <= NEAR and again != width:
        score(again, 1.0)
