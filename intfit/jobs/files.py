"""Which inputs, where each output goes, and how a file is written: all of it or none."""

import difflib
import fnmatch
import glob
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..coding.container import SUFFIX
from ..errors import IntfitError, UsageError
from ..writing import discard_output, write_whole

#: Suffixes of the media that are usually meant: of files in folders, and of outputs that are none.
MEDIA_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm"),
    *(".pgm", ".qoi", ".tga", ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff"),
    *(".au", ".caf", ".w64", ".rf64", ".obj", ".ply", ".stl", ".off", ".glb", ".gltf"),
)
#: The name of standard input and standard output on the command line.
STREAM = "-"
#: The most names in a folder that one that is not there is compared with, and how like it one is
#: that may have been meant.
MOST_NAMES, LIKENESS = 1000, 0.66
#: What is said of a folder where a file is wanted.
A_FOLDER = "a folder, not a file: name the files in it"
#: The most bytes that are read of a pipe or a device.
MAX_STREAM = 1 << 31


@dataclass(frozen=True)
class Job:
    """One input and where its output goes; None stands for standard input and output.

    ``refusal`` is why it cannot be done, empty where it can.
    """

    source: Path | None
    target: Path | None
    refusal: str = ""

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


def read_named(name: str) -> bytes:
    """The bytes of an input that is named on the command line.

    Raises:
        IntfitError: if it cannot be read.
    """
    return read_input(Job(None if name == STREAM else Path(name), None))


def collect_inputs(files: Sequence[str], files_from: str | None) -> list[str]:
    """The inputs that are named on the command line or in a list, in order, each once.

    One that is given again by another path (``./photo.png``) is there once, too.

    Raises:
        UsageError: if there is none, or if standard input is claimed twice.
    """
    if files_from == STREAM and STREAM in files:
        raise UsageError("standard input is either the list (--files-from -) or a medium (-)")
    listed = read_list(files_from) if files_from is not None else []
    if "" in (*files, *listed):
        raise UsageError("an input without a name: '' (an empty variable of the shell?)")
    names = [*(expand_patterns(files) if sys.platform == "win32" else files), *listed]
    if not names:
        if files_from is not None:
            return []
        raise UsageError("no input: name files, or give a list with --files-from LIST")
    return _list_once(names)


def _list_once(names: Sequence[str]) -> list[str]:
    """The names, without those of paths that are there before; ``-`` is none."""
    found: dict[str | Path, str] = {}
    for name in names:
        found.setdefault(name if name == STREAM else Path(name), name)
    return list(found.values())


def expand_patterns(names: Sequence[str]) -> list[str]:
    """The names, and in place of a pattern (``*.png``) those of its files, sorted.

    What shells of other systems do, those of Windows leave to programs. A pattern that nothing
    matches stays as it is.
    """
    found: list[str] = []
    for name in names:
        is_pattern = glob.has_magic(name) and not os.path.lexists(name)
        found += (sorted(glob.glob(name)) if is_pattern else []) or [name]  # noqa: PTH207
    return found


