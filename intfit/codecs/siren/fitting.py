"""The training of one SIREN on a medium, and its packing."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from ...coding import weights
from ...coding.container import PAYLOAD, Stored
from ...coding.tensors import Tensors, store_open, store_payload
from ...errors import FileFormatError, MediaError, UsageError
from ...networks.siren import Siren, set_parameters
from ...training.evaluation import MEASURE, evaluate, measure
from ...training.examples import Examples, examples_of
from ...training.quantisation import Steps, quantise
from ...training.session import Session, start_session, train, train_quantised
from ..assemble import assemble, overhead_bytes
from ..protocol import ADVICE, Encoding, Hooks, Prepared, WrapTeacher, goal_notes
from .packing import unpack

#: The share of the bytes allowed that parameters may take by their estimated bits, which may be a
#: little too few.
BIT_MARGIN = 0.995


def fit(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Train the SIREN of ``prepared`` and write its file.

    Raises:
        IntfitError: if training diverges, or the packed file cannot be as small as asked.
    """
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    hooks.enter("fitting")
    session = start_training(prepared, hooks.wrap_teacher)
    plan, network = prepared.plan, session.network
    if plan.profile == "packed":
        overhead, size = _overhead_of(prepared), plan.target_size
        bits = None if size is None else 8 * BIT_MARGIN * (size - overhead)
        steps, progress = train_quantised(
            session, plan, rd_lambda=plan.rd_lambda, max_bits=bits, on_progress=hooks.progress
        )
        hooks.enter("coding")
        stored = _pack(network, steps, size, overhead)
    else:
        progress = train(session, plan, on_progress=hooks.progress)
        stored = store_open(_copy_arrays(network), plan.precision)
    try:
        restored = unpack(stored, prepared.config)
    except FileFormatError:
        raise MediaError(
            f"the fit diverged, or left what {plan.precision} can hold: try a lower --lr"
        ) from None
    _set_arrays(network, restored)
    # measured after rounding: the distortion reported is that of the file
    examples, generator = session.examples, session.generator
    distortion = measure(network, examples, count=MEASURE, generator=generator)
    if examples.metric == "iou" and not distortion and not _has_inside(network, examples):
        raise MediaError("the fit found no surface: a higher --effort may, unless it is too thin")
    reached = None
    if plan.goal is not None:
        metric = plan.goal.metric
        reached = measure(network, examples, count=MEASURE, generator=generator, metric=metric)
    data = assemble(prepared, prepared.config, stored, steps=progress.step, distortion=distortion)
    return Encoding(
        data=data,
        config=prepared.config,
        network=f"SIREN {plan.width} x {plan.depth}, {progress.step} steps",
        distortion=distortion,
        reached=reached,
        steps=progress.step,
        seconds=progress.seconds,
        teacher=plan.teacher_name,
        notes=goal_notes(plan.goal, reached, advice=ADVICE),
    )


def _overhead_of(prepared: Prepared) -> int:
    """The most bytes of the file besides its payload."""
    return overhead_bytes(prepared.kind, prepared.signal.facts, prepared.metadata)


def start_training(prepared: Prepared, wrap_teacher: WrapTeacher | None = None) -> Session:
    """The SIREN of ``prepared``, freshly initialised, with its examples and teacher."""
    plan = prepared.plan
    network = Siren(prepared.config, generator=torch.Generator().manual_seed(plan.seed))
    examples = examples_of(prepared.signal, torch.device(prepared.device))
    session = start_session(network, examples, plan, prepared.device)
    if wrap_teacher is None:
        return session
    return replace(session, teacher=wrap_teacher(session.teacher, prepared, None))


def _has_inside(network: Siren, examples: Examples) -> bool:
    """Whether the field is negative at any example that lies inside the surface."""
    coords, targets = examples.gather(torch.arange(examples.n, device=_device_of(network)))
    return bool((evaluate(network, coords[targets[:, 0] < 0]) < 0).any())


def _device_of(network: Siren) -> torch.device:
    return next(network.parameters()).device


def _copy_arrays(network: Siren) -> Tensors:
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.named_parameters()}


def _set_arrays(network: Siren, tensors: Tensors) -> None:
    parameters: Mapping[str, torch.Tensor] = {
        name: torch.from_numpy(values) for name, values in tensors.items()
    }
    set_parameters(network, parameters)


def _pack(network: Siren, steps: Steps, size: int | None, overhead: int) -> dict[str, Stored]:
    """The payload of a network; coarser than ``steps`` where the file would exceed ``size``."""
    parameters = dict(network.named_parameters())
    while True:
        stored = store_payload(weights.pack(quantise(parameters, steps)))
        if size is None or overhead + len(stored[PAYLOAD].data) <= size:
            return stored
        if not any(steps.values()):
            raise UsageError(f"{size} bytes are too few for this network: give a smaller --depth")
        steps = {name: max(index - 1, 0) for name, index in steps.items()}
