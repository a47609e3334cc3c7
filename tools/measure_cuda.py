"""Measure how full intfit keeps a CUDA device, in under five minutes, as one Markdown table.

    python tools/measure_cuda.py --picture kodim04.png --surface bunny.obj > table.md

Start-up, a step by shape and batch, many files, many networks at once, decoding larger than the
original, the time to a quality, and memory; beside each figure what it is compared with in the same
run, since devices differ. A part that takes longer than its limit is ended, and the others go on.
Results are kept in ``--results``: started again, only the parts missing there are measured. Without
files, synthetic media of the sizes of kodim04 and the bunny stand in for them.

``--smoke`` does all of it in tiny, on the CPU, to show that it works.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from intfit.api import encode, prepare
from intfit.bench.synthetic import make_picture, make_surface
from intfit.codecs.siren.fitting import start_training
from intfit.devices import wait_for
from intfit.settings import OptimizerName, Settings
from intfit.training.gradients.autograd import float32_precision
from intfit.training.optimizers.orthogonal import orthogonalise
from intfit.training.optimizers.preconditioned import REFRESH_STEPS
from intfit.training.session import train, train_stepwise
from intfit.training.together import JointTraining, finish_together


@dataclass(frozen=True)
class Row:
    """A line of the table: ``what`` took ``ours``, and ``theirs`` for comparison.

    ``better`` is how many times better the first is than the second; None without a comparison.
    """

    what: str
    ours: str
    theirs: str = ""
    better: float | None = None


@dataclass(frozen=True)
class Sizes:
    """What is measured; tiny ones for a test."""

    device: str
    picture: tuple[int, int]  # width, height
    small: int  # pixels a side of the pictures of many files
    shapes: tuple[tuple[int, int, int], ...]  # width, depth, batch; 0: all examples
    many: tuple[int, int, int]  # of the networks that are trained at once
    steps: int  # of a fit whose steps are timed
    files: int
    fit: int  # steps of a fit of many files, and of one that is decoded
    scale: int
    resolution: int
    author: tuple[int, int]  # width and depth of the network that a quality is reached with
    target: float  # dB
    caps: tuple[int, int, int]  # the most steps there: default, full batch, INT top
    seconds: float  # that a plain loop is timed for


# fmt: off
FULL = Sizes(
    device="cuda", picture=(512, 768), small=128,
    shapes=(
        (32, 6, 2048), (64, 6, 2048), (64, 6, 16384), (128, 5, 8192),
        (256, 5, 2048), (256, 5, 16384), (256, 5, 0),
    ),
    many=(64, 6, 2048),
    steps=300, files=64, fit=300, scale=4, resolution=512,
    author=(256, 5), target=35.0, caps=(10_000, 1200, 1200), seconds=0.5,
)
SMOKE = Sizes(
    device="cpu", picture=(24, 16), small=12, shapes=((8, 2, 64), (8, 2, 0)),
    many=(8, 2, 64),
    steps=3, files=2, fit=6, scale=2, resolution=16,
    author=(8, 2), target=17.0, caps=(100, 100, 100), seconds=0.01,
)
# fmt: on


@dataclass(frozen=True)
class Job:
    """What a part works on: sizes, a folder of its own, and the media."""

    sizes: Sizes
    folder: Path
    picture: bytes
    surface: Path

    def run(self, *arguments: object, env: dict[str, str] | None = None) -> float:
        """Run an intfit command; the seconds of wall time that it took."""
        command = [*map(str, arguments), "--device", self.sizes.device]
        began = time.perf_counter()
        if self.sizes is SMOKE:
            from intfit.cli import app

            app(command, standalone_mode=False)
        else:
            program = [sys.executable, "-W", "error:slower", "-m", "intfit"]
            environment = os.environ | (env or {})
            done = subprocess.run(
                [*program, *command], env=environment, capture_output=True, text=True
            )
            if done.returncode:
                raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
        return time.perf_counter() - began


def measure_start(job: Job) -> list[Row]:
    """A command that fits briefly, kernels compiled anew and cached, and what it consists of."""
    picture = write(job.folder / "start.png", job.picture)
    fitted, fit = job.folder / "start.safetensors", ("--field", "siren", "--steps", job.sizes.fit)
    command = ("encode", picture, "-o", fitted, "-f", *fit)
    cached = {"TRITON_CACHE_DIR": str(job.folder / "triton")}
    cold = job.run(*command, "--quiet", env=cached)
    warm = job.run(*command, "--quiet", env=cached)
    rows = [
        Row("a short fit, kernels compiled for the first time", f"{cold:.1f} s"),
        Row("the same, kernels cached", f"{warm:.1f} s"),
    ]
    if job.sizes is SMOKE:
        return rows
    script = f"""
