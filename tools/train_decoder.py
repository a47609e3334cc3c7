"""Train the shared decoder network, which `intfit` ships, on photographs.

    python tools/train_decoder.py prepare CACHE PHOTO...
    python tools/train_decoder.py train CACHE -o decoder-2.safetensors --minutes 60

``prepare`` encodes parts of every photograph at several steps, mirrored and turned at random, and
keeps the network's inputs and the error that is left in CACHE (some 8 MB a part). ``train`` learns
the one from the other, in bfloat16. A part's loss is its squared error by that of the post-filter
alone, so that all qualities and photographs count alike. ``--start`` goes on from a file: the one
shipped was trained first on ten photographs, then on 29 (docs/results/images.md names them).
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import Tensor

from intfit.codecs.channels import invert_axes
from intfit.codecs.latent_steps import RD_LAMBDA
from intfit.codecs.wavelet import context_model, transform
from intfit.codecs.wavelet.config import DECODER_LAYERS, DECODER_WIDTH, WaveletConfig
from intfit.codecs.wavelet.decoder_network import REACH, Inputs, correct_picture, split_blocks
from intfit.codecs.wavelet.postfilter import Features, shared_parameters
from intfit.networks.decoder import DecoderNetwork

#: Indices of quantisation steps, of qualities of about 0 to 90.
FIRST_STEP, LAST_STEP = 0, 116
#: A larger photograph is reduced by box averages until its longer side is at most this; pixels a
#: side of the part that is encoded.
LONGEST, PART = 1100, 512
#: Blocks a side of a training example, examples of a step, learning rate, memory of the average of
#: weights that is kept.
SIDE, BATCH, LR, MEMORY = 16, 32, 2e-3, 0.998
#: The last layer's learning rate by that of the others: what can be known of an error is small
#: beside it, and a step must not be large beside that.
LAST_RATE = 0.2
#: Draws that the last layer is solved on, what is added to the Gram matrix relative to its
#: diagonal, and the least unit of what the last layer sees.
SOLVED, RIDGE, LEAST_SCALE = 1000, 1e-4, 0.05


def read_photograph(path: Path) -> np.ndarray:
    """Values ``[H, W, 3]`` in [-1, 1], reduced where it is large."""
    picture = Image.open(path).convert("RGB")
    picture = picture.reduce(-(-max(picture.size) // LONGEST))
    return np.asarray(picture, np.float32) / np.float32(127.5) - 1


def quantise(values: np.ndarray, step: int) -> tuple[dict[str, np.ndarray], WaveletConfig]:
    """The latents of a picture as a file at this step holds them."""
    config = WaveletConfig(3, *values.shape[:2], step, common=1)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    size = np.float32(config.step_size)
    names = [name for name in config.shapes() if name.startswith("levels.")]
    bands = [exact[name] / size for name in names]
    levels, _ = context_model.quantise(
        [bands[i : i + 3] for i in range(0, len(bands), 3)], RD_LAMBDA
    )
    latents = {"colours": exact["colours"], "coarsest": np.rint(exact["coarsest"] / size) * size}
    rounded = (band for level in levels for band in level)
    for name, band in zip(names, rounded, strict=True):
        latents[name] = band.astype(np.float32) * size
    return latents, config


def prepare(cache: Path, photographs: list[Path], sets: int, seed: int) -> None:
    """Write the inputs, the errors and their mean square of every set."""
    rng = np.random.default_rng(seed)
    cache.mkdir(parents=True, exist_ok=True)
    for path in photographs:
        original = read_photograph(path)
        for step in np.linspace(FIRST_STEP, LAST_STEP, sets):
            index = round(step + rng.uniform(-0.5, 0.5) * (LAST_STEP - FIRST_STEP) / sets)
            values = np.rot90(original, rng.integers(4))
            values = values[::-1] if rng.integers(2) else values
            top, left = (int(rng.integers(max(side - PART, 0) + 1)) for side in values.shape[:2])
            values = np.ascontiguousarray(values[top : top + PART, left : left + PART])
            latents, config = quantise(values, index)
            latents |= shared_parameters(config)
            features = Features(latents, config)
            filtered = correct_picture(latents, config, features)
            error = values @ invert_axes(latents["colours"]) - filtered
            inputs = Inputs(latents, config, features.picture, filtered)
            blocks = split_blocks(error / np.float32(config.step_size), np.arange(inputs.blocks[0]))
            seen = inputs.at(-REACH, inputs.blocks[0] + REACH)
            frame = (0, 0), (0, 0), (REACH, REACH)
            seen = np.pad(seen, frame, mode="edge")
            name = f"{path.stem}-{index:03}"
            np.save(cache / f"{name}.inputs.npy", seen.astype(np.float16))
            np.save(cache / f"{name}.errors.npy", blocks.astype(np.float16))
            print(name, f"{float(np.square(blocks).mean()):.4f}", flush=True)


def swap_axes(channels: int) -> tuple[list[int], list[int]]:
    """The order of inputs and of outputs in the transposed picture."""
    places = [0, 2, 1, 3]  # of the pixels of a block
    places += [5, 4, 6, 8, 7, 9]  # bands across and down
    inputs = [place * channels + i for place in places for i in range(channels)]
    errors = inputs[: 4 * channels]
    inputs += [10 * channels + place for place in places[:4]]
    return [*inputs, *range(10 * channels + 4, 11 * channels + 5)], errors


class Examples:
    """Crops of all sets in a cache, drawn at random."""

    def __init__(self, cache: Path, seed: int) -> None:
        paths = sorted(cache.glob("*.inputs.npy"))
        self._rng = np.random.default_rng(seed)
        self._inputs = [np.load(path, mmap_mode="r") for path in paths]
        self._errors = [
            np.load(str(path).replace("inputs", "errors"), mmap_mode="r") for path in paths
        ]
        self._scales = [1 / float(np.square(e, dtype=np.float32).mean()) for e in self._errors]
        self._orders = swap_axes(3)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs ``[B, F, h, w]``, errors and the weights ``[B]`` of their squares."""
        drawn: tuple[list[np.ndarray], list[np.ndarray], list[float]] = ([], [], [])
        span = SIDE + 2 * REACH
        for index in self._rng.integers(len(self._inputs), size=BATCH):
            _, height, width = self._errors[index].shape
            top, left = (
                int(self._rng.integers(height - SIDE)),
                int(self._rng.integers(width - SIDE)),
            )
            inputs = self._inputs[index][:, top : top + span, left : left + span]
            errors = self._errors[index][:, top : top + SIDE, left : left + SIDE]
            if self._rng.integers(2):
                inputs, errors = (
                    part[order].swapaxes(1, 2)
                    for part, order in zip((inputs, errors), self._orders, strict=True)
                )
            for into, part in zip(drawn, (inputs, errors, self._scales[index]), strict=True):
                into.append(part)
        inputs, errors = (torch.from_numpy(np.stack(part)).float() for part in drawn[:2])
        return inputs, errors, torch.tensor(drawn[2])


