"""The training and packing of the networks of an envelope."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....coding import weights
from ....networks.siren import Siren
from ....networks.whole import SINE_BITS
from ....plan import Plan
from ....teachers import Teacher
from ....training.examples import UniformEvaluation
from ....training.loop import Progress
from ....training.quantisation import quantise
from ....training.session import start_session, train_quantised
from ..config import MdctConfig
from ..transform import Reals, analyse
from .bands import BAND_COUNTS, measure_bands
from .envelope import MIDDLE, OCTAVES, band_coordinates, pieces, time_coordinates
from .payload import Networks, join_networks

#: The size of the blocks that are measured, by the least sample rate: they last some 20 ms.
BLOCKS = ((80_000, 2048), (30_000, 1024), (15_000, 512), (0, 256))
#: The relative gain in the error of the envelope that a bit for every weight must bring, in nepers.
RD_LAMBDA = 0.1


@dataclass(frozen=True)
class LevelExamples(UniformEvaluation):
    """The examples: times and frequencies ``[n, 2]``, and the levels there, ``[n, C]``."""

    coordinates: Tensor
    targets: Tensor
    shape: tuple[()] = ()
    loss: Literal["l2"] = "l2"
    metric: Literal["snr"] = "snr"
    importance: None = None

    @property
    def n(self) -> int:
        return len(self.coordinates)

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.coordinates.index_select(0, indices), self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "LevelExamples":
        return replace(
            self, coordinates=self.coordinates.to(device), targets=self.targets.to(device)
        )


def make_examples(padded: Reals, piece: range, config: MdctConfig) -> LevelExamples:
    """The levels of a piece of padded samples ``[N, C]``, in equal blocks."""
    size = next(size for least, size in BLOCKS if config.rate >= least)
    first = piece.start // size
    count = max(1, -(-piece.stop // size) - first)
    part = padded[first * size : (first + count) * size]
    part = np.pad(part, ((0, count * size - len(part)), (0, 0)))
    levels = measure_bands(
        analyse(part, [size] * count).reshape(count, size, -1), size, config.rate
    )
    middles = (2 * (first + np.arange(count, dtype=np.int64)) + 1) * size
    times = time_coordinates(middles, piece, config.rate)
    grid = np.broadcast_arrays(times[:, None], band_coordinates(BAND_COUNTS[size])[None])
    coordinates = np.stack(grid, axis=-1).reshape(-1, 2) / (1 << SINE_BITS)
    targets = (levels.reshape(-1, config.channels) - MIDDLE) / OCTAVES
    return LevelExamples(
        torch.from_numpy(coordinates.astype(np.float32)),
        torch.from_numpy(targets.astype(np.float32)),
    )


def train_networks(
    padded: Reals,
    config: MdctConfig,
    plan: Plan,
    device: str,
    *,
    wrap_teacher: Callable[[Teacher], Teacher] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[Networks, int]:
    """Train the envelope of padded samples ``[N, C]``, along their axes; the steps taken besides.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
    """
    network_config = config.envelope_network()
    assert network_config is not None
    ranges = list(pieces(len(padded), config.rate))
    packed, steps = [], 0
    for index, piece in enumerate(ranges):
        examples = make_examples(padded, piece, config)
        generator = torch.Generator().manual_seed(plan.seed)
        network = Siren(network_config, generator=generator)
        share = plan
        if plan.max_time is not None:
            share = replace(plan, max_time=plan.max_time / len(ranges))
        share = replace(share, batch=min(plan.batch, examples.n))
        session = start_session(network, examples.to(torch.device(device)), share, device)
        if wrap_teacher is not None:
            session = replace(session, teacher=wrap_teacher(session.teacher))

        def report(progress: Progress, index: int = index) -> None:
            if on_progress is not None:
                fraction = (index + progress.fraction) / len(ranges)
                on_progress(replace(progress, fraction=fraction))

        found, progress = train_quantised(
            session, share, rd_lambda=RD_LAMBDA, restarts=False, on_progress=report
        )
        steps += progress.step
        packed.append(weights.pack(quantise(dict(network.named_parameters()), found)))
    return join_networks(packed, config), steps
