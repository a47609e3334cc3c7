"""Fit the context network that `intfit` ships to photographs, and write it.

    python tools/train_context.py PHOTO... -o intfit/codecs/wavelet/context_model-1.safetensors

The one shipped was fitted to astronaut, coffee, chelsea, motorcycle (left and right) and rocket of
scikit-image's data, the first two at half size too: to none of the pictures that README reports.
A change of its weights changes what every file means: it gets a new number.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from intfit.codecs.wavelet import context_model as context
from intfit.codecs.wavelet import field as latent
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.media import image

STEPS, BATCH, LR, HIDDEN = 4000, 8000, 0.01, 24
#: Quantisation steps of the pictures, and the share of a half step that is rounded to zero.
SIZES, KEPT = (6.0, 10.0, 17.0, 28.0, 46.0, 76.0), 0.36


class Network(nn.Module):
    """What :class:`intfit.codecs.wavelet.context_model.Network` is in whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        groups = context.LEVELS * 3 * context.CHANNELS
        self.position = nn.Parameter(0.1 * torch.randn(groups, 4, HIDDEN))
        self.first = nn.Linear(context.FEATURES, HIDDEN, bias=False)
        self.second, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, where: Tensor, turn: Tensor, seen: Tensor) -> Tensor:
        hidden = torch.relu(self.first(torch.log2(1 + 2 * seen)) + self.position[where, turn])
        return self.last(torch.relu(self.second(hidden)))


def bits(outputs: Tensor, values: Tensor) -> Tensor:
    """What magnitudes ``[B]`` take, their sign left out, under outputs ``[B, 2]``."""
    logit, scale = outputs[:, 0].clamp(-7.9, 7.9), outputs[:, 1].clamp(-4.9, 5.9).exp()
    zero = nn.functional.softplus(-logit)
    more = nn.functional.softplus(logit) + math.log(2) - torch.log(-torch.expm1(-1 / scale))
    return torch.where(values == 0, zero, more + (values - 1) / scale) / math.log(2)


def examples(path: Path, size: float, shrink: int) -> list[tuple[int, int, Tensor, Tensor]]:
    """Group, pass, magnitudes around and magnitudes, of every pass over a picture."""
    pixels, *_ = image.samples(path.read_bytes())
    pixels = pixels[: pixels.shape[0] // shrink * shrink, : pixels.shape[1] // shrink * shrink, :3]
    tall, wide, channels = pixels.shape
    pixels = pixels.reshape(tall // shrink, shrink, wide // shrink, shrink, channels).mean((1, 3))
    values = pixels.astype(np.float32) - 128
    config = WaveletConfig(3, *values.shape[:2], 0)
    exact = latent.analysed(values, config, latent.colours(values))
    bands = [band / size for name, band in exact.items() if name.startswith("levels")]
    whole = [(np.sign(b) * np.floor(np.abs(b) + KEPT)).astype(np.int32) for b in bands]
    levels = [tuple(whole[i : i + 3]) for i in range(0, len(whole), 3)]
    found: list[tuple[int, int, Tensor, Tensor]] = []
    places: list[tuple[int, int, np.ndarray]] = []

    def classify(group: int, turn: int, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places.append((group, turn, seen))
        return seen[0], seen[0]

    def record(zero: np.ndarray, size: np.ndarray, values: np.ndarray) -> np.ndarray:
        group, turn, seen = places[-1]
        seen = torch.from_numpy(np.minimum(seen.T, context.MOST_SEEN).astype(np.int16))
        found.append((group, turn, seen, torch.from_numpy(np.abs(values).astype(np.int16))))
        return values

    context.walk(levels, record, classify)
    return found


def fit(sets: list[list[tuple[int, int, Tensor, Tensor]]]) -> Network:
    """A network that all sets together take few bits under."""
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    started = time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / 30) * (1 - step / STEPS)
        drawn = sets[int(torch.randint(len(sets), ()))]
        parts, total = [], 0
        for group, turn, seen, values in drawn:
            count = min(BATCH // 8, len(values))
            chosen = torch.randint(len(values), (count,))
            weight = torch.full((count,), len(values) / count)
            where = torch.full((count,), group), torch.full((count,), turn)
            parts.append((*where, seen[chosen].float(), values[chosen].float(), weight))
            total += len(values)
        where, turn, seen, values, weight = (torch.cat(part) for part in zip(*parts, strict=True))
        loss = (bits(network(where, turn, seen), values) * weight).sum() / total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            print(f"{step:5} {loss.item():.4f} bits a latent {time.monotonic() - started:.0f} s")
            sys.stdout.flush()
    return network


def main(arguments: list[str]) -> None:
    """Read, fit, round and write."""
    *photographs, _, output = arguments
    sets = []
    for path in map(Path, photographs):
        for shrink in (1, 2):
            sets += [examples(path, size, shrink) for size in SIZES]
    network = fit(sets)
    unit = context.SEEN * context.WEIGHT
    scales = {"position": unit, "second_bias": unit, "last_bias": unit}
    weights = {
        "position": network.position,
        "first": network.first.weight,
        "second": network.second.weight,
        "second_bias": network.second.bias,
        "last": network.last.weight,
        "last_bias": network.last.bias,
    }
    whole = {
        name: (tensor.detach() * scales.get(name, context.WEIGHT)).round().to(torch.int16).numpy()
        for name, tensor in weights.items()
    }
    save_file(whole, output)


if __name__ == "__main__":
    main(sys.argv[1:])
