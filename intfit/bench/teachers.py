"""Teachers side by side: the same network, the same seconds, one run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..pipeline import Encoded, fit_prepared, prepare
from ..settings import Settings

#: What is compared, by the name in the table. "INT dense" and "INT step + incremental" are the
#: paper's; its full batch is the paper's baseline, uniform draws are the honest one.
RIVALS: dict[str, Settings] = {
    "full batch": Settings(teacher="full"),
    "uniform": Settings(teacher="uniform"),
    "INT dense": Settings(
        teacher="int", selection="top", ratio_schedule="constant", interval_schedule="dense"
    ),
    "INT step + incremental": Settings(teacher="int", selection="top"),
    "default": Settings(),
}


@dataclass(frozen=True)
class Row:
    """One teacher's result."""

    teacher: str
    result: Encoded


def compare(data: bytes, base: Settings, *, suffix: str) -> Iterator[Row]:
    """Fit with every rival in turn, each with ``base``'s network, device and seconds."""
    for name, rival in RIVALS.items():
        settings = replace(
            base,
            teacher=rival.teacher,
            selection=rival.selection,
            ratio_schedule=rival.ratio_schedule,
            interval_schedule=rival.interval_schedule,
        )
        yield Row(name, fit_prepared(prepare(data, settings, suffix=suffix)))
