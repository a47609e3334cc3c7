"""Tasks one after another in this process, or several at once in worker processes.

A worker is a pure function: it gets an input's bytes and gives back the output's. Files are read
and written by the process that started it. So a worker may die at any moment: it is replaced, and
its task done again.
"""

import contextlib
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from ..complaints import keep_apart
from ..errors import IntfitError, UsageError
from ..interrupts import ENDING, hold_interrupts
from .memory import keep_freed_memory
from .tasks import FitBegins, FitProgress, Product, SelectionMap, Stage, Work

#: The largest number of ``--jobs``.
MAX_JOBS = 1024
#: A busy worker is taken to hang if it uses no processor time over so many looks, which are so many
#: seconds apart. (Looks are counted, not seconds: the whole program may have been stopped.)
LOOKS, LOOK_SECONDS = 12, 5.0

#: An input's bytes, and the suffix that hints at a format.
Task = tuple[bytes, str]


@dataclass(frozen=True)
class Failed:
    """A task that raised ``error``."""

    error: Exception


@dataclass(frozen=True)
class WorkerLost:
    """A task whose worker is gone; ``reason`` completes "its worker"."""

    reason: str


Event = FitBegins | Stage | FitProgress | SelectionMap | Product | Failed | WorkerLost


class Listener(Protocol):
    """Called with the events of the task at a position, but for its outcome."""

    def __call__(
        self, position: int, event: FitBegins | Stage | FitProgress | SelectionMap | WorkerLost
    ) -> None: ...


class Workers(Protocol):
    """Workers, wherever they are. Tasks go by their position among the inputs."""

    def free(self) -> bool:
        """Whether another task can be started."""

    def start(self, position: int, task: Task) -> None:
        """Hand a task to a worker."""

    def wait(self) -> Iterator[tuple[int, Event]]:
        """The events of tasks, with their positions; waits some seconds at most for the first."""

    def drop(self, position: int) -> None:
        """Forget a task that runs, and end its worker."""

    def close(self) -> None:
        """End all workers, at once."""


def parse_jobs(text: str | None) -> int | None:
    """The number of ``--jobs``; None for ``auto``.

    Raises:
        UsageError: if it is neither.
    """
    if text == "auto":
        return None
    number = 1 if text is None else int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MAX_JOBS:
        raise UsageError(f"--jobs {text!r} is not a number from 1 to {MAX_JOBS}, or auto")
    return number


def count_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def attempt(work: Work, task: Task, tell: Any) -> Product | Failed:
    """Do ``work``; an error that it raises is an outcome, too."""
    try:
        return work(*task, tell)
    except Exception as error:
        return Failed(error)


def make_portable(outcome: Product | Failed) -> Product | Failed:
    """The outcome in a form that can be pickled, with the traceback of an error as a note."""
    if isinstance(outcome, Product):
        return outcome
    error = outcome.error
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Failed(RuntimeError("".join(traceback.format_exception_only(error)).strip()))
    return outcome


def run_here(
    work: Work, tasks: Iterator[tuple[int, Task]], listener: Listener
) -> Generator[tuple[int, Product | Failed]]:
    """The outcome of each task, done in this process, one after another."""
    for position, task in tasks:
        yield position, attempt(work, task, lambda event, at=position: listener(at, event))


def dispatch(
    workers: Workers, tasks: Iterator[tuple[int, Task]], listener: Listener
) -> Generator[tuple[int, Product | Failed]]:
    """Have ``workers`` do tasks; yields the position and outcome of each as it ends.

    ``tasks`` is advanced only when a worker is free. A task whose worker is lost is started once
    more. A task for which ``listener`` raises an error has that as its outcome. At the end, all
    workers are ended.
    """
    running: dict[int, Task] = {}
    again: list[tuple[int, Task]] = []
    lost: set[int] = set()
    try:
        while True:
            while workers.free() and (entry := again.pop() if again else next(tasks, None)):
                position, task = entry
                running[position] = task
                workers.start(position, task)
            if not running:
                return
            for position, event in workers.wait():
                if position not in running:
                    continue
                if isinstance(event, Product | Failed):
                    del running[position]
                    yield position, event
                elif isinstance(event, WorkerLost) and position in lost:
                    del running[position]
                    message = f"its worker {event.reason}, twice: if memory is short, lower --jobs"
                    yield position, Failed(IntfitError(message))
                else:
                    try:
                        listener(position, event)
                    except Exception as error:
                        del running[position]
                        workers.drop(position)
                        yield position, Failed(error)
                        continue
                    if isinstance(event, WorkerLost):
                        lost.add(position)
                        again.append((position, running.pop(position)))
    finally:
        workers.close()


