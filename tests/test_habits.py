"""What people expect of a command line: folders, checks of files, completion, messages."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from conftest import photo, tone
from rich.cells import cell_len

import intfit as library
from intfit.cli import app, report
from intfit.cli.bench import tables
from intfit.jobs import forecast
from intfit.training import loop

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
FAST = ("-e", "1", "-q", "20")


# --- folders -------------------------------------------------------------------------------------


@pytest.fixture
def tree() -> None:
    """``in``, a folder with pictures and other files in it and below it."""
    for name in ("in/b.png", "in/deep/a.PNG", "in/deep/c.jpg", "in/.hidden/d.png", "in/.e.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        photo(9, 7).save(name)
    for name in ("in/notes.txt", "in/old.png.safetensors"):
        Path(name).write_text("nothing")
    Path("in/loop").symlink_to("..")


def test_the_media_in_a_folder_are_encoded_in_order(intfit, tree):
    run = intfit("encode", "-r", "in", "--output-dir", "out", "--json", *FAST)
    assert run.code == 0, run.err
    names = [json.loads(line)["input"] for line in run.out.splitlines()]
    assert names == ["in/b.png", "in/deep/a.PNG", "in/deep/c.jpg"]
    assert Path("out/in/deep/c.jpg.safetensors").is_file()


def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_encoded(intfit, tree, monkeypatch):
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    run = intfit("encode", "-r", "in", "--output-dir", "out", *FAST)
    assert run.code == 1
    assert "in/deep: cannot be read: Permission denied" in run.err
    assert Path("out/in/b.png.safetensors").is_file()


def test_files_of_a_folder_are_chosen_by_their_names(intfit, tree):
    run = intfit("encode", "-r", "in", "in/b.png", "--include", "*.png", "--json", *FAST)
    names = [json.loads(line)["input"] for line in run.out.splitlines()]
    assert names == ["in/b.png", "in/deep/a.PNG"]  # each once
    for arguments, words in (
        (("-r", "in", "--include", "*.bmp"), "has no files named *.bmp"),
        (("in/b.png", "--include", "*.png"), "give --recursive"),
    ):
        run = intfit("encode", *arguments)
        assert run.code == 2
        assert words in run.err
    run = intfit("encode", "in")
    assert run.code == 1
    assert "--recursive" in run.err


# --- a file is whole -----------------------------------------------------------------------------


def test_files_are_tested_without_their_originals(intfit):
    names = ("latent", "correction", "bank", "image", "audio", "mesh")
    for name in names:
        shutil.copy(GOLDEN / f"{name}.safetensors", ".")
    files = [f"{name}.safetensors" for name in names]
    run = intfit("test", *files)
    assert run.code == 0, run.err
    assert [line.split(":")[0] for line in run.out.splitlines()] == files
    whole = Path("latent.safetensors").read_bytes()
    for damaged, words in (
        (whole[:-1], "truncated"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "checksum"),
        (b"nothing", "not an intfit file"),
    ):
        Path("bad.safetensors").write_bytes(damaged)
        run = intfit("test", "bad.safetensors", "image.safetensors", "--json")
        assert run.code == 1
        first, second = map(json.loads, run.out.splitlines())
        assert words in first["error"]
        assert (first["ok"], second["ok"], second["bytes"]) == (False, True, 724)
    assert intfit("test", "-", stdin=whole).out.startswith("-: ok, image")
    assert intfit("info", "-", stdin=whole).out.startswith("-  ")
    assert intfit("test", *files, "--quiet").out == ""


# --- what is in a file ---------------------------------------------------------------------------


def test_info_is_in_plain_words_and_counts_weights_apart_from_latents(intfit):
    told = {}
    for name in ("latent", "correction", "bank", "image"):
        file = GOLDEN / f"{name}.safetensors"
        found = json.loads(intfit("info", file, "--json").out)
        told[name] = found["parameters"], found["latents"]
    assert told == {
        "latent": (0, 9045), "correction": (371, 90000), "bank": (0, 15360), "image": (643, 0),
    }  # fmt: skip
    page = intfit("info", "-v", GOLDEN / "correction.safetensors").out
    for words in (
        "200 x 150 pixels", "2.19 bits a pixel", "PSNR 34.2 dB", "371 weights",
        "drawn in proportion to their error", "intfit export", "levels 7452 B",
    ):  # fmt: skip
        assert words in page, words
    made = library.encode(tone(), library.Settings(effort=1), rate=8000)
    assert made.parameters == 0


# --- forecasts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-e", "1"), ("--field", "siren", "--steps", "60")])
def test_a_dry_run_forecasts_bytes_and_time(intfit, options, monkeypatch):
    photo(200, 160).save("a.png")
    soundfile.write("b.wav", tone(seconds=2), 8000)
    monkeypatch.setattr(forecast, "PART_PIXELS", 100**2)
    monkeypatch.setattr(forecast, "PART_SAMPLES", 8000)
    told = intfit("encode", "a.png", "b.wav", *options, "--dry-run", "--json")
    assert told.code == 0, told.err
    assert "in about" in told.err
    assert not list(Path().glob("*.safetensors"))
    made = intfit("encode", "a.png", "b.wav", *options, "--json")
    for before, after in zip(told.out.splitlines(), made.out.splitlines(), strict=True):
        foretold, found = json.loads(before), json.loads(after)
        assert 0.25 < foretold["bytes_out"] / found["bytes_out"] < 4
        assert foretold["seconds"] > 0


def test_what_a_search_will_take_is_not_known(intfit, picture):
    run = intfit("encode", picture, "--field", "siren", "--target-psnr", "30", "--dry-run")
    assert "bytes as the goal needs" in run.err
    run = intfit("encode", picture, "--target-size", "900", "--dry-run")
    assert "about 900 B" in run.err


# --- messages ------------------------------------------------------------------------------------


def test_an_output_named_like_a_medium_is_refused(intfit, picture):
    run = intfit("encode", picture, "-o", "small.jpg")
    assert run.code == 2
    assert "-o small.jpg.safetensors" in run.err
    assert not Path("small.jpg").exists()
    assert intfit("encode", picture, "-o", "plain", *FAST).code == 0


def test_errors_say_what_to_type(intfit, picture):
    Path("folder").mkdir()
    Path("-dash.png").write_bytes(picture.read_bytes())
    shutil.copy(GOLDEN / "latent.safetensors", "a.safetensors")
    for arguments, words in (
        ("encode phot.png", "did you mean 'photo.png'?"),
        ("encode kB", "--target-size 20kB"),
        ("encode https://example.com/a.png", "curl -s URL | intfit encode -"),
        ("encode -dash.png", "./-dash.png"),
        ("verify a.safetensors", "intfit verify a.safetensors --against ORIGINAL"),
        ("verify a.safetensors b.png --against c.png", "two originals"),
        ("verify a.safetensors phot.png", "did you mean 'photo.png'?"),
        ("view a.safetensors --against photo.pgn", "did you mean 'photo.png'?"),
        ("export a.safetensors -o a.pt", "-o a.pt.safetensors"),
        ("encode photo.png -o .", "-o NAME"),
        ("view a.safetensors -o a.safetensors -f", "a file to show"),
        ("view aa.safetensors -o b.html", "did you mean 'a.safetensors'?"),
        ("info folder", "a folder, not a file"),
        ("decode folder", "name the files in it"),
        ("encode photo.png -o folder/", "is a folder"),
        ("encode photo.png -o new.png/", "is a folder"),
        ("view a.safetensors -o new/", "is a folder"),
        ("encode photo.png --kind audio", "not a recording that can be read"),
        ("encode photo.png --target-size 9 -o b.safetensors -e 1", "is the smallest possible"),
        ("decode a.safetensors --scale 1e6 -o b.png", "a smaller --scale"),
        ("verify - --against -", "either the file or its original"),
    ):
        run = intfit(*arguments.split())
        assert run.code, arguments
        assert words in run.err, (arguments, run.err)
    run = intfit("info", "unlike.safetensors")
    assert run.err == "intfit: unlike.safetensors: No such file or directory\n"
    assert library.load("a.safetensors").kind == "image"


def test_shells_of_windows_leave_patterns_to_us(intfit, picture, monkeypatch):
    for name in ("b.png", "a.png", "[1].png"):
        shutil.copy(picture, name)
    monkeypatch.setattr(sys, "platform", "win32")
    run = intfit("encode", "?.png", "[1].png", "*.jpg", "--json", "--dry-run", "-e", "1")
    names = [json.loads(line)["input"] for line in run.out.splitlines()]
    assert names == ["a.png", "b.png", "[1].png", "*.jpg"]


def test_nothing_is_needed_that_windows_lacks(picture):
    code = """if True:
        import os, signal, sys
        for name in ("fcntl", "resource", "termios", "pwd", "grp", "pty"):
            sys.modules[name] = None
        del os.sched_getaffinity, os.fork, signal.pthread_sigmask, signal.SIGHUP
        from intfit.__main__ import main
        for words in (
            "encode photo.png --field siren --steps 5 -o a.safetensors",
            "decode a.safetensors -o a.png",
            "view a.safetensors -o a.html",
        ):
            sys.argv = ["intfit", *words.split()]
            try:
                main()
            except SystemExit as end:
                assert not end.code, words
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert Path("a.html").exists()


