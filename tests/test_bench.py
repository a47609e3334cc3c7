"""The benches: their arithmetic, and that they run."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import photo, png, tone
from PIL import Image

from intfit import Settings, metrics
from intfit.api import prepare
from intfit.bench import paper, rd_surface, rivals, teachers, toy
from intfit.bench.teachers import Point, Run
from intfit.defaults import SECONDS


@pytest.fixture(autouse=True)
def on_cpu(in_empty_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run on the CPU, also where there is a GPU."""
    monkeypatch.setenv("INTFIT_DEVICE", "cpu")


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
    moved = rivals.align(late, noise)
    assert metrics.snr(noise[500:-500], moved[500:-500]) > 60


def test_rate_and_distortion_are_compared_and_a_second_run_is_taken_from_the_cache(
    intfit, picture, recording
):
    options = ("--effort", 1, "--qualities", "10,50", "--cache", "kept", "--json", "rd.json")
    for medium, codecs in ((picture, ("jpeg", "webp")), (recording, ("vorbis",))):
        command = ("bench", "rd", medium, "--against", ",".join(codecs), *options)
        first = intfit(*command)
        assert first.code == 0, first.err
        assert f"BD-rate against {codecs[0]}" in first.out
        points = json.loads(Path("rd.json").read_text())
        assert {point["codec"] for point in points} == {"intfit", *codecs}
        made = {path: path.stat().st_mtime_ns for path in Path("kept").iterdir()}
        assert intfit(*command).out == first.out
        assert made == {path: path.stat().st_mtime_ns for path in Path("kept").iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("small_pools")
def test_draco_and_a_plot(intfit, ball, monkeypatch):
    monkeypatch.setattr("intfit.media.surface.grid.RESOLUTION", 32)
    monkeypatch.setitem(SECONDS, 1, 0.5)
    monkeypatch.setattr(rd_surface, "KEPT", (0.1, 0.5))
    monkeypatch.setattr(rd_surface, "BITS", (9,))
    monkeypatch.setattr(rd_surface, "WHOLE_BITS", (8, 10))
    options = ("--effort", 1, "--qualities", 10, "--cache", "kept", "--plot", "a.png")
    run = intfit("bench", "rd", ball, *options)
    assert run.code == 0, run.err
    shown = [line.split()[:2] for line in run.out.splitlines()]
    for codec, setting in (("draco", "0.1/9"), ("draco", "0.5/9"), ("draco-whole", "all/8")):
        assert [codec, setting] in shown
    assert "F-score" in run.out
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("codec", "setting"), [("mp3", 0.0), ("opus", 24), ("aac", 24)])
def test_a_tone_survives(recording, codec, setting):
    if reason := rivals.say_what_is_missing(codec):
        pytest.skip(reason)
    size, decoded = rivals.code_recording(codec, setting, Path(recording).read_bytes())
    assert decoded.shape == tone().shape
    assert size < recording.stat().st_size
    assert metrics.snr(tone()[500:-500], decoded[500:-500]) > 10


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_jpeg_xl_gives_a_picture_back_in_its_own_mode(mode):
    if reason := rivals.say_what_is_missing("jxl"):
        pytest.skip(reason)
    size, decoded = rivals.code_picture("jxl", 0.5, png(photo().convert(mode)))
    found = np.asarray(Image.fromarray(decoded.squeeze()).convert("RGBA"), np.float64)
    original = np.asarray(photo().convert(mode).convert("RGBA"), np.float64)
    assert metrics.psnr(original, found, peak=255) > 20  # few colours are dithered
    assert size < original.size


def test_a_picture_is_compared_by_every_score_and_plotted_by_each(intfit):
    for package in ("ssimulacra2", "imagecodecs", "matplotlib"):
        pytest.importorskip(package)
    photo().resize((192, 192)).save("big.png")
    options = ("-e", 1, "--qualities", "20,60", "--against", "jxl", "--plot", "a.svg")
    run = intfit("bench", "rd", "big.png", *options, "--cache", "kept")
    assert run.code == 0, run.err
    shown = re.search("BD-rate against jxl: PSNR (.*), SSIMULACRA2 (.*), MS-SSIM (.*)", run.out)
    assert shown
    assert all(text.endswith("%") for text in shown.groups())
    assert "ssimulacra2" in Path("a.svg").read_text()


def curve(teacher: str, *qualities: float, seed: int = 0, share: float = 1.0) -> Run:
    """A fit of a second a point."""
    points = [Point(10 * i, float(i), q, 1.0, 1, 0.1) for i, q in enumerate(qualities)]
    return Run(teacher, seed, share, tuple(points))


def test_the_time_to_a_quality_lies_on_the_line_between_two_points():
    assert teachers.find_seconds_to(curve("full", 10, 20, 30), 25) == pytest.approx(1.5)
    assert teachers.find_seconds_to(curve("full", 10, 20, 30), 31) is None


