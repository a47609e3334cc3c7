"""What a training step costs, relative to the machine's matrix products and to a plain loop.

Everything is measured in turns in one run, and compared by ratios: seconds say more about the
machine, and about what else runs on it, than about the program.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..networks.architecture import SirenConfig
from ..networks.siren import Siren
from ..plan import make_plan
from ..settings import Settings
from ..teachers import make_teacher
from ..training.examples import GridExamples
from ..training.gradients import by_hand
from ..training.gradients.choice import choose_gradients
from ..training.optimizers.preconditioned import make_optimizer
from ..training.scoring import Scorer
from ..training.step import TrainingStep, train_step

#: Width, depth and batch: of a photograph, a recording and a surface by default, and others.
SHAPES = ((64, 6, 2048), (72, 4, 2048), (48, 5, 4096), (32, 6, 2048), (256, 6, 2048))
#: Height and width, in pixels, of the picture that examples are drawn from; rows and columns of the
#: matrices whose product sets the machine's rate.
PICTURE, MATRIX = (512, 768), 512
#: The fewest times that each part is timed.
MIN_TURNS = 5
#: The figures by which runs are compared: relative to what the same machine does otherwise.
RATIOS = ("of_matrix_rate", "times_plain")


@dataclass(frozen=True)
class Cost:
    """What a training step of a SIREN costs.

    ``seconds`` a step, and ``plain_seconds`` a step of the plain loop. ``multiply_adds`` a second,
    and ``matrix_rate``, those of a large matrix product in ``kind``, the type that hidden layers
    are multiplied in. Shares of a step's time: ``matrix`` of matrix products, ``sine`` of sines and
    cosines, ``draw`` of selecting and gathering examples, ``adam`` of the optimizer, ``rest`` of
    all else.
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


def measure_step(shape: tuple[int, int, int], *, seconds: float) -> Cost:
    """The cost of a step with a network and batch of this ``shape``, on the CPU.

    ``shape`` is width, depth and batch; measuring takes about so many ``seconds``.
    """
    width, depth, batch = shape
    config = SirenConfig(len(PICTURE), 3, width, depth, omega_first=30.0, omega=30.0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (math.prod(PICTURE), 3), generator=generator, dtype=torch.uint8)
    signal = GridExamples(PICTURE, pixels, 2 / 255, -1.0, "psnr")
    learn, select, optimise = _make_our_step(config, signal, batch)
    steps, draws = itertools.count(), signal.n // (2 * batch) or 1
    dtype = by_hand.fast_dtype(width)
    left, right, product = (torch.rand(MATRIX, MATRIX).to(dtype) for _ in range(3))
    fixed = select(next(steps))
    least = _time_in_turns(
        {
            "learn": lambda: learn(fixed),
            "select": lambda: [select(next(steps)) for _ in range(draws)],
            "gather": lambda: signal.gather(fixed),
            "adam": optimise,
            "matrix": _make_matrix_products(config, batch, dtype),
            "sine": _make_sines(config, batch, dtype),
            "plain": _make_plain_step(config, signal, batch),
            "machine": lambda: torch.mm(left, right, out=product),
        },
        seconds=seconds,
    )
    selecting = least["select"] / draws
    step, drawing = least["learn"] + selecting, least["gather"] + selecting
    rate = _count_multiply_adds(config) * batch / step
    matrix_rate = MATRIX**3 / least["machine"]
    return Cost(
        *shape,
        threads=torch.get_num_threads(),
        seconds=step,
        plain_seconds=least["plain"],
        multiply_adds=rate,
        matrix_rate=matrix_rate,
        of_matrix_rate=rate / matrix_rate,
        times_plain=least["plain"] / step,
        matrix=least["matrix"] / step,
        sine=least["sine"] / step,
        draw=drawing / step,
        adam=least["adam"] / step,
        rest=1 - (least["matrix"] + least["sine"] + drawing + least["adam"]) / step,
        kind=_name_dtype(dtype),
    )


def _name_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _time_in_turns(calls: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, float]:
    """The least seconds that each call takes; in turns, so that none has a quieter machine."""
    for call in calls.values():
        call()
    least = dict.fromkeys(calls, math.inf)
    end = time.perf_counter() + seconds
    for turn in itertools.count(1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - start)
        if turn >= MIN_TURNS and time.perf_counter() > end:
            return least
    raise AssertionError