def test_an_interrupt_says_how_many_were_written(picture):
    for name in "abc":
        shutil.copy(picture, f"{name}.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def listen() -> None:  # a job that a shell runs in the background ignores interrupts
        signal.signal(signal.SIGINT, signal.default_int_handler)

    child = subprocess.Popen(
        [sys.executable, "-m", "intfit", "encode", "a.png", "b.png", "c.png", "--field", "siren",
         "--max-time", "2"],
        stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=listen,
    )  # fmt: skip
    first = Path("a.png.safetensors")
    deadline = time.monotonic() + 90
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.splitlines()[-1] == "intfit: interrupted: 1 of 3 written"


# --- progress ------------------------------------------------------------------------------------


def test_a_display_fits_any_width_and_its_clock_moves_while_nothing_is_told(monkeypatch):
    now = 100.0
    monkeypatch.setattr(report.time, "monotonic", lambda: now)
    display = report.Display(total=12, several=True, height=lambda: 5)
    display.begin(0, "a-picture-with-a-long-name-of-2026.png")
    display.begin(1, "b.png")
    assert [line.split("  ")[1] for line in display.lines(80)[1:]] == ["reading 0:00"] * 2
    display.enter(0, "fitting")
    display.update(0, 0.37, ("31.4 dB", "1:05 left", "450 steps/s", "ratio 0.20"))
    display.enter(1, "coding")
    now += 7
    wide, eighty, fifty = (display.lines(width) for width in (120, 80, 50))
    assert wide[0].startswith("0 of 12 files  0:07")
    assert wide[1].endswith("37 %  31.4 dB  1:05 left  450 steps/s  ratio 0.20")
    assert "fitting 0:07" in fifty[1]
    assert fifty[1].endswith("37 %  31.4 dB")
    assert eighty[2] == "2/12 b.png  coding 0:07"
    for width in range(20, 200):
        assert all(len(line) <= width for line in display.lines(width))
    display.enter(0, "rounding")
    assert "37 %" in display.lines(80)[1]  # of the same fit
    display.enter(0, "coding")
    assert "%" not in display.lines(80)[1]
    for position in range(2, 9):
        display.begin(position, f"{position}.png")
    assert len(display.lines(80)) == 3  # of five lines, one is the shell's and one is spare
    display.end(0)
    assert display.lines(80)[0].startswith("1 of 12 files")


def test_a_display_leaves_room_for_letters_of_two_columns():
    display = report.Display(total=1, several=False, height=lambda: 5)
    display.begin(0, "漢字" * 30 + ".png")
    for width in range(30, 200):
        (line,) = display.lines(width)
        assert cell_len(line) <= width
        assert line.endswith("字.png  reading 0:00")


def test_encoding_and_decoding_show_their_stages(monkeypatch):
    told = []
    monkeypatch.setattr(report.Display, "enter", lambda self, at, stage: told.append(stage))
    run_on_terminal(monkeypatch, "decode", GOLDEN / "latent.safetensors", "-o", "a.png")
    assert told == ["decoding", "rendering"]
    told.clear()
    photo().save("b.png")
    run_on_terminal(monkeypatch, "encode", "b.png", "-e", "1", "-o", "c")
    assert told == ["transform", "coding"]
    told.clear()
    run_on_terminal(monkeypatch, "encode", "b.png", "--field", "siren", "--steps", "40")
    assert list(dict.fromkeys(told)) == ["fitting", "rounding", "coding"]


def test_other_commands_show_their_stages_too(monkeypatch, picture, tmp_path):
    told = []
    monkeypatch.setattr(report.Display, "enter", lambda self, at, stage: told.append((at, stage)))
    latent = GOLDEN / "latent.safetensors"
    library.decode(latent, path="a.png")
    run_on_terminal(monkeypatch, "verify", latent, "--against", "a.png")
    assert told == [(0, "decoding"), (0, "rendering"), (0, "comparing")]
    told.clear()
    run_on_terminal(monkeypatch, "view", latent, GOLDEN / "image.safetensors", "-o", "a.html")
    assert told == [(0, "decoding"), (0, "page"), (1, "decoding"), (1, "page")]
    told.clear()
    run_on_terminal(monkeypatch, "test", latent)
    run_on_terminal(monkeypatch, "bench", "rd", picture, "--against", "jpeg", "-e", "1",
                    "--qualities", "20", "--cache", tmp_path / "cache")  # fmt: skip
    assert told[:3] == [(0, "decoding"), (0, "intfit at 20"), (0, "jpeg at 2")]
    told.clear()
    run_on_terminal(monkeypatch, "bench", "teachers", picture, "--teachers", "uniform", "--steps",
                    "5", "--width", "8", "--depth", "2")  # fmt: skip
    assert set(told) == {(0, "uniform, seed 0")}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_what_goes_to_standard_output_is_not_shown_on_the_terminal_instead(picture):
    import pty

    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, "-m", "intfit", "encode", picture, *FAST, "--json"]
    made = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=follower, env=environment, check=True
    )
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert json.loads(made.stdout)["ok"] is True
    assert "photo.png.safetensors" in shown
    assert '"ok"' not in shown


