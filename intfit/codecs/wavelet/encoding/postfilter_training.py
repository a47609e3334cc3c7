"""The training and packing of a picture's own post-filter."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....coding import weights
from ....coding.tensors import Tensors
from ....networks.postfilter import PostfilterSiren
from ....networks.siren import Siren
from ....plan import Plan
from ....signals import Floats
from ....teachers import Teacher
from ....training.evaluation import evaluate
from ....training.examples import UniformEvaluation
from ....training.loop import GaveUpError
from ....training.quantisation import quantise
from ....training.session import DivergedError, OnProgress, start_session, train_quantised
from ...channels import invert_axes
from ...latent_steps import RD_LAMBDA
from ..config import WaveletConfig
from ..decoder_network import correct_picture
from ..postfilter import Features

#: The most pixels that are trained on; in a larger picture, they are drawn at random.
MAX_PIXELS = 1 << 20
#: Rows of the picture whose features are computed at once.
ROWS = 64
#: Pixels that the gain is estimated on while training.
GAIN_PIXELS = 1 << 16
#: An upper estimate, from photographs, of a post-filter's final gain, as a multiple of its gain
#: after a share of its training.
LATER_GAIN = {0.1: 3.0, 0.2: 2.2}


@dataclass(frozen=True)
class ErrorExamples(UniformEvaluation):
    """The examples: ``features`` ``[n, F]`` of pixels, and the error there, ``targets`` ``[n, C]``.

    ``places`` ``[n]`` are the pixels' positions in the picture, row by row.
    """

    features: Tensor
    targets: Tensor
    places: NDArray[np.int64]
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
    """The examples of a picture ``original`` ``[H, W, C]`` and its quantised latents ``tensors``.

    Their targets are the error that the shared network leaves, in decorrelated colours.
    """
    features = Features(tensors, config)
    picture = correct_picture(tensors, config, features)
    inverse = invert_axes(tensors["colours"])
    share = min(1.0, MAX_PIXELS / (config.height * config.width))
    rng = np.random.default_rng(0)
    inputs, targets, places = [], [], []
    for first in range(0, config.height, ROWS):
        last = min(first + ROWS, config.height)
        part = features.at(first, last)
        error = (original[first:last] @ inverse - picture[first:last]).reshape(len(part), -1)
        place = np.arange(first * config.width, last * config.width)
        if share < 1:
            kept = rng.random(len(part)) < share
            part, error, place = part[kept], error[kept], place[kept]
        inputs.append(part.astype(np.float16))
        targets.append(error)
        places.append(place)
    return ErrorExamples(
        torch.from_numpy(np.concatenate(inputs)),
        torch.from_numpy(np.concatenate(targets)),
        np.concatenate(places),
    )


@dataclass(frozen=True)
class TrainedPostfilter:
    """The payload of a picture's own post-filter, and the steps of its training."""

    payload: bytes
    steps: int


def train_postfilter(
    tensors: Tensors,
    config: WaveletConfig,
    original: Floats,
    plan: Plan,
    device: str,
    *,
    usual_bytes: int,
    wrap_teacher: Callable[[Teacher, NDArray[np.int64]], Teacher] | None = None,
    on_progress: OnProgress | None = None,
) -> TrainedPostfilter | None:
    """Train a picture's own post-filter; None where it is not worth its bytes, or diverges.

    ``tensors`` are the quantised latents of the picture ``original`` ``[H, W, C]``, in [-1, 1]. The
    network's parameters are quantised at the rate-distortion lambda of the latents, so that a bit
    saves as much error in either. Training is given up early where the expected gain is not
    worth ``usual_bytes``. ``wrap_teacher`` is given the teacher and the positions of its examples
    in the picture.
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
    if wrap_teacher is not None:
        session = replace(session, teacher=wrap_teacher(session.teacher, examples.places))
    measure_gain = _GainEstimate(examples, tensors["colours"], original, config)
    min_gain = 8 * usual_bytes * RD_LAMBDA * config.step_size**2

    def is_promising(share: float) -> bool:
        return LATER_GAIN[share] * measure_gain(network) > min_gain

    try:
        steps, progress = train_quantised(
            session,
            plan,
            rd_lambda=rd_lambda,
            restarts=False,
            is_promising=is_promising,
            on_progress=on_progress,
        )
    except (DivergedError, GaveUpError):
        return None
    quantised = quantise(dict(network.named_parameters()), steps)
    packed = weights.pack({name: quantised[name] for name in config.own_shapes()})
    return TrainedPostfilter(packed, progress.step)


class _GainEstimate:
    """The squared error that a post-filter saves in the whole picture, estimated on some pixels.

    Values are clipped to [-1, 1] first, as they are in a file: in a white sky, clipping alone
    removes most of the error.
    """

    def __init__(
        self, examples: ErrorExamples, colours: Floats, original: Floats, config: WaveletConfig
    ) -> None:
        sample = slice(0, None, max(1, examples.n // GAIN_PIXELS))
        self._features = examples.features[sample].float()
        values = original.reshape(-1, original.shape[-1])[examples.places[sample]]
        self._original = torch.from_numpy(values)
        self._colours = torch.from_numpy(colours)
        # what was decoded: the original less the error that is left
        self._decoded = self._original - examples.targets[sample] @ self._colours
        self._share = len(self._original) / (config.height * config.width)

    def __call__(self, network: Siren) -> float:
        device = next(network.parameters()).device
        added = evaluate(network, self._features.to(device)).cpu() @ self._colours
        saved = self._squared_error(self._decoded) - self._squared_error(self._decoded + added)
        return saved / self._share

    def _squared_error(self, values: Tensor) -> float:
        return float((values.clamp(-1, 1) - self._original).square().sum())
