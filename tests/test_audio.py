"""Recordings: what is kept, where the samples lie, and how a field is rendered at any rate."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import on_arrays, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from intfit.errors import MediaError
from intfit.media import audio
from intfit.media.audio import Target
from intfit.signals import Grid

#: The least that makes a file: what is kept does not depend on how well it is fitted.
TINY = ("--field", "siren", "--steps", 2, "--width", 8, "--depth", 2, "--batch", 64)
#: Native and lower rates: small and large ratios, whole and not.
LOWER = [(44100, 16000), (8000, 7999), (48000, 44100), (16000, 8000), (48000, 1000)]


def file_of(values: np.ndarray, rate: int, subtype: str, name: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, values, rate, format=name, subtype=subtype)
    return buffer.getvalue()


def facts_of(frames: int, rate: int, channels: int = 1, peak: float = 1.0) -> dict:
    facts = {"frames": frames, "sample_rate": rate, "channels": channels}
    return facts | {"subtype": "FLOAT", "peak": peak}


def rendered(evaluate: Callable, facts: dict, **target: object) -> np.ndarray:
    return audio.render(on_arrays(evaluate), facts, Target(**target))


def perfect(signal: Grid) -> Callable[[torch.Tensor], torch.Tensor]:
    """A field that knows the targets by heart, at the sample centres and nowhere else."""
    targets = torch.from_numpy(signal.targets())

    def evaluate(coords: torch.Tensor) -> torch.Tensor:
        position = ((coords.double() + 1) * signal.n - 1) / 2
        index = position.round().long()
        assert (position - index).abs().max() < 0.01, "not at the centre of a sample"
        return targets[index[:, 0]]

    return evaluate


def sine(hertz: float, facts: dict) -> Callable[[torch.Tensor], torch.Tensor]:
    """A field whose time runs from 0 to the recording's end: sin(2 pi hertz t) / 2."""
    seconds = facts["frames"] / facts["sample_rate"]

    def evaluate(coords: torch.Tensor) -> torch.Tensor:
        t = (coords.double() + 1) / 2 * seconds
        return 0.5 * torch.sin(2 * np.pi * hertz * t).float()

    return evaluate


def sampled_sine(hertz: float, rate: int, count: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * (np.arange(count) + 0.5) / rate)[:, None]


def level(values: np.ndarray) -> float:
    """Power in dB below the sine's."""
    return 10 * np.log10(np.mean(np.square(values.astype(np.float64))) / 0.125)


FORMATS = [
    (".wav", "PCM_16", 8000, 1),
    (".wav", "PCM_24", 44100, 2),
    (".wav", "PCM_U8", 11025, 1),
    (".wav", "FLOAT", 48000, 5),
    (".wav", "PCM_16", 192000, 2),
    (".flac", "PCM_16", 22050, 1),
    (".flac", "PCM_24", 96000, 5),
    (".flac", "PCM_S8", 16000, 2),
]


@pytest.mark.parametrize(("suffix", "subtype", "rate", "channels"), FORMATS)
def test_format_rate_channels_and_length_survive_encode_and_decode(
    intfit, suffix, subtype, rate, channels
):
    wave = tone(0.05, rate, channels)
    soundfile.write(f"sound{suffix}", wave, rate, subtype=subtype)
    assert intfit("encode", f"sound{suffix}", *TINY).code == 0
    assert intfit("decode", f"sound{suffix}.safetensors").code == 0
    before, after = (soundfile.info(name + suffix) for name in ("sound", "sound.decoded"))
    for key in ("format", "subtype", "samplerate", "channels", "frames"):
        assert getattr(after, key) == getattr(before, key), key


def every_value(subtype: str) -> np.ndarray:
    """Samples ``[N, 2]`` that take every value of 8 or 16 bits, or many of other types."""
    if subtype == "FLOAT":
        return np.random.default_rng(1).normal(size=(3000, 2)).astype(np.float32)
    steps = {"PCM_U8": 1 << 7, "PCM_16": 1 << 15, "PCM_24": 1 << 23}[subtype]
    wave = np.arange(-steps, steps, max(1, steps >> 15)) / steps
    return np.stack([wave, wave[::-1]], axis=1)


@pytest.mark.parametrize(
    ("subtype", "tolerance"), [("PCM_U8", 0), ("PCM_16", 0), ("PCM_24", 2**-23), ("FLOAT", 1e-6)]
)
def test_a_perfect_field_restores_every_sample(subtype, tolerance):
    data = file_of(every_value(subtype), 8000, subtype)
    signal = audio.read(data)
    after = audio.write(
        rendered(perfect(signal), signal.facts), signal.facts, audio.Target(), ".wav"
    )[0]
    before, _ = soundfile.read(io.BytesIO(data))
    restored, rate = soundfile.read(io.BytesIO(after))
    assert rate == 8000
    np.testing.assert_allclose(restored, before, rtol=0, atol=tolerance)