def test_a_summary_says_when_a_teacher_is_as_good_as_uniform_draws_are_at_their_end():
    runs = [
        curve("uniform", 0, 10, 20), curve("uniform", 0, 10, 22, seed=1),
        curve("default", 0, 20, 40), curve("default", 0, 22, 40, seed=1),
        curve("default", 0, 21, share=0.5), curve("default", 0, 23, seed=1, share=0.5),
    ]  # fmt: skip
    uniform, default = teachers.summarise(runs, qualities=(11, 50))
    assert (uniform.quality, uniform.low, uniform.high) == (21, 20, 22)
    assert (uniform.catches_up, uniform.budget) == (1, 1)
    assert (default.catches_up, default.budget) == (0.5, 0.5)
    assert default.reached == (pytest.approx((11 / 20 + 11 / 22) / 2), None)


def test_teachers_are_compared_over_seeds_and_budgets_and_drawn(intfit, picture):
    run = intfit(
        "bench", "teachers", picture, "--steps", 40, "--width", 8, "--depth", 2, "--json",
        "--teachers", "uniform,uniform:50%,step+incremental,evos,nint,default",
        "--seeds", 2, "--budgets", "0.5,1", "--plot", "fig.png", "--cpu-time",
    )  # fmt: skip
    assert run.code == 0, run.err
    points = [json.loads(line) for line in run.out.splitlines()]
    ends = [point for point in points if point["last"]]
    assert len(ends) == 2 * (1 + 5 * 2)
    assert {point["seed"] for point in ends} == {0, 1}
    assert all(0 <= point["choosing"] < 1 for point in points)
    assert Path("fig.png").read_bytes().startswith(b"\x89PNG")


def test_a_share_of_the_seconds_takes_that_share_of_the_steps():
    readings = iter(range(10**9))
    settings = Settings(field="siren", width=8, depth=2, max_time=40, device="cpu")
    prepared = prepare(png(photo()), settings)

    def run(share):
        return teachers.run_teacher(
            prepared, "uniform", seed=0, share=share, parts=4, now=lambda: next(readings) / 64
        )

    whole, half = run(1.0), run(0.5)
    assert whole.end.seconds == pytest.approx(40, abs=0.5)
    assert half.end.seconds == pytest.approx(20, abs=0.5)
    assert whole.end.step == pytest.approx(2 * half.end.step, abs=4)
    assert len(whole.points) == 5
    assert all(0 < point.choosing < 1 for point in whole.points[1:])


@pytest.mark.usefixtures("small_pools")
def test_the_table_of_a_recording_and_a_surface(intfit, recording, ball):
    run = intfit(
        "bench", "teachers", recording, ball, "--steps", 20, "--width", 8, "--depth", 2,
        "--teachers", "uniform,default", "--reach", "0.1", "--plot", "fig.svg",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "as uniform after" in run.out
    assert "to 0.1" in run.out
    assert Path("fig-chord.svg").exists()
    assert Path("fig-ball.svg").exists()


def test_the_grid_is_the_paper_s_and_a_teacher_nobody_knows_is_refused(intfit, picture):
    assert len(set(teachers.GRID)) == 15
    run = intfit("bench", "teachers", picture, "--teachers", "uniform,greedy")
    assert run.code == 2
    assert "'greedy' is not default, full" in run.err


@pytest.mark.parametrize("bench", ["teachers", "rd", "paper"])
def test_a_plot_that_cannot_be_written_is_refused_before_the_work(intfit, picture, bench):
    run = intfit("bench", bench, picture, "--plot", "curves.doc")
    assert run.code == 2
    assert "try .png" in run.err
    run = intfit("bench", bench, picture, "--plot", f"{picture}/curves.png")
    assert run.code == 1
    assert "is not a folder" in run.err


def test_a_function_that_descends_through_the_tangent_kernel_stays_close_to_the_network(
    monkeypatch,
):
    assert toy.STEPS == (0, 100, 200, 300, 500, 1000)
    monkeypatch.setattr(toy, "STEPS", toy.STEPS[:4])
    moments = list(toy.train_both())
    assert [moment.step for moment in moments] == [0, 100, 200, 300]
    for before, after in pairwise(moments):
        assert after.error(after.by_function) < before.error(before.by_function)
        assert after.difference < 0.2 * after.error(after.by_parameters)


@pytest.mark.usefixtures("small_pools")
def test_the_paper_s_tables_with_files_and_without(intfit, monkeypatch, picture, ball):
    tiny = {part: paper.Size(8, 2, 4, 500) for part in ("audio", "megapixel", "shape")}
    tiny["image"] = paper.Size(8, 2, 4, None)
    monkeypatch.setitem(paper.SIZES, "small", tiny)
    monkeypatch.setitem(paper.SIDE, "small", 64)
    monkeypatch.setattr(toy, "STEPS", (0, 10))
    run = intfit("bench", "paper", picture, ball, "--plot", "toy.png")
    assert run.code == 0, run.err
    assert "image: photo.png, 1536 examples" in run.out
    assert "audio: a synthetic recording, 32000 examples" in run.out
    assert "37.04" in run.out
    assert Path("toy.png").exists()
    run = intfit("bench", "paper", ball, f"../{Path.cwd().name}/ball.obj")
    assert run.code == 2
    assert "second file of its kind" in run.err
