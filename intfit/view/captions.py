"""A caption: bytes, rate, quality, field, network and teacher in words."""

from typing import Any

from ..jobs.phrases import (
    describe_medium,
    describe_quality,
    describe_rate,
    describe_teacher,
    format_size,
    name_metric,
    round_digits,
)
from ..media import medium

#: What a page calls each kind of field, and of medium.
FIELDS = {"siren": "a SIREN", "latent": "latents", "palette": "a palette and its indices"}
NAMES = {"image": "picture", "audio": "recording", "mesh": "surface"}


def make_caption(
    found: dict[str, Any], measured: dict[str, float | None] | None
) -> list[tuple[str, str]]:
    """Rows of a term and a text, from what :func:`.info` found and :func:`.verify` measured."""
    kind, facts, fit = found["kind"], found["facts"], found["fit"]
    size = found["bytes"]
    raw = medium(kind).raw_size(facts)
    compared = f", {round_digits(raw / size)} times less than uncompressed" if raw else ""
    quality = describe_quality(kind, fit)
    if measured is not None:
        known = {metric: value for metric, value in measured.items() if value is not None}
        figures = [name_metric(metric, value) for metric, value in known.items()]
        quality = ", ".join(figures) + ", measured against the original"
    return [
        (NAMES[kind], describe_medium(kind, facts)),
        ("bytes", format_size(size) + compared),
        ("rate", describe_rate(kind, facts, size)),
        ("quality", quality),
        ("field", FIELDS[found["field"]["kind"]]),
        ("network", found["network"]),
        ("teacher", describe_teacher(fit)),
    ]
