"""Many files at once: worker processes, and a Ray cluster."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import photo

#: A fit of this many seconds.
LASTING = ("--field", "siren", "--max-time")


@pytest.fixture
def pictures() -> list[str]:
    """Three different pictures in the working folder."""
    names = ["a.png", "b.png", "c.png"]
    for width, name in enumerate(names, start=40):
        photo(width).save(name)
    return names


def processes(ancestor: int, marked: str) -> list[int]:
    """The processes under ``ancestor`` that have ``marked`` in their command line."""
    columns = ("-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "args=")
    listed = subprocess.run(["ps", "-axww", *columns], capture_output=True, check=True)
    rows = [line.split(None, 3) for line in listed.stdout.decode(errors="replace").splitlines()]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}

    def under(pid: int) -> bool:
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor

    return [
        int(row[0])
        for row in rows
        if len(row) == 4 and marked in row[3] and "Z" not in row[2] and under(int(row[0]))
    ]


def wait_for_fit(child: "subprocess.Popen[str]") -> None:
    """Read what a verbose ``child`` says until it has told the plan of the first file's fit."""
    assert child.stderr is not None
    while "SIREN" not in (line := child.stderr.readline()):
        assert line, "it has ended"


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command line in a process group of its own, as a terminal does."""
    children = []

    def start(*args: str) -> "subprocess.Popen[str]":
        def listen() -> None:  # a job that a shell runs in the background ignores interrupts
            signal.signal(signal.SIGINT, signal.default_int_handler)

        command = [sys.executable, "-m", "intfit", *args]
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, preexec_fn=listen, start_new_session=True
        )
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
            child.communicate()


def test_files_come_out_the_same_and_in_order_however_many_at_once(intfit, pictures):
    Path("bad.png").write_bytes(b"no picture")
    inputs = ["missing.png", pictures[0], "bad.png", *pictures[1:]]
    options = ("--field", "siren", "--steps", 20, "--threads", 1, "--json", "-v")
    runs = [intfit("encode", *inputs, *options, "-j", n, "--output-dir", f"{n}") for n in (1, 2)]
    times = re.compile(r'"seconds": [\d.]+|\d+(\.\d)? s(?=  )')
    (code, out, err), (code_2, out_2, err_2) = (
        (run.code, times.sub("", run.out), times.sub("", run.err)) for run in runs
    )
    assert (code, code_2) == (1, 1)
    assert out == out_2.replace('"2/', '"1/')
    assert err == err_2.replace("→ 2/", "→ 1/")
    assert [json.loads(line)["input"] for line in runs[1].out.splitlines()] == inputs
    for name in pictures:
        one, two = (Path(n, name + ".safetensors").read_bytes() for n in ("1", "2"))
        assert one == two


def test_decoding_takes_jobs_too_and_their_parent_never_loads_torch(intfit, pictures):
    assert intfit("encode", *pictures).code == 0
    code = (
        "import sys; from intfit.cli import app\n"
        "if __name__ == '__main__':\n"
        "    try: app(sys.argv[1:])\n"
        "    except SystemExit as end: assert not end.code\n"
        "    assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    Path("parent.py").write_text(code)
    files, options = [f"{name}.safetensors" for name in pictures], ("-j", "2", "--format", "png")
    subprocess.run([sys.executable, "parent.py", "decode", *files, *options], check=True)
    assert all(Path(name).with_suffix(".decoded.png").exists() for name in pictures)


@pytest.mark.parametrize("number", ["0", "-1", "two", "1025"])
def test_a_number_of_jobs_that_is_none_is_misuse(intfit, pictures, number):
    run = intfit("encode", *pictures, "--jobs", number)
    assert run.code == 2
    assert "--jobs" in run.err


def test_a_failure_stops_what_has_not_begun_if_asked(intfit, pictures):
    run = intfit("encode", "missing.png", *pictures, "-j", 2, "--fail-fast", "--json")
    assert run.code == 1
    assert len(run.out.splitlines()) == 1
    assert not list(Path().glob("*.safetensors"))


@pytest.fixture
def workers(monkeypatch) -> Iterator[Callable[[int], list[int]]]:
    """Waits for so many worker processes to have started; their identifiers.

    Python imports ``sitecustomize`` when it starts: here one that tells of workers, through a pipe.
    """
    Path("start").mkdir()
    pipe = Path("start", "pipe").absolute()
    os.mkfifo(pipe)
    Path("start", "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '--multiprocessing-fork' in sys.argv:\n"
        f"    with open({str(pipe)!r}, 'w') as pipe: pipe.write(f'{{os.getpid()}}\\n')\n"
    )
    path = [str(Path("start").absolute()), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    with os.fdopen(os.open(pipe, os.O_RDWR)) as told:  # open to write, too: it never ends
        yield lambda count: [int(told.readline()) for _ in range(count)]
    shutil.rmtree("start")


def test_a_worker_that_is_killed_is_replaced(workers, started, pictures):
    child = started("encode", *pictures, "-j", "2", *LASTING, "1")
    os.kill(workers(1)[0], signal.SIGKILL)
    _, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    assert err.count("trying once more") == 1
    assert sorted(Path().glob("*.*")) == sorted(
        Path(name + end) for name in pictures for end in ("", ".safetensors")
    )


def test_an_interrupt_ends_the_workers_and_leaves_nothing(workers, started, pictures):
    child = started("encode", *pictures, "-j", "2", *LASTING, "600")
    workers(2)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    out, err = child.communicate(timeout=100)  # workers hold these for as long as they live
    assert child.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert sorted(Path().glob("*.*")) == [Path(name) for name in pictures]


def test_workers_end_with_their_parent(workers, started, pictures):
    child = started("encode", *pictures, "-j", "2", *LASTING, "600")
    workers(2)
    child.kill()
    child.communicate(timeout=100)  # they hold its standard error for as long as they live


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A Ray cluster of this machine alone: the process that holds it, and its address."""
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("ray") / "log"
    options = ("--head", "--block", "--num-cpus=2", "--include-dashboard=false", f"--port={port}",
               "--disable-usage-stats", "--object-store-memory=100000000")  # fmt: skip
    with log.open("wb") as told:
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *options],
            stdout=told, stderr=told,
            # 15 would starve on a busy machine; a GPU is for tests that say so
            env=os.environ | {"RAY_worker_niceness": "0", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        try:
            for _ in range(300):
                with socket.socket() as door:
                    if b"Ray runtime started" in log.read_bytes() and not door.connect_ex(
                        ("127.0.0.1", port)
                    ):
                        break
                assert head.poll() is None, log.read_text()
                time.sleep(0.2)
            yield head.pid, f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait(timeout=60)


@pytest.mark.cluster
def test_a_cluster_that_loses_a_worker_loses_no_file(cluster, started, pictures):
    head, address = cluster
    child = started(
        "encode", *pictures, "nope.png", "--cluster", address, *LASTING, "1.5", "--json", "-v"
    )
    wait_for_fit(child)
    os.kill(processes(head, "ray::stream")[0], signal.SIGKILL)
    out, err = child.communicate(timeout=100)
    assert child.returncode == 1, err
    assert err.count("trying once more") == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["input"] for line in lines] == [*pictures, "nope.png"]
    assert [line["ok"] for line in lines] == [True, True, True, False]
    assert sorted(Path().iterdir()) == sorted(
        Path(name + end) for name in pictures for end in ("", ".safetensors")
    )


@pytest.mark.cluster
def test_an_interrupt_ends_what_runs_on_a_cluster(cluster, started, pictures):
    head, address = cluster
    child = started("encode", *pictures, "--cluster", address, *LASTING, "600", "-v")
    wait_for_fit(child)
    assert processes(head, "ray::stream")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=100)
    assert child.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
    end = time.monotonic() + 100
    while processes(head, "ray::stream"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert sorted(Path().iterdir()) == [Path(name) for name in pictures]


@pytest.mark.parametrize(("address", "code"), [("127.0.0.1:1", 1), ("ray://x:1", 2), ("here", 2)])
def test_a_cluster_that_is_not_there_is_named(intfit, pictures, address, code):
    run = intfit("encode", *pictures, "--cluster", address)
    assert run.code == code, run.err
    assert address in run.err
    assert len(run.err.splitlines()) == 1


def test_ray_that_is_missing_is_asked_for(intfit, pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    run = intfit("encode", *pictures, "--cluster", "auto")
    assert run.code == 2
    assert "pip install 'intfit[ray]'" in run.err
