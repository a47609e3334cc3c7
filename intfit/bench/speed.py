"""What a training step costs beside what the machine could do, and beside a textbook's loop.

Everything is measured in turns in one run, and compared as ratios: seconds say more about the
machine, and who shares it, than about the program.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..networks.architecture import SirenConfig
from ..networks.siren import Siren
from ..plan import make_plan
from ..settings import Settings
from ..teachers import make_teacher
from ..training import loop as fitting
from ..training.examples import GridExamples
from ..training.gradients import by_hand as descent
from ..training.optimizer import Adam
from ..training.scoring import Look

#: Width, depth and batch: of a photograph, a recording and a surface by default, and others.
SHAPES = ((64, 6, 2048), (72, 4, 2048), (48, 5, 4096), (32, 6, 2048), (256, 6, 2048))
#: The sides of the picture that is drawn from, and of the matrices that set the machine's rate.
PICTURE, MATRIX = (512, 768), 512
#: Each part is timed at least so often.
LEAST = 5
#: The figures that a baseline is compared by: shares of what the same machine does otherwise.
RATIOS = ("of_matrix_rate", "times_plain")


@dataclass(frozen=True)
class Cost:
    """A step of a SIREN.

    ``seconds`` of a step, ``plain_seconds`` of the plain loop's; ``multiply_adds`` a second, and
    ``matrix_rate``, those of a large matrix product of ``kind``, the type that hidden layers are
    multiplied in. Of a step's time, ``matrix`` is the share of
    matrix products, ``sine`` of sines and cosines, ``draw`` of choosing and gathering examples,
    ``adam`` of the optimizer, and ``rest`` of all else.
    """

    width: int
    depth: int
    batch: int
    threads: int
    seconds: float
    plain_seconds: float
    multiply_adds: float
    matrix_rate: float
    of_matrix_rate: float
    times_plain: float
    matrix: float
    sine: float
    draw: float
    adam: float
    rest: float
    kind: str = "float32"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Width, depth and batch."""
        return self.width, self.depth, self.batch