import sys, time, warnings
from pathlib import Path
warnings.filterwarnings("error", "slower")
def lap(what, began=[time.perf_counter()]):
    now = time.perf_counter()
    print(f"{{what}}\\t{{now - began[0]:.2f}}")
    began[0] = now
import torch; lap("importing torch")
torch.zeros(1, device="cuda"); lap("the CUDA context")
import triton; lap("importing Triton")
from intfit.api import encode, prepare
from intfit.codecs.siren.fitting import start_training
from intfit.training.session import train
from intfit.settings import Settings
lap("importing intfit")
settings = Settings(field="siren", steps={job.sizes.fit}, profile="open", device="cuda")
data = Path({str(picture)!r}).read_bytes()
prepared = prepare(data, settings); session = start_training(prepared); lap("reading the picture")
train(session, prepared.plan); lap("a first fit, cached kernels loaded and the graph recorded")
session = start_training(prepared); train(session, prepared.plan); lap("a second fit")
encode(data, settings); lap("a third, measured and written")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env=os.environ | cached,
        stdout=subprocess.PIPE,
        text=True,
    )
    laps = [line.split("\t") for line in done.stdout.splitlines()]
    return rows + [Row(f"of which: {what}", f"{seconds} s") for what, seconds in laps]


def measure_steps(job: Job) -> list[Row]:
    """A step of a fit, averaged over it, and one of a plain PyTorch loop; memory at its highest."""
    rows = []
    for width, depth, batch in job.sizes.shapes:
        settings = Settings(
            field="siren", width=width, depth=depth, profile="open", device=job.sizes.device,
            **({"batch": batch} if batch else {"teacher": "full"}),
        )  # fmt: skip
        few, many = (time_fit(job.picture, settings, n * job.sizes.steps) for n in (1, 3))
        step = 1000 * (many[0] - few[0]) / (2 * job.sizes.steps)
        pixels = job.sizes.picture[0] * job.sizes.picture[1]
        plain = [
            time_plain_step(job.sizes, width, depth, batch or pixels, precision)
            for precision in ("ieee", "tf32")
        ]
        rows.append(
            Row(
                f"a step, {width} x {depth}, batch {batch or 'full'} ({many[1]:.0f} MB)",
                f"{step:.3f} ms",
                f"plain loop {plain[0]:.2f} ms, in TF32 {plain[1]:.2f}",
                min(plain) / step,
            )
        )
    return rows


def time_fit(picture: bytes, settings: Settings, steps: int) -> tuple[float, float]:
    """The seconds that the steps of a fit take, and the device's megabytes at their highest."""
    prepared = prepare(picture, replace(settings, steps=steps))
    session = start_training(prepared)
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = train(session, prepared.plan).seconds
    peak = torch.cuda.max_memory_allocated() if settings.device == "cuda" else 0
    return seconds, peak / 1e6


