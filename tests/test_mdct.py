"""Recordings as quantised MDCT coefficients, with block switching."""

import contextlib
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MEDIA
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from intfit import api, metrics
from intfit.codecs import read_config
from intfit.codecs.channels import invert_axes, principal_axes
from intfit.codecs.mdct import blocks, codec, context_model, payload, transform
from intfit.codecs.mdct.config import (
    FREQUENCY_PARTS,
    LONGEST,
    NEWEST_SHARED,
    SHORTEST,
    MdctConfig,
)
from intfit.codecs.mdct.waveform import payload as waveform
from intfit.codecs.mdct.waveform.contexts import rounding
from intfit.coding import container
from intfit.coding.magnitudes import Decoder, Encoder
from intfit.coding.steps import TRELLIS_UNIT
from intfit.errors import FileFormatError, UsageError
from intfit.media import audio
from intfit.settings import Settings

GOLDEN = Path(__file__).parent / "golden" / "bank.safetensors"
RATE = 8000


def notes(seconds: float = 1.5, channels: int = 1) -> np.ndarray:
    """Two notes that fade, a click and some hiss ``[N, C]``."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = np.exp(-2 * t) * np.sin(2 * np.pi * 440 * t)
    wave += np.where(t > 0.6, np.exp(-5 * (t - 0.6)), 0) * np.sin(2 * np.pi * 1234 * t)
    wave[len(wave) // 2] += 0.8
    wave += np.random.default_rng(0).normal(0, 0.003, len(t))
    gains = np.linspace(1, 0.4, channels)
    return (0.4 * wave[:, None] * gains).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def encoded(samples: np.ndarray, **settings) -> api.Encoded:
    return api.encode(wav(samples), Settings(field="latent", **settings))


def rendered(data: bytes, **target) -> np.ndarray:
    loaded = api.load(data, device="cpu")
    return api.render(loaded, audio.Target(**target))


def encoded_latents(latents: np.ndarray, sizes: list[int]) -> bytes:
    encoder = Encoder()
    code_pass = context_model.entropy_code(encoder)
    context_model.code_latents(latents.copy(), sizes, FREQUENCY_PARTS, code_pass)
    return encoder.finish()


def decoded(data: bytes, shape: tuple[int, int], sizes: list[int]) -> np.ndarray:
    latents = np.zeros(shape, np.int32)
    code_pass = context_model.entropy_code(Decoder(data))
    context_model.code_latents(latents, sizes, FREQUENCY_PARTS, code_pass)
    return latents


def test_runs_of_blocks_have_the_coefficients_of_the_whole(monkeypatch):
    monkeypatch.setattr(transform, "STRETCH", 1000)
    sizes = [256, 512, 256, 8192, 1024, 256, 256, 256, 256, 256]
    x = np.random.default_rng(0).normal(size=(sum(sizes), 2)).astype(np.float32)
    whole = transform.analyse(x, sizes)
    runs = list(transform.split_blocks(sizes))
    assert [index for run, _ in runs for index in run] == list(range(len(sizes)))
    assert len(runs) > 3
    for run, samples in runs:
        part = transform.analyse_run(x, sizes, run, samples)
        np.testing.assert_allclose(part, whole[samples], atol=1e-6)
    np.testing.assert_allclose(transform.synthesise(whole, sizes), x, atol=1e-5)


@pytest.mark.parametrize(
    "sizes", [[256], [512, 256, 8192, 1024], [8192] * 2 + [256] * 3 + [2048], [4096, 256, 256]]
)
def test_the_transform_is_orthonormal_whatever_the_blocks(sizes):
    x = np.random.default_rng(0).normal(size=(sum(sizes), 2))
    coefficients = transform.analyse(x, sizes)
    assert np.square(coefficients).sum() == pytest.approx(np.square(x).sum())
    np.testing.assert_allclose(transform.synthesise(coefficients, sizes), x, atol=1e-12)


def test_a_coefficient_is_a_windowed_cosine():
    latents = np.zeros((768, 1))
    latents[256 + 10] = 1  # of the second block
    t = np.arange(768) + 0.5 - 256
    rise = np.sin(np.pi / 2 * ((t + 128) / 256).clip(0, 1))
    fall = np.sin(np.pi / 2 * ((384 - t) / 256).clip(0, 1))
    expected = rise * fall * np.sqrt(2 / 256) * np.cos(np.pi * 10.5 * t / 256)
    basis = transform.synthesise(latents, [256] * 3)[:, 0]
    np.testing.assert_allclose(basis, expected, atol=1e-12)


def test_steady_tones_take_long_blocks_and_clicks_short_ones():
    t = np.arange(1 << 15)
    tone = np.sin(0.3 * t)[:, None]
    assert (
        blocks.choose_sizes(tone, 0.1).count(LONGEST) == 2
    )  # what begins and ends does so in steps
    click = np.sin(0.3 * t)[:, None] * np.exp(-(((t - 20000) / 30) ** 2))[:, None]
    sizes = blocks.choose_sizes(click, 0.1)
    assert sum(sizes) == len(click)
    assert sizes[int(np.searchsorted(np.cumsum(sizes), 20000))] <= 512


def test_blocks_of_any_length_of_signal_come_back():
    rng = np.random.default_rng(1)
    for units in (1, 2, 3, 31, 32, 33, 100):
        x = rng.normal(size=(units * SHORTEST, 1)) * (rng.random((units * SHORTEST, 1)) < 0.01)
        sizes = blocks.choose_sizes(x, 0.3)
        assert sum(sizes) == len(x)
        encoder = Encoder()
        blocks.encode_sizes(encoder, sizes)
        assert blocks.decode_sizes(Decoder(encoder.finish()), len(x)) == sizes


@pytest.mark.parametrize("spread", [0.0, 0.2, 3.0, 5000.0])
def test_latents_come_back_whatever_they_are(spread):
    sizes, channels = [2048, 256, 256, 512, 1024, 4096], 2
    rng = np.random.default_rng(0)
    whole = np.rint(rng.laplace(0, spread, (sum(sizes), channels))).astype(np.int32)
    back = decoded(encoded_latents(whole, sizes), whole.shape, sizes)
    np.testing.assert_array_equal(back, whole)


@hypothesis_settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    channels=st.integers(1, 5),
    frames=st.integers(1, 4000),
    dtype=st.sampled_from([np.uint8, np.int16, np.int32, np.float32]),
    step=st.integers(20, 250),
    loudness=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_recordings_of_any_shape_and_type_come_back(channels, frames, dtype, step, loudness, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None]
    values = np.sin(t * rng.uniform(0.01, 3, channels)) + rng.normal(0, 0.1, (frames, channels))
    values = loudness * values.clip(-1, 1)
    if dtype != np.float32:
        peak = 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
        values = (values * (peak - 1)).round() / peak
    values = values.astype(np.float32)
    config = MdctConfig(channels, frames, step, rate=RATE, common=NEWEST_SHARED)
    axes = principal_axes(values)
    decorrelated = values @ invert_axes(axes)
    tensors = waveform.unpack(waveform.pack(decorrelated, axes, config), config)
    assert {name: tensor.shape for name, tensor in tensors.items()} == config.shapes()
    # the same integers
    sizes = blocks.read_size_tensor(tensors["blocks"])
    assert sizes == blocks.choose_sizes(transform.pad(decorrelated, config), config.step_size)
    exact = transform.analyse(transform.pad(decorrelated, config), sizes)
    exact /= np.float32(config.step_size)
    cutoff = waveform.find_cutoff(exact, sizes)
    exact *= np.float32(16 / TRELLIS_UNIT)
    waveform.code_blocks(exact, sizes, cutoff, config, rounding(Encoder()))
    unit = np.float32(config.step_size * TRELLIS_UNIT / 16)
    np.testing.assert_array_equal(tensors["latents"], exact * unit)
    # near the original: no latent is a step off, and errors of latents are errors of samples
    decoded = codec.reconstruct(tensors, config)
    assert decoded.shape == values.shape
    assert np.square(decoded - values).sum() < config.step_size**2 * config.count()


def test_a_file_tuned_for_snr_is_smaller_than_with_adaptive_contexts_at_the_same_snr():
    """Those of older files, of which a golden one is left: notes as here, at quality 45."""
    old = GOLDEN.read_bytes()
    field = api.load(old, device="cpu")
    snr = api.verify(field, wav(notes(0.9, 2)))["snr"]
    new = encoded(notes(0.9, 2), target_snr=snr)
    assert new.distortion >= snr
    assert len(new.data) < 0.95 * len(old)


def test_the_golden_file_decodes_to_the_same_latents_for_ever():
    layout, stored = container.load(GOLDEN.read_bytes())
    config = read_config(layout.header)
    tensors = payload.unpack(stored["payload"].data, config)
    steps = tensors["latents"] / config.step_size
    whole = np.where(np.abs(steps) > 0.5, np.rint(steps), 0).astype("<i4")
    known = json.loads(GOLDEN.with_suffix(".json").read_text())
    assert hashlib.sha256(whole.tobytes()).hexdigest() == known["latents"]
    blocks = tensors["blocks"].astype("<i4")
    assert hashlib.sha256(blocks.tobytes()).hexdigest() == known["blocks"]


def test_a_higher_quality_is_bigger_and_closer():
    files = [encoded(notes(), quality=q) for q in range(0, 101, 20)]
    distortions, sizes = [f.distortion for f in files], [len(f.data) for f in files]
    assert distortions == sorted(distortions)
    assert sizes == sorted(sizes), sizes
    assert distortions[-1] > distortions[0] + 15


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("frames", [2, 100, 256, 9001])
def test_a_recording_of_any_length_comes_back(frames, channels):
    samples = notes(2, channels)[2000 : 2000 + frames]
    encoding = encoded(samples, quality=100)
    back = rendered(encoding.data)
    assert back.shape == samples.shape
    measured = api.verify(api.load(encoding.data), wav(samples))["snr"]
    assert measured == pytest.approx(encoding.distortion, abs=0.1)
    assert encoding.distortion > 25


def test_channels_that_say_the_same_cost_little_more_than_one():
    mono, stereo = notes(3), np.repeat(notes(3), 2, axis=1)
    one, two = (len(encoded(samples, target_snr=20).data) for samples in (mono, stereo))
    assert two < 1.25 * one


def test_a_sweep_has_no_clicks():
    """Neither within blocks nor where they meet: no sample is far off its neighbours' curve."""
    t = np.arange(6 * RATE) / RATE
    sweep = (0.5 * np.sin(2 * np.pi * (100 + 150 * t) * t)).astype(np.float32)[:, None]
    back = rendered(encoded(sweep, quality=50, tune="snr").data)
    error = np.abs(back - sweep)[:, 0]
    assert metrics.snr(sweep, back) > 25
    assert error.max() < 8 * np.sqrt(np.square(error).mean())


