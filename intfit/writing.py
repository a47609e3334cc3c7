"""Write a file, all of it or none; and give up standard output."""

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from .interrupts import hold_interrupts


def write_whole(path: str | os.PathLike[str], data: bytes, *, replace: bool = True) -> None:
    """Write ``data`` to a temporary file beside ``path``, which is then renamed in one step.

    A link is written through, a pipe or a device written to. Missing folders are made.

    Raises:
        FileExistsError: if there is such a file and ``replace`` is off.
        OSError: if it cannot be written.
        RuntimeError: if links go round in a circle.
    """
    target = Path(path).resolve()
    exists = target.exists()
    if exists and not stat.S_ISREG(target.stat().st_mode):
        target.write_bytes(data)
        return
    mode = stat.S_IMODE(target.stat().st_mode) if exists else 0o666 & ~_read_umask()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary: str | None = None
    try:
        with hold_interrupts():  # or one between this call and the assignment would leave the file
            handle, temporary = tempfile.mkstemp(
                dir=target.parent, prefix=".intfit-", suffix=".tmp"
            )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        if replace:
            os.replace(temporary, target)
            temporary = None
        elif not _take_name(temporary, target):
            raise FileExistsError(f"{os.fspath(path)!r} exists")
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _take_name(temporary: str, target: Path) -> bool:
    """Rename a file to ``target``, unless that exists; returns whether it was renamed."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if target.exists():
            return False
        Path(temporary).rename(target)
    return True


def _read_umask() -> int:
    """The permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def discard_output() -> None:
    """Send nowhere what is buffered for standard output, which cannot be written to, and the rest.

    It would be tried again when the program ends.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
