"""What libraries print to standard error while they read a file.

Libraries written in C (libtiff, mpg123) print there what they think of a damaged file, past all of
Python. In a program of ours that becomes a note; as a library we leave the stream alone.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

#: The most bytes that are kept of what is printed, and the most characters of a line.
MOST, LONGEST = 1 << 16, 120

#: Whether Python's messages of this process have a descriptor of their own.
_apart = False


def keep_apart() -> None:
    """Have :func:`collect_complaints` work in this process.

    What Python prints to standard error goes where it went, by another descriptor.
    """
    global _apart
    stream = sys.stderr
    with contextlib.suppress(OSError, ValueError):
        if stream.fileno() == 2:
            sys.stderr = open(  # noqa: SIM115, PTH123
                os.dup(2), "w", buffering=1, encoding=stream.encoding, errors=stream.errors
            )
        _apart = True


@contextlib.contextmanager
def collect_complaints() -> Iterator[list[str]]:
    """Keep what is printed to descriptor 2 in a list of lines, which is complete at the end.

    Empty, and nothing is kept from being printed, unless :func:`keep_apart` was called before and
    temporary files can be made.
    """
    lines: list[str] = []
    file = _open_temporary() if _apart else None
    if file is None:
        yield lines
        return
    with file:
        before = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            lines += filter(
                None, map(str.strip, file.read(MOST).decode(errors="replace").split("\n"))
            )


def _open_temporary() -> IO[bytes] | None:
    """A temporary file; None where there is no folder for one."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None


def note_complaints(lines: list[str]) -> tuple[str, ...]:
    """A note of what was printed, if anything was."""
    if not lines:
        return ()
    more = f", and {len(lines) - 1} more such lines" if len(lines) > 1 else ""
    return (f"the library that reads it says {lines[0][:LONGEST]!r}{more}",)
