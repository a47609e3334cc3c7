"""All jobs of a call, and the one place where errors become a line and an exit code."""

import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from ..errors import IntfitError, UsageError
from ..jobs import files as batch
from ..jobs import pool as workers
from ..jobs.files import STREAM, Job
from ..jobs.phrases import printable
from ..jobs.pool import Crew, Failed, Listener, Lost, Pool, Task
from ..jobs.tasks import Planned, Product, Selected, Standing, Work
from .report import Display, Reporter


def explain(error: BaseException, *, debug: bool) -> tuple[int, str]:
    """The one place where errors become an exit code and a line; a traceback too for ``debug``.

    2 for a request that makes no sense, 1 for what else a person can mend; anything else is a
    fault of this program and is raised again.
    """
    if debug:
        traceback.print_exception(error)
    if isinstance(error, IntfitError):
        return (2 if isinstance(error, UsageError) else 1), str(error)
    # torch raises a RuntimeError where an allocation fails
    text = str(error)
    exhausted = "out of memory" in text or "can't allocate memory" in text
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and exhausted):
        return 1, "out of memory: a smaller --batch, --width or resolution needs less"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return 1, (error.strerror or text) + (f": {error.filename!r}" if error.filename else "")
    raise error


MENDABLE = (IntfitError, OSError, MemoryError, RuntimeError)


@contextmanager
def guarded(report: Reporter, debug: bool) -> Iterator[None]:
    """Turn an error outside any one input into its line and exit code."""
    try:
        yield
    except typer.Exit:  # a RuntimeError to Python, and no error to us
        raise
    except BrokenPipeError:
        # nobody reads our output any more: leave as quietly as any filter
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except MENDABLE as error:
        code, message = explain(error, debug=debug)
        report.error(message)
        raise typer.Exit(code) from None


@dataclass(frozen=True)
class Spread:
    """How many files are worked on at once, None for as many as there is room for, and where."""

    jobs: int | None
    cluster: str | None
    threads: int | None

    @classmethod
    def parse(cls, jobs: str | None, cluster: str | None, threads: int | None) -> "Spread":
        """Of ``--jobs``, ``--cluster`` and ``--threads``.

        Beside others a file has one thread unless it was given more: the bytes of a fit depend on
        how many there are, and must not depend on how many files there happen to be.

        Raises:
            UsageError: if ``jobs`` is neither a number nor ``auto``.
        """
        if jobs is None and cluster is not None:
            jobs = "auto"
        count = workers.parse_jobs(jobs)
        alone = cluster is None and count == 1
        return cls(count, cluster, threads if alone else threads or 1)

    @property
    def several(self) -> bool:
        return self.cluster is not None or self.jobs != 1

    def outcomes(
        self,
        work: Work,
        tasks: Iterator[tuple[int, Task]],
        listener: Listener,
        *,
        total: int,
        device: str,
    ) -> Generator[tuple[int, Product | Failed]]:
        """What became of each task, as they come in."""
        if self.cluster is not None:
            from ..jobs.ray_cluster import Cluster

            on_gpu = device.startswith("cuda")
            crew: Crew = Cluster(
                work, self.cluster, most=self.jobs, threads=self.threads or 1, on_gpu=on_gpu
            )
        elif self.several:
            crew = Pool(work, min(self.jobs or workers.cores(), total))
        else:
            return workers.here(work, tasks, listener)
        return workers.dispatch(crew, tasks, listener)


ALONE = Spread(1, None, None)


class InTurn:
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
    spread: Spread = ALONE,
    device: str = "cpu",
    display: Display | None = None,
    selected: Callable[[Job, Selected], None] | None = None,
) -> None:
    """Do ``work`` for every job; one failure does not stop the rest unless it should.

    ``work`` may be done elsewhere, and for several at once: it gets a job's bytes and ``suffix``.
    All else is done here: outputs are written as they come in, and what there is to say, such as
    the ``summary``, is said in the order of the jobs. Exits with the gravest code of all.
    """
    worst = 0
    turn = InTurn()

    def settle(position: int, outcome: Callable[[Job], dict[str, Any]]) -> None:
        nonlocal worst
        job = jobs[position]
        line: dict[str, Any] = dict.fromkeys(keys)
        line |= {"input": job.source_name, "output": job.target_name, "ok": True, "skipped": False}
        try:
            line |= outcome(job)
        except BrokenPipeError:
            raise
        except MENDABLE as error:
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
                batch.ready(job, force=force)
                if display is not None:
                    display.begin(position, job.source_name)
                task = batch.read(job), suffix(job)
            except MENDABLE as error:
                settle(position, partial(fail, error))
                continue
            yield position, task

    def listen(position: int, event: Planned | Standing | Selected | Lost) -> None:
        job = jobs[position]
        if isinstance(event, Selected):
            assert selected is not None
            selected(job, event)
        elif isinstance(event, Lost):
            again = f"{printable(job.source_name)}: its worker {event.reason}; trying once more"
            turn.say(position, partial(report.say, again))
        elif isinstance(event, Planned):
            turn.say(position, partial(report.detail, event.line))
            if display is not None:
                display.update(position, 0.0, "fitting")
        elif display is not None:
            display.update(position, event.fraction, event.figures)

    def finish(position: int, outcome: Product | Failed, job: Job) -> dict[str, Any]:
        if isinstance(outcome, Failed):
            raise outcome.error
        if outcome.data is not None:
            batch.write(job, outcome.data, force=force)
        turn.say(position, partial(summary, job, outcome))
        return outcome.values

    found = spread.outcomes(work, tasks(), listen, total=len(jobs), device=device)
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
    names = batch.inputs(files, files_from)
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
        elif batch.nameless(source):
            raise UsageError(f"{name!r} is a pipe and has no name: -o says where to write")
        else:
            target = batch.place(source, renamed(source), output_dir)
        jobs.append(Job(source, target))
    batch.refuse_collisions(jobs)
    if any(job.target is None for job in jobs) and not dry_run:
        if as_json:
            raise UsageError("--json writes to stdout, and so does -o -: give a file to write")
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal: -o FILE, or redirect it")
    return jobs
