"""Teachers select the examples that the next training step learns from.

INT, Implicit Neural Teaching (Zhang et al., ICML 2024), evaluates the network on the examples,
ranks them by discrepancy (absolute error summed over channels) and learns from the worst. Here it
has two forms: ``top``, greedy as in the paper, and ``proportional``, which draws small batches in
proportion to the discrepancy. ``full``, ``uniform``, ``evos`` and ``nint`` are what it is compared
with, and have the same interface.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from ..plan import Plan
from .base import Score, Teacher, TeacherWrapper
from .evos import Evos
from .greedy import Nint, TopInt
from .plain import Full, Uniform
from .proportional import JointDraws, ProportionalInt

__all__ = [
    "Evos", "Full", "JointDraws", "Nint", "ProportionalInt", "Score", "Teacher", "TeacherWrapper",
    "TopInt", "Uniform", "make_teacher",
]  # fmt: skip


def make_teacher(
    plan: Plan,
    n: int,
    *,
    shape: Sequence[int],
    generator: torch.Generator,
    importance: torch.Tensor | None = None,
) -> Teacher:
    """The teacher that ``plan`` names, for ``n`` examples; it draws on ``generator``'s device.

    ``shape`` is the grid that the examples lie on in order, ``()`` where there is none.
    ``importance`` ``[n]`` says how much each counts; only the default teacher uses it.
    """
    if plan.teacher == "full":
        return Full(n, device=generator.device)
    if plan.teacher == "uniform":
        return Uniform(n, batch=plan.batch, generator=generator)
    kinds: dict[str, Callable[..., Teacher]] = {
        "int-top": TopInt,
        "int-proportional": partial(
            ProportionalInt, importance=importance, importance_power=plan.importance_power
        ),
        "evos": partial(Evos, shape=shape),
        "nint": Nint,
    }
    return kinds[plan.teacher_name](
        n,
        batch=plan.batch,
        start=plan.ratio,
        ratio_schedule=plan.ratio_schedule,
        interval_schedule=plan.interval_schedule,
        generator=generator,
    )