@pytest.mark.parametrize("rate", [16000, 11025, 24000, 4000])
def test_other_rates_sound_alike(rate):
    tone = (0.5 * np.sin(2 * np.pi * 700 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    back = rendered(encoded(tone[:, None], quality=90).data, sample_rate=rate)[:, 0]
    # sample k of any rate sits in the middle of its cell
    t = (np.arange(len(back)) + 0.5) / rate - 0.5 / RATE
    expected = 0.5 * np.sin(2 * np.pi * 700 * t)
    inside = slice(rate // 10, -rate // 10)
    assert metrics.snr(expected[inside, None], back[inside, None]) > 30


def test_a_part_is_cut_out_of_the_whole():
    data = encoded(notes(), quality=60).data
    whole, part = rendered(data), rendered(data, start=0.5, duration=0.25)
    np.testing.assert_allclose(part, whole[4000:6000], atol=1e-5)


def test_hiss_stays_where_no_latent_is_left():
    rng = np.random.default_rng(0)
    loud = np.sin(np.arange(4 * RATE) * 0.2)[:, None]
    samples = (0.5 * loud + rng.normal(0, 0.004, loud.shape)).astype(np.float32)
    back = rendered(encoded(samples, quality=40).data)
    spectra = [np.abs(np.fft.rfft(s[:, 0]))[20000 // 2 :] for s in (samples, back)]
    level = [np.square(s).mean() for s in spectra]
    assert 0.05 < level[1] / level[0] < 1.2


@pytest.mark.parametrize("size", [700, 1500, 6000])
def test_a_target_size_is_kept_and_nearly_used(size):
    encoding = encoded(notes(3), target_size=size)
    assert 0.85 * size <= len(encoding.data) <= size


def test_a_target_snr_is_met_with_the_coarsest_step(intfit):
    Path("in.wav").write_bytes(wav(notes()))
    run = intfit("encode", "in.wav", "--field", "latent", "--target-snr", 20, "--json")
    assert 20 <= json.loads(run.out)["distortion"] < 22


def test_too_many_channels_are_refused_with_a_way_out():
    with pytest.raises(UsageError, match="--field siren"):
        encoded(notes(0.2, 40))


@pytest.mark.parametrize("tune", ["hearing", "snr"])
def test_any_damage_is_noticed_or_decodes_to_the_declared_size(tune):
    """Past the checksum, as a hostile file would be."""
    encoding = encoded(notes(0.2), quality=30, tune=tune).data
    layout, stored = container.load(encoding)
    payload = stored["payload"].data

    def survives(hurt: bytes) -> None:
        file = container.dump(
            layout.header, {"payload": container.Stored("U8", (len(hurt),), hurt)}
        )
        with contextlib.suppress(FileFormatError):
            assert rendered(file).shape == (1600, 1)

    for index in range(len(payload)):
        hurt = bytearray(payload)
        hurt[index] ^= 1 << index % 8
        survives(bytes(hurt))
        survives(payload[:index])


def test_a_header_or_a_table_of_blocks_that_lies_is_refused():
    encoding = encoded(notes())
    layout, stored = container.load(encoding.data)
    layout.header.facts.update(frames=150_000_000)
    with pytest.raises(FileFormatError, match="damaged"):
        api.load(container.dump(layout.header, stored), device="cpu")
    config = MdctConfig(1, 700, 0)  # of four shortest blocks
    tensors = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    for sizes in ([0, 0, 0, 0], [512, 512, 512, 512], [300, 256, 256, 256], [8192] * 4):
        tensors["blocks"] = np.array(sizes, np.float32)
        if sizes == [512] * 4:
            codec.decode(tensors, config, "cpu")  # two of them
            continue
        with pytest.raises(FileFormatError, match="blocks"):
            codec.decode(tensors, config, "cpu")


@pytest.mark.skipif(not MEDIA.exists(), reason="the shared media are not here")
def test_a_cello_takes_a_third_of_what_mp3_does_at_equal_snr():
    path = MEDIA / "audio" / "bach.wav"
    encoding = api.encode(path.read_bytes(), Settings(field="latent", target_snr=19.9))
    assert len(encoding.data) < 28991 / 3  # MP3 at its smallest reaches 19.9 dB with so many
