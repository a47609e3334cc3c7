"""All files of a call: read, worked on, written, and reported in order."""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer

from .. import interrupts
from ..errors import UsageError
from ..jobs.files import (
    STREAM,
    Job,
    OutputExistsError,
    check_output,
    check_output_name,
    collect_inputs,
    is_nameless,
    place_output,
    read_input,
    refuse_collisions,
    suggest_input,
    write_output,
)
from ..jobs.parallelism import ONE_AT_A_TIME, Parallelism, Together
from ..jobs.phrases import printable
from ..jobs.pool import Failed, Task, WorkerLost
from ..jobs.tasks import FitBegins, FitProgress, Product, SelectionMap, Stage, Work
from .errors import explain
from .report import Display, Reporter


class OrderedOutput:
    """Prints what concerns each input in the order of the inputs, whenever it becomes known."""

    def __init__(self) -> None:
        self._turn = 0  # the position of the input whose output is printed at once
        self._held: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self._ended: set[int] = set()

    def say(self, position: int, speak: Callable[[], None]) -> None:
        """Call ``speak``, which prints: now, or once all inputs before ``position`` have ended."""
        if position == self._turn:
            speak()
        else:
            self._held[position].append(speak)

    def end(self, position: int) -> None:
        """Note that nothing more will be printed of the input at ``position``."""
        self._ended.add(position)
        while self._turn in self._ended:
            self._turn += 1
            self._speak(self._turn)

    def flush(self) -> None:
        """Print what is held back of inputs that have ended, though some before them have not."""
        for position in sorted(self._ended):
            self._speak(position)

    def _speak(self, position: int) -> None:
        for speak in self._held.pop(position, ()):
            speak()


@dataclass(frozen=True)
class RunOptions:
    """What to do about outputs that exist and inputs that fail, and how to report.

    ``keys`` are those of a JSON line, in order.
    """

    report: Reporter
    keys: Sequence[str]
    force: bool = False
    keep_going: bool = True
    skip_existing: bool = False
    debug: bool = False


def run(
    jobs: Sequence[Job],
    work: Work,
    options: RunOptions,
    *,
    suffix: Callable[[Job], str],
    summarise: Callable[[Job, Product], None],
    parallelism: Parallelism = ONE_AT_A_TIME,
    device: str = "cpu",
    together: Together | None = None,
    display: Display | None = None,
    keep_map: Callable[[Job, SelectionMap], None] | None = None,
) -> None:
    """Do ``work`` for every job; one failure does not stop the rest unless it should.

    ``work`` may be done in other processes, for several jobs at once: it is given a job's bytes and
    ``suffix``; ``together`` may do it in its place. All else is done here: outputs are written as
    they come in, and what is printed, by ``summarise`` and others, is printed in the order of the
    jobs.

    Raises:
        typer.Exit: with the largest exit code of any job, unless all succeeded.
    """
    runner = _Runner(jobs, options, suffix, summarise, display, keep_map)
    outcomes = parallelism.run_tasks(
        work, runner.tasks(), runner.hear, total=len(jobs), device=device, together=together
    )
    try:
        with closing(outcomes):
            for position, outcome in outcomes:
                runner.finish(position, outcome)
    except KeyboardInterrupt:
        runner.output.flush()
        if len(jobs) > 1:
            interrupts.note_interruption(f"{runner.written} of {len(jobs)} written")
        raise
    if runner.exit_code:
        raise typer.Exit(runner.exit_code)


