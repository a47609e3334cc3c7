"""The bytes of a file, from a field's architecture and its tensors."""

import math
from collections.abc import Mapping
from typing import Any

from ..coding import container
from ..coding.container import Stored
from ..coding.header import FIELDS, FIT, Header, shorten_fit
from ..coding.tensors import store_payload
from ..defaults import COLOUR_WEIGHTS
from ..networks.architecture import MAX_CREASES
from ..plan import Plan
from ..signals import Signal
from .protocol import Config, Prepared

#: The longest facts of a fit: a distortion, and what is measured of a surface.
LONGEST_DISTORTION, MEASURED = -119.1234, {"mean_distance": 12.345e-5, "trim": 10}
#: The most steps of a fit that is bounded by time.
MOST_STEPS = 10**9
#: Bytes for the digits of the payload's own size, which is told twice.
SIZE_DIGITS = 24


def assemble(
    prepared: Prepared,
    config: Config,
    stored: Mapping[str, Stored],
    *,
    steps: int,
    distortion: float,
    measured: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of a file that holds the tensors ``stored`` of a field of architecture ``config``.

    Its header says that ``steps`` of training went into it, and that its ``distortion`` is this, in
    the medium's metric. ``measured`` are facts of the medium that depend on the fit.
    """
    header = Header(
        medium=prepared.kind,
        facts=prepared.signal.facts | dict(measured or {}),
        field=prepared.field,
        network=config.header_entries(),
        fit=describe_fit(prepared.plan, steps, distortion),
        metadata=prepared.metadata,
    )
    return container.dump(header, stored)


def describe_fit(plan: Plan, steps: int, distortion: float) -> dict[str, Any]:
    """What a header says of a fit of so many ``steps``."""
    return shorten_fit(
        {
            "distortion": round(distortion, 4),
            "steps": steps,
            "teacher": plan.teacher_name if steps else "none",
            "seed": plan.seed,
        }
    )


def measure_overhead(
    kind: str,
    facts: dict[str, Any],
    metadata: Mapping[str, str],
    *,
    config: Config | None = None,
    plan: Plan | None = None,
) -> int:
    """The most bytes that a packed SIREN's file takes besides its payload.

    Where ``config`` and ``plan`` are given, of these networks and their fit; else of any.
    """
    networks = 1 if facts.get("texture") is None else 2
    sizes = (8192, 64, 1e8 / 3, 1e8 / 3) * networks
    network = dict(zip(FIELDS["siren"], sizes, strict=False))
    network |= {"creases": MAX_CREASES} if kind == "mesh" else {}
    network["neuron_steps"] = 1
    fit = dict(zip(FIT, (LONGEST_DISTORTION, MOST_STEPS, "int-proportional", 2**63), strict=True))
    if config is not None:
        network = config.header_entries()
    if plan is not None:
        steps = MOST_STEPS if plan.steps is None else plan.steps
        fit = describe_fit(plan, steps, LONGEST_DISTORTION)
    measured = MEASURED if kind == "mesh" else {}
    header = Header(kind, facts | measured, "siren", network, fit, dict(metadata))
    return len(container.dump(header, store_payload(b""))) + SIZE_DIGITS


def network_overhead(
    kind: str, signal: Signal, size: int | None, metadata: Mapping[str, str]
) -> int:
    """Bytes of a file of ``size`` that are not for the network of a medium's own values.

    Besides :func:`measure_overhead`, those of a surface's colours.
    """
    overhead = measure_overhead(kind, signal.facts, metadata)
    if size is None or getattr(signal, "colours", None) is None:
        return overhead
    return overhead + math.ceil((size - overhead) * COLOUR_WEIGHTS / (1 + COLOUR_WEIGHTS))
