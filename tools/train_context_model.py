"""Train the context network of wavelet coefficients, which `intfit` ships, and write it.

    python tools/train_context_model.py PHOTO... -o context_model-1.safetensors

The one shipped was trained on astronaut, coffee, chelsea, motorcycle (left and right) and rocket of
scikit-image's data, the first two at half size too: on no picture that results are reported for.
Every file depends on its weights: other weights get a new number.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from intfit.codecs.wavelet import context_model, transform
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.media.pixels import read_pixels

STEPS, BATCH, LR, HIDDEN = 4000, 8000, 0.01, 24
#: Quantisation steps of the pictures, in grey levels; what is added to magnitudes, in steps, before
#: they are rounded down.
QUANTISATION_STEPS, ROUNDING = (6.0, 10.0, 17.0, 28.0, 46.0, 76.0), 0.36


class Network(nn.Module):
    """What :class:`intfit.codecs.wavelet.context_model.Network` is, in floating point."""

    def __init__(self) -> None:
        super().__init__()
        bands = context_model.LEVELS * 3 * context_model.CHANNELS
        self.position = nn.Parameter(0.1 * torch.randn(bands, 4, HIDDEN))
        self.first = nn.Linear(context_model.FEATURES, HIDDEN, bias=False)
        self.second, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, band: Tensor, turn: Tensor, around: Tensor) -> Tensor:
        hidden = torch.relu(self.first(torch.log2(1 + 2 * around)) + self.position[band, turn])
        return self.last(torch.relu(self.second(hidden)))


def bits(outputs: Tensor, values: Tensor) -> Tensor:
    """The bits of magnitudes ``[B]``, their sign left out, under outputs ``[B, 2]``."""
    logit, scale = outputs[:, 0].clamp(-7.9, 7.9), outputs[:, 1].clamp(-4.9, 5.9).exp()
    zero = nn.functional.softplus(-logit)
    more = nn.functional.softplus(logit) + math.log(2) - torch.log(-torch.expm1(-1 / scale))
    return torch.where(values == 0, zero, more + (values - 1) / scale) / math.log(2)


def examples(path: Path, step: float, shrink: int) -> list[tuple[int, int, Tensor, Tensor]]:
    """Index of the band, pass, magnitudes around and magnitudes, of every pass over a picture."""
    pixels, *_ = read_pixels(path.read_bytes())
    pixels = pixels[: pixels.shape[0] // shrink * shrink, : pixels.shape[1] // shrink * shrink, :3]
    tall, wide, channels = pixels.shape
    pixels = pixels.reshape(tall // shrink, shrink, wide // shrink, shrink, channels).mean((1, 3))
    values = pixels.astype(np.float32) - 128
    config = WaveletConfig(3, *values.shape[:2], 0)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    bands = [band / step for name, band in exact.items() if name.startswith("levels")]
    whole = [(np.sign(b) * np.floor(np.abs(b) + ROUNDING)).astype(np.int32) for b in bands]
    levels = [tuple(whole[i : i + 3]) for i in range(0, len(whole), 3)]
    passes: list[tuple[int, int, Tensor, Tensor]] = []
    places: list[tuple[int, int, np.ndarray]] = []

    def classify(band: int, turn: int, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places.append((band, turn, around))
        return around[0], around[0]

    def record(zero: np.ndarray, scale: np.ndarray, values: np.ndarray) -> np.ndarray:
        band, turn, around = places[-1]
        inputs = torch.from_numpy(np.minimum(around.T, context_model.MAX_INPUT).astype(np.int16))
        passes.append((band, turn, inputs, torch.from_numpy(np.abs(values).astype(np.int16))))
        return values

    context_model.code_latents(levels, record, classify)
    return passes


def train(sets: list[list[tuple[int, int, Tensor, Tensor]]]) -> Network:
    """A network under which all sets together take few bits."""
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    started = time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / 30) * (1 - step / STEPS)
        passes = sets[int(torch.randint(len(sets), ()))]
        parts, total = [], 0
        for band, turn, around, values in passes:
            count = min(BATCH // 8, len(values))
            batch = torch.randint(len(values), (count,))
            weight = torch.full((count,), len(values) / count)
            place = torch.full((count,), band), torch.full((count,), turn)
            parts.append((*place, around[batch].float(), values[batch].float(), weight))
            total += len(values)
        band, turn, around, values, weight = (torch.cat(part) for part in zip(*parts, strict=True))
        loss = (bits(network(band, turn, around), values) * weight).sum() / total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            print(f"{step:5} {loss.item():.4f} bits a latent {time.monotonic() - started:.0f} s")
            sys.stdout.flush()
    return network


def main(arguments: list[str]) -> None:
    """Read, train, round and write."""
    *photographs, _, output = arguments
    sets = []
    for path in map(Path, photographs):
        for shrink in (1, 2):
            sets += [examples(path, step, shrink) for step in QUANTISATION_STEPS]
    network = train(sets)
    unit = context_model.INPUT_UNIT * context_model.WEIGHT_UNIT
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
        name: (tensor.detach() * scales.get(name, context_model.WEIGHT_UNIT))
        .round()
        .to(torch.int16)
        .numpy()
        for name, tensor in weights.items()
    }
    save_file(whole, output)


if __name__ == "__main__":
    main(sys.argv[1:])
