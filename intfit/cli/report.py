"""Everything that a user sees: progress, summary lines, messages, JSON lines.

Messages and progress go to standard error; standard output carries only data.
"""

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from ..codecs.protocol import Follow, ignore_progress
from ..errors import IntfitError
from ..jobs.phrases import (
    RATES,
    format_clock,
    format_duration,
    format_metric,
    format_size,
    printable,
    round_digits,
)
from ..writing import discard_output

#: The most characters of a name in the progress display.
NAME_WIDTH = 24
#: The fewest and the most columns of a bar; how many figures are more important than a bar.
SHORTEST_BAR, LONGEST_BAR, BEFORE_BAR = 6, 40, 2
#: What stands for a display's other characters where there is only ASCII.
IN_ASCII = str.maketrans("━─…", "#-~")
#: The fewest columns that messages are broken for, and by how many further lines are indented.
NARROWEST, INDENT = 20, 4
#: The most characters of a message.
LONGEST_MESSAGE = 350


class Reporter:
    """Prints messages, summaries and JSON lines, as ``--json``, ``--quiet``, ``--verbose`` ask."""

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False
    ) -> None:
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        encoding = (getattr(sys.stderr, "encoding", "") or "").lower()
        self.arrow, self.times = ("→", "×") if encoding.startswith("utf") else ("->", "x")
        self._live: Any = None

    def _print_line(self, text: str) -> None:
        """Print a message; on a terminal in lines of its width, elsewhere as one."""
        if sys.stderr.isatty():
            width = measure_width(sys.stderr)
            text = "\n".join(fold(line, width) for line in text.splitlines())
        if self._live is not None:  # above the progress display, not through it
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a message, unless ``--quiet`` was given."""
        if not self.quiet:
            self._print_line(text)

    def detail(self, text: str) -> None:
        """Print a message where ``--verbose`` was given."""
        if self.verbose:
            self._print_line(text)

    def error(self, text: str) -> None:
        """Print an error, whatever was asked for, as one line of bounded length.

        A hostile file may have written part of it.
        """
        line = " ".join(text.split())
        if len(line) > LONGEST_MESSAGE:  # a long name begins it, and the reason ends it
            half = LONGEST_MESSAGE // 2
            line = f"{line[:half]}…{line[-half:]}"
        self._print_line("intfit: " + printable(line))

    def record(self, keys: Mapping[str, Any]) -> None:
        """Print a JSON object on a line of standard output, where ``--json`` was given."""
        if self.as_json:
            print_data(json.dumps(keys, allow_nan=False))

    def summarise_encoding(self, source: str, target: str, line: Mapping[str, Any]) -> None:
        """Print the summary of an encoded file, from the values of its JSON line, and its notes."""
        bytes_in, bytes_out = line["bytes_in"], line["bytes_out"]
        unit = next(name for name in RATES if line.get(name) is not None)
        ratio = bytes_in / bytes_out
        factor = f"{ratio:.1f}" if ratio >= 1 else round_digits(ratio)
        larger = " (larger than the input)" if bytes_out > bytes_in else ""
        self.say(
            f"{printable(source)} {self.arrow} {printable(target)}  "
            f"{format_size(bytes_in)} {self.arrow} {format_size(bytes_out)}  "
            f"{factor}{self.times}{larger}  "
            f"raw {round_digits(line['bytes_raw'] / bytes_out)}{self.times}  "
            f"{round_digits(line[unit])} {RATES[unit]}  "
            f"{format_metric(line['metric'], line['distortion'])}  "
            f"{format_duration(line['seconds'])}  {line['device']}  "
            f"{line['network']}"
        )
        self.notes(line["notes"])

    def notes(self, notes: Iterable[str]) -> None:
        """Print notes on what was converted, dropped or not kept."""
        for note in notes:
            text = note if len(note) <= LONGEST_MESSAGE else note[:LONGEST_MESSAGE] + "…"
            self.say(f"  note: {printable(text)}")

    @contextmanager
    def progress(self, *, show: bool, total: int, several: bool) -> Iterator["Display | None"]:
        """A live display on a terminal's standard error; None anywhere else.

        ``total`` files, of which ``several`` may be worked on at once.
        """
        if not show or self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, soft_wrap=True)
        if console.is_dumb_terminal:
            yield None
            return
        plain = not (console.encoding or "").lower().startswith("utf")
        display = Display(total=total, several=several, height=lambda: console.height, plain=plain)
        # what is printed on the same terminal goes above the display; a file gets it as it is
        above = sys.stdout.isatty()
        with Live(
            display, console=console, transient=True, refresh_per_second=5, redirect_stdout=above
        ) as live:
            self._live = live
            display.refresh = live.refresh
            try:
                yield display
            finally:
                self._live = None

    @contextmanager
    def follow(
        self, name: str, *, position: int = 0, total: int = 1, show: bool = True
    ) -> Iterator[Follow]:
        """Show what is done of one file of ``total``: call the result with the name of a stage.

        It takes the share of the stage that is done, too, in [0, 1], where that is known.
        """
        with self.progress(show=show, total=total, several=False) as display:
            if display is None:
                yield ignore_progress
                return
            display.begin(position, name)

            def follow(stage: str, fraction: float | None = None) -> None:
                display.enter(position, stage)
                if fraction is not None:
                    display.update(position, fraction, ())

            yield follow


def print_data(text: str = "") -> None:
    """Print what a command was called for to standard output, at once.

    Raises:
        BrokenPipeError: if nobody reads it any more.
        IntfitError: if it cannot be written.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise IntfitError(f"cannot write to standard output: {error.strerror}") from None


