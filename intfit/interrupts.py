"""Signals that end the program: turned into an exception, so that what was begun is cleaned up."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: The signals that end the program; a terminal that closes sends the last one.
ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class TerminatedError(KeyboardInterrupt):
    """A signal other than an interrupt asked the program to end."""

    #: The number of the signal, if one came: the exception itself may become an exit code.
    number: int | None = None


#: What had been done when the program was interrupted, in words.
done: list[str] = []


def note_interruption(text: str) -> None:
    """Keep what had been done, for the message with which the program ends."""
    done[:] = [text]


def raise_on_termination() -> None:
    """Have SIGTERM and SIGHUP raise :class:`TerminatedError`, as SIGINT raises KeyboardInterrupt.

    A signal that is ignored (by ``nohup``) stays ignored.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        TerminatedError.number = number
        raise TerminatedError

    for number in ENDING:
        if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, terminate)


def die_of(number: int) -> None:
    """End this process by a signal, as whoever sent it expects."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Hold back :data:`ENDING` signals until the end; processes started inside never get any.

    A terminal sends Ctrl-C to workers too. Each would end with a traceback, before its parent ends
    it. Signals reach the main thread alone: in another there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = {
        number: signal.signal(number, lambda number, frame: held.append((number, frame)))
        for number in ENDING
        if signal.getsignal(number) is not None
    }
    has_masks = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING) if has_masks else set()
    try:
        yield
    finally:
        if has_masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in held[:1]:
            handler = before[number]
            if callable(handler):
                handler(number, frame)
            elif handler == signal.SIG_DFL:
                die_of(number)
