"""``python -m intfit``, and the ``intfit`` command."""

import contextlib
import io
import os
import sys


def main() -> None:
    """Run the command line, and exit with its code.

    An interrupt exits with 130, wherever it falls; SIGTERM and SIGHUP end the process as they do
    others, once what was begun is cleaned up.
    """
    failure = None
    try:
        code = _run()
    except KeyboardInterrupt:
        code = 130
    except OSError as error:  # mostly a standard stream that cannot be written to
        code, failure = 1, error
    interrupts = sys.modules.get(f"{__package__}.interrupts")
    done = "".join(f": {text}" for text in interrupts.done) if interrupts is not None else ""
    if interrupts is not None and (number := interrupts.TerminatedError.number) is not None:
        _say(f"terminated{done}")
        interrupts.die_of(number)
    if code == 130:
        _say(f"interrupted{done}")
    flushed = _flush()
    if failure is not None and not flushed and not isinstance(failure, BrokenPipeError):
        _say(failure.strerror or str(failure))
    sys.exit(code if code == 130 else flushed or code)  # type: ignore[arg-type]


def _run() -> object:
    """Run the command line; its exit code."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may have letters that it has not
        sys.stdout.reconfigure(errors="backslashreplace")
    # NumPy's products are of a few columns: threads cost them more than they gain, and two workers
    # get in each other's way. PyTorch has threads of its own, except on ARM.
    if not hasattr(os, "uname") or os.uname().machine == "x86_64":
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # PyTorch's threads wait for each other a hundred times a step, and spin: beside other programs,
    # for one that does not run. So they sleep after some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from .complaints import keep_apart
    from .interrupts import raise_on_termination
    from .jobs.memory import keep_freed_memory

    keep_apart()
    raise_on_termination()
    keep_freed_memory()
    from .cli import app

    try:
        app()
    except SystemExit as end:
        return end.code
    return 0


def _say(text: str) -> None:
    """Print a message to standard error, where that can be written to."""
    with contextlib.suppress(OSError):
        print(f"intfit: {text}", file=sys.stderr, flush=True)


def _flush() -> int:
    """Write what standard streams have buffered; an exit code where that cannot be done."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # it would be tried again on the way out
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
                _say(f"cannot write to standard output: {error.strerror}")
            code = 1
    return code


def _open_closed_streams() -> None:
    """Keep the places of standard streams that are closed from being taken by files.

    Python has None for those. What is written to such a standard output fails, as what it writes
    is what the program is called for; messages to such a standard error go nowhere.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest free place is taken, which is this
            os.open(os.devnull, os.O_RDONLY if descriptor == 1 else os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