def time_plain_step(sizes: Sizes, width: int, depth: int, batch: int, precision: str) -> float:
    """Milliseconds of a step of nn.Linear, sines, autograd, PyTorch's Adam and uniform draws."""
    device, (columns, rows) = torch.device(sizes.device), sizes.picture

    class Sine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(30 * x)

    layers: list[nn.Module] = []
    for layer in range(depth):
        layers += [nn.Linear(width if layer else 2, width), Sine()]
    network = nn.Sequential(*layers, nn.Linear(width, 3)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
    coords = torch.rand(rows * columns, 2, device=device) * 2 - 1
    targets = torch.rand(rows * columns, 3, device=device) * 2 - 1

    def step() -> None:
        x, y = coords, targets
        if batch < len(coords):
            indices = torch.randint(len(coords), (batch,), device=device)
            x, y = coords[indices], targets[indices]
        loss = (network(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def timed(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    with float32_precision("tf32" if precision == "tf32" else "ieee"):
        timed(3)
        count = max(3, int(sizes.seconds / max(timed(3) / 3, 1e-6)))
        return 1000 * timed(count) / count


def measure_files(job: Job) -> list[Row]:
    """Many small pictures, one after another and as one computation."""
    side, names = job.sizes.small, []
    for number in range(job.sizes.files):
        picture = make_picture(side, side + number % 2)  # of two shapes
        names.append(write(job.folder / f"{number:03d}.png", picture))
    options = (
        *("--width", 64, "--depth", 6, "--steps", job.sizes.fit),
        *("-f", "--quiet", "--output-dir", job.folder / "files"),
    )
    rows = []
    for what, command in (("fit", ("fit",)), ("encode", ("encode", "--field", "siren"))):
        names = names if what == "fit" else names[: max(2, len(names) // 4)]  # it takes longer
        alone, together = (
            job.run(*command, *names, *options, "--jobs", jobs)
            for jobs in (1, 1 if job.sizes is SMOKE else "auto")
        )
        rows.append(
            Row(
                f"{what} {len(names)} pictures of {side} x {side}, --jobs auto",
                f"{len(names) / together:.2f} files a second",
                f"--jobs 1: {len(names) / alone:.2f}",
                alone / together,
            )
        )
    return rows


def measure_networks(job: Job) -> list[Row]:
    """A step of many networks at once, for each of them, and of one by itself; by optimizer."""
    width, depth, batch = job.sizes.many
    settings = Settings(
        field="siren", width=width, depth=depth, batch=batch, profile="open",
        device=job.sizes.device,
    )  # fmt: skip
    picture, rows, steps = make_picture(job.sizes.small, job.sizes.small), [], {}
    for optimizer in ("adam", "soap"):
        for count in (1, job.sizes.files):
            few, many = (
                time_networks(picture, settings, optimizer, count, n * job.sizes.steps)
                for n in (1, 3)
            )
            steps[optimizer, count] = 1000 * (many - few) / (2 * job.sizes.steps * count)
        alone, each = steps[optimizer, 1], steps[optimizer, job.sizes.files]
        rows.append(
            Row(
                f"a step of {job.sizes.files} networks {width} x {depth} by {optimizer}, for each",
                f"{each:.4f} ms",
                f"of one by itself {alone:.3f} ms",
                alone / each,
            )
        )
    for count in (1, job.sizes.files):
        ours, theirs = (
            time_refresh(find, count * (2 * depth - 1), width, job.sizes.device)
            for find in (orthogonalise, torch.linalg.qr)
        )
        share = ours / REFRESH_STEPS / (count * steps["soap", count])
        rows.append(
            Row(
                f"refreshing SOAP's bases of {count} networks: {100 * share:.0f} % of the steps",
                f"{ours:.2f} ms in {REFRESH_STEPS} steps",
                f"torch.linalg.qr {theirs:.2f} ms",
                theirs / ours,
            )
        )
    return rows


def time_networks(
    picture: bytes, settings: Settings, optimizer: OptimizerName, count: int, steps: int
) -> float:
    """The seconds that so many steps of ``count`` networks take."""
    prepared = prepare(picture, replace(settings, steps=steps))
    plan = replace(prepared.plan, optimizer=optimizer)
    sessions = [start_training(replace(prepared, plan=plan)) for _ in range(count)]
    if count == 1:
        return train(sessions[0], plan).seconds
    joint = JointTraining(sessions, plan)
    fits = [train_stepwise(session, plan) for session in joint.sessions]
    ends = finish_together(joint, fits)
    seconds = []
    for end in ends:
        if isinstance(end, Exception):
            raise end
        seconds.append(end.seconds)
    return max(seconds)


def time_refresh(
    find: Callable[[torch.Tensor], object], count: int, width: int, device: str
) -> float:
    """Milliseconds that ``find`` takes for ``count`` matrices ``[width, width]``."""
    matrices = torch.randn(count, width, width, device=device)

    def timed(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            find(matrices)
        wait_for(matrices.device)
        return 1000 * (time.perf_counter() - began) / times

    timed(2)
    return timed(5)


def measure_decoding(job: Job) -> list[Row]:
    """A picture at several times its size, from a SIREN and from latents; a fine surface."""
    picture, rows = write(job.folder / "decoded.png", job.picture), []
    scale, resolution = ("--scale", job.sizes.scale), ("--resolution", job.sizes.resolution)
    fit = ("--field", "siren", "--steps", job.sizes.fit)
    for what, source, how, larger in (
        ("a picture, SIREN", picture, fit, scale),
        ("a picture, latents", picture, ("-e", 2), scale),
        ("a surface", job.surface, fit, resolution),
    ):
        fitted = job.folder / "decoded.safetensors"
        job.run("encode", source, *how, "-o", fitted, "-f", "--quiet")
        suffix = ".ply" if source is job.surface else ".png"
        seconds = job.run(
            "decode", fitted, "-o", job.folder / f"larger{suffix}", "-f", "--quiet", *larger
        )
        rows.append(Row(f"decode {' '.join(map(str, larger))}: {what}", f"{seconds:.1f} s"))
    return rows


def measure_quality(job: Job) -> list[Row]:
    """The time to a quality: the default teacher, the full batch, and INT as published."""
    width, depth = job.sizes.author
    settings = Settings(
        field="siren", width=width, depth=depth, target_psnr=job.sizes.target, profile="open",
        device=job.sizes.device,
    )  # fmt: skip
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("default", {}),
        ("full batch", {"teacher": "full"}),
        ("INT top", {"selection": "top"}),
    )
    found = [
        encode(job.picture, replace(settings, steps=cap, **how))
        for (_, how), cap in zip(kinds, job.sizes.caps, strict=True)
    ]
    rows = []
    for (name, _), result in zip(kinds, found, strict=True):
        reached = result.reached is not None and result.reached >= job.sizes.target
        times = found[1].seconds / result.seconds if reached and name != "full batch" else None
        what = f"{width} x {depth} to {job.sizes.target:g} dB: {name}"
        took = f"{result.seconds:.2f} s, {result.steps} steps, {result.distortion:.2f} dB"
        rows.append(Row(what, took, "" if times is None else "full batch", times))
    return rows


#: The parts, and the seconds that each may take.
PARTS: dict[str, tuple[Callable[[Job], list[Row]], float]] = {
    "start": (measure_start, 45),
    "steps": (measure_steps, 50),
    "files": (measure_files, 70),
    "networks": (measure_networks, 40),
    "decoding": (measure_decoding, 40),
    "quality": (measure_quality, 50),
}


def write(path: Path, data: bytes) -> Path:
    """Write a file, and return its path."""
    path.write_bytes(data)
    return path


def measure_part(name: str, arguments: argparse.Namespace) -> list[Row]:
    """Measure a part here."""
    # a fallback that is slower is a failure: that is what is measured
    warnings.filterwarnings("error", message="slower")
    sizes = SMOKE if arguments.smoke else FULL
    with tempfile.TemporaryDirectory() as folder:
        given = arguments.picture
        picture = Path(given).read_bytes() if given else make_picture(*sizes.picture)
        surface = Path(arguments.surface or write(Path(folder) / "ball.ply", make_surface()))
        return PARTS[name][0](Job(sizes, Path(folder), picture, surface))


def run_part(name: str, given: list[str]) -> tuple[list[Row], bool]:
    """Measure a part in a process of its own, within its limit; and whether that was done."""
    limit = PARTS[name][1]
    command = [sys.executable, __file__, *given, "--part", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return [Row(name, f"not done within {limit:.0f} s")], False
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return [Row(name, f"failed: {last}".replace("|", "/"))], False
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])], True


def format_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | intfit | compared with | times better |", "|---|---|---|---|"]
    for row in rows:
        better = "" if row.better is None else f"{row.better:.1f}"
        lines.append(f"| {row.what} | {row.ours} | {row.theirs} | {better} |")
    return "\n".join(lines)


def main(given: list[str]) -> int:
    """Measure what is missing, and print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", help="a picture of the size of kodim04")
    parser.add_argument("--surface", help="a mesh")
    parser.add_argument("--results", default="measure_cuda.json", help="where results are kept")
    parser.add_argument("--again", action="store_true", help="measure all parts anew")
    parser.add_argument("--smoke", action="store_true", help="in tiny, on the CPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if not arguments.smoke and not torch.cuda.is_available():
        print("no CUDA device here: nothing to measure (--smoke runs on the CPU)", file=sys.stderr)
        return 2
    if arguments.part:
        print(json.dumps([asdict(row) for row in measure_part(arguments.part, arguments)]))
        return 0
    os.environ.pop("TRITON_INTERPRET", None)  # kernels are to be compiled
    kept = Path(arguments.results)
    done = {} if arguments.again or not kept.exists() else json.loads(kept.read_text())
    rows: list[Row] = []
    for name in PARTS:
        if name in done:
            rows += [Row(**row) for row in done[name]]
            continue
        print(f"measuring: {name}", file=sys.stderr)
        own, complete = (
            (measure_part(name, arguments), True) if arguments.smoke else run_part(name, given)
        )
        rows += own
        if complete:
            done[name] = [asdict(row) for row in own]
            kept.write_text(json.dumps(done, indent=1))
    device = "CPU" if arguments.smoke else torch.cuda.get_device_name()
    print(f"{device}, PyTorch {torch.__version__}\n")
    print(format_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
