"""Teachers decide which examples the next step learns from.

INT, Implicit Neural Teaching (Zhang et al., ICML 2024): evaluate the field on the examples, rank
them by discrepancy (absolute error summed over channels) and learn from the worst. Here in two
forms: ``top``, greedy and faithful to the paper, and ``proportional``, which draws small batches in
proportion to the discrepancy. Their rivals, ``full``, ``uniform``, ``evos`` and ``nint``, come
through the same door.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from ..plan import Plan
from .base import Around, Score, Teacher
from .evos import Evos
from .greedy import Nint, TopInt
from .plain import Full, Uniform
from .proportional import ProportionalInt

__all__ = [
    "Around", "Evos", "Full", "Nint", "ProportionalInt", "Score", "Teacher", "TopInt", "Uniform",
    "make_teacher",
]  # fmt: skip


def make_teacher(
    plan: Plan,
    n: int,
    *,
    shape: Sequence[int],
    generator: torch.Generator,
    importance: torch.Tensor | None = None,
) -> Teacher:
    """The teacher that ``plan`` names for ``n`` examples; draws on ``generator``'s device.

    ``shape`` is the grid they lie on in order, ``()`` where there is none; ``importance`` ``[n]``
    says how much each counts, which the default teacher alone asks.
    """
    if plan.teacher == "full":
        return Full(n, device=generator.device)
    if plan.teacher == "uniform":
        return Uniform(n, batch=plan.batch, generator=generator)
    kinds: dict[str, Callable[..., Teacher]] = {
        "int-top": TopInt,
        "int-proportional": partial(ProportionalInt, importance=importance),
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
