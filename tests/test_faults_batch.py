"""One bad file, a closed stream or a signal must not spoil the rest."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, photo, png
from PIL import Image

from intfit import Settings, api, writing
from intfit.codecs.wavelet.encoding import postfilter_training
from intfit.jobs import files, pool
from intfit.jobs.files import Job, OutputExistsError, write_output

QUICK = ("-e", 1, "--threads", 1)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "error", [OverflowError("too far"), ZeroDivisionError(), RuntimeError("AVIF"), KeyError("x")]
)
def test_whatever_one_file_raises_the_others_are_done(intfit, picture, monkeypatch, error):
    sound, first = api.encode, []

    def encode(*args: object, **options: object) -> object:
        if not first:
            first.append(True)
            raise error
        return sound(*args, **options)

    monkeypatch.setattr(api, "encode", encode)
    photo(40).save("b.png")
    run = intfit("encode", picture, "b.png", *QUICK, "--json")
    assert run.code == 1
    assert [line["ok"] for line in lines(run.out)] == [False, True]
    assert len([line for line in run.err.splitlines() if line.startswith("intfit: ")]) == 1
    assert "Traceback" not in run.err


def test_names_that_no_file_can_have_fail_alone(intfit, picture):
    Path("loop").symlink_to("loop")
    run = intfit("encode", "loop", "n" * 300 + ".png", picture, *QUICK, "--json")
    assert run.code == 1
    assert [line["ok"] for line in lines(run.out)] == [False, False, True]
    written = intfit("encode", picture, "-o", "loop/x/y", *QUICK)
    assert written.code == 1
    assert "cannot write" in written.err


def test_a_message_is_short_and_harmless_whatever_a_file_says(intfit, monkeypatch, picture):
    def refuse(*args: object, **options: object) -> None:
        raise ValueError("\x1b[2J" + "x" * 100_000)

    monkeypatch.setattr(api, "encode", refuse)
    run = intfit("encode", picture, *QUICK)
    assert run.code == 1
    assert len(run.err) < 500
    assert "\x1b" not in run.err


@pytest.mark.parametrize(
    ("redirection", "command", "told"),
    [
        ("<&-", "encode - -o x.safetensors", "standard input is closed"),
        (">&-", "decode a.safetensors -o - --format png", "write to standard output"),
        (">&-", "info a.safetensors", "write to standard output"),
        (">&-", "test a.safetensors --json", "write to standard output"),
        (">&-", "verify a.safetensors photo.png --json", "write to standard output"),
        (">&-", "--version", "write to standard output"),
        ("> /dev/full", "info a.safetensors", "No space left"),
        ("2>&-", "info nothing.safetensors", ""),
    ],
)
def test_a_closed_stream_is_one_line_and_no_traceback(redirection, command, told, picture):
    Path("a.safetensors").write_bytes(api.encode(png(photo()), Settings(effort=1)).data)
    shell = f"{sys.executable} -m intfit {command} {redirection}"
    run = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert told in run.stderr
    assert len(run.stderr.splitlines()) <= 1


def test_an_output_does_not_need_a_standard_output_that_is_open(picture):
    shell = f"{sys.executable} -m intfit encode {picture} -e 1 -o a.safetensors >&-"
    run = subprocess.run(["sh", "-c", shell], capture_output=True, check=False)
    assert run.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_program_alike_where_it_cannot_say_so(number):
    code = (
        "import os, signal, sys; from intfit import __main__ as entry, interrupts\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a job of a shell
        f"def run(): interrupts.raise_on_termination(); os.kill(os.getpid(), {int(number)})\n"
        "entry._run = run; sys.stderr = open('/dev/full', 'w', buffering=1); entry.main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == (130 if number == signal.SIGINT else -number)
    assert not run.stderr


def test_an_empty_output_is_made_anew_and_one_that_appears_is_skipped(intfit, picture, monkeypatch):
    output = Path("photo.png.safetensors")
    output.touch()
    run = intfit("encode", picture, *QUICK, "--skip-existing")
    assert run.code == 0
    assert "empty" in run.err
    assert output.stat().st_size

    def lose_the_race(job: Job, data: bytes, *, force: bool) -> None:
        raise OutputExistsError("it has appeared meanwhile")

    output.unlink()
    monkeypatch.setattr("intfit.cli.run.write_output", lose_the_race)
    skipped = intfit("encode", picture, *QUICK, "--skip-existing", "--json")
    assert skipped.code == 0
    assert lines(skipped.out)[0]["skipped"] is True


@pytest.mark.parametrize("linked", [True, False])
def test_without_force_nothing_that_exists_is_replaced(monkeypatch, linked):
    if not linked:

        def refuse(*names: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(writing.os, "link", refuse)
    job = Job(None, Path("out"))
    write_output(job, b"one", force=False)
    with pytest.raises(OutputExistsError):
        write_output(job, b"two", force=False)
    assert Path("out").read_bytes() == b"one"
    write_output(job, b"three", force=True)
    assert Path("out").read_bytes() == b"three"
    assert list(Path().iterdir()) == [Path("out")]


def test_pictures_of_one_stem_in_one_folder_decode_to_two_files(intfit):
    photo().save("x.png")
    photo().save("x.jpg")
    assert intfit("encode", "x.png", "x.jpg", *QUICK).code == 0
    assert intfit("decode", "x.png.safetensors", "x.jpg.safetensors").code == 0
    assert {path.name for path in Path().glob("*decoded*")} == {
        "x.decoded.png",
        "x.jpg.decoded.png",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_window_of_writing_leaves_nothing(number):
    """It comes when the temporary file is there and has not yet got its name."""
    code = (
        "import os, signal, sys\n"
        "from intfit.interrupts import raise_on_termination\n"
        "from intfit.jobs import files\n"
        "from pathlib import Path\n"
        "signal.signal(int(sys.argv[1]), signal.SIG_DFL)\n"  # as under nohup, it may be ignored
        "raise_on_termination()\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), int(sys.argv[1]))\n"
        "files.write_output(files.Job(None, Path('out')), b'data', force=True)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(int(number))], capture_output=True, text=True, check=False
    )
    assert "TerminatedError" in run.stderr
    assert not list(Path().iterdir())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_worker_that_hangs_is_noticed(monkeypatch):
    code = "import os, signal\ndef work(*_): os.kill(os.getpid(), signal.SIGSTOP)\n"
    Path("hanging.py").write_text(code)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    work = importlib.import_module("hanging").work
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(pool, "LOOKS", 20)
    told = []
    workers = pool.Pool(work, 1)
    outcomes = pool.dispatch(workers, iter([(0, (b"", ""))]), lambda at, event: told.append(event))
    ((position, outcome),) = outcomes
    assert position == 0
    assert isinstance(outcome, pool.Failed)
    assert "hung, twice" in str(outcome.error)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--depth", 3), "--depth is for --field siren"),
        (("--omega", 20), "--omega is for --field siren"),
        (("--profile", "open", "--precision", "float16"), "--precision is for --field siren"),
        (("--width", 100), "--width 100 is above 64"),
    ],
)
def test_what_the_network_beside_latents_does_not_have_is_refused(intfit, picture, options, word):
    run: Run = intfit("encode", picture, *options)
    assert run.code == 2
    assert word in run.err


def test_options_of_a_fit_act_on_the_network_beside_latents(intfit):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (12, 16, 3), np.uint8).repeat(12, axis=0).repeat(12, axis=1)
    Image.fromarray(blocks).save("photo.png")
    options = (
        "--tune",
        "psnr",
        "--steps",
        60,
        "--width",
        8,
        "--teacher",
        "uniform",
        "--threads",
        1,
        "--device",
        "cpu",
    )
    line = lines(intfit("encode", "photo.png", "--json", "-q", 30, *options).out)[0]
    assert line["network"].startswith("latents")
    assert "SIREN" in line["network"]
    run = intfit("encode", "photo.png", "-f", "-q", 30, *options, "--save-selection", "maps")
    assert run.code == 0, run.err
    assert Path("maps").exists() or "no maps" in run.err


def test_time_bounds_an_encode_of_latents(intfit, picture):
    run = intfit("encode", picture, "--max-time", 0.1, "--json")
    assert run.code == 0
    assert lines(run.out)[0]["network"].startswith("latents")


def test_a_network_that_will_not_be_worth_its_bytes_is_given_up_early(monkeypatch):
    judged = []

    class Hopeless:
        def __init__(self, *args: object) -> None: ...

        def __call__(self, network: object) -> float:
            judged.append(network)
            return 0.0

    monkeypatch.setattr(postfilter_training, "_GainEstimate", Hopeless)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (80, 96, 3), np.uint8)
    seen = []
    hooks = api.Hooks(progress=lambda progress: seen.append(progress.fraction))
    settings = Settings(steps=200, quality=40, tune="psnr")
    made = api.encode(png(Image.fromarray(noise)), settings, hooks=hooks)
    assert made.network.endswith("SIREN not worth its bytes")
    assert made.steps == 0
    assert len(judged) == 1
    assert all(fraction <= 0.2 for fraction in seen)


def test_a_pipe_among_many_inputs_fails_alone(intfit, picture):
    os.mkfifo("pipe.png")
    run = intfit("encode", "pipe.png", picture, *QUICK, "--json")
    assert run.code == 1
    assert [line["ok"] for line in lines(run.out)] == [False, True]
    assert "give it alone, with -o" in run.err
    assert intfit("encode", "pipe.png").code == 2
    assert intfit("decode", "pipe.png", f"{picture}.safetensors", "--json").code == 1


def test_a_long_name_does_not_hide_the_reason(intfit):
    run = intfit("encode", "a/" * 2000 + "x.png", *QUICK)
    assert run.err.rstrip().endswith("No such file or directory")
    assert len(run.err) < 400


def test_options_of_a_network_that_is_not_trained_are_noted(intfit, picture):
    run = intfit("encode", picture, *QUICK, "--teacher", "nint", "--batch", 64)
    assert "note: no SIREN was trained: --batch, --teacher changed nothing" in run.err


def test_names_that_differ_in_the_case_of_their_suffix_or_lack_it_decode_in_one_call(intfit):
    for name in ("x.png", "x.PNG", "x"):
        photo(16, 12).save(name, "PNG")
    assert intfit("encode", "x.png", "x.PNG", "x", *QUICK).code == 0
    made = [f"{name}.safetensors" for name in ("x.png", "x.PNG", "x")]
    assert intfit("decode", *made, "--output-dir", "out").code == 0
    assert {path.name for path in Path("out").iterdir()} == {
        "x.png.decoded.png", "x.PNG.decoded.png", "x.decoded.png"
    }  # fmt: skip
    assert intfit("decode", made[0]).code == 0
    assert Path("x.decoded.png").exists()


def test_a_device_without_end_is_read_up_to_a_bound(intfit, monkeypatch):
    monkeypatch.setattr(files, "MAX_STREAM", 1000)
    run = intfit("encode", "/dev/zero", "-o", "x.safetensors")
    assert run.code == 1
    assert "gives more than" in run.err


def test_a_write_of_the_api_that_fails_leaves_the_file_that_was_there(monkeypatch):
    """From a thread, too, where signals cannot be held back."""
    pixels = np.asarray(photo())
    made = api.encode(pixels, Settings(effort=1), path="a.safetensors")

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ThreadPoolExecutor() as threads:
        threads.submit(api.decode, api.load(made.data), path="a.png").result()
        before = Path("a.png").read_bytes()
        monkeypatch.setattr(writing.os, "fsync", fail)
        with pytest.raises(OSError, match="No space"):
            threads.submit(api.decode, api.load(made.data), path="a.png", scale=2).result()
    assert Path("a.png").read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"a.safetensors", "a.png"}
