"""The commands as a person types them."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import photo, png
from PIL import Image

import intfit as intfit_api
from intfit import complaints
from intfit.cli import app
from intfit.cli.decode import DECODED_KEYS
from intfit.cli.encode import ENCODED_KEYS
from intfit.cli.inspect import INFO_KEYS, VERIFIED_KEYS
from intfit.cli.report import Display, fold
from intfit.codecs.protocol import Hooks
from intfit.training import loop, step

FAST = ("--field", "siren", "--steps", 30)
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@pytest.fixture
def encoded(intfit, picture):
    assert intfit("encode", picture, *FAST).code == 0
    return Path("photo.png.safetensors")


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_encode_then_decode_gives_a_picture_of_the_same_size(intfit, encoded):
    assert intfit("decode", encoded).code == 0
    with Image.open("photo.decoded.png") as decoded:
        assert decoded.size == (48, 32)


def test_the_summary_says_what_became_of_the_file(intfit, picture):
    run = intfit("encode", picture, *FAST)
    assert run.out == ""
    pattern = (
        r"photo\.png → photo\.png\.safetensors  \S+ k?B → \S+ k?B  \S+× \(larger than the input\)"
        r"  raw \S+×  \S+ bpp  -?\S+ dB  \S+ s  cpu  SIREN \d+ x 6, 30 steps"
    )
    assert re.fullmatch(pattern, run.err.strip()), run.err


def test_quiet_says_nothing_and_verbose_says_which_network(intfit, picture):
    assert intfit("encode", picture, *FAST, "--quiet").err == ""
    assert "SIREN 16 x 6" in intfit("encode", picture, *FAST, "-f", "-v").err


@pytest.mark.usefixtures("small_pools")
@pytest.mark.parametrize("kind", ["picture", "recording", "ball"])
def test_the_same_command_gives_the_same_bytes(intfit, kind, request):
    medium = request.getfixturevalue(kind)
    for name in ("one", "two"):
        run = intfit(
            "encode", medium, "--field", "siren", "--steps", 100, "--device", "cpu", "-o", name
        )
        assert run.code == 0, run.err
    assert Path("one").read_bytes() == Path("two").read_bytes()


def test_another_seed_gives_another_network(intfit, picture):
    intfit("encode", picture, *FAST, "-o", "one")
    intfit("encode", picture, *FAST, "-o", "two", "--seed", 1)
    assert Path("one").read_bytes() != Path("two").read_bytes()


def test_a_batch_keeps_subfolders_and_prints_one_json_line_a_file(intfit):
    for folder in ("a", "b"):
        Path(folder).mkdir()
        photo().save(f"{folder}/x.png")
    run = intfit("encode", "a/x.png", "b/x.png", "--output-dir", "out", "--json", *FAST)
    assert run.code == 0, run.err
    first, second = lines(run.out)
    assert tuple(first) == ENCODED_KEYS
    assert second["output"] == str(Path("out/b/x.png.safetensors"))
    assert first["bytes_out"] == Path("out/a/x.png.safetensors").stat().st_size
    assert first["bpp"] == pytest.approx(first["bytes_out"] * 8 / (48 * 32), abs=1e-3)
    assert (first["ok"], first["steps"], first["device"]) == (True, 30, "cpu")


def test_nothing_is_written_outside_the_output_folder(intfit, tmp_path):
    Path("in").mkdir()
    photo().save("photo.png")
    os.chdir("in")
    assert intfit("encode", "../photo.png", "--output-dir", "out", *FAST).code == 0
    assert Path("out/photo.png.safetensors").exists()
    assert not Path("../photo.png.safetensors").exists()


def test_paths_come_from_a_list_or_from_stdin(intfit, picture):
    shutil.copy(picture, "two words.png")
    Path("list").write_text("photo.png\ntwo words.png\n\n")
    assert intfit("encode", "--files-from", "list", *FAST).code == 0
    assert Path("two words.png.safetensors").exists()
    names = b"photo.png\0two words.png\0./photo.png\0"  # each file once
    run = intfit("encode", "--files-from", "-", "-f", *FAST, stdin=names)
    assert run.code == 0, run.err
    assert run.err.count("→ photo") + run.err.count("→ two") == 2


def test_a_medium_is_read_from_stdin_and_written_to_stdout(process, intfit, picture):
    packed = process("encode", "-", "-e", 1, stdin=picture.read_bytes())
    assert packed.code == 0, packed.err
    unpacked = process("decode", "-", "-o", "-", "--format", "bmp", stdin=packed.data)
    assert unpacked.code == 0, unpacked.err
    assert unpacked.data[:2] == b"BM"
    assert intfit("verify", "-", picture, stdin=packed.data).out.startswith("PSNR")


def test_stdin_is_left_alone_unless_asked_for(process, picture):
    script = f"{sys.executable} -m intfit encode photo.png -e 1 --quiet; cat"
    shell = subprocess.run(["sh", "-c", script], input=b"rest", capture_output=True, check=False)
    assert shell.stdout == b"rest"


def test_existing_outputs_are_kept_skipped_or_overwritten_as_asked(intfit, encoded):
    before = encoded.read_bytes()
    refused = intfit("encode", "photo.png", *FAST, "--seed", 1)
    assert refused.code == 1
    assert "-f" in refused.err
    skipped = intfit("encode", "photo.png", *FAST, "--seed", 1, "--skip-existing", "--json")
    assert skipped.code == 0
    assert lines(skipped.out)[0]["skipped"] is True
    assert encoded.read_bytes() == before
    assert intfit("encode", "photo.png", *FAST, "--seed", 1, "-f").code == 0
    assert encoded.read_bytes() != before


def test_a_failure_does_not_stop_the_batch_unless_it_should(intfit, picture):
    run = intfit("encode", "missing.png", picture, *FAST, "--json")
    assert run.code == 1
    failed, done = lines(run.out)
    assert (failed["ok"], done["ok"]) == (False, True)
    assert "No such file" in failed["error"]
    fast = intfit("encode", "missing.png", picture, *FAST, "--json", "-f", "--fail-fast")
    assert len(lines(fast.out)) == 1


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(intfit, picture):
    run = intfit("encode", picture, "--dry-run")
    assert run.code == 0
    assert "latents" in run.err
    assert "weights" in intfit("encode", picture, "--dry-run", "--field", "siren").err
    assert [p.name for p in Path().iterdir()] == ["photo.png"]


def test_the_schedule_is_laid_out_over_the_time_given(intfit, picture, monkeypatch):
    readings = count()
    monkeypatch.setitem(loop.fit.__kwdefaults__, "now", lambda: next(readings) / 16)
    line = lines(intfit("encode", picture, "--field", "siren", "--max-time", 8, "--json").out)[0]
    assert line["seconds"] == pytest.approx(8, abs=0.2)
    assert 40 < line["steps"] <= 8 * 16


def test_the_fit_stops_once_the_target_is_reached(intfit, picture):
    options = ("--field", "siren", "--steps", 2000, "--target-psnr", 20, "-q", 50)
    line = lines(intfit("encode", picture, *options, "--json").out)[0]
    assert line["distortion"] >= 20
    assert line["steps"] < 1000


@pytest.mark.parametrize(
    "options",
    [
        ("--teacher", "full"),
        ("--teacher", "uniform", "--batch", 64),
        ("--selection", "top"),
        ("--selection", "top", "--ratio-schedule", "cosine", "--interval-schedule", "dense"),
        ("--selection", "top", "--batch", 256, "--interval-schedule", "every:3"),
        ("--ratio", 0.2, "--ratio-schedule", "linear", "--interval-schedule", "decremental"),
    ],
)
def test_every_teacher_learns(intfit, picture, options):
    run = intfit(
        "encode",
        picture,
        "--field",
        "siren",
        "--steps",
        100,
        "--profile",
        "open",
        "--json",
        *options,
    )
    assert run.code == 0, run.err
    # the picture's own variance is 12 dB: a field that learnt nothing stays below it
    assert lines(run.out)[0]["distortion"] > 14


@pytest.mark.usefixtures("small_pools")
@pytest.mark.parametrize(
    ("kind", "suffix"), [("picture", ".png"), ("recording", ".png"), ("ball", ".ply")]
)
def test_selection_maps_are_written_at_ten_steps(intfit, kind, suffix, request):
    medium = request.getfixturevalue(kind)
    steps = 200 if kind == "ball" else 20  # fewer find no surface
    fit = ("--field", "siren", "--steps", steps, "--batch", 512)
    run = intfit("encode", medium, *fit, "--save-selection", "maps")
    assert run.code == 0, run.err
    maps = sorted(Path("maps").iterdir())
    assert len(maps) == 10
    assert {m.suffix for m in maps} == {suffix}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_halves_the_weights(intfit, encoded, precision):
    options = (*FAST, "--profile", "open", "--json")
    assert intfit("encode", "photo.png", *options, "-o", "whole").code == 0
    run = intfit("encode", "photo.png", *options, "--precision", precision, "-o", "half")
    assert run.code == 0, run.err
    encoded = Path("whole")
    saved = encoded.stat().st_size - Path("half").stat().st_size
    assert saved == pytest.approx(2 * lines(run.out)[0]["parameters"], abs=64)


def test_the_teachers_are_compared_at_equal_steps_or_seconds(intfit, picture, monkeypatch):
    run = intfit("bench", "teachers", picture, "--half", "--steps", 12, "--json")
    assert run.code == 0, run.err
    rows = lines(run.out)
    assert len({row["teacher"] for row in rows}) == 9
    assert {row["steps"] for row in rows if row["last"]} == {12}
    assert len({row["parameters"] for row in rows}) == 1
    readings = count()
    clock = SimpleNamespace(monotonic=lambda: next(readings) / 16)
    monkeypatch.setattr(sys.modules["intfit.cli.bench.teachers"], "time", clock)
    timed = intfit("bench", "teachers", picture, "--half", "--seconds", 4, "--teachers",
                   "uniform", "--json")  # fmt: skip
    (end,) = (row for row in lines(timed.out) if row["last"])
    assert end["seconds"] == pytest.approx(4, abs=0.3)
    assert 10 < end["steps"] <= 4 * 16


def test_a_fit_that_diverges_is_an_error_and_writes_nothing(intfit, picture, monkeypatch):
    def diverge(field, batch):
        for parameter in field.parameters():
            parameter.data.fill_(float("nan"))
        return batch.targets.sum(dim=1) * float("nan")

    monkeypatch.setattr(
        "intfit.training.step.choose_gradients",
        lambda fields, **_: (partial(diverge, *fields),) * 2,
    )
    run = intfit("encode", picture, *FAST)
    assert run.code == 1
    assert "--lr" in run.err
    assert not Path("photo.png.safetensors").exists()


def test_gradients_are_made_for_parts_as_large_as_steps_hand_to_them(intfit, picture, monkeypatch):
    sizes, choose = [], step.choose_gradients

    def watch(fields, *, batch, loss):
        gradient, _ = choose(fields, batch=batch, loss=loss)

        def differentiate(part):
            sizes.append((batch, len(part.coords)))
            return gradient(part)

        return differentiate, differentiate

    monkeypatch.setattr(step, "CHUNK", 300)
    monkeypatch.setattr(step, "choose_gradients", watch)
    assert intfit("encode", picture, "--field", "siren", "--steps", 1, "--batch", 400).code == 0
    assert sizes == [(300, 300), (300, 100)]


def test_info_reads_headers_and_verify_measures(intfit, encoded):
    assert "48 x 32 pixels, mode RGB" in intfit("info", encoded).out
    told = lines(intfit("info", encoded, "--json").out)[0]
    assert tuple(told) == INFO_KEYS
    measured = lines(intfit("verify", encoded, "--against", "photo.png", "--json").out)[0]
    assert tuple(measured) == VERIFIED_KEYS
    assert measured["psnr"] == pytest.approx(told["fit"]["distortion"], abs=0.2)
    assert measured["snr"] is None


def test_verify_fails_below_its_limit(intfit, encoded):
    against = ("verify", encoded, "--against", "photo.png")
    assert intfit(*against, "--min-psnr", 1).code == 0
    missed = intfit(*against, "--min-psnr", 99)
    assert missed.code == 1
    assert "99" in missed.err
    assert intfit(*against, "--min-iou", 0.5).code == 2


def test_decode_json_has_its_documented_keys(intfit, encoded):
    assert tuple(lines(intfit("decode", encoded, "--json").out)[0]) == DECODED_KEYS


@pytest.mark.parametrize(
    "command", ["encode", "decode", "info", "verify", "bench teachers", "bench paper"]
)
def test_every_command_has_a_page_of_help_with_an_example(process, command):
    page = process(*command.split(), "--help").out
    assert f"intfit {command} " in page.split("Options:")[0].split("Example")[1]
    assert max(map(len, page.splitlines())) <= 80


def loads(*args: object) -> set[str]:
    """The modules that a command which succeeds has loaded."""
    code = (
        "import sys; from intfit.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "open('modules', 'w').write(' '.join(sys.modules))"
    )
    arguments = [sys.executable, "-c", code, *map(str, args)]
    subprocess.run(arguments, check=True, capture_output=True)
    return set(Path("modules").read_text().split())


@pytest.mark.parametrize("args", [("--help",), ("encode", "--help"), ("info", "FILE")])
def test_help_and_info_never_load_torch_or_numpy(encoded, args):
    arguments = [encoded if arg == "FILE" else arg for arg in args]
    assert not {"torch", "numpy", "trimesh"} & loads(*arguments)


def test_latents_load_no_torch_unless_something_is_fitted(picture):
    assert "torch" not in loads("encode", picture, "--effort", 2, "-o", "latents")
    assert "torch" not in loads("decode", "latents", "-o", "decoded.png")


def test_a_fit_loads_no_compiler(picture):
    loaded = loads("encode", picture, "--field", "siren", "--steps", 5, "--device", "cpu")
    assert not {"torch._dynamo", "sympy"} & loaded


@FULL
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_version_that_cannot_be_printed_is_an_error_that_is_told_once(unbuffered):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "intfit", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(rb"intfit: .*No space left on device\n", done.stderr)


@FULL
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_standard_stream_is_an_error(picture, stream):
    command = [sys.executable, "-m", "intfit", "encode", picture, "-e", "1", "-o"]
    command.append("-" if stream == "stdout" else "a.safetensors")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(command, **{"stderr": subprocess.PIPE, stream: full}, check=False)
    assert done.returncode == 1
    if stream == "stdout":
        assert b"cannot write to standard output: No space left" in done.stderr
    else:
        assert intfit_api.info("a.safetensors")["kind"] == "image"


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_libraries_print_of_a_damaged_file_becomes_a_note(process, picture, jobs):
    """libtiff prints what it thinks of fax codes, whatever Python does with standard error."""
    buffer = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("1").save(buffer, "TIFF", compression="group4")
    data = bytearray(buffer.getvalue())
    data[60:90] = b"\x55" * 30
    Path("fax.tif").write_bytes(data)
    run = process("encode", "fax.tif", picture, "-e", 1, "--jobs", jobs, "--output-dir", "out")
    lines = run.err.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"  note: the library that reads it says 'Fax4Decode: .*", lines[1])
    assert lines[2].startswith(f"{picture} ")


def test_a_file_is_read_where_no_temporary_file_can_be_made(intfit, picture, monkeypatch):
    monkeypatch.setattr(complaints, "_apart", True)
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert intfit("encode", picture, "-e", 1).code == 0


class Terminal(io.StringIO):
    """A standard error that says it is a terminal, and keeps what is written to it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch) -> Callable[..., str]:
    """Runs the command line on a terminal, with a report for each step; all it wrote there."""
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    show = Display.update

    def show_at_once(self: Display, *what: object) -> None:  # not when a thread gets its turn
        show(self, *what)
        self.refresh()

    monkeypatch.setattr(Display, "update", show_at_once)

    def run(*args: object) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal := Terminal())
            with pytest.raises(SystemExit) as ended:
                app([str(arg) for arg in args])
        assert not ended.value.code
        return terminal.getvalue()

    return run


