"""The fit of a small SIREN that stands beside the field of a surface, taught as that would be."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..coding.weights import QuantisedTensor
from ..networks.architecture import SirenConfig
from ..plan import Plan, make_plan
from ..settings import Settings
from ..signals import DistanceSamples, TrimSamples

if TYPE_CHECKING:
    from ..teachers import Teacher
    from ..training.session import OnProgress


def settings_of(plan: Plan, *, width: int, steps: int) -> Settings:
    """The settings of a fit with the teacher and the seed of a file's ``plan``."""
    own = Settings(width=width, steps=steps, teacher=plan.teacher, seed=plan.seed)
    return replace(own, selection=plan.selection) if plan.teacher == "int" else own


def fit_small_siren(
    samples: DistanceSamples | TrimSamples,
    architecture: SirenConfig,
    settings: Settings,
    kind: str,
    *,
    wrap_teacher: "Callable[[Teacher], Teacher] | None" = None,
    on_progress: "OnProgress | None" = None,
) -> tuple[dict[str, QuantisedTensor], int]:
    """The parameters of a SIREN for ``samples``, and the steps of its training.

    ``kind`` names its defaults. By one thread of the CPU, so that it is the same everywhere.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
    """
    import torch

    from ..devices import limit_threads
    from ..networks.siren import Siren
    from ..training.examples import examples_of
    from ..training.quantisation import quantise
    from ..training.session import start_session, train_quantised

    plan = make_plan(settings, kind=kind, n=samples.n, features=(3, 1))
    with limit_threads(1):
        network = Siren(architecture, generator=torch.Generator().manual_seed(plan.seed))
        session = start_session(network, examples_of(samples, torch.device("cpu")), plan, "cpu")
        if wrap_teacher is not None:
            session = replace(session, teacher=wrap_teacher(session.teacher))
        steps, progress = train_quantised(
            session, plan, rd_lambda=plan.rd_lambda, restarts=False, on_progress=on_progress
        )
    return quantise(dict(network.named_parameters()), steps), progress.step
