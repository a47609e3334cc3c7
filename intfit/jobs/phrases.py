"""Text for people: sizes, durations, distortions, plans, and the progress of a fit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..codecs.protocol import Prepared
    from ..training.loop import Progress

#: The name and unit of each metric.
METRICS = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "snr": ("SNR", "dB"),
    "log_spectral_distance": ("log-spectral distance", "dB"),
    "iou": ("IoU", ""),
    "mean_distance": ("mean distance", "% of the diagonal"),
    "max_distance": ("maximal distance", "% of the diagonal"),
    "normal_error": ("normal error", "degrees"),
    "f_score": ("F-score", ""),
    "faces": ("faces", ""),
    "colour_psnr": ("colours", "dB"),
}
#: The unit of each rate.
RATES = {"bpp": "bpp", "kbps": "kbps", "bytes_per_1000_faces": "B/1000 faces"}


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
    text = f"{number:.1f} {unit}" if metric in ("psnr", "snr") else f"{number:.4f} {unit}".strip()
    return text if metric in ("psnr", "snr") else f"{name} {text}"


def describe_plan(prepared: "Prepared") -> str:
    """The field and its training, in a line for ``--verbose`` and ``--dry-run``."""
    from ..codecs import codec_of

    field = codec_of(prepared.field, prepared.kind).describe_plan(prepared)
    return f"  {prepared.kind}, {prepared.signal.n} examples; {field}"


def describe_progress(progress: "Progress", metric: str) -> str:
    """The progress of a fit whose distortion is in ``metric``: time, speed, distortion, ratio."""
    left = progress.seconds * (1 - progress.fraction) / max(progress.fraction, 1e-9)
    rate = progress.step / max(progress.seconds, 1e-9)
    return (
        f"{format_clock(progress.seconds)} <{format_clock(left)} {rate:.0f} steps/s "
        f"{format_metric(metric, progress.distortion)} ratio {progress.ratio:.2f}"
    )
