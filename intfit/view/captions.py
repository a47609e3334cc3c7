"""A caption: bytes, rate, quality, field, network and teacher in words."""

from typing import Any

from ..coding.header import KINDS
from ..jobs.phrases import RATES, format_metric, format_size
from ..media import medium

#: What the names of teachers stand for.
TEACHERS = {
    "none": "none: nothing was trained",
    "int-top": "INT, the worst examples",
    "int-proportional": "INT, examples drawn in proportion to their error",
    "evos": "EVOS",
    "nint": "NINT",
    "uniform": "examples drawn at random",
    "full": "all examples at every step",
}


def make_caption(
    found: dict[str, Any], measured: dict[str, float | None] | None
) -> list[tuple[str, str]]:
    """Rows of a term and a text, from what :func:`.info` found and :func:`.verify` measured."""
    kind, facts, fit = found["kind"], found["facts"], found["fit"]
    module = medium(kind)
    size = found["bytes"]
    unit, rate = module.rate(facts, size)
    raw = module.raw_size(facts)
    rows = [
        (_NAMES[kind], describe_medium(kind, facts)),
        ("bytes", f"{format_size(size)}, {raw / size:.3g} times less than uncompressed"),
        ("rate", f"{rate:.3g} {RATES[unit]}"),
    ]
    reached = fit.get("distortion")
    if measured is not None:
        figures = [format_metric(metric, value) for metric, value in measured.items()]
        rows.append(("quality", ", ".join(figures) + ", measured against the original"))
    elif isinstance(reached, int | float):
        rows.append(("quality", f"{format_metric(KINDS[kind].metric, reached)}, as the file says"))
    rows.append(("field", "a SIREN" if found["field"]["kind"] == "siren" else "latents"))
    rows.append(("network", found["network"]))
    teacher, steps = fit.get("teacher"), fit.get("steps")
    if isinstance(teacher, str):
        trained = f", {steps} steps" if steps else ""
        rows.append(("teacher", TEACHERS.get(teacher, teacher[:40]) + trained))
    return rows


_NAMES = {"image": "picture", "audio": "recording", "mesh": "surface"}


def describe_medium(kind: str, facts: dict[str, Any]) -> str:
    """The size of a medium in words."""
    if kind == "image":
        return f"{facts['width']} x {facts['height']} pixels, {facts['mode']}"
    if kind == "audio":
        channels = {1: "mono", 2: "stereo"}.get(facts["channels"], f"{facts['channels']} channels")
        seconds = facts["frames"] / facts["sample_rate"]
        return f"{seconds:.1f} s, {channels}, {facts['sample_rate'] / 1000:g} kHz"
    return f"from {facts.get('faces', 'unknown')} triangles"
