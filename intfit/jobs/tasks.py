"""What is done for one file, away from terminal and disk: bytes in, bytes and figures out.

So that it may run anywhere, in this process, in a worker's or on another machine. Nothing here
imports torch before it is called, and nothing that comes back needs torch to be read.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..settings import Settings

if TYPE_CHECKING:
    from ..api import Encoded, Prepared
    from ..teachers import Teacher
    from ..training.loop import Progress


@dataclass(frozen=True)
class Planned:
    """A field has been chosen, and the fit begins; ``line`` says which."""

    line: str


@dataclass(frozen=True)
class Standing:
    """Where a fit stands: the share done, in [0, 1], and its figures as a person reads them."""

    fraction: float
    figures: str


@dataclass(frozen=True)
class Selected:
    """A map of what the teacher chose at ``step``: a file's bytes and its suffix."""

    step: int
    picture: bytes
    suffix: str


@dataclass(frozen=True)
class Product:
    """What was made: the output's bytes, None in a dry run, and the values of its JSON line.

    ``size`` is a phrase for what was decoded, ``plan`` one for what a dry run would do.
    """

    data: bytes | None
    values: dict[str, Any]
    size: str = ""
    plan: str = ""


#: Told what there is to say while a task runs.
Tell = Callable[[Planned | Standing | Selected], None]
#: What is done for one file: its bytes, the suffix that hints at a format, whom to tell.
Work = Callable[[bytes, str, Tell], Product]


def encode(
    data: bytes,
    suffix: str,
    tell: Tell,
    *,
    settings: Settings,
    kind: str | None = None,
    dry_run: bool = False,
    maps: bool = False,
) -> Product:
    """Encode a medium; ``suffix`` is the input's, ``maps`` asks for maps of the selection.

    Raises:
        IntfitError: as `pipeline.encode`.
    """
    from .. import api as pipeline
    from ..cli.report import figures, plan

    if dry_run:
        ready = pipeline.prepare(data, settings, suffix=suffix, kind=kind)
        values = {
            "kind": ready.kind,
            "bytes_in": len(data),
            "parameters": ready.config.count(),
            "device": str(ready.device),
        }
        return Product(None, values, plan=plan(ready))
    metric = ""

    def prepared(ready: "Prepared") -> None:
        nonlocal metric
        metric = ready.signal.metric
        tell(Planned(plan(ready)))

    def watch(progress: "Progress") -> None:
        tell(Standing(progress.fraction, figures(progress, metric)))

    def save(step: int, picture: bytes, ending: str) -> None:
        tell(Selected(step, picture, ending))

    def recorded(teacher: "Teacher", ready: "Prepared") -> "Teacher":
        from ..teachers.observing import Recorder  # which loads torch: latents may do without

        return Recorder(teacher, ready, save)

    result = pipeline.encode(
        data,
        settings,
        suffix=suffix,
        kind=kind,
        prepared=prepared,
        watch=watch,
        teach=recorded if maps else None,
    )
    return Product(result.data, _encoded(len(data), result))


def _encoded(bytes_in: int, result: "Encoded") -> dict[str, Any]:
    return {
        "kind": result.kind,
        "bytes_in": bytes_in,
        "bytes_raw": result.raw_size,
        "bytes_out": len(result.data),
        "samples": result.samples,
        "parameters": result.parameters,
        result.rate_name: round(result.rate, 4),
        "metric": result.metric,
        "distortion": round(result.distortion, 4),
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "teacher": result.teacher,
        "seed": result.seed,
        "notes": list(result.notes),
    }


def decode(
    data: bytes,
    suffix: str,
    tell: Tell,
    *,
    wanted: dict[str, dict[str, Any]],
    device: str,
    threads: int | None,
) -> Product:
    """Decode a file to the format ``suffix`` names; ``wanted`` is what was asked of each kind.

    Raises:
        IntfitError: as `pipeline.load` and `pipeline.decode`.
    """
    from .. import api as pipeline
    from ..media import medium

    began = time.monotonic()
    loaded = pipeline.load(data, device=device, threads=threads)
    target = medium(loaded.kind).Target(**choose(wanted, loaded.kind))
    result = pipeline.decode(loaded, target, suffix=suffix)
    values = {
        "kind": loaded.kind,
        "bytes_in": len(data),
        "bytes_out": len(result.data),
        "seconds": round(time.monotonic() - began, 3),
        "device": str(loaded.device),
        "notes": list(result.notes),
    }
    return Product(result.data, values, size=result.size)


def choose(wanted: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    """The options for ``kind``.

    Raises:
        UsageError: if one for another kind was given.
    """
    for other, keywords in wanted.items():
        for name, given in keywords.items():
            if other != kind and given is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} is for {other} files; this one holds {kind}")
    return wanted[kind]


def export(data: bytes, suffix: str, tell: Tell) -> Product:
    """Unpack a file's network.

    Raises:
        FileFormatError: if it is not a sound intfit file.
    """
    from .. import api as pipeline

    result = pipeline.export(data)
    return Product(result, {"bytes_in": len(data), "bytes_out": len(result)})
