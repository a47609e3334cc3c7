"""Everything a person sees: progress, summary lines, messages, JSON lines.

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
    """Speaks to the person, in the voice they asked for."""

    def __init__(
        self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False
    ) -> None:
        self.as_json, self.quiet, self.verbose = as_json, quiet, verbose
        encoding = (getattr(sys.stderr, "encoding", "") or "").lower()
        self.arrow, self.times = ("→", "×") if encoding.startswith("utf") else ("->", "x")
        self._live: Any = None

    def _line(self, text: str) -> None:
        if self._live is not None:  # above the progress display, not through it
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A message, unless quiet."""
        if not self.quiet:
            self._line(text)

    def detail(self, text: str) -> None:
        """A message for ``--verbose``."""
        if self.verbose:
            self._line(text)

    def error(self, text: str) -> None:
        """One line of bounded length, always: a hostile file may have written part of it."""
        line = " ".join(text.split())
        if len(line) > LONGEST_MESSAGE:  # a long name begins it, and the reason ends it
            half = LONGEST_MESSAGE // 2
            line = f"{line[:half]}…{line[-half:]}"
        self._line("intfit: " + printable(line))

    def record(self, keys: Mapping[str, Any]) -> None:
        """One JSON object on a line of standard output, where ``--json`` asked for it."""
        if self.as_json:
            print(json.dumps(keys, allow_nan=False), flush=True)

    def encoded(self, source: str, target: str, line: Mapping[str, Any]) -> None:
        """The summary of a file, of the values of its JSON line, and what else is to be said."""
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
        """What was converted, dropped or not kept."""
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

    Above them, where ``several`` may be worked on at once, one for all ``total`` files. There are
    never more lines than ``most``: who does not fit waits for a place.
    """

    def __init__(self, live: Any, *, total: int, several: bool, most: int) -> None:
        self._live, self._total, self._most = live, total, max(1, most - several)
        self._rows: dict[int, Any] = {}
        self._all = live.add_task("", total=total, figures="") if several else None
        self._start, self._ended = time.monotonic(), 0
        self._count()

    def _count(self) -> None:
        if self._all is not None:
            passed = format_clock(time.monotonic() - self._start)
            told = f"{self._ended} of {self._total} files"
            self._live.update(self._all, completed=self._ended, description=told, figures=passed)

    def _show(self) -> None:
        for place, row in enumerate(self._rows.values()):
            self._live.update(row, visible=place < self._most)

    def begin(self, position: int, name: str) -> None:
        """A new file, the ``position``-th counted from 0, of which nothing is known yet."""
        name = printable(name)
        if len(name) > NAME_WIDTH:
            name = "…" + name[1 - NAME_WIDTH :]
        count = f"{position + 1}/{self._total} " if self._total > 1 else ""
        row = self._live.add_task(f"{count}{name}", total=None, figures="reading")
        self._rows[position] = row
        self._show()

    def update(self, position: int, fraction: float, figures: str) -> None:
        """Where it stands."""
        row = self._rows[position]
        self._live.update(row, total=1.0, completed=fraction, figures=figures)
        self._count()

    def end(self, position: int) -> None:
        """It is done, one way or the other."""
        if position in self._rows:
            self._live.remove_task(self._rows.pop(position))
            self._show()
        self._ended += 1
        self._count()