def measure(shape: tuple[int, int, int], *, seconds: float) -> Cost:
    """What a step costs with a network and batch of this ``shape``, on the CPU."""
    fitting.keep_freed_memory()
    width, depth, batch = shape
    config = SirenConfig(len(PICTURE), 3, width, depth, omega_first=30.0, omega=30.0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (math.prod(PICTURE), 3), generator=generator, dtype=torch.uint8)
    signal = GridExamples(PICTURE, pixels, 2 / 255, -1.0, "psnr")
    learn, choose, optimise = _ours(config, signal, batch)
    steps, draws = itertools.count(), signal.n // (2 * batch) or 1
    kind = descent.fast_kind(width)
    left, right, product = (torch.rand(MATRIX, MATRIX).to(kind) for _ in range(3))
    fixed = choose(next(steps))
    best = _least(
        {
            "learn": lambda: learn(fixed),
            "choose": lambda: [choose(next(steps)) for _ in range(draws)],
            "gather": lambda: signal.gather(fixed),
            "adam": optimise,
            "matrix": _products(config, batch, kind),
            "sine": _sines(config, batch, kind),
            "plain": _plain(config, signal, batch),
            "machine": lambda: torch.mm(left, right, out=product),
        },
        seconds=seconds,
    )
    choosing = best["choose"] / draws
    step, drawing = best["learn"] + choosing, best["gather"] + choosing
    rate, machine = _multiply_adds(config) * batch / step, MATRIX**3 / best["machine"]
    return Cost(
        *shape,
        threads=torch.get_num_threads(),
        seconds=step,
        plain_seconds=best["plain"],
        multiply_adds=rate,
        matrix_rate=machine,
        of_matrix_rate=rate / machine,
        times_plain=best["plain"] / step,
        matrix=best["matrix"] / step,
        sine=best["sine"] / step,
        draw=drawing / step,
        adam=best["adam"] / step,
        rest=1 - (best["matrix"] + best["sine"] + drawing + best["adam"]) / step,
        kind=_name(kind),
    )


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _least(calls: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, float]:
    """The least seconds that each call takes, all in turns, so that none has a quieter machine."""
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, math.inf)
    end = time.perf_counter() + seconds
    for turn in itertools.count(1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
        if turn >= LEAST and time.perf_counter() > end:
            return best
    raise AssertionError


def _multiply_adds(config: SirenConfig) -> int:
    """Of a step, for each example: values, gradients of weights, and of what goes into a layer."""
    weights = [math.prod(shape) for shape in config.shapes().values() if len(shape) == 2]
    return 3 * sum(weights) - weights[0]


def _ours(
    config: SirenConfig, signal: GridExamples, batch: int
) -> tuple[Callable[[Tensor], None], Callable[[int], Tensor], Callable[[], Any]]:
    """A fit's step on given examples, how it chooses them, and its optimizer's part."""
    settings = Settings(width=config.width, depth=config.depth, batch=batch)
    features = config.in_features, config.out_features
    chosen = make_plan(settings, kind="image", n=signal.n, features=features)
    field = Siren(config, generator=torch.Generator().manual_seed(0))
    optimizer = Adam(field.groups(1.0), 1e-6, beta2=chosen.beta2)
    gradient, _ = fitting.gradients_of(field, batch=batch, loss=signal.loss)
    work = fitting.Descend(signal, optimizer, gradient)
    draws = torch.Generator().manual_seed(0)
    teacher = make_teacher(chosen, signal.n, shape=signal.shape, generator=draws)

    look = Look(field, signal, chunk=fitting.CHUNK)

    def learn(indices: Tensor) -> None:
        fitting.learn(indices, work, optimizer, teacher, share=1.0)

    def choose(step: int) -> Tensor:
        return teacher.choose(step, 0.5, look)

    return learn, choose, optimizer.step


def _tiles(config: SirenConfig, batch: int) -> tuple[int, int]:
    """How many parts a batch is worked on in, and the examples of each."""
    count = -(-batch // max(1, descent.TILE // config.width))
    return count, -(-batch // count)


def _products(config: SirenConfig, batch: int, kind: torch.dtype) -> Callable[[], None]:
    """Nothing but the matrix products of a step, in its shapes and types."""
    count, rows = _tiles(config, batch)
    sizes = (config.in_features, *[config.width] * config.depth, config.out_features)
    kinds = (torch.float32, *[kind] * (config.depth - 1), torch.float32)
    layers = [
        tuple(
            torch.rand(shape, dtype=kind)
            for shape in ((rows, m), (rows, m), (n, m), (n, m), (rows, n))
        )
        for (m, n), kind in zip(itertools.pairwise(sizes), kinds, strict=True)
    ]

    def run() -> None:
        for _ in range(count):
            for layer, (x, below, weight, gradient, y) in enumerate(layers):
                torch.mm(x, weight.t(), out=y)
                torch.mm(y.t(), x, out=gradient)
                if layer:
                    torch.mm(y, weight, out=below)

    return run


def _sines(config: SirenConfig, batch: int, kind: torch.dtype) -> Callable[[], None]:
    """Nothing but the sines of a step and their slopes."""
    count, rows = _tiles(config, batch)
    turns, sine, slope, spare = torch.rand(4, rows, config.width).unbind()
    polynomials = descent.WAVE if kind == torch.float32 else descent.ROUGH

    def run() -> None:
        for _ in range(count * config.depth):
            descent.wave(turns, sine, slope, spare, polynomials)

    return run


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def _plain(config: SirenConfig, signal: GridExamples, batch: int) -> Callable[[], None]:
    """The plain loop's step: uniform draws from tables of floats, autograd, Adam as it comes."""
    coords, targets = signal.gather(torch.arange(signal.n))
    sizes = (config.in_features, *[config.width] * config.depth)
    layers = [(nn.Linear(m, n), _Sine()) for m, n in itertools.pairwise(sizes)]
    network = nn.Sequential(*itertools.chain(*layers), nn.Linear(config.width, config.out_features))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)

    def run() -> None:
        indices = torch.randint(signal.n, (batch,))
        loss = (network(coords[indices]) - targets[indices]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def read(text: str) -> list[Cost]:
    """A baseline: the lines of ``--json`` of an earlier run.

    Raises:
        UsageError: if it is none.
    """
    try:
        found = [Cost(**json.loads(line)) for line in text.splitlines() if line.strip()]
        sound = all(getattr(cost, ratio) > 0 for cost in found for ratio in RATIOS)
    except (ValueError, TypeError):
        sound, found = False, []
    if not found or not sound:
        raise UsageError("--compare takes what intfit bench speed --json printed")
    if any(cost.threads != torch.get_num_threads() for cost in found):
        raise UsageError(f"--compare was measured with --threads {found[0].threads}: give that too")
    if any(cost.kind != _name(descent.fast_kind(cost.width)) for cost in found):
        raise UsageError("--compare was measured where matrices are multiplied in another type")
    return found


def changes(before: Cost, now: Cost) -> Iterator[tuple[str, float, float]]:
    """Each ratio of a baseline's shape: its name, what it was, and what it is."""
    for ratio in RATIOS:
        yield ratio, getattr(before, ratio), getattr(now, ratio)
