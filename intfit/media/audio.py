"""Recordings: anything soundfile reads; channels, rate and sample type are kept."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from .. import metrics
from ..errors import MediaError, UsageError
from ..limits import USUAL, Limits
from ..signals import Evaluate, Grid, cell_centres

DEFAULT_SUFFIX = ".wav"
LOSSLESS = frozenset({".wav", ".flac", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"})
METRICS = ("snr", "log_spectral_distance")
#: Samples of a decode that are evaluated at once.
CHUNK = 1 << 16
#: Output samples decoded beyond either end of a part, so that the low-pass filter's edge effects
#: lie outside it.
MARGIN = 256
#: The most samples, over all channels, that `decode` makes: 4 GiB of float32.
MAX_SAMPLES = 1 << 30
#: Above this rate, in Hz, the Vorbis encoder that libsndfile calls crashes.
MAX_VORBIS_RATE = 200_000
#: libsndfile's names of formats whose usual suffix is another.
_FORMATS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".snd": "AU"}


@dataclass(frozen=True)
class Target:
    """What to decode: ``sample_rate`` in Hz (None: native), from ``start`` s for ``duration`` s."""

    sample_rate: int | None = None
    start: float | None = None
    duration: float | None = None


def _find_format(suffix: str) -> str | None:
    """Libsndfile's name of a format; None where it has none, or for RAW, which says no rate."""
    suffix = suffix.lower()
    name = _FORMATS.get(suffix, suffix[1:].upper())
    return name if name in soundfile.available_formats() and name != "RAW" else None


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether soundfile takes these bytes for a recording."""
    try:
        soundfile.info(io.BytesIO(data))
    except (soundfile.SoundFileError, ValueError, TypeError):
        # a header cut short is still a recording, and deserves the message of one
        return data[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b".snd")
    return True


def read_samples(data: bytes) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Samples ``[N, C]``, full scale 1, and the facts of a recording.

    Raises:
        MediaError: if it cannot be read, or holds values that are not numbers.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            declared = file.frames * file.channels
            if declared > MAX_SAMPLES:
                raise MediaError(f"too long: {declared} samples")
            values = file.read(dtype="float32", always_2d=True)
            subtype, rate = file.subtype, file.samplerate
    except (soundfile.SoundFileError, ValueError, TypeError, OSError) as error:
        reason = getattr(error, "error_string", error)  # without the name of our buffer
        raise MediaError(f"damaged recording: {reason}") from None
    if not np.isfinite(values).all():
        raise MediaError("holds samples that are not numbers (NaN or infinite)")
    facts = {
        "frames": values.shape[0],
        "channels": values.shape[1],
        "sample_rate": rate,
        "subtype": subtype,
        "peak": _round_up(float(np.abs(values).max())) if values.size else 0.0,
    }
    return values, facts


def _round_up(value: float) -> float:
    """``value`` at six digits, which keep the header short, and never below itself."""
    if not value:
        return value
    digits = 6 - math.ceil(math.log10(value))
    rounded = round(value, digits)
    return rounded if rounded >= value else round(value + 10.0**-digits, digits)


def read(data: bytes, *, suffix: str = "", seed: int = 0, limits: Limits = USUAL) -> Grid:
    """The samples of a recording, scaled to a peak of 1; those of all channels make one example.

    Raises:
        MediaError: as :func:`read_samples`, and if it is empty or silent.
    """
    values, facts = read_samples(data)
    if facts["frames"] < 2:
        raise MediaError("a recording of zero length has nothing to fit")
    if facts["peak"] == 0:
        raise MediaError("the recording is silent: nothing to fit")
    return Grid(
        shape=(facts["frames"],),
        values=values,
        scale=1 / facts["peak"],
        offset=0.0,
        metric="snr",
        facts=facts,
    )


def check_facts(facts: dict[str, Any]) -> None:
    """Raise MediaError unless a header's facts are those of a recording."""
    limits = {"frames": MAX_SAMPLES, "channels": 1024, "sample_rate": 1 << 24}
    sizes = {key: facts.get(key) for key in limits}
    peak = facts.get("peak")
    if not (
        all(type(size) is int and 0 < size <= limits[key] for key, size in sizes.items())
        and facts["frames"] * facts["channels"] <= MAX_SAMPLES
        and isinstance(facts.get("subtype"), str)
        and isinstance(peak, float)
        and 0 < peak < 1e30
    ):
        raise MediaError("damaged: the header does not describe a recording")