@given(
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "FLOAT"]),
    frames=st.integers(2, 3000),
    channels=st.integers(1, 8),
    rate=st.sampled_from([8000, 11025, 44100, 48000, 192000]),
    seed=st.integers(0, 1 << 16),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_samples_of_any_count_and_type_come_back_from_a_perfect_field(
    subtype, frames, channels, rate, seed
):
    wave = np.random.default_rng(seed).uniform(-1, 1, (frames, channels))
    data = file_of(wave, rate, subtype)
    before, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    signal = audio.read(data)
    assert (signal.n, signal.out_features, signal.facts["sample_rate"]) == (frames, channels, rate)
    decoded = rendered(perfect(signal), signal.facts)
    np.testing.assert_allclose(decoded, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize("peak", [1e-4, 0.02, 1.0, 2.5])
def test_the_amplitude_is_restored_at_any_level(peak):
    wave = (tone() / np.abs(tone()).max() * peak).astype(np.float32)
    signal = audio.read(file_of(wave, 8000, "FLOAT"))
    assert np.abs(signal.targets()).max() == pytest.approx(1)
    assert np.abs(rendered(perfect(signal), signal.facts)).max() == pytest.approx(peak, rel=1e-6)


def test_a_quiet_recording_comes_back_as_quiet_from_a_fit(intfit):
    wave = tone() / np.abs(tone()).max() * 0.05
    soundfile.write("quiet.wav", wave, 8000, subtype="FLOAT")
    assert (
        intfit("encode", "quiet.wav", "--field", "siren", "--steps", 300, "--batch", 1024).code == 0
    )
    assert intfit("decode", "quiet.wav.safetensors").code == 0
    decoded, _ = soundfile.read("quiet.decoded.wav", always_2d=True)
    assert np.abs(decoded).max() == pytest.approx(0.05, rel=0.1)
    assert np.mean((decoded - wave) ** 2) < 0.05 * np.mean(wave**2)


@pytest.mark.parametrize("frames", [1000, 150_001])
def test_native_decoding_evaluates_the_field_at_the_sample_centres(frames):
    facts = facts_of(frames, 44100, peak=0.5)
    native = rendered(sine(440, facts), facts)
    assert native.shape == (frames, 1)
    np.testing.assert_allclose(native, sampled_sine(440, 44100, frames) / 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("native", "rate"), [(8000, 48000), (8000, 8001), (44100, 48000)])
def test_a_higher_rate_evaluates_the_field_at_its_own_centres(native, rate):
    facts = facts_of(native // 4, native)
    decoded = rendered(sine(440, facts), facts, sample_rate=rate)
    assert decoded.shape == (round(facts["frames"] / native * rate), 1)
    np.testing.assert_allclose(decoded, sampled_sine(440, rate, len(decoded)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("native", "rate"), LOWER)
def test_what_a_lower_rate_cannot_hold_is_gone(native, rate):
    """Halfway between the two Nyquist frequencies, away from the ends where the sine is cut."""
    facts = facts_of(native, native)
    decoded = rendered(sine((native + rate) / 4, facts), facts, sample_rate=rate)
    assert decoded.shape == (rate, 1)
    assert level(decoded[rate // 8 : -rate // 8]) < -60


@pytest.mark.parametrize(("native", "rate"), LOWER)
def test_what_a_lower_rate_can_hold_keeps_its_amplitude_and_its_time(native, rate):
    facts = facts_of(native, native)
    hertz = 0.3 * rate / 2
    decoded = rendered(sine(hertz, facts), facts, sample_rate=rate)
    middle = slice(rate // 8, -rate // 8)
    wanted = sampled_sine(hertz, rate, rate)
    # a shift by a hundredth of an output sample would be ten times this
    np.testing.assert_allclose(decoded[middle], wanted[middle], rtol=0, atol=5e-4)


@pytest.mark.parametrize(("start", "duration"), [(0.1, 0.2), (0.3, 0.5), (1.7, None), (1.9, 60.0)])
def test_a_part_is_that_part_of_the_whole(start, duration):
    facts = facts_of(88200, 44100, channels=2)
    tones = [sine(440.3, facts), sine(1234.5, facts)]

    def evaluate(coords: torch.Tensor) -> torch.Tensor:
        return torch.cat([tone(coords) for tone in tones], dim=1)

    whole = rendered(evaluate, facts)
    part = rendered(evaluate, facts, start=start, duration=duration)
    first = round(start * 44100)
    last = first + round((duration or 2) * 44100)
    np.testing.assert_array_equal(part, whole[first:last])


@pytest.mark.parametrize(
    ("native", "rate", "start", "duration"),
    [
        (44100, 16000, 0.01, 0.5),
        (44100, 16000, 1.25, None),
        (8000, 7999, 1.0, 0.5),
        (16000, 8000, 0.5, 0.001),
    ],
)
def test_a_part_at_a_lower_rate_is_that_part_of_the_whole(native, rate, start, duration):
    facts = facts_of(2 * native, native)
    evaluate = sine(0.2 * rate, facts)
    whole = rendered(evaluate, facts, sample_rate=rate)
    part = rendered(evaluate, facts, sample_rate=rate, start=start, duration=duration)
    first = round(start * rate)
    assert len(part) == (2 * rate - first if duration is None else round(duration * rate))
    np.testing.assert_allclose(part, whole[first : first + len(part)], rtol=0, atol=1e-4)


def test_rate_and_part_on_the_command_line(intfit, recording):
    assert intfit("encode", recording, *TINY).code == 0

    def decoded(*options: object) -> tuple[np.ndarray, int]:
        assert intfit("decode", "chord.wav.safetensors", "-f", "-o", "out.wav", *options).code == 0
        return soundfile.read("out.wav", dtype="int16")

    whole, rate = decoded()
    assert (len(whole), rate) == (2000, 8000)
    part, _ = decoded("--start", 0.05, "--duration", 0.1)
    np.testing.assert_array_equal(part, whole[400:1200])
    for rate in (16000, 4000, 7999):
        again, found = decoded("--sample-rate", rate)
        assert (len(again), found) == (round(rate / 4), rate)


@pytest.mark.parametrize(("options", "name"), [((), "WAV"), (("--format", "flac"), "FLAC")])
def test_stdout_carries_a_recording_and_nothing_else(intfit, recording, options, name):
    assert intfit("encode", recording, *TINY).code == 0
    run = intfit("decode", "chord.wav.safetensors", "-o", "-", *options)
    assert run.code == 0
    with soundfile.SoundFile(io.BytesIO(run.data)) as file:
        assert (file.format, file.subtype, file.samplerate) == (name, "PCM_16", 8000)
        assert file.read().shape == (2000,)
    assert intfit("decode", "chord.wav.safetensors", "-o", f"again.{name.lower()}").code == 0
    assert run.data == Path(f"again.{name.lower()}").read_bytes()


def test_a_sample_type_the_format_cannot_hold_becomes_one_it_can(intfit):
    soundfile.write("sound.wav", tone(), 8000, subtype="FLOAT")
    assert intfit("encode", "sound.wav", *TINY).code == 0
    assert intfit("decode", "sound.wav.safetensors", "-o", "out.flac").code == 0
    assert soundfile.info("out.flac").subtype == "PCM_16"


@pytest.mark.parametrize(("suffix", "greatest"), [(".mp3", 1.2), (".flac", 1), (".wav", 1e6)])
def test_samples_far_beyond_full_scale_are_clipped_where_the_format_has_none(suffix, greatest):
    """LAME, which writes MP3, ends the program where it is given them."""
    values = (np.random.default_rng(0).normal(size=(3000, 1)) * 1e6).astype(np.float32)
    data, notes = audio.write(values, facts_of(3000, 8000), Target(), suffix)
    assert ("samples beyond full scale clipped" in notes) == (greatest < 2)
    samples, _ = soundfile.read(io.BytesIO(data))
    assert 0.5 * greatest < np.abs(samples).max() <= 5 * greatest


def test_an_mp3_decodes_without_being_told_how(intfit):
    soundfile.write("chord.mp3", tone(rate=16000), 16000, format="MP3")
    assert intfit("encode", "chord.mp3", "--field", "siren", "--steps", 20).code == 0
    run = intfit("decode", "chord.mp3.safetensors")
    assert run.code == 0, run.err
    assert soundfile.info("chord.mp3.decoded.wav").samplerate == 16000


@pytest.mark.parametrize(
    ("suffix", "channels", "words"),
    [
        (".sd2", 1, "cannot write audio as '.sd2'"),
        (".mp3", 3, "cannot write 3 channels at 192000 Hz as '.mp3'"),
        (".mp3", 1, "it is too short"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_one_that_can(suffix, channels, words):
    values = np.full((1, channels), 0.1, np.float32)
    with pytest.raises(MediaError, match=re.escape(words)) as refused:
        audio.write(values, facts_of(1, 192_000, channels), Target(), suffix)
    assert ".wav" in str(refused.value)


def test_a_rate_that_vorbis_cannot_hold_is_refused(intfit, recording):
    assert intfit("encode", recording, "--field", "siren", "--steps", 20).code == 0
    run = intfit("decode", "chord.wav.safetensors", "--sample-rate", 256_000, "-o", "x.ogg")
    assert run.code == 1
    assert "Vorbis" in run.err


def test_a_learning_rate_that_is_too_high_is_lowered(intfit, recording):
    run = intfit("encode", recording, "--field", "siren", "--steps", 800, "--lr", 0.02, "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["distortion"] > 3
