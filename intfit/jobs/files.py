"""Which inputs, where each output goes, and how a file is written: all of it or none."""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..coding.container import SUFFIX
from ..errors import IntfitError, UsageError

#: The name of standard input and standard output on the command line.
STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One input and where its output goes; None stands for standard input and output."""

    source: Path | None
    target: Path | None

    @property
    def source_name(self) -> str:
        return STREAM if self.source is None else str(self.source)

    @property
    def target_name(self) -> str:
        return STREAM if self.target is None else str(self.target)


def read_list(files_from: str) -> list[str]:
    """The paths in a list file, one a line (or separated by NUL, as ``find -print0`` does).

    Raises:
        UsageError: if the list cannot be read.
    """
    try:
        raw = sys.stdin.buffer.read() if files_from == STREAM else Path(files_from).read_bytes()
    except OSError as error:
        raise UsageError(f"--files-from {files_from!r}: {error.strerror}") from None
    separator = b"\0" if b"\0" in raw else b"\n"
    names = (os.fsdecode(line.rstrip(b"\r")) for line in raw.split(separator))
    return [name for name in names if name]


def collect_inputs(files: Sequence[str], files_from: str | None) -> list[str]:
    """Every input named, in order, each once.

    Raises:
        UsageError: if there is none, or if standard input is claimed twice.
    """
    if files_from == STREAM and STREAM in files:
        raise UsageError("standard input is either the list (--files-from -) or a medium (-)")
    names = list(files) + (read_list(files_from) if files_from is not None else [])
    if not names:
        if files_from is not None:
            return []
        raise UsageError("no input: name files, or give a list with --files-from LIST")
    return list(dict.fromkeys(names))


def is_nameless(source: Path) -> bool:
    """Whether ``source`` is a pipe or a device, as ``<(command)`` is."""
    return source.exists() and not source.is_file() and not source.is_dir()


def encoded_name(source: Path) -> Path:
    """``photo.png`` becomes ``photo.png.safetensors``: a.png and a.jpg do not collide."""
    return source.parent / (source.name + SUFFIX)


def exported_name(source: Path) -> Path:
    """``photo.png.safetensors`` becomes ``photo.png.open.safetensors``."""
    return source.parent / (source.name.removesuffix(SUFFIX) + ".open" + SUFFIX)


def decoded_name(source: Path, suffix: str) -> Path:
    """``photo.png.safetensors`` becomes ``photo.decoded`` with ``suffix``."""
    name = source.name.removesuffix(SUFFIX)
    return source.parent / (Path(name).stem + ".decoded" + suffix)


def place_output(source: Path, renamed: Path, output_dir: Path | None) -> Path:
    """Where an output called ``renamed``, beside ``source``, goes.

    Under ``output_dir`` the sub-folders of a relative path are kept; those of a path outside the
    working folder are not, so that nothing is ever written outside ``output_dir``.
    """
    if output_dir is None:
        return renamed
    absolute = Path(os.path.abspath(source))
    try:
        relative = absolute.relative_to(Path.cwd())
    except ValueError:
        relative = Path(absolute.name)
    return output_dir / relative.parent / renamed.name


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """Raise UsageError where two inputs would write one output."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.target is None:
            continue
        other = seen.setdefault(os.path.abspath(job.target), job)
        if other is not job:
            raise UsageError(
                f"{other.source_name!r} and {job.source_name!r} would both be written to "
                f"{job.target_name!r}: give them in separate calls, with --output-dir or -o"
            )


def read_input(job: Job) -> bytes:
    """The bytes of a job's input.

    Raises:
        IntfitError: if it cannot be read.
    """
    if job.source is None:
        return sys.stdin.buffer.read()
    try:
        if job.source.is_dir():
            raise IntfitError(
                "a folder, not a file: list its files with 'find ... | intfit ... --files-from -'"
            )
        return job.source.read_bytes()
    except OSError as error:
        raise IntfitError(f"cannot be read: {error.strerror}") from None


def check_output(job: Job, *, force: bool) -> None:
    """Check, before any work is done, that the output may and can be written.

    Raises:
        IntfitError: if it is the input, exists and ``force`` is not set, or cannot be written.
    """
    target = job.target
    if target is None:
        return
    try:
        if target.exists():
            if job.source is not None and job.source.exists() and target.samefile(job.source):
                raise IntfitError(f"input and output are the same file, {job.target_name!r}")
            if target.is_dir():
                raise IntfitError(f"the output {job.target_name!r} is a folder")
            if not target.is_file():
                return  # a device or a pipe: nothing to overwrite
            if not force:
                raise IntfitError(
                    f"{job.target_name!r} exists: -f overwrites it, --skip-existing passes over it"
                )
        folder = target.resolve().parent
        while (
            not folder.exists()
        ):  # `write_output` makes what is missing, once there is something in it
            folder = folder.parent
        if not folder.is_dir():
            raise IntfitError(f"cannot write {job.target_name!r}: {str(folder)!r} is not a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise IntfitError(f"cannot write {job.target_name!r}: {error.strerror}") from None


def write_output(job: Job, data: bytes, *, force: bool) -> None:
    """Write a job's output, whole or not at all: a temporary file beside it, then a rename.

    Raises:
        IntfitError: if it cannot be written, or has come to exist meanwhile and ``force`` is off.
    """
    if job.target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target = job.target.resolve()  # a link is written through, not replaced
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".intfit-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            exists = target.exists()
            os.chmod(name, stat.S_IMODE(target.stat().st_mode) if exists else 0o666 & ~_umask())
            if not force and target.exists():
                raise IntfitError(f"{job.target_name!r} has appeared meanwhile: -f overwrites it")
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise IntfitError(f"cannot write {job.target_name!r}: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