def run_on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run the command line as on a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        stream = io.StringIO()
        stream.isatty = lambda: True
        patch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments])
    assert not ended.value.code, stream.getvalue()


# --- completion ----------------------------------------------------------------------------------


def complete(*words: str) -> list[str]:
    """What the shell is told to offer for the last of the words of a command."""
    environment = os.environ | {
        "_INTFIT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "PYTHONPATH": str(ROOT),
    }
    code = "import sys; sys.argv[0] = 'intfit'; from intfit.__main__ import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return run.stdout.split()


def test_the_shell_completes_commands_options_and_choices_and_leaves_files_to_itself():
    assert {"encode", "decode", "view", "test"} <= set(complete("intfit", ""))
    assert complete("intfit", "enc") == ["encode"]
    assert complete("intfit", "encode", "--teacher", "") == [
        "full",
        "uniform",
        "int",
        "evos",
        "nint",
    ]
    assert "--target-size" in complete("intfit", "encode", "--targ")
    assert complete("intfit", "encode", "ph") == []  # so that bash, by -o default, offers files
    environment = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "PYTHONPATH": str(ROOT)}
    code = "from intfit.cli import app; app(['--show-completion', 'bash'], prog_name='intfit')"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True,
        check=False,
    ).stdout  # fmt: skip
    assert "complete -o default -F _intfit_completion intfit" in shown


