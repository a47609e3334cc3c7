"""Everything that a user sees: progress, summary lines, messages, JSON lines.

Messages and progress go to standard error; standard output carries only data.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..jobs.phrases import (
    RATES,
    format_clock,
    format_duration,
    format_metric,
    format_size,
    printable,
)

#: The most characters of a name in the progress display.
NAME_WIDTH = 24
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
            print(json.dumps(keys, allow_nan=False), flush=True)

    def summarise_encoding(self, source: str, target: str, line: Mapping[str, Any]) -> None:
        """Print the summary of an encoded file, from the values of its JSON line, and its notes."""
        bytes_in, bytes_out = line["bytes_in"], line["bytes_out"]
        unit = next(name for name in RATES if line.get(name) is not None)
        ratio = bytes_in / bytes_out
        factor = f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"
        larger = " (larger than the input)" if bytes_out > bytes_in else ""
        self.say(
            f"{printable(source)} {self.arrow} {printable(target)}  "
            f"{format_size(bytes_in)} {self.arrow} {format_size(bytes_out)}  "
            f"{factor}{self.times}{larger}  "
            f"raw {line['bytes_raw'] / bytes_out:.3g}{self.times}  "
            f"{line[unit]:.3g} {RATES[unit]}  "
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
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        if console.is_dumb_terminal:
            yield None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        with RichProgress(*columns, console=console, transient=True, expand=True) as live:
            self._live = live
            try:
                most = console.height - 2
                yield Display(live, total=total, several=several, most=most)
            finally:
                self._live = None


class Display:
    """A line for each file that is being worked on, redrawn a few times a second.

    Where ``several`` files may be worked on at once, a line above them counts all ``total`` files.
    There are never more lines than ``most``: further files are shown once others have ended.
    """

    def __init__(self, live: Any, *, total: int, several: bool, most: int) -> None:
        self._live, self._total, self._most = live, total, max(1, most - several)
        self._rows: dict[int, Any] = {}
        self._all = live.add_task("", total=total, figures="") if several else None
        self._start, self._ended = time.monotonic(), 0
        self._update_count()

    def _update_count(self) -> None:
        if self._all is not None:
            elapsed = format_clock(time.monotonic() - self._start)
            count = f"{self._ended} of {self._total} files"
            self._live.update(self._all, completed=self._ended, description=count, figures=elapsed)

    def _update_visibility(self) -> None:
        for place, row in enumerate(self._rows.values()):
            self._live.update(row, visible=place < self._most)

    def begin(self, position: int, name: str) -> None:
        """Add a line for a file: the one at ``position`` among the inputs, counted from 0."""
        name = printable(name)
        if len(name) > NAME_WIDTH:
            name = "…" + name[1 - NAME_WIDTH :]
        count = f"{position + 1}/{self._total} " if self._total > 1 else ""
        row = self._live.add_task(f"{count}{name}", total=None, figures="reading")
        self._rows[position] = row
        self._update_visibility()

    def update(self, position: int, fraction: float, figures: str) -> None:
        """Show how far a file has got: ``fraction`` in [0, 1], and its figures."""
        row = self._rows[position]
        self._live.update(row, total=1.0, completed=fraction, figures=figures)
        self._update_count()

    def end(self, position: int) -> None:
        """Remove the line of a file that is done or has failed."""
        if position in self._rows:
            self._live.remove_task(self._rows.pop(position))
            self._update_visibility()
        self._ended += 1
        self._update_count()
