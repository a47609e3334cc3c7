"""All files of a call: read, worked on, written, and reported in order."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import typer

from ..errors import UsageError
from ..jobs.files import (
    STREAM,
    Job,
    check_output,
    collect_inputs,
    is_nameless,
    place_output,
    read_input,
    refuse_collisions,
    write_output,
)
from ..jobs.parallelism import ONE_AT_A_TIME, Parallelism
from ..jobs.phrases import printable
from ..jobs.pool import Failed, Task, WorkerLost
from ..jobs.tasks import FitBegins, FitProgress, Product, SelectionMap, Work
from .errors import EXPECTED_ERRORS, explain
from .report import Display, Reporter


class OrderedOutput:
    """Says what there is to say of each input when its turn comes: in the order of the inputs."""

    def __init__(self) -> None:
        self._turn = 0
        self._held: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self._ended: set[int] = set()

    def say(self, position: int, speak: Callable[[], None]) -> None:
        """Call ``speak`` now, or when those before have ended."""
        if position == self._turn:
            speak()
        else:
            self._held[position].append(speak)

    def end(self, position: int) -> None:
        """Nothing more is to be said of this one."""
        self._ended.add(position)
        while self._turn in self._ended:
            self._turn += 1
            self._speak(self._turn)

    def rest(self) -> None:
        """What is left of those that have ended, without those between: the run is over."""
        for position in sorted(self._ended):
            self._speak(position)

    def _speak(self, position: int) -> None:
        for speak in self._held.pop(position, ()):
            speak()


def run(
    jobs: Sequence[Job],
    work: Work,
    *,
    suffix: Callable[[Job], str],
    summary: Callable[[Job, Product], None],
    keys: Sequence[str],
    report: Reporter,
    force: bool,
    keep_going: bool,
    skip_existing: bool,
    debug: bool,
    parallelism: Parallelism = ONE_AT_A_TIME,
    device: str = "cpu",
    display: Display | None = None,
    selected: Callable[[Job, SelectionMap], None] | None = None,
) -> None:
    """Do ``work`` for every job; one failure does not stop the rest unless it should.

    ``work`` may be done elsewhere, and for several at once: it gets a job's bytes and ``suffix``.
    All else is done here: outputs are written as they come in, and what there is to say, such as
    the ``summary``, is said in the order of the jobs. Exits with the gravest code of all.
    """
    worst = 0
    turn = OrderedOutput()

    def settle(position: int, outcome: Callable[[Job], dict[str, Any]]) -> None:
        nonlocal worst
        job = jobs[position]
        line: dict[str, Any] = dict.fromkeys(keys)
        line |= {"input": job.source_name, "output": job.target_name, "ok": True, "skipped": False}
        try:
            line |= outcome(job)
        except BrokenPipeError:
            raise
        except EXPECTED_ERRORS as error:
            code, message = explain(error, debug=debug)
            worst = max(worst, code)
            line |= {"output": None, "ok": False, "error": message}
            told = f"{printable(job.source_name)}: {message}"
            turn.say(position, partial(report.error, told))
        turn.say(position, partial(report.record, line))
        turn.end(position)
        if display is not None:
            display.end(position)

    def tasks() -> Iterator[tuple[int, Task]]:
        for position, job in enumerate(jobs):
            if worst and not keep_going:
                return
            if skip_existing and job.target is not None and job.target.exists():
                told = f"{printable(job.target_name)} exists: skipped"
                turn.say(position, partial(report.detail, told))
                settle(position, lambda job: {"skipped": True})
                continue
            try:
                check_output(job, force=force)
                if display is not None:
                    display.begin(position, job.source_name)
                task = read_input(job), suffix(job)
            except EXPECTED_ERRORS as error:
                settle(position, partial(fail, error))
                continue
            yield position, task

    def listen(position: int, event: FitBegins | FitProgress | SelectionMap | WorkerLost) -> None:
        job = jobs[position]
        if isinstance(event, SelectionMap):
            assert selected is not None
            selected(job, event)
        elif isinstance(event, WorkerLost):
            again = f"{printable(job.source_name)}: its worker {event.reason}; trying once more"
            turn.say(position, partial(report.say, again))
        elif isinstance(event, FitBegins):
            turn.say(position, partial(report.detail, event.line))
            if display is not None:
                display.update(position, 0.0, "fitting")
        elif display is not None:
            display.update(position, event.fraction, event.figures)

    def finish(position: int, outcome: Product | Failed, job: Job) -> dict[str, Any]:
        if isinstance(outcome, Failed):
            raise outcome.error
        if outcome.data is not None:
            write_output(job, outcome.data, force=force)
        turn.say(position, partial(summary, job, outcome))
        return outcome.values

    found = parallelism.outcomes(work, tasks(), listen, total=len(jobs), device=device)
    try:
        with closing(found):
            for position, outcome in found:
                settle(position, partial(finish, position, outcome))
    except KeyboardInterrupt:
        turn.rest()
        raise
    if worst:
        raise typer.Exit(worst)


def fail(error: Exception, job: Job) -> dict[str, Any]:
    """Raise ``error``."""
    raise error


def plan_jobs(
    files: Sequence[str],
    files_from: str | None,
    output: str | None,
    output_dir: Path | None,
    *,
    renamed: Callable[[Path], Path],
    as_json: bool,
    dry_run: bool = False,
) -> list[Job]:
    """Which inputs there are and where each output goes; stdout may be a terminal in a dry run.

    Raises:
        UsageError: if the options contradict each other, or two outputs collide.
    """
    names = collect_inputs(files, files_from)
    if output is not None and output_dir is not None:
        raise UsageError("-o and --output-dir both say where to write: give one")
    if output is not None and (len(names) != 1 or files_from is not None):
        raise UsageError(f"-o is for one input, not {len(names)}: --output-dir takes many")
    jobs = []
    for name in names:
        source = None if name == STREAM else Path(name)
        if output is not None:
            target = None if output == STREAM else Path(output)
        elif source is None:
            if output_dir is not None:
                raise UsageError("standard input has no name: -o says where to write it")
            target = None
        elif is_nameless(source):
            raise UsageError(f"{name!r} is a pipe and has no name: -o says where to write")
        else:
            target = place_output(source, renamed(source), output_dir)
        jobs.append(Job(source, target))
    refuse_collisions(jobs)
    if any(job.target is None for job in jobs) and not dry_run:
        if as_json:
            raise UsageError("--json writes to stdout, and so does -o -: give a file to write")
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal: -o FILE, or redirect it")
    return jobs