def fold(text: str, width: int, indent: int = INDENT) -> str:
    """A message in lines of at most ``width`` columns, those after the first indented.

    It is broken between parts that two spaces divide, and within long parts between words. A word
    that is longer than a line is left whole, so that a path can be copied.
    """
    parts = text.split("  ")
    # textwrap breaks at spaces, and at nothing else
    whole = [part.replace(" ", "\0") if 2 * len(part) < width else part for part in parts]
    lines = textwrap.wrap(
        "  ".join(whole),
        max(width, NARROWEST),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ")


def measure_width(terminal: TextIO) -> int:
    """The columns of a terminal."""
    try:
        return int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size(terminal.fileno()).columns
    except (ValueError, OSError):
        return 80


@dataclass
class Row:
    """What is shown of a file that is worked on: ``began`` is when its ``stage`` did."""

    name: str
    began: float
    stage: str = "reading"
    fraction: float | None = None
    figures: tuple[str, ...] = ()


class Display:
    """A line for each file that is being worked on: its stage, a clock, and figures that fit.

    It is drawn some times a second, whatever is told of the files meanwhile, at the width that the
    terminal has then. Where ``several`` files may be worked on at once, a line above them counts
    all ``total`` files. There are never more lines than the terminal's ``height`` has room for:
    further files are shown once others have ended. A ``plain`` terminal has no characters beyond
    ASCII.
    """

    def __init__(
        self, *, total: int, several: bool, height: Callable[[], int], plain: bool = False
    ) -> None:
        self._total, self._several, self._height, self._plain = total, several, height, plain
        self._rows: dict[int, Row] = {}
        self._start, self._ended = time.monotonic(), 0
        self.refresh: Callable[[], None] = lambda: None

    def begin(self, position: int, name: str) -> None:
        """Add a line for a file: the one at ``position`` among the inputs, counted from 0."""
        count = f"{position + 1}/{self._total} " if self._total > 1 else ""
        self._rows[position] = Row(count + printable(name), time.monotonic())

    def enter(self, position: int, stage: str) -> None:
        """Name what is done of a file from now on."""
        row = self._rows[position]
        if row.stage != stage:
            row.stage, row.began = stage, time.monotonic()
            if stage != "rounding":  # which is the end of a fit
                row.fraction, row.figures = None, ()

    def update(self, position: int, fraction: float, figures: tuple[str, ...]) -> None:
        """Show how far a stage has got: ``fraction`` in [0, 1], and its figures."""
        row = self._rows[position]
        row.fraction, row.figures = fraction, figures

    def end(self, position: int) -> None:
        """Remove the line of a file that is done or has failed."""
        self._rows.pop(position, None)
        self._ended += 1

    def lines(self, width: int) -> list[str]:
        """The lines as they are now, each of ``width`` columns at most."""
        now = time.monotonic()
        found = []
        if self._several:
            done = f"{self._ended} of {self._total} files"
            found.append(
                _fit_line(
                    done, format_clock(now - self._start), self._ended / self._total, (), width
                )
            )
        for row in list(self._rows.values())[: max(1, self._height() - 2 - len(found))]:
            stage = f"{row.stage} {format_clock(now - row.began)}"
            found.append(_fit_line(row.name, stage, row.fraction, row.figures, width))
        return found

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """What Rich draws."""
        from rich.text import Text

        for line in self.lines(options.max_width):
            shown = line.translate(IN_ASCII) if self._plain else line
            yield Text(shown, no_wrap=True, overflow="crop")


def _fit_line(
    name: str, stage: str, fraction: float | None, figures: tuple[str, ...], width: int
) -> str:
    """A line of ``width`` columns at most; where it is narrow, the last figures are left out."""
    from rich.cells import cell_len  # some letters take two columns

    room = width - len(stage) - 2
    shortest = min(cell_len(name), NAME_WIDTH, max(8, room // 3))
    shown = [] if fraction is None else [f"{100 * fraction:3.0f} %"]
    for place, figure in enumerate(figures):
        for_bar = SHORTEST_BAR + 2 if place >= BEFORE_BAR else 0
        if shortest + for_bar + sum(len(each) + 2 for each in [*shown, figure]) <= room:
            shown.append(figure)
    left = room - sum(len(each) + 2 for each in shown)
    most = max(shortest, min(left, NAME_WIDTH))
    if cell_len(name) > most:
        while name and cell_len(name) > most - 1:
            name = name[1:]
        name = "…" + name
    bar = min(LONGEST_BAR, left - cell_len(name) - 2)
    parts = [name, stage]
    if fraction is not None and bar >= SHORTEST_BAR:
        full = round(bar * fraction)
        parts.append("━" * full + "─" * (bar - full))
    return "  ".join(parts + shown)[:width]