class Pool:
    """At most ``count`` processes on this machine, started as they are needed.

    Unlike a `concurrent.futures.ProcessPoolExecutor`, which fails as a whole when one dies, it
    knows which task a lost process had.
    """

    def __init__(self, work: Work, count: int) -> None:
        self._work, self._count = work, count
        self._context = get_context("spawn")  # torch does not survive a fork
        self._processes: dict[connection.Connection, BaseProcess] = {}
        self._busy: dict[connection.Connection, int] = {}
        #: Of each busy worker: its processor time when it last moved, and the looks since then.
        self._idle_looks: dict[connection.Connection, tuple[int | None, int]] = {}
        self._looked = time.monotonic()

    def free(self) -> bool:
        return len(self._busy) < self._count

    def start(self, position: int, task: Task) -> None:
        idle = next((pipe for pipe in self._processes if pipe not in self._busy), None)
        pipe = idle or self._start_worker()
        self._busy[pipe] = position
        with contextlib.suppress(OSError):  # it is gone: `wait` finds out
            pipe.send(task)

    def _start_worker(self) -> connection.Connection:
        if os.name == "posix":  # there is none elsewhere
            resource_tracker.ensure_running()  # its start would let interrupts in again
        with hold_interrupts():
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=run_worker, args=(theirs, self._work), daemon=True
            )
            process.start()
            theirs.close()
            self._processes[ours] = process
        return ours

    def wait(self) -> Iterator[tuple[int, Event]]:
        yield from self._find_hung()
        for pipe in connection.wait(list(self._busy), timeout=LOOK_SECONDS):
            assert isinstance(pipe, connection.Connection)
            if pipe not in self._busy:
                continue
            try:
                event = pipe.recv()
            except (EOFError, OSError):
                position = self._busy[pipe]
                yield position, WorkerLost(self._remove_worker(pipe))
                continue
            position = self._busy[pipe]
            if isinstance(event, Product | Failed):
                del self._busy[pipe]
            yield position, event

    def _find_hung(self) -> Iterator[tuple[int, Event]]:
        """End the workers that hang; yields the positions of their tasks."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for pipe, position in list(self._busy.items()):
            used = _processor_ticks(self._processes[pipe].pid)
            before, looks = self._idle_looks.get(pipe, (None, 0))
            looks = looks + 1 if used is not None and used == before else 0
            self._idle_looks[pipe] = used, looks
            if looks >= LOOKS:
                self._processes[pipe].kill()
                self._remove_worker(pipe)
                yield position, WorkerLost("hung")

    def drop(self, position: int) -> None:
        for pipe, at in list(self._busy.items()):
            if at == position:
                self._processes[pipe].kill()
                self._remove_worker(pipe)

    def _remove_worker(self, pipe: connection.Connection) -> str:
        """Remove a worker that has ended or been killed; returns how it ended."""
        process = self._processes.pop(pipe)
        self._busy.pop(pipe, None)
        self._idle_looks.pop(pipe, None)
        process.join(timeout=1)
        process.kill()
        process.join()
        pipe.close()
        code = process.exitcode or 0
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"exited with {code}"
        process.close()
        return how

    def close(self) -> None:
        with hold_interrupts():
            for process in self._processes.values():
                process.kill()  # it holds nothing that would be lost
            for pipe in list(self._processes):
                self._remove_worker(pipe)


def _processor_ticks(pid: int | None) -> int | None:
    """The processor time that a process has used, in clock ticks; None where it is not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None


def run_worker(pipe: connection.Connection, work: Work) -> None:
    """Do tasks, one after another, until the parent process is gone: the body of a worker."""
    parent = parent_process()
    assert parent is not None
    keep_apart()
    keep_freed_memory()
    for number in ENDING:  # the parent ends it
        signal.signal(number, signal.SIG_IGN)

    def exit_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(make_portable(attempt(work, pipe.recv(), pipe.send)))
