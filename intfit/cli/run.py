"""Jobs one after another, and the one place where errors become a line and an exit code."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from .. import batch
from ..batch import STREAM, Job
from ..errors import IntfitError, UsageError
from ..report import Reporter, printable


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


def run(
    jobs: Sequence[Job],
    work: Callable[[Job, int], dict[str, Any]],
    *,
    keys: Sequence[str],
    report: Reporter,
    keep_going: bool,
    skip_existing: bool,
    debug: bool,
) -> None:
    """Do ``work`` for every job; one failure does not stop the rest unless it should.

    ``work`` returns the values of its JSON line. Exits with the gravest code of all.
    """
    worst = 0
    for position, job in enumerate(jobs, start=1):
        line: dict[str, Any] = dict.fromkeys(keys)
        line |= {"input": job.source_name, "output": job.target_name, "ok": True, "skipped": False}
        try:
            if skip_existing and job.target is not None and job.target.exists():
                line["skipped"] = True
                report.detail(f"{printable(job.target_name)} exists: skipped")
            else:
                line |= work(job, position)
        except BrokenPipeError:
            raise
        except MENDABLE as error:
            code, message = explain(error, debug=debug)
            worst = max(worst, code)
            line |= {"output": None, "ok": False, "error": message}
            report.error(f"{printable(job.source_name)}: {message}")
        report.record(line)
        if worst and not keep_going:
            break
    if worst:
        raise typer.Exit(worst)


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
