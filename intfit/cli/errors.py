"""The one place where errors become a line and an exit code."""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ..codecs.protocol import Follow
from ..errors import IntfitError, UsageError
from ..jobs.files import A_FOLDER, suggest_input
from ..jobs.phrases import printable
from ..writing import discard_output
from .report import Reporter


def explain(error: BaseException, *, debug: bool, name: str = "") -> tuple[int, str]:
    """The exit code of an error, and a line that says what to do; ``debug`` prints a traceback.

    The line comes after ``name``, which it does not repeat.

    The code is 2 for a request that makes no sense, and 1 for all else.

    Raises:
        BrokenPipeError: again, where that is the error: it ends the program.
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
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, IsADirectoryError):
        return 1, A_FOLDER
    if isinstance(error, OSError):
        given = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        named = f": {error.filename!r}" if given not in ("", name) else ""
        is_missing = isinstance(error, FileNotFoundError) and error.filename
        meant = suggest_input(Path(os.fsdecode(error.filename))) if is_missing else ""
        return 1, (error.strerror or text) + named + meant
    where = "" if debug else "; --debug shows where"
    return 1, f"a fault of intfit, {type(error).__name__}: {text}{where}"


def report_each(
    names: Sequence[str],
    keys: Iterable[str],
    make: Callable[[str, Follow], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
    *,
    report: Reporter,
    debug: bool,
    progress: bool = True,
) -> None:
    """Show what ``make`` finds of each file, and record it as a JSON line of these ``keys``.

    ``make`` tells what it does to its second argument, of which a terminal shows the ``progress``.
    A file that cannot be read does not keep the others from being shown.

    Raises:
        typer.Exit: in the end, where there was one.
    """
    exit_code = 0
    for position, name in enumerate(names):
        line: dict[str, Any] = dict.fromkeys(keys) | {"input": name, "ok": True}
        try:
            with report.follow(name, position=position, total=len(names), show=progress) as follow:
                found = make(name, follow)
        except Exception as error:
            code, message = explain(error, debug=debug, name=name)
            exit_code = max(exit_code, code)
            line |= {"ok": False, "error": message}
            report.error(f"{printable(name)}: {message}")
        else:
            line |= found
            show(line)
        report.record(line)
    if exit_code:
        raise typer.Exit(exit_code)


@contextmanager
def report_errors(report: Reporter, debug: bool) -> Iterator[None]:
    """Print an error that is not one input's as a line, and exit with its code.

    Raises:
        typer.Exit: where an error was raised.
    """
    try:
        yield
    except typer.Exit:  # a RuntimeError to Python, and no error to us
        raise
    except BrokenPipeError:
        # nobody reads our output any more: leave as quietly as any filter
        discard_output()
        raise typer.Exit(1) from None
    except Exception as error:
        code, message = explain(error, debug=debug)
        report.error(message)
        raise typer.Exit(code) from None
