"""Fitting the SIREN that corrects a picture of rounded latents, with a teacher, and rounding it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...coding import weights
from ...coding.tensors import Tensors
from ...networks.siren import Siren
from ...plan import Plan
from ...signals import Floats
from ...training.examples import Drawn
from ...training.quantisation import quantise
from ...training.session import DivergedError, OnProgress, start_session, train_quantised
from ..channels import mixing_inverse
from . import postfilter as correction
from .config import WaveletConfig
from .payload import RD_LAMBDA

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

    def __init__(self, config: WaveletConfig, *, generator: torch.Generator) -> None:
        shape = config.own_network()
        assert shape is not None
        super().__init__(shape, generator=generator)
        self.skip = nn.Parameter(torch.zeros(shape.out_features, shape.in_features))
        self.gain = config.step_size
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.get_parameter("layers.0.weight").mul_(SHARPER)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group of parameters."""
        return [{"params": list(self.parameters()), "lr": lr}]


@dataclass(frozen=True)
class Errors(Drawn):
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

    def examples(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.seen.index_select(0, indices).float(), self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "Errors":
        return replace(self, seen=self.seen.to(device), targets=self.targets.to(device))


def errors(tensors: Tensors, config: WaveletConfig, exact: Floats) -> Errors:
    """The examples of rounded latents of a picture whose values are ``exact`` ``[H, W, C]``.

    What the common network knows is not to be learnt again.
    """
    seen, known = correction.Seen(tensors, config), replace(config, neurons=None)
    back = mixing_inverse(tensors["colours"])
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
        missing -= correction.missing(tensors, known, features) * np.float32(config.step_size)
        found.append(features.astype(np.float16))
        wanted.append(missing)
    return Errors(
        torch.from_numpy(np.concatenate(found)), torch.from_numpy(np.concatenate(wanted)), {}
    )


def train_postfilter(
    tensors: Tensors,
    config: WaveletConfig,
    exact: Floats,
    plan: Plan,
    device: str,
    *,
    on_progress: OnProgress | None = None,
) -> bytes | None:
    """The payload of a picture's own post-filter; None where training diverged.

    Of rounded latents ``tensors``, whose exact picture is ``exact`` ``[H, W, C]``. A bit is worth
    as much in the network as in the latents: that sets how finely it is rounded.
    """
    examples = errors(tensors, config, exact)
    network = Correction(config, generator=torch.Generator().manual_seed(plan.seed))
    count = sum(parameter.numel() for parameter in network.parameters())
    squares = float(examples.targets.square().mean()) * config.count()
    rd_lambda = count * RD_LAMBDA * config.step_size**2 / squares
    session = start_session(network, examples.to(torch.device(device)), plan, device)
    try:
        steps, _ = train_quantised(
            session, plan, rd_lambda=rd_lambda, restarts=False, on_progress=on_progress
        )
    except DivergedError:
        return None
    quantised = quantise(dict(network.named_parameters()), steps)
    return weights.pack({name: quantised[name] for name in config.own_shapes()})
