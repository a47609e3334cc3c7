"""A network, its examples and its teacher, set up and trained: one way for all that is trained."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..errors import MediaError
from ..networks.siren import Siren
from ..plan import Plan
from ..teachers import Teacher, make_teacher
from .examples import Examples
from .loop import IsPromising, Progress, fit
from .quantisation import Rounding, Steps, choose_steps
from .step import Trainer

#: Told where training stands, now and then.
OnProgress = Callable[[Progress], None]

T = TypeVar("T")
#: Work that stops after every training step, where others may go on, and gives its result at last.
Stepwise = Generator[None, None, T]


class DivergedError(MediaError):
    """A parameter is no longer a finite number."""


@dataclass(frozen=True)
class Session:
    """All that training works on, on one device.

    ``generator`` draws the examples that distortion is measured on. It is not the teacher's, so
    that measuring does not change what the network learns. ``trainer`` makes the steps; None: one
    that is made for it.
    """

    network: Siren
    examples: Examples
    teacher: Teacher
    generator: torch.Generator
    trainer: Trainer | None = None


def start_session(network: Siren, examples: Examples, plan: Plan, device: str) -> Session:
    """Move ``network`` to ``device``, where ``examples`` are, and make the teacher of ``plan``.

    The network's initial parameters were drawn on the CPU, so that they are the same everywhere.
    """
    torch_device = torch.device(device)
    teacher = make_teacher(
        plan,
        examples.n,
        shape=examples.shape,
        generator=torch.Generator(torch_device).manual_seed(plan.seed),
        importance=examples.importance,
    )
    generator = torch.Generator(torch_device).manual_seed(plan.seed + 1)
    return Session(network.to(torch_device), examples, teacher, generator)


def finish(work: Stepwise[T]) -> T:
    """Do all of the work; its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def train(
    session: Session,
    plan: Plan,
    *,
    on_progress: OnProgress | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Progress:
    """Train in float32 to the end of the plan; the last report of progress.

    ``now`` counts the seconds; they do not pass while ``on_progress`` runs.
    """
    return finish(train_stepwise(session, plan, on_progress=on_progress, now=now))


def train_stepwise(
    session: Session,
    plan: Plan,
    *,
    on_progress: OnProgress | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Stepwise[Progress]:
    """As :func:`train`, step by step."""
    reports = fit(
        session.network,
        session.examples,
        session.teacher,
        plan,
        generator=session.generator,
        trainer=session.trainer,
        now=now,
    )
    return _follow(reports, on_progress)


def train_quantised(
    session: Session,
    plan: Plan,
    *,
    rd_lambda: float,
    max_bits: float | None = None,
    by_neuron: bool = False,
    restarts: bool = True,
    is_promising: IsPromising | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Steps, Progress]:
    """Train, in the last stretch with rounded parameters.

    Returns the quantisation steps and the last report of progress. The steps trade distortion for
    rate at ``rd_lambda`` nepers for a bit a parameter, or are the finest with which all parameters
    take ``max_bits``; they may differ ``by_neuron``. A fit that stalls starts over if it
    ``restarts``.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
        GaveUpError: where ``is_promising`` says no.
    """
    return finish(
        train_quantised_stepwise(
            session,
            plan,
            rd_lambda=rd_lambda,
            max_bits=max_bits,
            by_neuron=by_neuron,
            restarts=restarts,
            is_promising=is_promising,
            on_progress=on_progress,
        )
    )


def train_quantised_stepwise(
    session: Session,
    plan: Plan,
    *,
    rd_lambda: float,
    max_bits: float | None = None,
    by_neuron: bool = False,
    restarts: bool = True,
    is_promising: IsPromising | None = None,
    on_progress: OnProgress | None = None,
) -> Stepwise[tuple[Steps, Progress]]:
    """As :func:`train_quantised`, step by step."""
    network = session.network
    rounding: Rounding | None = None

    def choose_rounding() -> Rounding:
        nonlocal rounding
        refuse_divergence(network)
        network.wrap_phases()
        steps = choose_steps(
            network,
            session.examples,
            rd_lambda=rd_lambda,
            generator=session.generator,
            max_bits=max_bits,
            by_neuron=by_neuron,
        )
        rounding = Rounding(network, steps)
        return rounding

    reports = fit(
        network,
        session.examples,
        session.teacher,
        plan,
        generator=session.generator,
        trainer=session.trainer,
        choose_rounding=choose_rounding,
        is_promising=is_promising,
        restarts=restarts,
    )
    progress = yield from _follow(reports, on_progress)
    refuse_divergence(network)
    return (rounding or choose_rounding()).steps, progress


def refuse_divergence(network: Siren) -> None:
    """Raise DivergedError where a parameter is no longer a finite number."""
    if not all(bool(tensor.isfinite().all()) for tensor in network.parameters()):
        raise DivergedError("the fit diverged: try a lower --lr")


def _follow(
    reports: Iterator[Progress | None], on_progress: OnProgress | None
) -> Stepwise[Progress]:
    """Train to the end, passing on every report; the last one."""
    last = None
    for progress in reports:
        if progress is None:
            yield
            continue
        last = progress
        if on_progress is not None:
            on_progress(progress)
    assert last is not None  # there is one at the end at least
    return last