def expand_folders(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The inputs, with every folder replaced by the files below it, sorted, each once.

    ``patterns`` are those of their names (``*.png``), whatever their case; without any, all files
    whose suffix is one of :data:`MEDIA_SUFFIXES`. What is hidden is passed over, and so are links
    to folders. A folder that cannot be read stays: reading it says why.

    Raises:
        UsageError: if a folder holds no such file.
    """
    found: list[str] = []
    wanted = [pattern.lower() for pattern in patterns or (f"*{each}" for each in MEDIA_SUFFIXES)]
    for name in names:
        if name == STREAM or not Path(name).is_dir():
            found.append(name)
            continue
        inside: list[str] = []
        closed: list[OSError] = []
        for folder, folders, files in os.walk(name, onerror=closed.append):
            folders[:] = [each for each in folders if not each.startswith(".")]
            for file in files:
                matches = any(fnmatch.fnmatch(file.lower(), pattern) for pattern in wanted)
                if matches and not file.startswith("."):
                    inside.append(str(Path(folder) / file))
        inside += [str(error.filename) for error in closed]
        if not inside:
            what = "named " + " or ".join(patterns) if patterns else "of a kind that is read"
            raise UsageError(f"{name!r} has no files {what}: --include names others")
        found += sorted(inside)
    return _list_once(found)


class OutputExistsError(IntfitError):
    """An output that exists, and may not be overwritten."""


def is_nameless(source: Path) -> bool:
    """Whether ``source`` is a pipe or a device, as ``<(command)`` is."""
    try:
        return source.exists() and not source.is_file() and not source.is_dir()
    except OSError:  # a name too long, a folder closed to us: reading it will say so
        return False


def encoded_name(source: Path) -> Path:
    """``photo.png`` becomes ``photo.png.safetensors``: a.png and a.jpg do not collide."""
    return source.parent / (source.name + SUFFIX)


def exported_name(source: Path, suffix: str = SUFFIX) -> Path:
    """``photo.png.safetensors`` becomes ``photo.png.open.safetensors``, or ``photo.png.onnx``."""
    ending = ".open" + suffix if suffix == SUFFIX else suffix
    return source.parent / (source.name.removesuffix(SUFFIX) + ending)


def decoded_name(source: Path, suffix: str, *, whole: bool = False) -> Path:
    """``photo.png.safetensors`` becomes ``photo.decoded.png``.

    With another ``suffix`` it keeps the original's, ``photo.jpg.decoded.png``: outputs of one
    folder do not collide; so does the ``whole`` name in any case.
    """
    name = source.name.removesuffix(SUFFIX)
    alike = Path(name).suffix.lower() == suffix.lower() and not whole
    stem = Path(name).stem if alike else name
    return source.parent / (stem + ".decoded" + suffix)


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
        other = seen.setdefault(os.path.normcase(os.path.abspath(job.target)), job)
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
        if sys.stdin is None:
            raise IntfitError("standard input is closed")
        return _read_stream(sys.stdin.buffer)
    try:
        if is_nameless(job.source):
            with job.source.open("rb") as stream:
                return _read_stream(stream)
        if job.source.is_dir():
            os.scandir(job.source).close()  # raises where it cannot be read
            raise IntfitError(f"{A_FOLDER} ('intfit encode --recursive' takes all media)")
        return job.source.read_bytes()
    except OSError as error:
        meant = suggest_input(job.source) if isinstance(error, FileNotFoundError) else ""
        raise IntfitError(f"cannot be read: {error.strerror}{meant}") from None


def suggest_input(path: Path) -> str:
    """What may have been meant by the path of a file that is not there, to end a message with."""
    text = str(path)
    if path.is_symlink():
        return f"; a link to {str(path.readlink())!r}"
    if re.match(r"https?:", text):
        return "; of a web address: curl -s URL | intfit encode - -o FILE.safetensors"
    if re.fullmatch(r"[kmKM]i?[bB]", text):
        return "; a size is one word, --target-size 20kB"
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
    except OSError:
        return ""
    # what all have at their end does not make them alike
    encoded = path.name.endswith(SUFFIX)
    alike = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX) == encoded]
    close = difflib.get_close_matches(path.name.removesuffix(SUFFIX), alike, 1, LIKENESS)
    found = path.parent / (close[0] + SUFFIX * encoded) if close else None
    return "" if found is None else f"; did you mean {str(found)!r}?"


def _read_stream(stream: BinaryIO) -> bytes:
    """All that a stream gives, which says nowhere how much that is."""
    data = stream.read(MAX_STREAM + 1)
    if len(data) > MAX_STREAM:
        raise IntfitError(f"gives more than {MAX_STREAM >> 30} GiB: write it to a file first")
    return data


def check_output_name(output: str | None) -> None:
    """Raise UsageError where what ``-o`` was given names no file."""
    if output == "":
        raise UsageError("an output without a name: -o '' (an empty variable of the shell?)")
    if output is not None and output.endswith(("/", os.sep)):
        raise UsageError(f"-o {output!r} is a folder, not a file")


def check_output(job: Job, *, force: bool) -> None:
    """Check, before any work is done, that the output may and can be written.

    Raises:
        IntfitError: if the job is refused, the output is the input, exists and ``force`` is not
            set, or cannot be written.
    """
    if job.refusal:
        raise IntfitError(job.refusal)
    target = job.target
    if target is None:
        return
    try:
        if target.exists():
            if job.source is not None and job.source.exists() and target.samefile(job.source):
                raise IntfitError(f"input and output are the same file, {job.target_name!r}")
            if target.is_dir():
                inside = str(target / "NAME")
                raise IntfitError(f"the output {job.target_name!r} is a folder: -o {inside}")
            if not target.is_file():
                return  # a device or a pipe: nothing to overwrite
            if not force:
                skip = "" if job.source is None else ", --skip-existing passes over it"
                raise OutputExistsError(f"{job.target_name!r} exists: -f overwrites it{skip}")
        folder = target.resolve().parent
        while not folder.exists():  # what is missing is made once there is something to write
            folder = folder.parent
        if not folder.is_dir():
            raise IntfitError(f"cannot write {job.target_name!r}: {str(folder)!r} is not a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise IntfitError(f"cannot write {job.target_name!r}: {reason}") from None


def write_output(job: Job, data: bytes, *, force: bool) -> None:
    """Write a job's output, whole or not at all.

    Raises:
        OutputExistsError: if it has come to exist meanwhile and ``force`` is off.
        IntfitError: if it cannot be written.
    """
    if job.target is None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            discard_output()
            raise IntfitError(f"cannot write to standard output: {error.strerror}") from None
        return
    try:
        write_whole(job.target, data, replace=force)
    except FileExistsError:
        raise OutputExistsError(
            f"{job.target_name!r} has appeared meanwhile: -f overwrites it"
        ) from None
    except (OSError, RuntimeError) as error:  # pathlib raises the latter for a loop of links
        if isinstance(error, BrokenPipeError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise IntfitError(f"cannot write {job.target_name!r}: {reason}") from None
