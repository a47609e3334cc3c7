"""The benches: their arithmetic, and that they run."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import tone

from intfit import metrics
from intfit.bench import rd

RATES, QUALITIES = [0.1, 0.2, 0.4, 0.9], [25.0, 28.0, 30.5, 34.0]


def test_bd_rate_of_a_curve_against_itself_is_nothing():
    assert metrics.bd_rate(RATES, QUALITIES, RATES, QUALITIES) == pytest.approx(0)


def test_bd_rate_against_the_same_curve_at_half_the_rate_is_minus_50():
    half = [rate / 2 for rate in RATES]
    assert metrics.bd_rate(RATES, QUALITIES, half, QUALITIES) == pytest.approx(-50)


def test_bd_rate_of_curves_that_share_no_quality_is_unknown():
    assert metrics.bd_rate(RATES, QUALITIES, RATES, [q + 20 for q in QUALITIES]) is None


@pytest.mark.parametrize("delay", [-300, 0, 1105])
def test_a_codec_s_delay_is_taken_back(delay):
    noise = np.random.default_rng(0).normal(size=(8000, 2)).astype(np.float32)
    late = np.roll(np.pad(noise, ((2000, 2000), (0, 0))), delay, axis=0)[2000 - 50 :]
    moved = rd.aligned(late, noise)
    assert metrics.snr(noise[500:-500], moved[500:-500]) > 60


def test_rate_and_distortion_are_compared_and_a_second_run_is_taken_from_the_cache(
    intfit, picture, recording
):
    options = ("--effort", 1, "--qualities", "10,50", "--cache", "kept", "--json", "rd.json")
    for medium, rivals in ((picture, ("jpeg", "webp")), (recording, ("vorbis",))):
        command = ("bench", "rd", medium, "--against", ",".join(rivals), *options)
        first = intfit(*command)
        assert first.code == 0, first.err
        assert f"BD-rate against {rivals[0]}" in first.out
        points = json.loads(Path("rd.json").read_text())
        assert {point["codec"] for point in points} == {"intfit", *rivals}
        made = {path: path.stat().st_mtime_ns for path in Path("kept").iterdir()}
        assert intfit(*command).out == first.out
        assert made == {path: path.stat().st_mtime_ns for path in Path("kept").iterdir()}


def test_draco_and_a_plot(intfit, ball):
    run = intfit(
        "bench",
        "rd",
        ball,
        "--effort",
        1,
        "--qualities",
        "10",
        "--cache",
        "kept",
        "--plot",
        "a.png",
    )
    assert run.code == 0, run.err
    assert "draco" in run.out
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_a_tone_survives_mp3(recording):
    size, decoded = rd._soundfile("mp3", 0.0, Path(recording).read_bytes())
    assert decoded.shape == tone().shape
    assert size > 100
