"""Fit the network that corrects every photograph a little, which `intfit` ships, and write it.

    python tools/train_common.py PHOTO... -o intfit/codecs/wavelet/postfilter-1.safetensors

It learns, from what :class:`intfit.codecs.wavelet.postfilter.Seen` sees at a pixel of rounded latents, the
error that rounding left there, on all photographs at seven steps alike, mirrored and turned. The
one shipped was fitted to 28 photographs of some 768 pixels a side: astronaut, chelsea, coffee,
motorcycle (left) and rocket of scikit-image's data, china and flower of scikit-learn's, and 21 of
the wallpapers of Ubuntu (lomiri-wallpapers 16.04 and 20.04) and of KDE
(plasma-workspace-wallpapers), reduced: to none of the pictures that README reports.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from intfit.codecs.wavelet import field as latent
from intfit.codecs.wavelet import payload as pyramid
from intfit.codecs.wavelet.postfilter import Seen
from intfit.media import image
from intfit.networks.architecture import COMMON, NEIGHBOURS, WaveletConfig

STEPS = range(0, 140, 20)
#: Pixels of each photograph at each step; of a training step, and training steps.
KEPT, BATCH, ROUNDS, LR = 24_000, 8192, 43_000, 4e-3


class Network(nn.Module):
    """What :func:`intfit.codecs.wavelet.postfilter.values` evaluates, with rectifiers."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        sizes = ((inside, width), (width, width), (width, 3))
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.skip = nn.Parameter(torch.zeros(3, inside))
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor) -> Tensor:
        x = seen
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x) + seen @ self.skip.T


def examples(path: Path, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What is seen ``[KEPT, F]`` and what is missing ``[KEPT, 3]``, in steps, at some pixels."""
    pixels, *_ = image.samples(path.read_bytes())
    values = pixels[..., :3].astype(np.float32) / np.float32(127.5) - 1
    config = WaveletConfig(3, *values.shape[:2], step)
    exact = latent.analysed(values, config, latent.colours(values))
    tensors = pyramid.unpack(pyramid.pack(exact, config), config)
    seen = Seen(tensors, config)
    missing = values @ latent.unmixing(tensors["colours"]) - seen.picture
    chosen = rng.choice(config.height * config.width, KEPT)
    features = seen.at(0, config.height)[chosen]
    return features.astype(np.float16), missing.reshape(-1, 3)[chosen] / config.step_size


def turned(inside: int) -> list[Tensor]:
    """Where the features ``[F]`` of a pixel come from in each of eight mirrored or turned views."""
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


def fit(seen: Tensor, missing: Tensor) -> Network:
    """A network that leaves little of what is missing ``[sets, n, 3]``."""
    torch.manual_seed(0)
    sets, kept, inside = seen.shape
    network, views = Network(inside, COMMON[0]), turned(inside)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, betas=(0.9, 0.99))
    started = time.monotonic()
    for step in range(ROUNDS):
        for group in optimizer.param_groups:
            rate = min(1, (step + 1) / 200) * (1 + math.cos(math.pi * step / ROUNDS)) / 2
            group["lr"] = LR * rate
        chosen = torch.randint(sets, (32, 1)), torch.randint(kept, (32, BATCH // 32))
        features = seen[chosen].flatten(0, 1)[:, views[step % 8]].float()
        loss = (network(features) - missing[chosen].flatten(0, 1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 2000 == 0:
            print(f"{step:6} {loss.item():.5f} {time.monotonic() - started:.0f} s", flush=True)
    return network


def main(arguments: list[str]) -> None:
    """Read, fit, round and write."""
    *photographs, _, output = arguments
    rng, found = np.random.default_rng(0), []
    for path in map(Path, photographs):
        found += [examples(path, step + int(rng.integers(-9, 10)), rng) for step in STEPS]
    seen, missing = (torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True))
    network = fit(seen, missing)
    save_file({k: v.numpy().astype(np.float16) for k, v in network.state_dict().items()}, output)


if __name__ == "__main__":
    main(sys.argv[1:])