# --- tables --------------------------------------------------------------------------------------


def test_tables_of_benches_are_in_columns_or_in_markdown(capsys, intfit, picture):
    rows = [["teacher", "dB"], ["a|b", "9.5"], ["uniform", "31.25"]]
    tables.print_table(rows)
    assert capsys.readouterr().out == "  teacher     dB\n  a|b        9.5\n  uniform  31.25\n"
    run = intfit("bench", "teachers", picture, "--teachers", "uniform", "--steps", "5", "--width",
                 "8", "--depth", "2", "--markdown")  # fmt: skip
    assert run.code == 0, run.err
    head, line, row = run.out.strip().splitlines()[-3:]
    assert head.startswith("| teacher | PSNR, dB | steps |")
    assert line == "|---|" + "---:|" * (head.count("|") - 2)
    assert row.startswith("| uniform |")
    assert row.count("|") == head.count("|")
    run = intfit("bench", "rd", picture, "--against", "jpeg", "-e", "1", "--qualities", "20,80",
                 "--cache", "cache", "--markdown")  # fmt: skip
    assert run.code == 0, run.err
    blocks = [block.splitlines() for block in run.out.strip().split("\n\n")]
    assert blocks[0] == ["photo.png"]
    for block, first in zip(
        blocks[1:], ("| codec | setting | bytes | bpp", "| BD-rate"), strict=True
    ):
        assert block[0].startswith(first)
        assert {line.count("|") for line in block} == {block[0].count("|")}


def test_a_dry_run_of_a_picture_for_the_eye_forecasts_its_refinement(intfit, monkeypatch):
    monkeypatch.setattr(forecast, "REFINEMENT_SECONDS", 1e-3)
    photo(200, 160).save("a.png")
    told = {e: intfit("encode", "a.png", "-e", e, "--dry-run", "--json") for e in (2, 5)}
    assert "refined in 24 steps" in told[5].err
    assert "refined" not in told[2].err
    plain, refined = (json.loads(run.out)["seconds"] for run in told.values())
    assert refined - plain > 0.9 * 24 * 200 * 160 * 1e-3 > plain
