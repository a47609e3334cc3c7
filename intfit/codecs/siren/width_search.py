"""The search for the narrowest SIREN that reaches a goal: two short trials, then one or two fits.

Decibels of PSNR or SNR grow about linearly with the logarithm of the number of weights: from a few
fits, the width that reaches a goal is extrapolated.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from ...defaults import MEDIUM_DEFAULTS, SECONDS, widest_network
from ...plan import make_plan
from ..protocol import Encoding, Hooks, Prepared
from .config import configure, distance_of
from .fitting import fit

#: The share of a whole fit's steps or seconds that a trial takes.
TRIAL_SHARE = 0.08
#: The most time that a search takes, in whole fits.
SEARCH_COST = 2 + 2 * TRIAL_SHARE
#: Decibels above the goal that are aimed at, and that are near enough not to fit again.
MARGIN, NEAR = 0.1, 0.5
#: The last fit aims higher by this share of the decibels by which the one before was off.
MISS_SHARE = 0.2
#: The furthest that one fit goes from the last, in octaves of weights; the narrowest network tried,
#: in neurons.
MAX_OCTAVES, NARROWEST = 4.0, 4


def search_width(prepared: Prepared, hooks: Hooks) -> Encoding:
    """The smallest file that reaches the goal of ``prepared``; the best one where none does.

    Raises:
        IntfitError: if training diverges.
    """
    settings, goal = prepared.settings, prepared.plan.goal
    defaults, signal = MEDIUM_DEFAULTS[prepared.kind], prepared.signal
    assert goal is not None
    whole: list[tuple[float, Encoding]] = []  # margins above the goal, and the fits
    seconds = 0.0

    def fit_width(width: int, share: float) -> float:
        """Fit a width for a share of a whole fit; its margin above the goal, in dB."""
        nonlocal seconds
        narrowed = replace(settings, width=width)
        features = signal.in_features, signal.out_features
        plan = make_plan(narrowed, kind=prepared.kind, n=signal.n, features=features)
        steps, max_time = plan.steps, plan.max_time
        if steps is not None and prepared.plan.steps is not None:
            # a narrow network could use more steps, at twice the time
            steps = min(steps, prepared.plan.steps)
        plan = replace(
            plan,
            steps=None if steps is None else max(1, round(steps * share)),
            max_time=None if max_time is None else max_time * share / SEARCH_COST,
            stops_at_goal=False,
            profile="open" if share < 1 else settings.profile,
        )
        config = configure(signal, plan, narrowed)
        if share < 1:  # the goal is not about colours
            config = distance_of(config)
        encoding = fit(replace(prepared, settings=narrowed, plan=plan, config=config), hooks)
        assert encoding.reached is not None
        seconds += encoding.seconds
        margin = goal.margin(encoding.reached)
        if share == 1:
            whole.append((margin, encoding))
        return margin

    allowed = settings.max_time / SEARCH_COST if settings.max_time else SECONDS[settings.effort]
    widest = widest_network(defaults, prepared.plan.depth, allowed)
    search(
        fit_width,
        start=min(prepared.plan.width, widest),
        widest=widest,
        octave_gain=defaults.octave_gain,
        late_gain=defaults.late_gain,
    )
    reaching = [encoding for margin, encoding in whole if margin >= 0]
    best = max(whole, key=lambda pair: pair[0])[1]
    if reaching:
        best = min(reaching, key=lambda encoding: len(encoding.data))
    return replace(best, seconds=seconds)


def search(
    fit_width: Callable[[int, float], float],
    *,
    start: int,
    widest: int,
    octave_gain: float,
    late_gain: float,
) -> None:
    """Fit networks of several widths, the last one or two of them in whole.

    ``fit_width`` fits a width for a share of a whole fit and returns its margin above the goal in
    dB. Doubling the weights is expected to gain ``octave_gain`` dB, and the part of a fit that a
    trial leaves out ``late_gain`` dB.
    """

    def next_width(width: int, margin: float, aim: float = MARGIN) -> int:
        """The width to exceed the goal by ``aim``, where ``width`` does by ``margin``."""
        octaves = max(-MAX_OCTAVES, min(MAX_OCTAVES, (aim - margin) / octave_gain))
        # even; weights grow as the square of the width
        return max(NARROWEST, min(widest, 2 * round(width * 2 ** (octaves / 2) / 2)))

    width, margin = start, fit_width(start, TRIAL_SHARE) + late_gain
    second = next_width(width, margin)
    if second != width:
        value = fit_width(second, TRIAL_SHARE) + late_gain
        octaves = 2 * math.log2(second / width)
        if abs(octaves) >= 0.5:  # between nearer ones, noise is most of the difference
            measured = (value - margin) / octaves
            octave_gain = max(octave_gain / 2, min(octave_gain * 2, measured))
        width, margin = second, value
    width = next_width(width, margin)
    margin = fit_width(width, 1.0)
    again = next_width(width, margin, MARGIN + MISS_SHARE * abs(margin))
    if not 0 <= margin <= NEAR and again != width:
        fit_width(again, 1.0)
