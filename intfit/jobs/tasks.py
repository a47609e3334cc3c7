"""What is done for one file, away from terminal and disk: bytes in, bytes and figures out.

It may run anywhere: in this process, in a worker's or on another machine. Nothing here imports
torch before it is called, and nothing that it returns needs torch to be read.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..codecs.protocol import Hooks
from ..limits import Limits
from ..settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ..api import Encoded
    from ..codecs.protocol import Prepared
    from ..targets import Asked
    from ..teachers import Teacher
    from ..training.loop import Progress

#: Maps of the selection are drawn at this many equal parts of a fit.
MAPS = 10


@dataclass(frozen=True)
class FitBegins:
    """The fit begins; ``line`` describes the field and its training."""

    line: str


@dataclass(frozen=True)
class Stage:
    """What is done from now on, in a word."""

    name: str


@dataclass(frozen=True)
class FitProgress:
    """Where a stage stands: the share done, in [0, 1], and a fit's figures as a person reads them.

    The most important figure comes first.
    """

    fraction: float
    figures: tuple[str, ...]


@dataclass(frozen=True)
class SelectionMap:
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


#: Called with every event of a task while it runs.
Tell = Callable[[FitBegins | Stage | FitProgress | SelectionMap], None]
#: What is done for one file, given its bytes, the suffix that hints at a format, and a ``Tell``.
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

    A dry run (``dry_run``) only says what would be done, and forecasts its bytes and seconds.

    Raises:
        IntfitError: as `api.encode`.
    """
    from .. import api
    from .forecast import forecast
    from .phrases import describe_forecast, describe_plan

    if dry_run:
        prepared = api.prepare(data, settings, suffix=suffix, kind=kind)
        values = {
            "kind": prepared.kind,
            "bytes_in": len(data),
            "parameters": prepared.config.count_weights(),
            "device": prepared.device,
        }
        found = forecast(prepared)
        values |= {
            "bytes_out": found.size,
            "seconds": found.seconds and round(found.seconds, 3),
        }
        searched = prepared.plan.goal is not None or prepared.plan.target_size is not None
        about = describe_forecast(found.size, found.seconds, searched=searched)
        plan = f"{describe_plan(prepared)}\n  {about}"
        return Product(None, values, plan=plan)
    hooks = make_hooks(tell, settings, maps=maps)
    return describe(len(data), api.encode(data, settings, suffix=suffix, kind=kind, hooks=hooks))


def make_hooks(tell: Tell, settings: Settings, *, maps: bool = False) -> Hooks:
    """Hooks that ``tell`` what happens while a medium is encoded."""
    from .phrases import describe_plan, describe_progress

    metric, rounds = "", settings.profile == "packed"

    def fit_begins(prepared: "Prepared") -> None:
        nonlocal metric
        metric = prepared.signal.metric
        tell(FitBegins(describe_plan(prepared)))

    def report_progress(progress: "Progress") -> None:
        from ..training.loop import FINISH  # which is there, as something is trained

        if rounds and progress.fraction > 1 - FINISH:
            tell(Stage("rounding"))
        tell(FitProgress(progress.fraction, describe_progress(progress, metric)))

    def draw_maps(
        teacher: "Teacher", prepared: "Prepared", places: "NDArray[np.int64] | None"
    ) -> "Teacher":
        return observe_selection(teacher, prepared, places, tell)

    return Hooks(
        fit_begins,
        report_progress,
        draw_maps if maps else None,
        stage=lambda name: tell(Stage(name)),
        share=lambda fraction: tell(FitProgress(fraction, ())),
    )


def describe(bytes_in: int, result: "Encoded") -> Product:
    """What was made of an input of so many bytes."""
    return Product(result.data, _list_values(bytes_in, result))


def observe_selection(
    teacher: "Teacher", prepared: "Prepared", places: "NDArray[np.int64] | None", tell: Tell
) -> "Teacher":
    """A teacher that selects as ``teacher`` does, and whose selections are drawn at ten moments.

    ``places`` ``[n]`` are the indices in the signal of the teacher's examples; None: all, in order.
    """
    from ..media import medium
    from ..teachers.observing import SelectionObserver

    def draw(step: int, moment: float, indices: "Tensor") -> None:
        draw_selection = medium(prepared.kind).draw_selection
        samples = indices.numpy() if places is None else places[indices.numpy()]
        tell(SelectionMap(step, *draw_selection(prepared.signal, samples)))

    moments = [part / MAPS for part in range(MAPS)]
    count = prepared.signal.n if places is None else len(places)
    return SelectionObserver(teacher, count, moments, draw)


def _list_values(bytes_in: int, result: "Encoded") -> dict[str, Any]:
    """The values of a JSON line."""
    return {
        "kind": result.kind,
        "bytes_in": bytes_in,
        "bytes_raw": result.raw_size,
        "bytes_out": len(result.data),
        "samples": result.samples,
        "parameters": result.parameters,
        "network": result.network,
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
    asked: "Asked",
    device: str,
    threads: int | None,
    limit: float = 1.0,
) -> Product:
    """Decode a file to the format ``suffix`` names; ``asked`` is what to decode.

    Raises:
        IntfitError: as `api.load` and `api.decode`.
    """
    from .. import api
    from ..coding import container
    from ..media import medium

    began = time.monotonic()
    tell(Stage("decoding"))
    if suffix:  # before the work
        medium(container.parse(data, len(data)).header.medium).check_format(suffix)
    field = api.load(data, device=device, threads=threads, limits=Limits(limit))
    tell(Stage("rendering"))
    result = api.decode(field, suffix=suffix, **asked)
    values = {
        "kind": field.kind,
        "bytes_in": len(data),
        "bytes_out": len(result.data),
        "seconds": round(time.monotonic() - began, 3),
        "device": str(field.device),
        "notes": list(result.notes),
    }
    return Product(result.data, values, size=result.size)


def export(data: bytes, suffix: str, tell: Tell) -> Product:
    """Write a file's network in the format that ``suffix`` names.

    Raises:
        IntfitError: as `api.export`.
    """
    from .. import api

    tell(Stage("writing"))
    result = api.export(data, suffix=suffix)
    return Product(result, {"bytes_in": len(data), "bytes_out": len(result)})