def _count_multiply_adds(config: SirenConfig) -> int:
    """The multiply-adds of a step for each example.

    Those of the values, of the gradients of weights and of the gradients of activations.
    """
    weights = [math.prod(shape) for shape in config.shapes().values() if len(shape) == 2]
    return 3 * sum(weights) - weights[0]


def _make_our_step(
    config: SirenConfig, signal: GridExamples, batch: int
) -> tuple[Callable[[Tensor], None], Callable[[int], Tensor], Callable[[], Any]]:
    """Functions for a fit's step on given examples, the selection, and the optimizer's part."""
    settings = Settings(width=config.width, depth=config.depth, batch=batch)
    features = config.in_features, config.out_features
    plan = make_plan(settings, kind="image", n=signal.n, features=features)
    network = Siren(config, generator=torch.Generator().manual_seed(0))
    optimizer = make_optimizer([network], replace(plan, lr=1e-6))
    gradient, _ = choose_gradients([network], batch=batch, loss=signal.loss)
    training_step = TrainingStep(signal, optimizer, gradient)
    generator = torch.Generator().manual_seed(0)
    teacher = make_teacher(plan, signal.n, shape=signal.shape, generator=generator)
    score = Scorer(network, signal)

    def learn(indices: Tensor) -> None:
        train_step(indices, training_step, optimizer, teacher, lr_share=1.0)

    def select(step: int) -> Tensor:
        return teacher.select(step, 0.5, score)

    return learn, select, optimizer.step


def _count_tiles(config: SirenConfig, batch: int) -> tuple[int, int]:
    """The number of tiles that a batch is worked on in, and the examples of each."""
    count = -(-batch // max(1, by_hand.TILE // config.width))
    return count, -(-batch // count)


def _make_matrix_products(
    config: SirenConfig, batch: int, dtype: torch.dtype
) -> Callable[[], None]:
    """A function that does only the matrix products of a step, in its shapes and types."""
    count, rows = _count_tiles(config, batch)
    sizes = (config.in_features, *[config.width] * config.depth, config.out_features)
    dtypes = (torch.float32, *[dtype] * (config.depth - 1), torch.float32)
    layers = [
        tuple(
            torch.rand(shape, dtype=dtype)
            for shape in ((rows, m), (rows, m), (n, m), (n, m), (rows, n))
        )
        for (m, n), dtype in zip(itertools.pairwise(sizes), dtypes, strict=True)
    ]

    def run() -> None:
        for _ in range(count):
            for layer, (x, below, weight, gradient, y) in enumerate(layers):
                torch.mm(x, weight.t(), out=y)
                torch.mm(y.t(), x, out=gradient)
                if layer:
                    torch.mm(y, weight, out=below)

    return run


def _make_sines(config: SirenConfig, batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """A function that computes only the sines of a step and their slopes."""
    count, rows = _count_tiles(config, batch)
    turns, sine, slope, spare = torch.rand(4, rows, config.width).unbind()
    polynomials = by_hand.WAVE if dtype == torch.float32 else by_hand.ROUGH_WAVE

    def run() -> None:
        for _ in range(count * config.depth):
            by_hand.wave(turns, sine, slope, spare, polynomials)

    return run


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def _make_plain_step(config: SirenConfig, signal: GridExamples, batch: int) -> Callable[[], None]:
    """A function that does a plain loop's step.

    Uniform draws from tables of floats, autograd, PyTorch's Adam.
    """
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


def read_baseline(text: str) -> list[Cost]:
    """The costs of an earlier run, from what ``--json`` printed.

    Raises:
        UsageError: if it is something else, or was measured with other threads or types.
    """
    try:
        costs = [Cost(**json.loads(line)) for line in text.splitlines() if line.strip()]
        sound = all(getattr(cost, ratio) > 0 for cost in costs for ratio in RATIOS)
    except (ValueError, TypeError):
        sound, costs = False, []
    if not costs or not sound:
        raise UsageError("--compare takes what intfit bench speed --json printed")
    if any(cost.threads != torch.get_num_threads() for cost in costs):
        raise UsageError(f"--compare was measured with --threads {costs[0].threads}: give that too")
    if any(cost.kind != _name_dtype(by_hand.fast_dtype(cost.width)) for cost in costs):
        raise UsageError("--compare was measured where matrices are multiplied in another type")
    return costs


def compare_ratios(before: Cost, now: Cost) -> Iterator[tuple[str, float, float]]:
    """The name of each ratio in :data:`RATIOS`, and its two values."""
    for ratio in RATIOS:
        yield ratio, getattr(before, ratio), getattr(now, ratio)