def count_samples(facts: dict[str, Any]) -> int:
    """Samples of each channel of the original."""
    return int(facts["frames"])


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of the original's samples, uncompressed; two each where their type has no size."""
    sizes = {"PCM_S8": 1, "PCM_U8": 1, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
    return int(facts["frames"] * facts["channels"] * sizes.get(facts["subtype"], 2))


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """``kbps``, and the kilobits per second of a file of ``size`` bytes."""
    return "kbps", 8 * size * facts["sample_rate"] / facts["frames"] / 1000


def _evaluate_cells(
    evaluate: Evaluate, facts: dict[str, Any], start: float, stop: float, count: int
) -> NDArray[np.float32]:
    """Samples ``[count, C]`` at the centres of ``count`` equal cells of [start, stop).

    ``start`` and ``stop`` count native samples; they may lie outside the recording.
    """
    values = np.empty((count, facts["channels"]), np.float32)
    size = facts["frames"]
    cell = (stop - start) / count
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        begin, end = start + first * cell, start + last * cell
        t = cell_centres(begin, end, last - first, size=size, longest=size)
        # Times beyond either end are mirrored there: the field was not fitted to them.
        t = np.where(np.abs(t) > 1, (2 * np.sign(t) - t).clip(-1, 1), t)
        values[first:last] = evaluate(t[:, None]).clip(-1, 1)
    return values * np.float32(facts["peak"])


def check_limits(facts: dict[str, Any], limits: Limits) -> None:
    """Raise MediaError where a recording has more frames, or takes more memory, than allowed."""
    limits.check_frames(facts["frames"])
    limits.check_bytes(12 * facts["frames"] * facts["channels"])


def render(
    evaluate: Evaluate, facts: dict[str, Any], target: Target, *, limits: Limits = USUAL
) -> NDArray[np.float32]:
    """Samples ``[N', C]`` of the field at the target's rate.

    Where that is below the native rate, the field is evaluated at an odd multiple of the target's
    rate that is no less than the native one, low-pass filtered and decimated, so that the result
    does not alias. The multiple is odd so that the middle of that many cells has its centre where
    the output sample has.

    Raises:
        UsageError: if the part lies outside the recording, or exceeds :data:`MAX_SAMPLES`.
    """
    native = facts["sample_rate"]
    rate = target.sample_rate or native
    seconds = facts["frames"] / native
    start = target.start or 0.0
    duration = seconds - start if target.duration is None else target.duration
    if not (0 <= start < seconds and duration > 0):
        asked = f"--start {start:g}" if duration == seconds - start else f"--duration {duration:g}"
        raise UsageError(f"{asked} lies outside the recording, which has {seconds:g} s")
    duration = min(duration, seconds - start)
    count = max(1, round(duration * rate))
    if count * facts["channels"] > MAX_SAMPLES:
        raise UsageError(f"{count} samples are more than one recording may have here")
    first = start * native
    if rate >= native:
        stop = first + count * native / rate
        return _evaluate_cells(evaluate, facts, first, stop, count)
    import soxr

    multiple = math.ceil(native / rate) | 1
    wanted = MARGIN + count + MARGIN
    begin = first - MARGIN * native / rate
    fine = _evaluate_cells(
        evaluate, facts, begin, begin + wanted * native / rate, wanted * multiple
    )
    decimated = soxr.resample(fine[multiple // 2 :], rate * multiple, rate, quality="VHQ")
    return np.asarray(decimated[MARGIN : MARGIN + count], np.float32)


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = "", limits: Limits = USUAL
) -> Callable[[NDArray[Any]], dict[str, float | None]]:
    """Read the original; the result takes ``[N, C]`` to SNR and log-spectral distance, in dB.

    Raises:
        MediaError: if the original cannot be read, or is not of the same length and rate.
    """
    reference, original = read_samples(data)
    if any(original[key] != facts[key] for key in ("frames", "channels", "sample_rate")):
        raise MediaError(
            f"the original has {original['frames']} samples of {original['channels']} channels at "
            f"{original['sample_rate']} Hz, the file {facts['frames']} of {facts['channels']} at "
            f"{facts['sample_rate']} Hz"
        )
    return lambda decoded: {
        "snr": metrics.snr(reference, decoded),
        "log_spectral_distance": metrics.log_spectral_distance(reference, decoded),
    }


def describe(
    values: NDArray[np.float32], facts: dict[str, Any], target: Target, *, written: bytes = b""
) -> str:
    """Duration and rate in a phrase, of the ``written`` file where it is given."""
    frames, rate = len(values), target.sample_rate or facts["sample_rate"]
    if written:
        found = soundfile.info(io.BytesIO(written))
        frames, rate = found.frames, found.samplerate
    return f"{frames / rate:.1f} s at {rate} Hz"


def check_format(suffix: str) -> str:
    """Libsndfile's name of the format ``suffix`` names.

    Raises:
        MediaError: if it cannot write it.
    """
    name = _find_format(suffix)
    if name is None:
        raise MediaError(f"cannot write audio as {suffix!r}: try .wav, .flac, .ogg or .mp3")
    return name


def write(
    values: NDArray[np.float32], facts: dict[str, Any], target: Target, suffix: str
) -> tuple[bytes, tuple[str, ...]]:
    """A recording of the format ``suffix`` names, and notes on what it cannot hold.

    In the original's sample type, or the format's default where it does not hold that.

    Raises:
        MediaError: if soundfile cannot write the format, or not this recording in it.
    """
    name = check_format(suffix)
    subtype = facts["subtype"]
    if suffix.lower() == ".opus":
        subtype = "OPUS"
    rate, reason = target.sample_rate or facts["sample_rate"], None
    # libsndfile claims sample types that it cannot write, such as MP3 in WAV: trying tells.
    for kind in dict.fromkeys((subtype, soundfile.default_subtype(name))):
        if not soundfile.check_format(name, kind):
            continue
        if kind == "VORBIS" and rate > MAX_VORBIS_RATE:
            raise MediaError(f"Vorbis cannot hold {rate} Hz: give --sample-rate 48000, or .flac")
        buffer = io.BytesIO()
        try:
            channels = values.shape[1]
            with soundfile.SoundFile(buffer, "w", rate, channels, kind, format=name) as file:
                write_blocks(file, values)
        except (soundfile.SoundFileError, ValueError, TypeError) as error:
            reason = getattr(error, "error_string", error)
            continue
        clips = kind not in ("FLOAT", "DOUBLE") and bool((np.abs(values) > 1).any())
        return buffer.getvalue(), ("samples beyond full scale clipped",) if clips else ()
    raise MediaError(f"cannot write this recording as {suffix!r}: {reason}")


def write_blocks(file: soundfile.SoundFile, values: NDArray[np.float32]) -> None:
    """Write samples ``[N, C]`` block by block: libvorbis keeps what it is given on its stack."""
    for first in range(0, len(values), CHUNK):
        file.write(values[first : first + CHUNK])


def draw_selection(signal: Grid, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PNG of the waveform over a histogram of the samples at ``indices``; and its suffix."""
    from PIL import Image

    width, height = 1200, 240
    wave = signal.targets().mean(axis=1)
    columns = (np.arange(signal.n) * width) // signal.n
    picture = np.full((height, width, 3), 255, np.uint8)
    rows = np.arange(height)[:, None]
    counts = np.bincount(columns[indices], minlength=width)
    bars = height * (1 - counts / max(1, counts.max()))
    picture[rows >= bars] = (255, 200, 120)
    low, high = np.ones(width), -np.ones(width)
    np.minimum.at(low, columns, wave)
    np.maximum.at(high, columns, wave)
    centre = (1 - rows / (height - 1) * 2) * 1.02
    picture[(centre >= low - 0.01) & (centre <= high + 0.01)] = (30, 60, 120)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue(), ".png"
