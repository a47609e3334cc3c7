"""Tasks on a Ray cluster (https://www.ray.io). Its machines need intfit, but share no disk."""

import logging
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

from .. import __version__
from ..errors import IntfitError, UsageError
from ..interrupts import hold_interrupts
from .pool import Event, Failed, Task, WorkerLost, attempt, make_portable
from .tasks import Product, Work

#: The most seconds that the head of a cluster may take to answer.
HEAD_TIMEOUT = 5.0
#: The most seconds to wait for an event, between which an interrupt is noticed.
WAIT_SECONDS = 0.2


def stream(work: Work, task: Task, version: str) -> Iterator[Event]:
    """Do a task, on the cluster's side; yields its events, the outcome last."""
    if version != __version__:
        yield Failed(IntfitError(f"the cluster has intfit {__version__}, this is {version}"))
        return
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def run() -> None:
        events.put(make_portable(attempt(work, task, events.put)))

    threading.Thread(target=run, daemon=True).start()
    event: Event | None = None
    while not isinstance(event, Product | Failed):
        event = events.get()
        yield event


class Cluster:
    """The workers of a Ray cluster: ``most`` at once, or None for as many as it has CPUs for.

    ``address`` is ``auto``, the cluster that this machine belongs to, or HOST:PORT of its head.
    Every task has ``threads`` CPUs, and a GPU where it runs ``on_gpu``.

    Raises:
        UsageError: if Ray is not installed.
        IntfitError: if the cluster cannot be joined.
    """

    def __init__(
        self, work: Work, address: str, *, most: int | None, threads: int, on_gpu: bool
    ) -> None:
        try:
            import ray
            from ray._private import worker
        except ImportError:
            raise UsageError("--cluster needs Ray: pip install 'intfit[ray]'") from None
        check_address(address)
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().split("\n")[0].split(". ")[0]
            raise IntfitError(
                f"--cluster {address!r} cannot be joined: {reason}. 'ray start --head' starts "
                "one, and 'ray start --address HOST:PORT' has this machine join it"
            ) from None
        # Ray would print that a worker is gone to standard output, which carries data only
        worker._worker_logs_enabled = False
        self._ray: Any = ray
        self._work, self._most, self._threads = work, most, threads
        self._stream = ray.remote(
            num_cpus=threads, num_gpus=int(on_gpu), max_retries=0, num_returns="streaming"
        )(stream)
        self._running: dict[Any, int] = {}  # positions by Ray's generators of the tasks' events

    def free(self) -> bool:
        if self._most is not None:
            return len(self._running) < self._most
        cpus = self._ray.cluster_resources().get("CPU", 0)  # machines come and go
        return len(self._running) < max(1, int(cpus // self._threads))

    def start(self, position: int, task: Task) -> None:
        self._running[self._stream.remote(self._work, task, __version__)] = position

    def wait(self) -> Iterator[tuple[int, Event]]:
        errors = self._ray.exceptions
        ready, _ = self._ray.wait(list(self._running), timeout=WAIT_SECONDS)
        for events in ready:
            position = self._running[events]
            event: Event
            try:
                event = self._ray.get(next(events))
            except errors.RayTaskError as error:  # it catches its own: Ray could not even start it
                reason = str(error).strip().rsplit("\n", 1)[-1]
                event = Failed(
                    IntfitError(f"the cluster cannot run intfit {__version__}: {reason}")
                )
            except (errors.RayError, StopIteration) as error:
                event = WorkerLost(f"was lost ({type(error).__name__})")
            if isinstance(event, Product | Failed | WorkerLost):
                del self._running[events]
            yield position, event

    def drop(self, position: int) -> None:
        for events, at in list(self._running.items()):
            if at == position:
                del self._running[events]
                self._ray.cancel(events, force=True)

    def close(self) -> None:
        with hold_interrupts():
            self._ray.shutdown()  # the cluster ends what this program still has running


def check_address(address: str) -> None:
    """Raise where no cluster answers: Ray would take half a minute to say so.

    Raises:
        UsageError: if it is neither ``auto`` nor HOST:PORT.
        IntfitError: if nothing answers there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or "/" in host or int(port) > 65535:
        raise UsageError(f"--cluster {address!r} is not auto or HOST:PORT of a Ray cluster's head")
    try:
        socket.create_connection((host, int(port)), timeout=HEAD_TIMEOUT).close()
    except OSError as error:
        raise IntfitError(
            f"--cluster {address!r} does not answer: {error.strerror or error}"
        ) from None
