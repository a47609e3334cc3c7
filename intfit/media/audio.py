"""Recordings: anything soundfile reads; channels, rate and sample type are kept."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from .. import metrics
from ..coding.facts import MAX_SAMPLES
from ..errors import MediaError, UsageError
from ..limits import USUAL, Limits
from ..metrics import perceptual
from ..signals import Evaluate, Floats, Grid, cell_centres
from .protocol import NONE, note_lost
from .samples import (
    describe_lost_tags,
    explain,
    looks_like_sound,
    nearest_rate,
    open_sound,
    opens,
    read_sound,
    read_tags,
    write_blocks,
    write_tags,
)

DEFAULT_SUFFIX = ".wav"
read_metadata = read_tags
LOSSLESS = frozenset({".wav", ".flac", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"})
METRICS = ("snr", "log_spectral_distance", "zimtohrli", "visqol")
#: Samples of a decode that are evaluated at once.
CHUNK = 1 << 16
#: Output samples decoded beyond either end of a part, so that the low-pass filter's edge effects
#: lie outside it.
MARGIN = 256
#: Above this rate, in Hz, the Vorbis encoder that libsndfile calls crashes.
MAX_VORBIS_RATE = 200_000
#: Bits of sample types that decode writes; EXACT where it rounds nothing; of all others, writing is
#: tried. What MP3, Vorbis and Opus are decoded to has 16.
EXACT = 32
BITS = dict.fromkeys(("PCM_32", "FLOAT", "DOUBLE"), EXACT) | {"PCM_24": 24, "PCM_16": 16}
BITS |= dict.fromkeys(("MPEG_LAYER_III", "VORBIS", "OPUS"), 16)
#: So far below the SNR of rounding, in dB, rounding takes no more than a twentieth of a dB.
ROUNDING_MARGIN = 19.0
#: Of fewer samples than this, rounding may change more than on average.
FEW = 10_000
#: The greatest float32.
LARGEST = float(np.finfo(np.float32).max)
#: libsndfile's names of formats whose usual suffix is another.
_FORMATS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG", ".snd": "AU"}


@dataclass(frozen=True)
class Target:
    """What to decode: ``sample_rate`` in Hz (None: native), from ``start`` s for ``duration`` s."""

    sample_rate: int | None = None
    start: float | None = None
    duration: float | None = None


def _find_format(suffix: str) -> str | None:
    """Libsndfile's name of a format; None where it has none, or it cannot be read again by itself.

    RAW says no rate, and SD2 has a second file.
    """
    suffix = suffix.lower()
    name = _FORMATS.get(suffix, suffix[1:].upper())
    return name if name in soundfile.available_formats() and name not in ("RAW", "SD2") else None


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether these bytes are those of a recording, sound or not."""
    return looks_like_sound(data)


def read_samples(
    data: bytes, *, limits: Limits = USUAL
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Samples ``[N, C]``, full scale 1, and the facts of a recording.

    Raises:
        MediaError: if it cannot be read, is longer than ``limits`` allow, or holds values that are
            not numbers.
    """
    values, rate, subtype = read_sound(data, limits=limits)
    facts = {
        "frames": values.shape[0],
        "channels": values.shape[1],
        "sample_rate": rate,
        "subtype": subtype,
        "peak": _round_up(float(max(values.max(), -values.min()))) if values.size else 0.0,
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
        MediaError: as :func:`read_samples`, and if it is empty.
    """
    values, facts = read_samples(data, limits=limits)
    if not facts["frames"]:
        raise MediaError("a recording of zero length has nothing to fit")
    scale = 1 / (facts["peak"] or 1.0)
    if scale > LARGEST:  # float32 cannot hold it
        values, scale = (values * np.float64(scale)).astype(np.float32), 1.0
    as_written, exact_below = _writing(values, facts, suffix)
    return Grid(
        shape=(facts["frames"],),
        values=values,
        scale=scale,
        offset=0.0,
        metric="snr",
        facts=facts,
        as_written=as_written,
        exact_below=exact_below,
    )


def _writing(
    samples: NDArray[np.float32], facts: dict[str, Any], suffix: str
) -> tuple[Callable[[Floats], Floats] | None, float]:
    """What writing makes of a field's values at all samples, and below which SNR nothing to report.

    None where it changes nothing.
    """
    suffix = native_suffix(suffix)

    def as_written(outputs: Floats) -> Floats:
        values = outputs.clip(-1, 1) * np.float32(facts["peak"])
        written = samples_as_written(values, facts, suffix, "float32")
        return (written / np.float64(facts["peak"])).astype(np.float32)

    bits = BITS.get(facts["subtype"], 0)
    if not facts["peak"]:
        return np.zeros_like, -math.inf  # whatever the field gives
    if bits == EXACT:
        return None, -math.inf
    if not bits or samples.size < FEW:
        return as_written, -math.inf
    parts = (samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK))
    power = sum(float(np.square(part, dtype=np.float64).sum()) for part in parts) / samples.size
    step = 2.0 ** (1 - bits)
    return as_written, metrics.decibels(power, step**2 / 12) - ROUNDING_MARGIN


