"""SIRENs of several files that are trained at once, as one computation."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from ...signals import Grid
from ...training.together import JointTraining, can_join, finish_together
from ..protocol import Encoding, Hooks, Prepared
from .config import colours_of, distance_of
from .fitting import begin, fit_stepwise, start_training


def kin(prepared: Prepared) -> Hashable | None:
    """What those have in common that can be fitted with ``prepared``; None where none can.

    The architecture, and all of the plan but the steps between two selections and the bytes
    allowed, which each fit has for itself.
    """
    plan, signal = prepared.plan, prepared.signal
    if prepared.field != "siren" or colours_of(prepared.config) is not None:
        return None
    if distance_of(prepared.config).creases:
        return None
    if not can_join(plan, signal.n):
        return None
    plan = replace(plan, interval_schedule="", target_size=None)
    values = (len(signal.shape), signal.values.dtype.str) if isinstance(signal, Grid) else ()
    return prepared.kind, prepared.config, repr(plan), values, prepared.device


def fit_together(
    prepared: Sequence[Prepared], hooks: Sequence[Hooks]
) -> list[Encoding | Exception]:
    """Train SIRENs that are of one :func:`kin`, and write their files.

    As :func:`.fitting.fit` for each, with the same random numbers, but for the order in which a GPU
    adds up: results differ as little as those of two GPUs do. Of a fit that fails its error is
    returned; the others go on.
    """
    for one, own_hooks in zip(prepared, hooks, strict=True):
        begin(one, own_hooks)
    joint = JointTraining([start_training(one) for one in prepared], prepared[0].plan)
    given = zip(prepared, hooks, joint.sessions, strict=True)
    return finish_together(joint, [fit_stepwise(*each) for each in given])