def test_progress_is_shown_on_a_terminal_only(intfit, picture, on_terminal):
    seen = on_terminal("encode", picture, *FAST)
    assert "steps/s" in seen
    assert re.search(r"(fitting|rounding) 0:\d\d  [━─]+ +\d+ %  -?\d+\.\d dB  0:\d\d left", seen)
    assert "steps/s" not in intfit("encode", picture, *FAST, "-f", env={"FORCE_COLOR": "1"}).err
    assert on_terminal("encode", picture, *FAST, "-f", "--quiet") == ""


def test_on_a_terminal_lines_are_broken_between_their_parts(intfit, picture, on_terminal):
    seen = on_terminal("encode", picture, "-e", 1)
    plain = intfit("encode", picture, "-e", 1, "-f").err
    assert plain.count("\n") == 1 + plain.count("note:")
    first, second, *_ = seen[seen.index(f"{picture} →") :].splitlines()
    assert len(first) <= 80 < len(plain.splitlines()[0])
    assert second.startswith("    ")
    path = "a/" * 50
    assert fold(f"  note: not {path} but b", 40).splitlines() == [
        "  note: not",
        f"    {path}",
        "    but b",
    ]
    assert fold("one two  three four  five", 20) == "one two  three four\n    five"


#: The program, which says when it has begun to train.
TELLING = """
import sys
import tempfile
from intfit.__main__ import main
from intfit.training import step as steps

step = steps.train_step

def tell(*args, **options):
    print("training", file=sys.stderr, flush=True)
    steps.train_step = step
    return step(*args, **options)

steps.train_step = tell
main()
"""


