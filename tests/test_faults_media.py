"""Faults of pictures and recordings that people found, each of them as a kind."""

import io

import numpy as np
import pytest
import soundfile
from conftest import tone

from intfit import api, metrics
from intfit.codecs import codec_of
from intfit.codecs.mdct.config import LEAD, LONGEST, MdctConfig
from intfit.codecs.mdct.transform import analyse
from intfit.media import audio, image
from intfit.settings import Settings
from intfit.signals import Floats


def wav(samples: np.ndarray, rate: int = 8000, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


# --- positions -----------------------------------------------------------------------------------


def latents_of(samples: Floats) -> api.Evaluate:
    """The field of samples ``[N]`` whose latents are not rounded."""
    config = MdctConfig(1, len(samples), 0)
    padded = np.zeros((config.padded_frames(), 1), np.float32)
    padded[LEAD : LEAD + len(samples), 0] = samples
    sizes = [LONGEST] * (len(padded) // LONGEST)
    while (left := len(padded) - sum(sizes)) > 0:
        sizes.append(1 << (left.bit_length() - 1))
    tensors = {
        "channels": np.ones((1, 1), np.float32),
        "blocks": np.repeat(sizes, np.array(sizes) // 256).astype(np.float32),
        "latents": analyse(padded, sizes),
    }
    return codec_of("latent", "audio").decode(tensors, config, "cpu")


def test_ten_minutes_end_as_good_as_they_begin():
    rate, seconds = 44100, 600
    t = np.arange(rate * seconds, dtype=np.float64) / rate
    samples = (0.4 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 7777 * t)).astype("f4")
    field = latents_of(samples)
    facts = {"frames": len(samples), "channels": 1, "sample_rate": rate, "peak": 1.0}
    for start in (0, seconds / 2, seconds - 1):
        part = audio.render(field, facts, audio.Target(start=start, duration=1))
        first = round(start * rate)
        assert metrics.snr(samples[first : first + rate, None], part) > 100
    between = audio.render(
        field, facts, audio.Target(start=seconds - 1, duration=0.5, sample_rate=2 * rate)
    )[:, 0]
    # the centres of cells half as wide lie a quarter of a sample off
    t = seconds - 1 + (np.arange(rate) - 0.5) / (2 * rate)
    wanted = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 7777 * t)
    assert metrics.snr(wanted[100:], between[100:]) > 50


def test_a_field_of_a_recording_takes_float32_and_gives_the_samples_in_float64():
    found = api.load(api.encode(wav(tone(2))).data)
    count = found.facts["frames"]
    centres = ((2 * np.arange(count) + 1 - count) / count)[:, None]
    rendered = api.render(found, audio.Target())
    peak = np.float32(found.facts["peak"])
    np.testing.assert_array_equal(found(centres).clip(-1, 1) * peak, rendered)
    rough = found(centres.astype(np.float32)).clip(-1, 1) * peak
    np.testing.assert_allclose(rough, rendered, atol=1e-3)


def test_pixels_of_a_large_picture_are_told_apart_at_any_scale():
    """A row of 40,000 pixels: float32 cannot tell a twentieth of one from another at its end."""

    def where(coords: np.ndarray) -> np.ndarray:
        return coords[:, 1:]

    facts = {"mode": "F", "width": 40_000, "height": 1, "low": -1.0, "high": 1.0}
    seen = []
    image.render(
        lambda coords: (seen.append(coords), where(coords))[1],
        facts,
        image.Target(region=(39_990.0, 0.0, 10.0, 1.0), scale=16.0),
    )
    steps = np.diff(np.unique(np.concatenate(seen)[:, 1]))
    np.testing.assert_allclose(steps, 2 / 40_000 / 16, rtol=1e-6)


def test_the_snr_that_encode_reports_is_that_of_the_decoded_file():
    data = wav(tone(1.0, 44100, 2), 44100)
    found = api.encode(data, Settings(quality=80), suffix=".wav")
    decoded = api.decode(api.load(found.data), suffix=".wav").data
    samples = [soundfile.read(io.BytesIO(file), always_2d=True)[0] for file in (data, decoded)]
    assert metrics.snr(*samples) == pytest.approx(found.distortion, abs=0.05)
