"""The search for a file of refined latents that is as large, or as good, as was asked."""

import math
from collections.abc import Callable

from ....coding.steps import COARSEST_LATENT_STEP, FINEST_LATENT_STEP
from ....settings import Goal
from ...latent_steps import Candidate
from .. import payload
from ..config import WaveletConfig
from .encoder import Encoder, RefinedFile
from .refined import USUAL_SHARE

#: How far the PSNR of refined latents, with networks, usually is above that of the latents before.
USUAL_GAIN = -0.3
#: How much the bytes, in nepers, and the PSNR, in dB, usually grow from one step to the next.
BYTES_A_STEP, GAIN_A_STEP = 0.03, 0.2
#: By how much less or more than a size, as a share of it, a file is filled up or cut to it. Cutting
#: costs more than the bytes are worth, so little of that.
MOST_FILLED, MOST_CUT = 0.03, 0.01
#: The share of a size that may stay unused once it is filled up.
UNUSED = 0.01
#: How often latents are refined to fit a size, and to reach a goal.
SIZE_TRIES, GOAL_TRIES = 2, 3
#: How often a search for a step follows how what it measures usually grows.
LOOKS = 6
#: How often a file is filled up or cut, and latents are coded each time.
FITS, CODINGS = 3, 6
#: How fast the bytes fall, in nepers, with the bias that latents are rounded with; and the largest.
BYTES_A_BIAS, LARGEST_BIAS = 3.3, 0.3
#: How near above a goal a search ends, in dB.
NEAR = 0.15

File = Candidate[WaveletConfig]


def find_refined(encoder: Encoder) -> File | None:
    """The file that the plan asks for, with refined latents; None if that is none."""
    plan, first = encoder.prepared.plan, encoder.prepared.config.step
    goal, size = plan.goal, plan.target_size
    if size is not None and plan.profile == "open":
        return None  # of any latents, it has the same size
    if size is None and goal is None:
        return encoder.refine(first).best
    finest = first if goal is not None and plan.stops_at_goal else FINEST_LATENT_STEP
    filled = None
    if size is not None:
        filled = _fill(encoder, size)
        if filled is None or goal is None or goal.margin(filled.distortion) < 0:
            return filled
        finest = min(finest, filled.config.step)
    assert goal is not None
    reached = _reach(encoder, goal, finest)
    if size is not None and (reached is None or len(reached.data) > size):
        return filled
    return reached


def _find_finest(measure: Callable[[int], float], most: float, first: int) -> int:
    """The finest step whose ``measure`` is at most ``most``; below the coarsest if none is.

    ``measure`` grows by about 1 from one step to the next: where the next look goes follows from
    that, and by bisection where it does not.
    """
    low, step, high, looks = COARSEST_LATENT_STEP - 1, first, FINEST_LATENT_STEP + 1, 0
    while high - low > 1:
        over = measure(step) - most
        low, high, looks = (low, step, looks + 1) if over > 0 else (step, high, looks + 1)
        guess = step - math.ceil(over) if looks < LOOKS else (low + high) // 2
        step = min(max(guess, low + 1), high - 1)
    return low


def _fill(encoder: Encoder, size: int) -> File | None:
    """A file of at most ``size`` bytes that leaves little of them unused; None if none was found.

    Refined latents take fewer bytes. By how much is seen at a first step, and used at the next.
    """
    share, step, files = USUAL_SHARE, encoder.prepared.config.step, dict[int, RefinedFile]()
    for tries in reversed(range(1, 1 + SIZE_TRIES)):
        room = math.log(size / share) / BYTES_A_STEP
        step = _find_finest(
            lambda step: math.log(encoder.estimate(step).size) / BYTES_A_STEP, room, step
        )
        if step < COARSEST_LATENT_STEP or step in files:
            break
        files[step] = encoder.refine(step, tries)
        taken = len(files[step].best.data)
        if size * (1 - MOST_FILLED) <= taken <= size * (1 + MOST_CUT):
            break
        share = taken / encoder.estimate(step).size
    for file in reversed(files.values()):
        if (fitted := _fit(encoder, file, size)) is not None:
            return fitted
    return None


def _fit(encoder: Encoder, file: RefinedFile, size: int) -> File | None:
    """A file of at most ``size`` bytes, of latents that were refined and are rounded otherwise."""
    best: File | None = None
    bias = 0.0
    for left in reversed(range(FITS)):
        within = [candidate for candidate in file.candidates if len(candidate.data) <= size]
        if within and (best is None or len(within[0].data) > len(best.data)):
            best = within[0]
        if not left or (within and len(within[0].data) >= size * (1 - UNUSED)):
            break
        others = len(file.best.data) - file.coded
        found = _find_bias(file, size - others, bias)
        if found is None:
            break
        bias = found
        file = encoder.round_refined(file.config, file.coarsest, file.refined, bias)
    return best


def _find_bias(file: RefinedFile, most: int, first: float) -> float | None:
    """The bias at which the latents of a file take at most ``most`` bytes, and little fewer.

    The ``first`` is tried first. None if none was found.
    """
    if not file.refined.steps or most <= 0:
        return None
    low, bias, high, found = -LARGEST_BIAS, first, LARGEST_BIAS, None
    for _ in range(CODINGS):
        levels = file.refined.round(bias)
        taken = len(payload.code(file.coarsest, levels, file.config).coded)
        if taken <= most:
            high, found = bias, bias
            if taken >= most * (1 - UNUSED / 2):
                break
        else:
            low = bias
        aim = math.log(max(taken, 1) / (most * (1 - UNUSED / 4)))
        guess = bias + aim / BYTES_A_BIAS
        bias = guess if low < guess < high else (low + high) / 2
    return found


def _reach(encoder: Encoder, goal: Goal, finest: int) -> File | None:
    """The smallest file found that reaches ``goal``, at a step no finer than ``finest``.

    None if none does. Where the goal is beyond ``finest``, the file at that step.
    """
    gain, step, files = USUAL_GAIN, encoder.prepared.config.step, dict[int, File]()
    low, high = COARSEST_LATENT_STEP - 1, finest + 1  # steps that reach it lie between
    for tries in reversed(range(1, 1 + GOAL_TRIES)):
        below = (goal.value - gain) / GAIN_A_STEP - 1e-9
        step = 1 + _find_finest(
            lambda step: encoder.estimate(step).distortion / GAIN_A_STEP, below, step
        )
        step = min(step, finest)
        if not low < step < high:
            step = (low + high + 1) // 2
        if step in (low, high, *files):
            break
        files[step] = encoder.refine(step, tries).best
        margin = goal.margin(files[step].distortion)
        if 0 <= margin <= NEAR or (margin < 0 and step == finest):
            break
        low, high = (step, high) if margin < 0 else (low, step)
        gain = files[step].distortion - encoder.estimate(step).distortion
    reaching = [file for file in files.values() if goal.margin(file.distortion) >= 0]
    if reaching:
        return min(reaching, key=lambda file: len(file.data))
    return files.get(finest)