def test_an_interrupt_leaves_nothing_behind_and_reads_as_130_in_a_shell(picture):
    command = [
        sys.executable,
        "-c",
        TELLING,
        "encode",
        str(picture),
        "--field",
        "siren",
        "--steps",
        "1000000",
    ]

    def listen() -> None:  # a job that a shell runs in the background ignores interrupts
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=listen) as child:
        assert child.stderr is not None
        try:
            assert child.stderr.readline() == b"training\n"
            child.send_signal(signal.SIGINT)
            _, rest = child.communicate(timeout=100)
        finally:
            child.kill()
    # a shell shows death by the signal as 130 too; Python dies of it where one fell into exec()
    assert child.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in rest
    assert [p.name for p in Path().iterdir()] == ["photo.png"]


def test_debug_shows_a_traceback_and_goes_on(intfit, picture):
    run = intfit("encode", "nope.png", picture, *FAST, "--debug")
    assert run.code == 1
    assert run.err.count("Traceback") == 1
    assert "typer" not in run.err
    assert Path("photo.png.safetensors").exists()


def test_selection_maps_are_not_overwritten_unless_asked(intfit, picture):
    options = ("--field", "siren", "--steps", 30, "--batch", 512, "--save-selection", "maps", "-o")
    assert intfit("encode", picture, *options, "one").code == 0
    again = intfit("encode", picture, *options, "two")
    assert again.code == 1
    assert "-f overwrites" in again.err
    assert not Path("two").exists()
    assert intfit("encode", picture, *options, "two", "-f").code == 0


