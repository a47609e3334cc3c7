"""Fitting the SIREN that corrects a picture of rounded latents, with a teacher, and rounding it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...coding import weights as payload
from ...coding.quantize import quantize
from ...networks.architecture import LatentConfig
from ...networks.siren import Siren
from ...settings import Plan
from ...signals import Floats
from ...teachers import make_teacher
from ...training import loop as fitting
from ...training import quantisation as rate
from ...training.examples import UniformEvaluation
from . import payload as pyramid
from . import postfilter as correction
from .field import Tensors, unmixing

#: Pixels that a fit learns from at most, drawn evenly from a larger picture.
MOST_PIXELS = 1 << 20
#: Rows that are looked at at a time.
ROWS = 64
#: First weights this much larger than a SIREN's tell errors apart that look alike; with the usual
#: ones a fit often stays where it began. (Measured, net gain of 2000 steps at -q 20: kodim04 5.9 %
#: of the bytes at 1, 7.9 at 3, 8.3 at 6, 7.9 at 12; kodim20 8.3, 6.5, 9.0, 8.8.)
SHARPER = 6.0


class Correction(Siren):
    """What is seen at a pixel, ``[B, F]``, to what to add to it, ``[B, C]``: nothing at first.

    A SIREN and a linear layer side by side.
    """

    def __init__(self, config: LatentConfig, *, generator: torch.Generator) -> None:
        shape = config.network()
        assert shape is not None
        super().__init__(shape, generator=generator)
        self.skip = nn.Parameter(torch.zeros(shape.out_features, shape.in_features))
        self.gain = config.size()
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.get_parameter("layers.0.weight").mul_(SHARPER)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group of parameters."""
        return [{"params": list(self.parameters()), "lr": lr}]


@dataclass(frozen=True)
class Errors(UniformEvaluation):
    """A signal: what is seen at pixels ``[n, F]``, and the error that rounding left ``[n, C]``."""

    seen: Tensor
    targets: Tensor
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    shape: tuple[()] = ()
    loss: Literal["l2"] = "l2"
    metric: Literal["psnr"] = "psnr"
    importance: None = None

    @property
    def n(self) -> int:
        return len(self.seen)

    @property
    def in_features(self) -> int:
        return self.seen.shape[1]

    @property
    def out_features(self) -> int:
        return self.targets.shape[1]

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.seen.index_select(0, indices).float(), self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "Errors":
        return replace(self, seen=self.seen.to(device), targets=self.targets.to(device))


def errors(tensors: Tensors, config: LatentConfig, exact: Floats) -> Errors:
    """The examples of rounded latents of a picture whose values are ``exact`` ``[H, W, C]``.

    What the common network knows is not to be learnt again.
    """
    seen, known = correction.Seen(tensors, config), replace(config, neurons=None)
    back = unmixing(tensors["colours"])
    share = min(1.0, MOST_PIXELS / (config.height * config.width))
    rng = np.random.default_rng(0)
    found, wanted = [], []
    for first in range(0, config.height, ROWS):
        last = min(first + ROWS, config.height)
        features = seen.at(first, last)
        missing = (exact[first:last] @ back - seen.picture[first:last]).reshape(len(features), -1)
        if share < 1:
            kept = rng.random(len(features)) < share
            features, missing = features[kept], missing[kept]
        missing -= correction.missing(tensors, known, features) * np.float32(config.size())
        found.append(features.astype(np.float16))
        wanted.append(missing)
    return Errors(
        torch.from_numpy(np.concatenate(found)), torch.from_numpy(np.concatenate(wanted)), {}
    )


def fitted(
    signal: Errors,
    config: LatentConfig,
    plan: Plan,
    device: str,
    *,
    watch: Callable[[fitting.Progress], None] | None = None,
) -> bytes:
    """The payload of a network fitted to ``signal``.

    A bit must be worth as much in it as it is in the latents: that sets how finely it is rounded.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    field = Correction(config, generator=generator).to(device)
    signal = signal.to(torch.device(device))
    glances = torch.Generator(device).manual_seed(plan.seed + 1)
    draws = torch.Generator(device).manual_seed(plan.seed)
    teacher = make_teacher(plan, signal.n, shape=signal.shape, generator=draws)
    count = sum(parameter.numel() for parameter in field.parameters())
    squares = float(signal.targets.square().mean()) * config.count()
    price = count * pyramid.PRICE * config.size() ** 2 / squares
    rounding: list[rate.Rounding] = []

    def settle() -> rate.Rounding:
        field.wrap_phases()
        steps = rate.settle(field, signal, price=price, generator=glances)
        rounding.append(rate.Rounding(field, steps))
        return rounding[-1]

    for progress in fitting.fit(
        field, signal, teacher, plan, generator=glances, settle=settle, restarts=False
    ):
        if watch is not None:
            watch(progress)
    steps = (rounding[-1] if rounding else settle()).steps
    quantized = quantize(dict(field.named_parameters()), steps)
    ordered = {name: quantized[name] for name in config.correction()}
    return payload.pack(ordered)
