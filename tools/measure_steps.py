"""Measure what a step of a SIREN costs: the model that turns an effort into steps.

    python tools/measure_steps.py --seconds 5

Times steps of many shapes on one thread, with the gradient by hand and by autograd in turns, and
fits to each the three constants of `step_seconds` in `intfit/defaults.py`: seconds a step, a neuron
and a weight. When steps get faster, scale the constants there by the ratios printed last: that
keeps the seconds of each effort on the machine that they were first measured on. Processor time is
measured, not elapsed time, so that other work on the machine disturbs little.
"""

import argparse
import time
from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from intfit.jobs.memory import keep_freed_memory
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren
from intfit.plan import POOL
from intfit.teachers import ProportionalInt
from intfit.teachers.base import Score
from intfit.training.examples import GridExamples
from intfit.training.gradients.autograd import AutogradGradient
from intfit.training.gradients.base import GradientFunction
from intfit.training.gradients.choice import choose_gradients
from intfit.training.optimizers.adam import Adam
from intfit.training.step import TrainingStep, train_step

#: Width, depth and batch.
SHAPES = [
    (16, 6, 2048),
    (24, 4, 2048),
    (32, 6, 2048),
    (48, 5, 4096),
    (64, 6, 512),
    (64, 6, 2048),
    (72, 4, 2048),
    (96, 6, 2048),
    (128, 4, 4096),
    (256, 4, 2048),
]


def make_step(shape: tuple[int, int, int], *, by_hand: bool) -> Callable[[], None]:
    """A training step on a picture."""
    width, depth, batch = shape
    config = SirenConfig(2, 3, width, depth, omega_first=60.0, omega=30.0)
    values = torch.randint(256, (512 * 768, 3), dtype=torch.uint8)
    signal = GridExamples((512, 768), values, 2 / 255, -1.0, "psnr")
    network = Siren(config, generator=torch.Generator().manual_seed(0))
    optimizer = Adam([network.groups(1.0)], 1e-6, beta2=0.99)
    gradient: GradientFunction = AutogradGradient(network)
    if by_hand:
        gradient, _ = choose_gradients([network], batch=batch, loss=signal.loss)
    training_step = TrainingStep(signal, optimizer, gradient)
    teacher = ProportionalInt(
        signal.n,
        batch=batch,
        start=0.5,
        ratio_schedule="linear",
        interval_schedule=f"every:{min(signal.n, POOL) // (2 * batch)}",
        generator=torch.Generator().manual_seed(0),
    )
    steps = iter(range(10**9))

    def step() -> None:
        indices = teacher.select(next(steps), 0.5, cast("Score", torch.ones_like))
        train_step(indices, training_step, optimizer, teacher, lr_share=1.0)

    return step


def medians(calls: dict[str, Callable[[], None]], *, seconds: float) -> dict[str, float]:
    """The median seconds of each call, all in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, call in calls.items():
            start = time.thread_time()
            call()
            taken[name].append(time.thread_time() - start)
    return {name: float(np.median(times)) for name, times in taken.items()}


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="for each shape")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    results: dict[str, list[float]] = {"by hand": [], "autograd": []}
    for shape in SHAPES:
        calls = {name: make_step(shape, by_hand=name == "by hand") for name in results}
        times = medians(calls, seconds=options.seconds)
        for name, value in times.items():
            results[name].append(value)
        ratio = times["autograd"] / times["by hand"]
        print(shape, {name: f"{1e3 * t:.2f} ms" for name, t in times.items()}, f"{ratio:.2f}")
    terms = np.array([(1, b * w * d, b * w * w * (d - 1)) for w, d, b in SHAPES], float)
    constants = {}
    for name, timed in results.items():
        relative = terms / np.array(timed)[:, None]
        constants[name] = np.linalg.lstsq(relative, np.ones(len(timed)), rcond=None)[0]
        off = np.abs(relative @ constants[name] - 1).max()
        print(name, *(f"{c:.2e}" for c in constants[name]), f"within {off:.0%}")
    print("ratios", *(f"{r:.2f}" for r in constants["by hand"] / constants["autograd"]))


if __name__ == "__main__":
    main()