def test_an_explicit_device_that_is_missing_is_an_error(intfit, picture):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    run = intfit("encode", picture, "--device", "cuda")
    assert run.code == 1
    assert "auto" in run.err
    by_environment = intfit("encode", picture, env={"INTFIT_DEVICE": "cuda"})
    assert by_environment.code == 1


def test_a_call_of_the_library_leaves_the_threads_of_the_process_as_they_are(picture):
    torch.set_num_threads(2)
    settings = intfit_api.Settings(field="siren", steps=3, threads=1, device="cpu")
    encoded = intfit_api.encode(picture.read_bytes(), settings)
    field = intfit_api.load(encoded.data, device="cpu", threads=1)
    field(np.zeros((4, 2), np.float32))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("field", "width", "expected"), [("siren", 16, 1), ("siren", 256, 2), ("latent", None, 1)]
)
def test_the_threads_of_a_fit_follow_from_its_sizes_not_from_the_cores(field, width, expected):
    settings = intfit_api.Settings(
        field=field, width=width, depth=2, batch=2048, steps=1, device="cpu"
    )
    if field == "latent":
        settings = intfit_api.Settings(field=field, steps=1, device="cpu")
    seen = []
    hooks = Hooks(fit_begins=lambda prepared: seen.append(torch.get_num_threads()))
    for cores in (1, 4):
        torch.set_num_threads(cores)
        intfit_api.encode(png(photo()), settings, hooks=hooks)
    assert seen == [expected, expected]


def test_a_call_of_the_library_leaves_the_allocator_of_the_process_as_it_is(picture, monkeypatch):
    def refuse(name: object) -> None:
        raise AssertionError(f"{name} loaded: for mallopt?")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    settings = intfit_api.Settings(field="siren", steps=3, device="cpu")
    intfit_api.load(intfit_api.encode(picture.read_bytes(), settings).data, device="cpu")
