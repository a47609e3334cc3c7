"""The bytes of a file, from a field's architecture and its tensors."""

from collections.abc import Mapping
from typing import Any

from ..coding import container
from ..coding.container import Stored
from ..coding.header import FIELDS, FIT, Header
from ..coding.tensors import store_payload
from .protocol import Config, Prepared


def assemble(
    prepared: Prepared,
    config: Config,
    stored: Mapping[str, Stored],
    *,
    steps: int,
    distortion: float,
) -> bytes:
    """The bytes of a file that holds the tensors ``stored`` of a field of architecture ``config``.

    Its header says that ``steps`` of training went into it, and that its ``distortion`` is this, in
    the medium's metric.
    """
    header = Header(
        medium=prepared.kind,
        facts=prepared.signal.facts,
        field=prepared.field,
        network=config.header_entries(),
        fit={
            "distortion": round(distortion, 4),
            "steps": steps,
            "teacher": prepared.plan.teacher_name if steps else "none",
            "seed": prepared.plan.seed,
        },
        metadata=prepared.metadata,
    )
    return container.dump(header, stored)


def overhead_bytes(
    kind: str, facts: dict[str, Any], metadata: Mapping[str, str] | None = None
) -> int:
    """The most bytes that a packed SIREN's file takes besides its payload."""
    network = dict(zip(FIELDS["siren"], (8192, 64, 1e8 / 3, 1e8 / 3), strict=True))
    fit = dict(zip(FIT, (-119.1234, 10**9, "int-proportional", 2**63), strict=True))
    header = Header(kind, facts, "siren", network, fit, dict(metadata or {}))
    return len(container.dump(header, store_payload(b""))) + 24  # the payload's own size, twice
