"""Train the shared post-filter, which `intfit` ships, on photographs, and write it.

    python tools/train_postfilter.py PHOTO... -o postfilter-1.safetensors

It learns, from the features of pixels of quantised latents
(:class:`intfit.codecs.wavelet.postfilter.Features`), the error that quantisation left there: on all
photographs, at seven quantisation steps of each, mirrored and turned. The one shipped was trained
on 28 photographs of some 768 pixels a side: astronaut, chelsea, coffee, motorcycle (left) and
rocket of scikit-image's data, china and flower of scikit-learn's, and 21 of the wallpapers of
Ubuntu (lomiri-wallpapers 16.04 and 20.04) and of KDE (plasma-workspace-wallpapers), reduced: on no
picture that results are reported for.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from intfit.codecs.channels import invert_axes
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import NEIGHBOURS, SHARED_WIDTH, WaveletConfig
from intfit.codecs.wavelet.postfilter import Features
from intfit.media.pixels import read_pixels

#: Indices of the quantisation steps.
STEP_INDICES = range(0, 140, 20)
#: Pixels of each photograph at each of them; of a training step; the number of training steps.
PIXELS, BATCH, TRAINING_STEPS, LR = 24_000, 8192, 43_000, 4e-3


class Network(nn.Module):
    """What :func:`intfit.codecs.wavelet.postfilter.evaluate_network` evaluates, with rectifiers."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        sizes = ((inside, width), (width, width), (width, 3))
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.skip = nn.Parameter(torch.zeros(3, inside))
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        x = features
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        corrected: Tensor = self.layers[-1](x) + features @ self.skip.T
        return corrected


def examples(path: Path, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[PIXELS, F]`` of some pixels, and the error there ``[PIXELS, 3]``, in steps."""
    pixels, *_ = read_pixels(path.read_bytes())
    values = pixels[..., :3].astype(np.float32) / np.float32(127.5) - 1
    config = WaveletConfig(3, len(values), values.shape[1], step)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    quantised = payload.quantise(exact, config)
    tensors = payload.dequantise(exact["colours"], quantised.coarsest, quantised.levels, config)
    features = Features(tensors, replace(config, common=1))  # which has a post-filter
    error = values @ invert_axes(tensors["colours"]) - features.picture
    drawn = rng.choice(config.height * config.width, PIXELS)
    inputs = features.at(0, config.height)[drawn]
    return inputs.astype(np.float16), error.reshape(-1, 3)[drawn] / config.step_size


def turn_features(inside: int) -> list[Tensor]:
    """The order of the features ``[F]`` of a pixel in each of eight mirrored or turned views."""
    before = list(range(inside - len(NEIGHBOURS)))
    views = []
    for view in range(8):
        order = []
        for y, x in NEIGHBOURS:
            down, across = (-y if view & 1 else y), (-x if view & 2 else x)
            place = (across, down) if view & 4 else (down, across)
            order.append(len(before) + NEIGHBOURS.index(place))
        views.append(torch.tensor(before + order))
    return views


def train(features: Tensor, errors: Tensor) -> Network:
    """A network that estimates ``errors`` ``[sets, n, 3]`` from features ``[sets, n, F]``."""
    torch.manual_seed(0)
    sets, count, inside = features.shape
    network, views = Network(inside, SHARED_WIDTH), turn_features(inside)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, betas=(0.9, 0.99))
    started = time.monotonic()
    for step in range(TRAINING_STEPS):
        for group in optimizer.param_groups:
            rate = min(1, (step + 1) / 200) * (1 + math.cos(math.pi * step / TRAINING_STEPS)) / 2
            group["lr"] = LR * rate
        batch = torch.randint(sets, (32, 1)), torch.randint(count, (32, BATCH // 32))
        inputs = features[batch].flatten(0, 1)[:, views[step % 8]].float()
        loss = (network(inputs) - errors[batch].flatten(0, 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2000 == 0:
            print(f"{step:6} {loss.item():.5f} {time.monotonic() - started:.0f} s", flush=True)
    return network


def main() -> None:
    """Read, train, round and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    rng, sets = np.random.default_rng(0), []
    for path in options.photographs:
        sets += [examples(path, step + int(rng.integers(-9, 10)), rng) for step in STEP_INDICES]
    features, errors = (torch.from_numpy(np.stack(part)) for part in zip(*sets, strict=True))
    network = train(features, errors)
    save_file(
        {k: v.numpy().astype(np.float16) for k, v in network.state_dict().items()}, options.output
    )


if __name__ == "__main__":
    main()