class _Runner:
    """The jobs of a call: hands them out as tasks, hears of them, and finishes them."""

    def __init__(
        self,
        jobs: Sequence[Job],
        options: RunOptions,
        suffix: Callable[[Job], str],
        summarise: Callable[[Job, Product], None],
        display: Display | None,
        keep_map: Callable[[Job, SelectionMap], None] | None,
    ) -> None:
        self._jobs, self._options, self._report = jobs, options, options.report
        self._suffix, self._summarise = suffix, summarise
        self._display, self._keep_map = display, keep_map
        self.output = OrderedOutput()
        self.exit_code = 0
        #: Outputs that have been written.
        self.written = 0
        #: Jobs whose output is there and empty, and so may be overwritten.
        self._empty: set[int] = set()

    def tasks(self) -> Iterator[tuple[int, Task]]:
        """The position and the task of every job that can be begun."""
        options = self._options
        for position, job in enumerate(self._jobs):
            if self.exit_code and not options.keep_going:
                return
            try:
                if options.skip_existing and self._is_done(position, job):
                    continue
                check_output(job, force=options.force or position in self._empty)
                if self._display is not None:
                    self._display.begin(position, job.source_name)
                task = read_input(job), self._suffix(job)
            except Exception as error:  # whatever it is, the other files are still done
                self._fail(position, error)
                continue
            yield position, task

    def _is_done(self, position: int, job: Job) -> bool:
        """End the job if its output exists and is not empty; whether it was ended."""
        if job.target is None or not job.target.is_file():
            return False
        if not job.target.stat().st_size:
            message = f"{printable(job.target_name)} exists, but is empty: made anew"
            self.output.say(position, partial(self._report.say, message))
            self._empty.add(position)
            return False
        self._skip(position)
        return True

    def _skip(self, position: int) -> None:
        message = f"{printable(self._jobs[position].target_name)} exists: skipped"
        self.output.say(position, partial(self._report.detail, message))
        self._end(position, {"skipped": True})

    def hear(
        self, position: int, event: FitBegins | Stage | FitProgress | SelectionMap | WorkerLost
    ) -> None:
        """Show an event of a job while it is worked on, or keep its map."""
        job = self._jobs[position]
        if isinstance(event, SelectionMap):
            assert self._keep_map is not None
            self._keep_map(job, event)
        elif isinstance(event, WorkerLost):
            message = f"{printable(job.source_name)}: its worker {event.reason}; trying once more"
            self.output.say(position, partial(self._report.say, message))
        elif isinstance(event, FitBegins):
            self.output.say(position, partial(self._report.detail, event.line))
        elif isinstance(event, Stage):
            if self._display is not None:
                self._display.enter(position, event.name)
        elif self._display is not None:
            self._display.update(position, event.fraction, event.figures)

    def finish(self, position: int, outcome: Product | Failed) -> None:
        """Write what was made of a job, or report why nothing was."""
        if isinstance(outcome, Failed):
            self._fail(position, outcome.error)
            return
        job = self._jobs[position]
        try:
            if outcome.data is not None:
                force = self._options.force or position in self._empty
                write_output(job, outcome.data, force=force)
                self.written += 1
        except OutputExistsError as error:
            if self._options.skip_existing:
                self._skip(position)
            else:
                self._fail(position, error)
            return
        except BrokenPipeError:
            raise
        except Exception as error:
            self._fail(position, error)
            return
        # it may be long until it is reported: the output's bytes are not kept until then
        made = replace(outcome, data=None)
        self.output.say(position, partial(self._summarise, job, made))
        self._end(position, outcome.values)

    def _fail(self, position: int, error: Exception) -> None:
        code, message = explain(error, debug=self._options.debug)
        self.exit_code = max(self.exit_code, code)
        line = f"{printable(self._jobs[position].source_name)}: {message}"
        self.output.say(position, partial(self._report.error, line))
        self._end(position, {"output": None, "ok": False, "error": message})

    def _end(self, position: int, values: dict[str, Any]) -> None:
        job = self._jobs[position]
        line: dict[str, Any] = dict.fromkeys(self._options.keys)
        line |= {"input": job.source_name, "output": job.target_name, "ok": True, "skipped": False}
        self.output.say(position, partial(self._report.record, line | values))
        self.output.end(position)
        if self._display is not None:
            self._display.end(position)


def plan_jobs(
    files: Sequence[str],
    files_from: str | None,
    output: str | None,
    output_dir: Path | None,
    *,
    renamed: Callable[[Path], Path],
    renamed_apart: Callable[[Path], Path] | None = None,
    as_json: bool,
    dry_run: bool = False,
    expand: Callable[[Sequence[str]], list[str]] | None = None,
) -> list[Job]:
    """A job for each input, with the place where its output goes.

    ``renamed`` names an output after its input, and beside it; ``renamed_apart`` those that would
    collide; ``expand`` puts the files of folders in their places. In a dry run stdout may be a
    terminal.

    Raises:
        UsageError: if the options contradict each other, or two outputs collide.
    """
    names = collect_inputs(files, files_from)
    if expand is not None:
        names = expand(names)
    check_output_name(output)
    if output is not None and output_dir is not None:
        raise UsageError("-o and --output-dir both say where to write: give one")
    if output is not None and (len(names) != 1 or files_from is not None):
        missing = (name for name in names if name != STREAM and not os.path.lexists(name))
        wrong = next((f"; {name!r} is missing{suggest_input(Path(name))}" for name in missing), "")
        raise UsageError(f"-o is for one input, not {len(names)}: --output-dir takes many{wrong}")
    jobs = []
    for name in names:
        refusal = ""
        source = None if name == STREAM else Path(name)
        if output is not None:
            target = None if output == STREAM else Path(output)
        elif source is None:
            if output_dir is not None:
                raise UsageError("standard input has no name: -o says where to write it")
            target = None
        else:
            if is_nameless(source):
                if len(names) == 1:
                    raise UsageError(f"{name!r} is a pipe and has no name: -o says where to write")
                refusal = "a pipe, a socket or a device: give it alone, with -o"
            target = place_output(source, renamed(source), output_dir)
        jobs.append(Job(source, target, refusal))
    if renamed_apart is not None and output is None:
        counts = Counter(job.target for job in jobs)
        for position, job in enumerate(jobs):
            if job.source is not None and counts[job.target] > 1:
                target = place_output(job.source, renamed_apart(job.source), output_dir)
                jobs[position] = replace(job, target=target)
    refuse_collisions(jobs)
    if any(job.target is None for job in jobs) and not dry_run:
        if as_json:
            raise UsageError("--json writes to stdout, and so does -o -: give a file to write")
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal: -o FILE, or redirect it")
    return jobs