def native_suffix(suffix: str) -> str:
    """The format that `decode` writes where nothing says which, of an original's suffix."""
    return suffix.lower() if suffix.lower() in LOSSLESS else DEFAULT_SUFFIX


def samples_as_written(
    values: NDArray[np.float32], facts: dict[str, Any], suffix: str, kind: str
) -> NDArray[Any]:
    """Samples ``[N, C]`` of type ``kind``, as in the file that :func:`write` makes of ``values``.

    A codec's frames may be longer, or begin later: only the first N, and no fewer.
    """
    data, _ = write(values, facts, Target(), suffix)
    written, _, _ = read_sound(data, kind, limits=Limits(math.inf))
    found = np.zeros(values.shape, kind)
    found[: len(written)] = written[: len(found)]
    return found


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
        raise UsageError(
            f"{count} samples of {facts['channels']} channels are more than the {MAX_SAMPLES} of "
            "the longest recording: give a lower --sample-rate or a --duration"
        )
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
    """Read the original; the result takes ``[N, C]`` to their :data:`METRICS`.

    Raises:
        MediaError: if the original cannot be read, or is not of the same length and rate.
    """
    reference, rate, _ = read_sound(data, "float64", limits=limits)
    frames, channels = reference.shape
    if (frames, channels, rate) != (facts["frames"], facts["channels"], facts["sample_rate"]):
        raise MediaError(
            f"it has {frames} samples of {channels} channels at {rate} Hz, the file "
            f"{facts['frames']} of {facts['channels']} at {facts['sample_rate']} Hz"
        )

    def measure(values: NDArray[np.float32]) -> dict[str, float | None]:
        # as in the file that decode writes: in the original's sample type
        decoded = samples_as_written(values, facts, native_suffix(suffix), "float64")
        return {
            "snr": metrics.snr(reference, decoded),
            "log_spectral_distance": metrics.log_spectral_distance(reference, decoded),
            "zimtohrli": perceptual.zimtohrli(reference, decoded, rate=rate),
            "visqol": perceptual.visqol(reference, decoded, rate=rate),
        }

    return measure


def describe(
    values: NDArray[np.float32], facts: dict[str, Any], target: Target, *, written: bytes = b""
) -> str:
    """Duration and rate in a phrase, of the ``written`` file where it is given."""
    frames, rate = len(values), target.sample_rate or facts["sample_rate"]
    if written:
        with open_sound(written) as file:
            frames, rate = file.frames, file.samplerate
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
    values: NDArray[np.float32],
    facts: dict[str, Any],
    target: Target,
    suffix: str,
    *,
    metadata: Mapping[str, str] = NONE,
) -> tuple[bytes, tuple[str, ...]]:
    """A recording of the format ``suffix`` names, and notes on what it cannot hold.

    In the original's sample type, or the format's default where it does not hold that.

    Raises:
        MediaError: if soundfile cannot write the format, or not this recording in it.
    """
    name = check_format(suffix)
    native, channels = target.sample_rate or facts["sample_rate"], values.shape[1]
    reason = "it is too short"  # where no error says otherwise
    # libsndfile claims sample types that it cannot write, such as MP3 in WAV: trying tells.
    kinds = (facts["subtype"], soundfile.default_subtype(name))
    for kind in ("OPUS",) if suffix.lower() == ".opus" else dict.fromkeys(kinds):
        if not soundfile.check_format(name, kind):
            continue
        rate = nearest_rate(kind, native)
        if kind == "VORBIS" and rate > MAX_VORBIS_RATE:
            raise MediaError(f"Vorbis cannot hold {rate} Hz: give --sample-rate 48000, or .flac")
        samples = values if rate == native else _resampled(values, native, rate)
        notes = []
        if kind not in ("FLOAT", "DOUBLE") and (np.abs(samples) > 1).any():
            notes.append("samples beyond full scale clipped")
            samples = samples.clip(-1, 1)  # the encoder of MP3 ends the program on very large ones
        buffer = io.BytesIO()
        try:
            with soundfile.SoundFile(buffer, "w", rate, channels, kind, format=name) as file:
                write_tags(file, metadata)
                write_blocks(file, samples)
        except (soundfile.SoundFileError, ValueError, TypeError) as error:
            reason, buffer = explain(error), io.BytesIO()
        if metadata and not opens(buffer.getvalue()):  # tags may be longer than a format holds
            data, lost = write(values, facts, target, suffix)
            return data, (*lost, *note_lost(metadata, suffix))
        if not buffer.getvalue():
            continue
        notes += describe_lost_tags(buffer.getvalue(), metadata, suffix)
        if rate != native:
            notes.append(f"resampled from {native} Hz to {rate} Hz, which {suffix} holds")
        return buffer.getvalue(), tuple(notes)
    raise MediaError(
        f"cannot write {channels} channels at {native} Hz as {suffix!r}: {reason}; .wav holds them"
    )


def _resampled(values: NDArray[np.float32], native: int, rate: int) -> NDArray[np.float32]:
    """Samples ``[N', C]`` at another rate."""
    import soxr

    return np.asarray(soxr.resample(values, native, rate, quality="VHQ"), np.float32)


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
