"""Scores that agree with what people see and hear."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from conftest import photo, tone
from PIL import Image

from intfit.metrics import perceptual

PICTURE = np.asarray(photo().resize((192, 192)))


def add_noise(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    return (picture + noise).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pictures_score_less_the_noisier_they_are(mode):
    pytest.importorskip("ssimulacra2")
    picture = np.asarray(Image.fromarray(PICTURE).convert(mode)).reshape(192, 192, -1)
    noisy = [picture, *(add_noise(picture, sigma) for sigma in (2, 8))]
    ms_ssim = [perceptual.ms_ssim(picture, one, peak=255) for one in noisy]
    seen = [perceptual.ssimulacra2(picture, one, low=0, high=255) for one in noisy]
    assert ms_ssim[0] == pytest.approx(1)
    assert seen[0] == pytest.approx(100)
    for scores in (ms_ssim, seen):
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == 3


def test_ms_ssim_without_detail_is_that_of_the_means_at_the_coarsest_scale():
    one, two = np.full((200, 176, 1), 100.0), np.full((200, 176, 1), 150.0)
    c1 = (0.01 * 255) ** 2
    similarity = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert perceptual.ms_ssim(one, two, peak=255) == pytest.approx(similarity**0.1333)
    assert perceptual.ms_ssim(one[:175], two[:175], peak=255) is None


def test_ssimulacra2_is_what_the_package_says_of_the_files():
    package = pytest.importorskip("ssimulacra2")
    noisy, files = add_noise(PICTURE, 5), [io.BytesIO(), io.BytesIO()]
    for pixels, file in zip((PICTURE, noisy), files, strict=True):
        Image.fromarray(pixels).save(file, "PNG")
    expected = package.compute_ssimulacra2(*files)
    assert perceptual.ssimulacra2(PICTURE, noisy, low=0, high=255) == pytest.approx(expected)
    deep = [pixels.astype(np.float32) / 255 - 0.5 for pixels in (PICTURE, noisy)]
    assert perceptual.ssimulacra2(*deep, low=-0.5, high=0.5) == pytest.approx(expected)


def test_a_large_picture_is_scored_in_bands(monkeypatch):
    pytest.importorskip("ssimulacra2")
    noisy = PICTURE.copy()
    noisy[96:] = add_noise(PICTURE, 5)[96:]
    monkeypatch.setattr(perceptual, "BAND", 96 * 192)
    lower = perceptual.ssimulacra2(PICTURE[96:], noisy[96:], low=0, high=255)
    found = perceptual.ssimulacra2(PICTURE, noisy, low=0, high=255)
    assert found == pytest.approx((100 + lower) / 2)


@pytest.mark.parametrize(("seconds", "rate"), [(1e-3, 8000), (0.3, 8000), (1.2, 44100)])
def test_recordings_score_less_the_noisier_they_are(seconds, rate):
    pytest.importorskip("zimtohrli")
    sound = tone(seconds, rate, channels=2)
    noise = np.random.default_rng(0).normal(size=sound.shape)
    scores = [perceptual.zimtohrli(sound, sound + a * noise, rate=rate) for a in (0, 0.003, 0.1)]
    assert scores[0] == pytest.approx(5)
    assert scores == sorted(scores, reverse=True)


@pytest.mark.usefixtures("visqol")
def test_visqol_is_less_the_noisier_a_recording_is():
    sound = tone(1.0, 44100)
    noise = np.random.default_rng(0).normal(size=sound.shape)
    scores = [perceptual.visqol(sound, sound + a * noise, rate=44100) for a in (0, 0.01)]
    assert scores[0] == pytest.approx(4.732, abs=1e-3)
    assert scores[1] < 4.5
    assert perceptual.visqol(sound[1:], sound[1:], rate=44100) is None


@pytest.mark.usefixtures("visqol")
def test_visqol_leaves_silence_out_and_hears_where_a_recording_is_mute():
    sound = tone(1.0, 8000, channels=2)
    silence, one_sided = np.zeros_like(sound), sound * [1, 0]
    assert perceptual.visqol(silence, sound, rate=8000) is None
    assert perceptual.visqol(one_sided, silence, rate=8000) == 1


def test_visqol_hears_parts_of_a_long_recording(monkeypatch):
    class Ear:
        """Takes the mean difference of two recordings for an opinion."""

        def measure_from_arrays(self, one, two, rate):
            assert rate == 48000
            return SimpleNamespace(moslqo=np.mean(two - one))

    monkeypatch.setitem(perceptual.PACKAGES, "visqol", "numpy")
    monkeypatch.setattr(perceptual, "_load_visqol", Ear)
    sound = tone(20.0, 8000)
    parts = [slice(0, 40_000), slice(60_000, 100_000), slice(120_000, 160_000)]
    for length in (120_000, 160_000):
        changed = sound.copy()
        for number, part in enumerate(parts):
            changed[part] += (number + 1) / 10
        expected = 0.2 if length == 160_000 else np.mean((changed - sound)[:length])
        found = perceptual.visqol(sound[:length], changed[:length], rate=8000)
        assert found == pytest.approx(expected, abs=1e-3)


def test_verify_says_in_a_line_what_to_install_for_scores_that_are_missing(
    intfit, picture, monkeypatch
):
    assert intfit("encode", picture, "-e", 1).code == 0
    monkeypatch.setitem(perceptual.PACKAGES, "ssimulacra2", "no_such_package")
    command = ("verify", f"{picture}.safetensors", "--against", picture)
    run = intfit(*command, "--json")
    line = json.loads(run.out)
    assert run.code == 0
    assert "SSIMULACRA2: pip install 'intfit[bench]'" in run.err
    assert line["ssimulacra2"] is None
    assert line["missing"] == ["ssimulacra2"]
    assert line["psnr"] > 10
    assert intfit(*command, "--min-ssimulacra2", 30).code == 2


def test_verify_fails_below_a_limit_on_what_people_see(intfit, picture):
    pytest.importorskip("ssimulacra2")
    assert intfit("encode", picture, "-e", 1).code == 0
    command = ("verify", f"{picture}.safetensors", "--against", picture, "--min-ssimulacra2")
    assert intfit(*command, -50).code == 0
    assert intfit(*command, 99.9).code == 1


def test_recordings_are_verified_and_compared_without_visqol(intfit, tmp_path):
    recording = tmp_path / "tone.wav"
    soundfile.write(recording, tone(0.5, 8000), 8000)
    remedy = "pip install 'intfit[visqol]', which needs a C++ compiler"
    assert intfit("encode", recording, "-e", 1, "--steps", 10).code == 0
    command = ("verify", f"{recording}.safetensors", "--against", recording)
    run = intfit(*command, "--json")
    line = json.loads(run.out)
    assert run.code == 0
    assert f"ViSQOL: {remedy}" in run.err
    assert line["visqol"] is None
    assert "visqol" in line["missing"]
    refused = intfit(*command, "--min-visqol", 4)
    assert refused.code == 2
    assert remedy in refused.err
    points = tmp_path / "points.json"
    run = intfit(
        "bench", "rd", recording, "--against", "mp3", "--qualities", 20, "-e", 1,
        "--cache", tmp_path / "cache", "--json", points,
    )  # fmt: skip
    assert run.code == 0
    assert f"visqol left out: {remedy}" in run.err
    assert {point["distortion"]["visqol"] for point in json.loads(points.read_text())} == {None}
