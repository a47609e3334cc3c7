"""INT's schedules: how many of the examples, and how often they are chosen afresh. A leaf."""

import math
import re
from typing import Literal

RatioSchedule = Literal["constant", "step", "linear", "cosine", "reverse-cosine"]

#: The paper's ratio at the end of ``reverse-cosine``.
REVERSE_END = 0.2


def ratio_at(schedule: RatioSchedule, progress: float, *, start: float) -> float:
    """Share of the examples to learn from, in (0, 1], at ``progress`` in [0, 1] (section 4 of INT).

    ``step`` climbs from ``start`` to 1 in ten stages; ``linear`` and ``cosine`` climb smoothly;
    ``reverse-cosine`` falls to 0.2.
    """
    if schedule == "step":
        return start + (1 - start) * min(int(progress * 10), 9) / 10
    if schedule == "linear":
        return start + (1 - start) * progress
    if schedule == "cosine":
        return 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "reverse-cosine":
        return REVERSE_END + (start - REVERSE_END) * (1 + math.cos(math.pi * progress)) / 2
    return start


def interval_at(schedule: str, progress: float) -> int:
    """Steps between two selections at ``progress`` in [0, 1].

    ``dense`` selects at every step. ``incremental`` does so for the first quarter of the fit, then
    every 10, 20, 30, 40 and 50 steps over five equal phases. ``decremental`` falls from 90 to 1
    over ten equal phases. ``every:N`` is constant; ``linear:A:B`` goes from A to B.

    Raises:
        ValueError: for a schedule that has no such name.
    """
    if schedule == "dense":
        return 1
    if schedule == "incremental":
        return 1 if progress < 0.25 else 10 * (1 + min(int((progress - 0.25) / 0.15), 4))
    if schedule == "decremental":
        return max(1, 90 - 10 * int(progress * 10))
    name, *counts = schedule.split(":")
    if all(re.fullmatch(r"0*[1-9][0-9]{0,8}", count) for count in counts):
        numbers = [int(count) for count in counts]
        if name == "every" and len(numbers) == 1:
            return numbers[0]
        if name == "linear" and len(numbers) == 2:
            return round(numbers[0] + (numbers[1] - numbers[0]) * progress)
    raise ValueError(f"not an interval schedule: {schedule!r}")
