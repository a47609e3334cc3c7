"""``python -m intfit``, and the ``intfit`` command."""

import os
import sys


def main() -> None:
    """Run the command line; an interrupt exits with 130, wherever it falls."""
    _open_closed_streams()
    # NumPy's products are of a few columns: threads cost them more than they gain, and two workers
    # get in each other's way. PyTorch has threads of its own, except on ARM.
    if os.name != "posix" or os.uname().machine == "x86_64":
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # PyTorch's threads wait for each other a hundred times a step, and spin: beside other programs,
    # for one that does not run. So they sleep after some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from .jobs.interrupts import TerminatedError, die_of, raise_on_termination
    from .jobs.memory import keep_freed_memory

    raise_on_termination()
    keep_freed_memory()
    code: object = 0
    try:
        from .cli import app

        app()
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code
    if TerminatedError.number is not None:
        print("intfit: terminated", file=sys.stderr)
        die_of(TerminatedError.number)
    if code == 130:
        print("intfit: interrupted", file=sys.stderr)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # what is buffered cannot be written, and would be tried again on the way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"intfit: standard output: {error.strerror}", file=sys.stderr)
        code = code or 1
    sys.exit(code)  # type: ignore[arg-type]


def _open_closed_streams() -> None:
    """Keep the places of standard streams that are closed from being taken by files.

    Python has None for those; messages to such a standard error go nowhere.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free place, which is this
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
