"""``intfit view``: a page that shows files beside their originals."""

import os
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..codecs.protocol import Hooks
from ..coding.container import SUFFIX
from ..errors import IntfitError, UsageError
from ..jobs.files import (
    STREAM,
    Job,
    check_output,
    check_output_name,
    collect_inputs,
    suggest_input,
    write_output,
)
from ..jobs.phrases import format_size, printable
from ..limits import Limits
from . import options
from .errors import explain, report_errors
from .options import OUTPUT, option
from .report import Reporter, print_data


def view(
    files: Annotated[list[str] | None, typer.Argument(help="Files that encode wrote.")] = None,
    against: Annotated[
        list[Path] | None,
        option(
            "--against",
            panel=OUTPUT,
            text="The original, to show beside it: one for all files, one for each in their order, "
            "or a folder of originals by name.",
            metavar="ORIGINAL",
        ),
    ] = None,
    output: Annotated[
        str | None,
        option(
            "-o",
            "--output",
            panel=OUTPUT,
            text="Where to write the page; - is stdout. A temporary page is opened otherwise.",
        ),
    ] = None,
    files_from: options.FilesFrom = None,
    force: options.Force = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    limit: options.Limit = 1.0,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Make a page that shows each file, and its original beside it.

    One HTML file that needs nothing else and loads nothing: pictures with a slider and endless
    zoom, recordings to hear, surfaces to turn, each with its bytes, rate and quality.

    \b
    Examples:
      intfit view photo.png.safetensors --against photo.png
      intfit view *.safetensors --against originals/ -o page.html
    """
    report = Reporter(quiet=quiet)
    with report_errors(report, debug):
        check_output_name(output)
        names = collect_inputs(files or [], files_from)
        if not names:
            raise UsageError("no input: the list is empty")
        if STREAM in names:
            raise UsageError("a page is made of files by name: standard input has none")
        originals = match_originals(names, against or [])
        for original in originals:
            if original is not None and not original.exists():
                meant = suggest_input(original)
                raise UsageError(f"the original {str(original)!r} is not there{meant}")
        opened = output is None
        target = None if output == STREAM else Path(output or _reserve_page())
        job = Job(None, target)
        if target is None and sys.stdout.isatty():
            raise UsageError("stdout is a terminal: -o FILE, or redirect it")
        check_output(job, force=force or opened)
        if any(target is not None and _is_same(target, each) for each in (*names, *originals)):
            raise UsageError(f"{job.target_name!r} is a file to show: -o names another, page.html")
        page, exit_code = _make(names, originals, report, device, threads, limit, debug)
        if not page:
            if opened and target is not None:
                target.unlink(missing_ok=True)
            raise typer.Exit(exit_code)
        write_output(job, page.encode(), force=force or opened)
        if opened:
            print_data(str(target))
            _open(target)
        else:
            report.say(f"{printable(job.target_name)}  {format_size(len(page.encode()))}")
        if exit_code:
            raise typer.Exit(exit_code)


def _is_same(target: Path, file: str | Path | None) -> bool:
    """Whether both are one file."""
    return file is not None and target.exists() and Path(file).exists() and target.samefile(file)


def _make(
    names: Sequence[str],
    originals: Sequence[Path | None],
    report: Reporter,
    device: str,
    threads: int | None,
    limit: float,
    debug: bool,
) -> tuple[str, int]:
    """The page of all files that can be shown, empty if none can; and the largest exit code."""
    from ..view import make_item, make_page

    items, exit_code = [], 0
    for position, (name, original) in enumerate(zip(names, originals, strict=True)):
        try:
            with report.follow(name, position=position, total=len(names)) as follow:
                items.append(
                    make_item(
                        name, original, device=device, threads=threads, limits=Limits(limit),
                        hooks=Hooks(stage=follow),
                    )
                )  # fmt: skip
        except Exception as error:  # whatever it is, the other files are still shown
            code, message = explain(error, debug=debug, name=name)
            exit_code = max(exit_code, code)
            report.error(f"{printable(name)}: {message}")
    return make_page(items) if items else "", exit_code


def match_originals(names: Sequence[str], against: Sequence[Path]) -> list[Path | None]:
    """The original of each file, from what ``--against`` was given; None where it was not.

    Raises:
        UsageError: if there are neither one nor as many as files.
    """
    if not against:
        return [None] * len(names)
    if len(against) == 1 and against[0].is_dir():
        return [_find_original(against[0], Path(name)) for name in names]
    if len(against) not in (1, len(names)):
        raise UsageError(
            f"--against was given {len(against)} times for {len(names)} files: give one for all, "
            "one for each, or a folder"
        )
    return [*against] * (len(names) if len(against) == 1 else 1)


def _find_original(folder: Path, file: Path) -> Path:
    """The original in a folder of a file named after it: photo.png of photo.png.safetensors.

    Raises:
        UsageError: if there is none, or more than one.
    """
    name = file.name.removesuffix(SUFFIX)
    if (folder / name).is_file():
        return folder / name
    found = sorted(path for path in folder.iterdir() if path.stem == name and path.is_file())
    found = [path for path in found if path.suffix != SUFFIX]
    if len(found) != 1:
        raise UsageError(
            f"--against {str(folder)!r} has {len(found) or 'no'} originals of {file.name!r}: "
            "give the file"
        )
    return found[0]


def _reserve_page() -> str:
    """The path of a new, empty temporary page, which is left for the browser to read."""
    try:
        handle, path = tempfile.mkstemp(prefix="intfit-", suffix=".html")
    except OSError as error:
        raise IntfitError(f"no temporary page: {error.strerror}; -o says where") from None
    os.close(handle)
    return path


def _open(page: Path | None) -> None:
    """Open a page in a browser, unless that would be one of the terminal's, or there is none."""
    assert page is not None
    graphical = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if graphical:
        webbrowser.open(page.resolve().as_uri())
