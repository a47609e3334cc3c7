"""Text for people: sizes, durations, distortions, plans, and the progress of a fit."""

from typing import TYPE_CHECKING, Any

from ..coding.header import KINDS

if TYPE_CHECKING:
    from ..codecs.protocol import Prepared
    from ..training.loop import Progress

#: The name and unit of each metric.
METRICS = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "ms_ssim": ("MS-SSIM", ""),
    "ssimulacra2": ("SSIMULACRA2", ""),
    "snr": ("SNR", "dB"),
    "log_spectral_distance": ("log-spectral distance", "dB"),
    "zimtohrli": ("Zimtohrli", ""),
    "visqol": ("ViSQOL", ""),
    "iou": ("IoU", ""),
    "mean_distance": ("mean distance", "% of the diagonal"),
    "max_distance": ("maximal distance", "% of the diagonal"),
    "normal_error": ("normal error", "degrees"),
    "f_score": ("F-score", ""),
    "faces": ("faces", ""),
    "colour_psnr": ("colours", "dB"),
}
#: The digits after the point of those that are not given to four.
DIGITS = {
    "psnr": 1,
    "snr": 1,
    "ssimulacra2": 2,
    "zimtohrli": 3,
    "visqol": 3,
    "faces": 0,
    "colour_psnr": 1,
}
#: The unit of each rate.
RATES = {"bpp": "bpp", "kbps": "kbps", "bytes_per_1000_faces": "B/1000 faces"}


#: What the names of teachers stand for.
TEACHERS = {
    "none": "none, nothing was trained",
    "int-top": "INT, the worst examples",
    "int-proportional": "INT, examples drawn in proportion to their error",
    "evos": "EVOS",
    "nint": "NINT",
    "uniform": "examples drawn at random",
    "full": "all examples at every step",
}


def printable(name: str) -> str:
    """A file name that is safe on a terminal: control characters and stray bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def format_size(count: int) -> str:
    """``38 kB``: a size in bytes, by powers of a thousand, with three digits at most."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"


def round_digits(number: float) -> str:
    """A number with three digits that count, never with an exponent: ``1.47``, ``10500``."""
    return f"{float(f'{number:.3g}'):.12g}"


def format_duration(seconds: float) -> str:
    """Seconds as ``4.1 s``, ``41 s`` or ``3 min 20 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def format_clock(seconds: float) -> str:
    """Seconds as ``1:05``, minutes and seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def format_metric(metric: str, number: float | None) -> str:
    """``32.4 dB``, ``IoU 0.9930``, ``SSIM -`` for None: PSNR and SNR go without their names."""
    name, unit = METRICS[metric]
    if number is None:
        return f"{name} -"
    if metric == "faces":
        return f"{number:.0f} faces"
    text = f"{format_number(metric, number)} {unit}".strip()
    return text if metric in ("psnr", "snr") else f"{name} {text}"


def name_metric(metric: str, number: float | None) -> str:
    """``PSNR 32.4 dB``, ``7362 faces``: as :func:`format_metric`, and always with the name."""
    name, text = METRICS[metric][0], format_metric(metric, number)
    return text if name in text else f"{name} {text}"


def format_number(metric: str, number: float | None) -> str:
    """``32.4``, ``0.9930``, ``-`` for None: the value of a metric alone, for a table."""
    return "-" if number is None else f"{number:.{DIGITS.get(metric, 4)}f}"


def describe_plan(prepared: "Prepared") -> str:
    """The field and its training, in a line for ``--verbose`` and ``--dry-run``."""
    from ..codecs import codec_of

    field = codec_of(prepared.field, prepared.kind).describe_plan(prepared)
    return f"  {prepared.kind}, {prepared.signal.n} examples; {field}"


def describe_forecast(size: int | None, seconds: float | None, *, searched: bool) -> str:
    """About what a file will take; None where that is not known before, or is ``searched`` for."""
    if size is None and not searched:
        return "its bytes and time are known once it is encoded"
    taken = "bytes as the goal needs" if size is None else f"about {format_size(size)}"
    if seconds is None:
        return f"{taken}, in as long as a search takes"
    return f"{taken}, in about {format_duration(seconds)}"


def describe_progress(progress: "Progress", metric: str) -> tuple[str, ...]:
    """Figures of a fit whose distortion is in ``metric``, from the most important to the least.

    Distortion, time left, speed, and the teacher's ratio.
    """
    left = progress.seconds * (1 - progress.fraction) / max(progress.fraction, 1e-9)
    rate = progress.step / max(progress.seconds, 1e-9)
    return (
        format_metric(metric, progress.distortion),
        f"{format_clock(left)} left",
        f"{rate:.0f} steps/s",
        f"ratio {progress.ratio:.2f}",
    )


def describe_medium(kind: str, facts: dict[str, Any]) -> str:
    """A medium's size in words, from the facts that a file's header keeps."""
    if kind == "image":
        return f"{facts['width']} x {facts['height']} pixels, mode {facts['mode']}"
    if kind == "mesh":
        near = facts.get("mean_distance")
        return f"from {facts.get('faces', '?')} faces, {facts.get('vertices', '?')} vertices" + (
            "" if near is None else f", mean distance {near} %"
        )
    channels = {1: "mono", 2: "stereo"}.get(facts["channels"], f"{facts['channels']} channels")
    seconds = facts["frames"] / facts["sample_rate"]
    return (
        f"{seconds:.1f} s, {channels}, {facts['sample_rate']} Hz, {facts['frames']} samples, "
        f"{facts['subtype']}"
    )


def describe_rate(kind: str, facts: dict[str, Any], size: int) -> str:
    """The rate of a file of ``size`` bytes: bits a pixel, kilobits a second, bytes for faces."""
    if kind == "image":
        return f"{round_digits(8 * size / (facts['width'] * facts['height']))} bits a pixel (bpp)"
    if kind == "audio":
        seconds = facts["frames"] / facts["sample_rate"]
        return f"{round_digits(8 * size / seconds / 1000)} kilobits a second (kbps)"
    return f"{round_digits(1000 * size / max(1, facts.get('faces', 1)))} bytes for a thousand faces"


def describe_quality(kind: str, fit: dict[str, Any]) -> str:
    """The quality that a file says it reached, in words."""
    reached = fit.get("distortion")
    if not isinstance(reached, int | float):
        return "not known: 'intfit verify' measures it against the original"
    return f"{name_metric(KINDS[kind].metric, reached)}, when it was encoded"


def describe_teacher(fit: dict[str, Any]) -> str:
    """Who chose the examples of the fit, in words."""
    teacher, steps = fit.get("teacher"), fit.get("steps")
    name = TEACHERS.get(teacher, teacher[:40]) if isinstance(teacher, str) else "not known"
    return f"{name}; {steps} steps, seed {fit.get('seed')}" if steps else name