def train(cache: Path, output: Path, minutes: float, start: Path | None, seed: int) -> None:
    """Train for so many minutes; write the weights now and then."""
    torch.manual_seed(seed)
    examples = Examples(cache, seed)
    network = DecoderNetwork(38, 12, DECODER_WIDTH, DECODER_LAYERS)
    if start is not None:
        network.load_state_dict(read_weights(start))
    network.to(memory_format=torch.channels_last)
    kept = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    groups = [
        {"params": list(network.blocks.parameters()), "share": 1.0},
        {"params": list(network.last.parameters()), "share": LAST_RATE},
    ]
    optimizer = torch.optim.Adam(groups, lr=LR, betas=(0.9, 0.99))
    begun, step, sums, written = time.monotonic(), 0, 0.0, time.monotonic()
    while (done := (time.monotonic() - begun) / (60 * minutes)) < 1:
        rate = min(1, (step + 1) / 300) * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = LR * rate * group["share"]
        inputs, errors, weights = examples.draw()
        with torch.autocast("cpu", torch.bfloat16):
            estimate = network(inputs.to(memory_format=torch.channels_last))
        squares = (estimate.float() - errors).square().mean(dim=(1, 2, 3))
        before = errors.square().mean(dim=(1, 2, 3))
        loss = (squares * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        memory = min(MEMORY, step / (step + 10))
        for name, tensor in network.state_dict().items():
            kept[name].lerp_(tensor, 1 - memory)
        sums += 10 * math.log10(float((before * weights).mean() / loss.detach()))
        if step % 500 == 0:
            print(f"{step:6} gain {sums / 500:.3f} dB, {done:.3f} of the time", flush=True)
            sums = 0.0
        if time.monotonic() - written > 60:
            written = time.monotonic()
            write(kept, output)
    write(kept, output)
    network.load_state_dict(kept)
    solve_last_layer(network, examples)
    write(network.state_dict(), output)


def see(network: DecoderNetwork, inputs: Tensor) -> Tensor:
    """What the last layer sees, and 1: ``[D + 1, n]`` at all places of ``[B, F, h, w]``."""
    seen: list[Tensor] = []
    hook = network.last.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        network(inputs.to(memory_format=torch.channels_last))
    hook.remove()
    flat = seen[0].float().transpose(0, 1).flatten(1)
    return torch.cat([flat, torch.ones_like(flat[:1])])


@torch.no_grad()
def solve_last_layer(network: DecoderNetwork, examples: "Examples") -> None:
    """The last layer by least squares, on :data:`SOLVED` draws."""
    size = network.last.in_channels + 1
    gram, moments = torch.zeros(size, size).double(), torch.zeros(size, 12).double()
    for _ in range(SOLVED):
        inputs, errors, weights = examples.draw()
        root = weights.sqrt()[:, None, None, None].expand_as(errors[:, :1]).flatten()
        seen = see(network, inputs) * root
        gram += (seen @ seen.T).double()
        moments += (seen @ (errors.transpose(0, 1).flatten(1) * root).T).double()
    gram.diagonal().mul_(1 + RIDGE)
    solution = torch.linalg.solve(gram, moments).T.float()
    network.last.weight.copy_(solution[:, :-1, None, None])
    network.last.bias.copy_(solution[:, -1])


def write(weights: dict[str, Tensor], output: Path) -> None:
    """Write weights in half precision; those of the last layer with its biases."""
    arrays = {name: t.contiguous().numpy().astype(np.float16) for name, t in weights.items()}
    last = [arrays.pop("last.weight")[..., 0, 0], arrays.pop("last.bias")[:, None]]
    arrays["last.weight"] = np.concatenate(last, axis=1)
    save_file(arrays, output)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights that :func:`write` wrote."""
    weights = {k: torch.from_numpy(v.astype(np.float32)) for k, v in load_file(path).items()}
    weights.pop("last.scale", None)
    last = weights.pop("last.weight")
    return weights | {"last.weight": last[:, :-1, None, None], "last.bias": last[:, -1]}


@torch.no_grad()
def add_scale(cache: Path, path: Path) -> None:
    """Add to a file what the last layer sees on average, which changes of it are measured by."""
    network = DecoderNetwork(38, 12, DECODER_WIDTH, DECODER_LAYERS)
    network.load_state_dict(read_weights(path))
    examples, total = Examples(cache, 1), torch.zeros(network.last.in_channels + 1)
    for _ in range(SOLVED):
        total += see(network, examples.draw()[0]).square().mean(dim=1)
    scale = (total / SOLVED).sqrt().clamp(min=LEAST_SCALE).numpy().astype(np.float16)
    save_file(load_file(path) | {"last.scale": scale}, path)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("cache", type=Path)
    first.add_argument("photographs", type=Path, nargs="+")
    first.add_argument("--sets", type=int, default=8)
    second = commands.add_parser("train")
    second.add_argument("cache", type=Path)
    second.add_argument("-o", "--output", type=Path, required=True)
    second.add_argument("--minutes", type=float, default=60)
    second.add_argument("--start", type=Path)
    for command in (first, second):
        command.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.cache, given.photographs, given.sets, given.seed)
    else:
        train(given.cache, given.output, given.minutes, given.start, given.seed)
        add_scale(given.cache, given.output)


if __name__ == "__main__":
    main()
