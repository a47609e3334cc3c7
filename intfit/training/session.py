"""A network, the examples it learns from and its teacher, set up and trained: one way for all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ..errors import MediaError
from ..networks.siren import Siren
from ..plan import Plan
from ..teachers import Teacher, make_teacher
from .examples import Examples
from .loop import Progress, fit
from .quantisation import Rounding, Steps, choose_steps

#: Told where training stands, now and then.
OnProgress = Callable[[Progress], None]


class DivergedError(MediaError):
    """Training left what a number can hold."""


@dataclass(frozen=True)
class Session:
    """All that training works on, on one device.

    ``generator`` draws the examples that quality is measured on: apart from the teacher's draws,
    so that showing progress does not change what is learnt.
    """

    network: Siren
    examples: Examples
    teacher: Teacher
    generator: torch.Generator


def start_session(network: Siren, examples: Examples, plan: Plan, device: str) -> Session:
    """Move the network to ``device``, where the examples are, and make the teacher of ``plan``.

    The network's initial parameters were drawn on the CPU, so that they are the same everywhere.
    """
    on = torch.device(device)
    teacher = make_teacher(
        plan,
        examples.n,
        shape=examples.shape,
        generator=torch.Generator(on).manual_seed(plan.seed),
        importance=examples.importance,
    )
    generator = torch.Generator(on).manual_seed(plan.seed + 1)
    return Session(network.to(on), examples, teacher, generator)


def train(session: Session, plan: Plan, *, on_progress: OnProgress | None = None) -> Progress:
    """Train in float32 to the end of the plan; where training stands then."""
    return _last(
        fit(session.network, session.examples, session.teacher, plan, generator=session.generator),
        on_progress,
    )


def train_quantised(
    session: Session,
    plan: Plan,
    *,
    rd_lambda: float,
    max_bits: float | None = None,
    restarts: bool = True,
    on_progress: OnProgress | None = None,
) -> tuple[Steps, Progress]:
    """Train, the last stretch through rounding; the quantisation steps, and where training stands.

    The steps trade distortion for bits at ``rd_lambda`` nepers a bit a parameter, or are the finest
    under which all parameters take ``max_bits``. A fit that stalls starts over if it ``restarts``.

    Raises:
        DivergedError: if a parameter is not a number any more.
    """
    network = session.network
    chosen: list[Rounding] = []

    def choose_rounding() -> Rounding:
        refuse_divergence(network)
        network.wrap_phases()
        steps = choose_steps(
            network,
            session.examples,
            rd_lambda=rd_lambda,
            generator=session.generator,
            max_bits=max_bits,
        )
        chosen.append(Rounding(network, steps))
        return chosen[-1]

    last = _last(
        fit(
            network,
            session.examples,
            session.teacher,
            plan,
            generator=session.generator,
            settle=choose_rounding,
            restarts=restarts,
        ),
        on_progress,
    )
    refuse_divergence(network)
    return (chosen[-1] if chosen else choose_rounding()).steps, last


def refuse_divergence(network: Siren) -> None:
    """Raise DivergedError where a parameter is not a number any more."""
    if not all(bool(tensor.isfinite().all()) for tensor in network.parameters()):
        raise DivergedError("the fit diverged: try a lower --lr")


def _last(stages: Iterator[Progress], on_progress: OnProgress | None) -> Progress:
    """The last report of progress, all of them passed on."""
    progress = None
    for progress in stages:
        if on_progress is not None:
            on_progress(progress)
    assert progress is not None  # training reports once at least
    return progress
