"""A recording in a page: samples to play, a waveform, and a spectrogram."""

import base64
import io
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from ..field import Field
from ..limits import Limits
from ..media.samples import read_sound
from ..signals import Floats

#: The most seconds, and the most samples of all channels, that go into a page: 10 MB at 16 bits.
MOST_SECONDS, MOST_SAMPLES = 120, 5_000_000
#: The rates, in Hz, and the most channels that every browser plays.
RATES, MOST_CHANNELS = (8000, 96000), 2
#: Columns of a waveform; columns and rows of a spectrogram.
COLUMNS, SPECTRUM = 1200, (900, 256)
#: Samples of a spectrogram's window, and the range of levels that it shows, in dB.
WINDOW, RANGE = 1024, 90.0
#: The colours of a spectrogram, from silence to the loudest: a dark one, and ever lighter ones.
COLOURS = ((8, 8, 24), (52, 22, 92), (137, 34, 106), (215, 72, 66), (252, 158, 58), (252, 252, 190))


def describe(
    field: Field, found: dict[str, Any], original: bytes | None, suffix: str, limits: Limits
) -> tuple[dict[str, Any], list[str]]:
    """The values of a recording for the page, and notes on what the page lacks."""
    facts, notes = field.facts, list[str]()
    native, channels = facts["sample_rate"], facts["channels"]
    seconds = facts["frames"] / native
    most = min(MOST_SECONDS, MOST_SAMPLES / (native * min(channels, MOST_CHANNELS)))
    if seconds > most:
        notes.append(f"the first {most:.0f} s of {seconds:.0f} s: all would make a large page")
        seconds = most
    if channels > MOST_CHANNELS:
        notes.append(f"its {channels} channels are mixed into one")
    rate = min(max(native, RATES[0]), RATES[1])
    if rate != native:
        notes.append(f"played at {rate} Hz, not at its {native} Hz: browsers do not play any rate")
    tracks: dict[str, Any] = {"original": None}
    samples = field.render(duration=seconds, sample_rate=rate)
    loudest = _find_loudest(_mix(samples).mean(axis=1))
    tracks["decoded"] = _pack_track(samples, rate, loudest)
    if original is not None:
        samples, _, _ = read_sound(original, limits=limits)
        samples = samples[: round(seconds * native)]
        if rate != native:
            import soxr

            samples = soxr.resample(samples, native, rate, quality="VHQ")
        tracks["original"] = _pack_track(samples, rate, loudest)
    return {"seconds": round(seconds, 3), "top": round(rate / 2000, 1), **tracks}, notes


def _mix(samples: Floats) -> Floats:
    """Samples ``[N, C]`` of one or two channels."""
    if samples.shape[1] <= MOST_CHANNELS:
        return samples
    mixed: Floats = samples.mean(axis=1, keepdims=True)
    return mixed


def _pack_track(samples: Floats, rate: int, loudest: float) -> dict[str, str]:
    """Samples ``[N, C]`` as FLAC, the extremes of their waveform, and a spectrogram as PNG."""
    samples = _mix(samples)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.clip(-1, 1), rate, subtype="PCM_16", format="FLAC")
    mono = samples.mean(axis=1)
    spectrum = io.BytesIO()
    draw_spectrogram(mono, loudest).save(spectrum, "PNG")
    parts = {
        "sound": buffer.getvalue(),
        "wave": find_extremes(mono).tobytes(),
        "spectrogram": spectrum.getvalue(),
    }
    return {name: base64.b64encode(data).decode() for name, data in parts.items()}


def find_extremes(mono: Floats) -> NDArray[np.int8]:
    """The least and the greatest sample, -127 to 127, of each column ``[columns, 2]``."""
    columns = min(COLUMNS, len(mono))
    edges = np.linspace(0, len(mono), columns, endpoint=False).astype(np.int64)
    extremes = np.stack([np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)], 1)
    return (extremes.clip(-1, 1) * 127).round().astype(np.int8)


def _measure_levels(mono: Floats) -> NDArray[np.float64]:
    """Power ``[columns, WINDOW / 2]`` in dB of windows spread evenly over the samples."""
    columns = max(1, min(SPECTRUM[0], len(mono) // 64))
    padded = np.pad(mono, (WINDOW // 2, WINDOW // 2)).astype(np.float64)
    starts = np.linspace(0, len(mono), columns, endpoint=False).astype(np.int64)
    windows = padded[starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = np.square(np.abs(np.fft.rfft(windows, axis=1)[:, :-1]))
    levels: NDArray[np.float64] = 10 * np.log10(power + 1e-20)
    return levels


def _find_loudest(mono: Floats) -> float:
    """The greatest level of a spectrogram, in dB."""
    return float(_measure_levels(mono).max())


def draw_spectrogram(mono: Floats, loudest: float) -> Image.Image:
    """A spectrogram of samples ``[N]``, low frequencies at the bottom; ``loudest`` is brightest."""
    levels = _measure_levels(mono)
    shades = ((levels - loudest) / RANGE + 1).clip(0, 1)
    tall = shades.reshape(len(shades), SPECTRUM[1], -1).max(axis=2)
    stops = np.linspace(0, 1, len(COLOURS))
    colours = [np.interp(tall, stops, channel) for channel in zip(*COLOURS, strict=True)]
    picture = np.stack(colours, axis=-1).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1]))
