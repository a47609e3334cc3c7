"""Training a picture's own post-filter on the error that quantisation left, and packing it."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...coding import weights
from ...coding.tensors import Tensors
from ...networks.postfilter import PostfilterSiren
from ...plan import Plan
from ...signals import Floats
from ...training.examples import UniformEvaluation
from ...training.quantisation import quantise
from ...training.session import DivergedError, OnProgress, start_session, train_quantised
from ..channels import invert_axes
from ..latent_steps import RD_LAMBDA
from .config import WaveletConfig
from .postfilter import Features, estimate_error

#: The most pixels that are trained on: of a larger picture, they are drawn at random.
MAX_PIXELS = 1 << 20
#: Rows of the picture whose features are computed at once.
ROWS = 64


@dataclass(frozen=True)
class ErrorExamples(UniformEvaluation):
    """The examples: ``features`` ``[n, F]`` of pixels, and the error left there ``[n, C]``."""

    features: Tensor
    targets: Tensor
    shape: tuple[()] = ()
    loss: Literal["l2"] = "l2"
    metric: Literal["psnr"] = "psnr"
    importance: None = None

    @property
    def n(self) -> int:
        return len(self.features)

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features.index_select(0, indices).float()
        return features, self.targets.index_select(0, indices)

    def to(self, device: torch.device) -> "ErrorExamples":
        return replace(self, features=self.features.to(device), targets=self.targets.to(device))


def make_examples(tensors: Tensors, config: WaveletConfig, original: Floats) -> ErrorExamples:
    """The examples of quantised latents ``tensors`` of a picture ``original`` ``[H, W, C]``.

    Their targets are the error that the shared post-filter leaves, in decorrelated colours.
    """
    features, without_own = Features(tensors, config), replace(config, neurons=None)
    inverse = invert_axes(tensors["colours"])
    share = min(1.0, MAX_PIXELS / (config.height * config.width))
    rng = np.random.default_rng(0)
    inputs, targets = [], []
    for first in range(0, config.height, ROWS):
        last = min(first + ROWS, config.height)
        part = features.at(first, last)
        error = (original[first:last] @ inverse - features.picture[first:last]).reshape(
            len(part), -1
        )
        if share < 1:
            kept = rng.random(len(part)) < share
            part, error = part[kept], error[kept]
        error -= estimate_error(tensors, without_own, part) * np.float32(config.step_size)
        inputs.append(part.astype(np.float16))
        targets.append(error)
    return ErrorExamples(
        torch.from_numpy(np.concatenate(inputs)), torch.from_numpy(np.concatenate(targets))
    )


def train_postfilter(
    tensors: Tensors,
    config: WaveletConfig,
    original: Floats,
    plan: Plan,
    device: str,
    *,
    on_progress: OnProgress | None = None,
) -> bytes | None:
    """The payload of a post-filter of its own for a picture; None where training diverged.

    ``tensors`` are the quantised latents of the picture ``original`` ``[H, W, C]``, in [-1, 1]. The
    network's parameters are quantised at the rate-distortion lambda of the latents, so that a bit
    saves as much error in either.
    """
    shape = config.own_network()
    assert shape is not None
    examples = make_examples(tensors, config, original)
    generator = torch.Generator().manual_seed(plan.seed)
    network = PostfilterSiren(shape, gain=config.step_size, generator=generator)
    count = sum(parameter.numel() for parameter in network.parameters())
    squared_error = float(examples.targets.square().mean()) * config.count()
    rd_lambda = count * RD_LAMBDA * config.step_size**2 / squared_error
    session = start_session(network, examples.to(torch.device(device)), plan, device)
    try:
        steps, _ = train_quantised(
            session, plan, rd_lambda=rd_lambda, restarts=False, on_progress=on_progress
        )
    except DivergedError:
        return None
    quantised = quantise(dict(network.named_parameters()), steps)
    return weights.pack({name: quantised[name] for name in config.own_shapes()})
