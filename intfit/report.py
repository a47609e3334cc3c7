"""Everything a person sees: progress, summary lines, messages, JSON lines.

Messages and progress go to standard error; standard output carries only data.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fit import Progress
    from .pipeline import Encoded, Prepared

#: The name and unit of each metric, as people write them.
METRICS = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "snr": ("SNR", "dB"),
    "log_spectral_distance": ("log-spectral distance", "dB"),
    "iou": ("IoU", ""),
    "mean_distance": ("mean distance", "% of the diagonal"),
    "max_distance": ("maximal distance", "% of the diagonal"),
}
#: The unit of each rate, as people write it.
RATES = {"bpp": "bpp", "kbps": "kbps", "bytes_per_1000_faces": "B/1000 faces"}
NAME_WIDTH = 24


def printable(name: str) -> str:
    """A file name that is safe on a terminal: control characters and stray bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def size(count: int) -> str:
    """``38 kB``: three figures at the most, in powers of a thousand."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """``41 s``, ``3 min 20 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def value(metric: str, number: float | None) -> str:
    """``32.4 dB``, ``IoU 0.993``; the name is left out where the unit says it."""
    name, unit = METRICS[metric]
    if number is None:
        return f"{name} -"
    text = f"{number:.1f} {unit}" if metric in ("psnr", "snr") else f"{number:.4f} {unit}".strip()
    return text if metric in ("psnr", "snr") else f"{name} {text}"


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
        """One line, always."""
        self._line("intfit: " + " ".join(text.split()))

    def record(self, keys: Mapping[str, Any]) -> None:
        """One JSON object on a line of standard output, where ``--json`` asked for it."""
        if self.as_json:
            print(json.dumps(keys, allow_nan=False), flush=True)

    def encoded(self, source: str, target: str, bytes_in: int, result: "Encoded") -> None:
        """The summary line of a file, and what there is to say about it."""
        bytes_out = len(result.data)
        ratio = bytes_in / bytes_out
        factor = f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"
        larger = " (larger than the input)" if bytes_out > bytes_in else ""
        self.say(
            f"{printable(source)} {self.arrow} {printable(target)}  "
            f"{size(bytes_in)} {self.arrow} {size(bytes_out)}  {factor}{self.times}{larger}  "
            f"raw {result.raw_size / bytes_out:.3g}{self.times}  "
            f"{result.rate:.3g} {RATES[result.rate_name]}  "
            f"{value(result.metric, result.distortion)}  {duration(result.seconds)}  "
            f"{result.device}"
        )
        self.notes(result.notes)

    def notes(self, notes: tuple[str, ...]) -> None:
        """What was converted, dropped or not kept."""
        for note in notes:
            self.say(f"  note: {note}")

    def plan(self, prepared: "Prepared") -> str:
        """The network and the schedule, in a line for ``--verbose`` and ``--dry-run``."""
        from .fields.architecture import SirenConfig

        plan, config = prepared.plan, prepared.config
        if not isinstance(config, SirenConfig):
            return (
                f"  {prepared.kind}, {prepared.signal.n} examples; {config.count()} latents, "
                f"in steps of {config.size():.3g}"
            )
        bound = f"{plan.steps} steps" if plan.steps else f"{plan.max_time:g} s"
        teacher = f"{plan.teacher} ({plan.selection})" if plan.teacher == "int" else plan.teacher
        return (
            f"  {prepared.kind}, {prepared.signal.n} examples; SIREN {config.width} x "
            f"{config.depth}, {config.count()} weights, omega {config.omega_first:g} / "
            f"{config.omega:g}; {teacher}, batch {plan.batch}, {bound}, lr {plan.lr:.3g}; "
            f"{prepared.device}"
        )

    @contextmanager
    def progress(self, *, show: bool) -> Iterator["Display | None"]:
        """A live display on a terminal's standard error; None anywhere else."""
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
                yield Display(live)
            finally:
                self._live = None


def clock(seconds: float) -> str:
    """``1:05``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


class Display:
    """The progress of one file after another: a line, redrawn a few times a second."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._task = live.add_task("", total=None, figures="")
        self._metric = "psnr"

    def begin(self, name: str, position: int, total: int) -> None:
        """A new file, of which nothing is known yet."""
        name = printable(name)
        if len(name) > NAME_WIDTH:
            name = "…" + name[1 - NAME_WIDTH :]
        count = f"{position}/{total} " if total > 1 else ""
        self._live.reset(self._task, description=f"{count}{name}", total=None, figures="reading")

    def prepared(self, prepared: "Prepared") -> None:
        """The file has been read; its fit begins."""
        self._metric = prepared.signal.metric
        self._live.update(self._task, total=1.0, completed=0.0, figures="fitting")

    def update(self, progress: "Progress") -> None:
        """Where the fit stands."""
        left = progress.seconds * (1 - progress.fraction) / max(progress.fraction, 1e-9)
        rate = progress.step / max(progress.seconds, 1e-9)
        self._live.update(
            self._task,
            completed=progress.fraction,
            figures=(
                f"{clock(progress.seconds)} <{clock(left)} {rate:.0f} steps/s "
                f"{value(self._metric, progress.distortion)} ratio {progress.ratio:.2f}"
            ),
        )
