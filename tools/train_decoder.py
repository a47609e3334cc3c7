"""Train the shared decoder network, version 4, which `intfit` ships, on photographs.

    python tools/train_decoder.py prepare CACHE PHOTO... --sets 12
    python tools/train_decoder.py train CACHE -o hidden.pt --minutes 60
    python tools/train_decoder.py solve CACHE hidden.pt -o decoder-4.safetensors

``prepare`` encodes parts of every photograph at several steps, mirrored and turned at random, some
of them refined once or tuned for the eye, and keeps what the network sees and the error that is
left in CACHE (a second of work and some 10 MB a part). ``train`` learns the one from the other, in
bfloat16; a part's loss is its squared error by that of the transform alone, so that all qualities
and photographs count alike; stopped, it goes on where it was. ``solve`` then makes, in closed form,
the last layer that is best on average, and the directions in which the best layers of single parts
differ most (principal components, in the metric of what they change in a picture): the basis of
every file's modulation. docs/results/images.md names the photographs.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import Tensor

from intfit.codecs.channels import invert_axes, read_axes, store_axes
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import (
    COARSE_LAYERS,
    DECODER_LAYERS,
    HANDED_ON,
    MODULATION_SIZE,
    WaveletConfig,
)
from intfit.codecs.wavelet.decoder_network import (
    Inputs,
    apply_postfilter,
    correct_blocks,
    split_blocks,
)
from intfit.codecs.wavelet.postfilter import Features
from intfit.codecs.wavelet.smoothing import DIFFERENCES, GUIDED
from intfit.networks.decoder import DecoderNetwork

#: Indices of quantisation steps, of qualities of about 0 to 70.
LAST_STEP = 90
#: A larger photograph is reduced by box averages until its longer side is at most this; some are
#: reduced twice as much. Pixels a side of the part that is encoded, a multiple of 4.
LONGEST, HALVED, PART = 1100, 0.25, 384
#: The shares of parts that are refined once, and that are tuned for the eye.
REFINED, VISUAL = 0.5, 0.25
#: Blocks a side of a training example, examples of a step, learning rate, memory of the average of
#: weights that is kept, steps between reports.
SIDE, BATCH, LR, MEMORY, REPORT = 32, 8, 2e-3, 0.998, 1000
#: The last layer's learning rate by that of the others: what can be known of an error is small
#: beside it, and a step must not be large beside that.
LAST_RATE = 0.2
#: Added to the Gram matrix of all parts, relative to its diagonal; and to that of a part, as a
#: share of the mean of all, so that a part that says little is near to all.
RIDGE, SHRINKAGE = 1e-4, 0.3
#: The least unit of what the last layer sees.
LEAST_SCALE = 0.05
#: Around the inputs: blocks, and places at a quarter of the resolution.
FRAMES = DECODER_LAYERS, COARSE_LAYERS + DECODER_LAYERS // 2
#: The arrays of a part: the network's inputs of both scales, smoothed pictures, errors.
NAMES = ("inputs", "coarse", "smoothed", "errors")
#: The order of a block's four pixels, and of the bands of a level, in the transposed picture.
TURNED_PIXELS, TURNED_BANDS = (0, 2, 1, 3), (1, 0, 2)
#: What a filter of the pictures gives: the channel it is of.
FILTERED = [*(c for _, channels, *_ in GUIDED for c in channels), *(0, 1, 2) * len(DIFFERENCES)]


def draw_part(photograph: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Values ``[h, w, 3]`` in [-1, 1] of a part of a photograph, turned and mirrored at random."""
    factor = -(-max(photograph.size) // LONGEST)
    if rng.random() < HALVED and min(photograph.size) // factor >= 2 * PART:
        factor *= 2
    values = np.asarray(photograph.reduce(factor), np.float32) / np.float32(127.5) - 1
    values = np.rot90(values, int(rng.integers(4)))
    values = values[::-1] if rng.integers(2) else values
    sides = [min(side // 4 * 4, PART) for side in values.shape[:2]]
    top, left = (
        int(rng.integers(side - part + 1))
        for side, part in zip(values.shape[:2], sides, strict=True)
    )
    return np.ascontiguousarray(values[top : top + sides[0], left : left + sides[1]])


def encode_part(values: np.ndarray, config: WaveletConfig, rounds: int) -> dict[str, np.ndarray]:
    """What the network sees of a part, refined so many times through version 3, and the errors."""
    first = exact = transform.analyse(values, config, transform.principal_colours(values))
    colours = read_axes(store_axes(exact["colours"]), 3)
    for left in reversed(range(1 + rounds)):
        quantised = payload.quantise(exact, config)
        through = replace(config, common=3 if left else None)
        tensors = payload.dequantise(
            exact["colours"], quantised.coarsest, quantised.levels, through
        )
        features = Features(tensors, through)
        if left:
            filtered = apply_postfilter(tensors, through, features)
            corrected = correct_blocks(
                Inputs(tensors, through, features.picture, filtered), tensors
            )
            added = ((corrected - features.picture) @ colours).astype(np.float32)
            shifts = transform.analyse(added, config, colours)
            exact = exact | {k: first[k] - v for k, v in shifts.items() if k != "colours"}
    picture = features.picture
    inputs = Inputs(tensors, replace(config, common=4), picture, picture)
    rows = inputs.blocks[0]
    errors = (values @ invert_axes(colours) - picture) / np.float32(config.step_size)
    found = (
        inputs.at(0, rows), inputs.coarse_at(0, rows // 2),
        inputs.smoothed(0, rows), split_blocks(errors, np.arange(rows)),
    )  # fmt: skip
    return {name: array.astype(np.float16) for name, array in zip(NAMES, found, strict=True)}


def prepare(cache: Path, photographs: list[Path], sets: int, seed: int) -> None:
    """Write what is seen and left of every part that is not there yet."""
    cache.mkdir(parents=True, exist_ok=True)
    for path in photographs:
        rng = np.random.default_rng([seed, *path.stem.encode()])
        photograph = Image.open(path).convert("RGB")
        for number in range(sets):
            values = draw_part(photograph, rng)
            step = int((number + rng.random()) * LAST_STEP / sets)
            config = WaveletConfig(3, len(values), values.shape[1], step, contexts=2)
            rounds = int(rng.random() < REFINED)
            if rng.random() < VISUAL:
                config, rounds = replace(config, bands=1), 0
            target = cache / f"{path.stem}-{seed}-{number}.npz"
            if target.exists():
                continue
            arrays: dict[str, Any] = encode_part(values, config, rounds)
            np.savez(target, **arrays)
            print(f"{time.process_time():7.1f} s: {target.name}, step {step}", flush=True)


def read_part(path: Path) -> list[np.ndarray]:
    """The arrays of a part, inputs in their frames."""
    with np.load(path) as stored:
        arrays = [stored[name] for name in NAMES]
    for index, frame in enumerate(FRAMES):
        edges = (0, 0), (frame, frame), (frame, frame)
        arrays[index] = np.pad(arrays[index], edges, mode="edge")
    return arrays


def count_bands(channels: int) -> tuple[list[list[int]], list[np.ndarray]]:
    """Of each array of a part: the order of its channels once transposed, and their colours.

    Those without a colour, steps, have the number 3.
    """
    pixels = [place * channels + i for place in TURNED_PIXELS for i in range(channels)]
    bands = [band * channels + i for band in TURNED_BANDS for i in range(channels)]
    first, last = len(pixels), len(bands)
    inputs = [*pixels, *(first + i for i in bands)]
    coarse = [*inputs, *(first + last + i for i in bands)]
    size = len(FILTERED)
    orders = [
        inputs + list(range(len(inputs), len(inputs) + channels + 1)),
        coarse + list(range(len(coarse), len(coarse) + channels + 1)),
        [place * size + i for place in TURNED_PIXELS for i in range(size)],
        pixels,
    ]
    colours = [np.arange(len(order)) % channels for order in orders]
    colours[0][-1] = colours[1][-1] = channels
    colours[2] = np.array(FILTERED * 4)
    return orders, colours


class Examples:
    """Crops of all parts in a cache, drawn at random."""

    def __init__(self, cache: Path, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._parts = [read_part(path) for path in sorted(cache.glob("*.npz"))]
        self._scales = [1 / float(np.square(p[-1], dtype=np.float32).mean()) for p in self._parts]
        self._orders, self._colours = count_bands(3)

    def draw(self) -> tuple[list[Tensor], Tensor]:
        """The arrays of some crops, as :data:`NAMES`, and the weights ``[B]`` of their squares."""
        drawn: tuple[list[np.ndarray], ...] = ([], [], [], [])
        scales = []
        for index in self._rng.integers(len(self._parts), size=BATCH):
            part = self._parts[index]
            _, height, width = part[-1].shape
            # at whole places of the coarse scale
            top, left = (
                int(self._rng.integers((side - SIDE) // 2 + 1)) for side in (height, width)
            )
            turned = bool(self._rng.integers(2))
            signs = np.append(self._rng.integers(2, size=3) * 2 - 1, 1).astype(np.float16)
            for kind, into in enumerate(drawn):
                scale, frame = 2 if kind != 1 else 1, FRAMES[kind] if kind < 2 else 0
                span = SIDE * scale // 2 + 2 * frame
                rows = slice(top * scale, top * scale + span)
                crop = part[kind][:, rows, left * scale : left * scale + span]
                if turned:
                    crop = crop[self._orders[kind]].swapaxes(1, 2)
                into.append(crop * signs[self._colours[kind]][:, None, None])
            scales.append(self._scales[index])
        arrays = [to_torch(np.stack(crops)) for crops in drawn]
        return arrays, torch.tensor(scales)


def to_torch(array: np.ndarray) -> Tensor:
    """Arrays ``[B, F, h, w]`` in the order of memory that convolutions are fastest in."""
    return torch.from_numpy(array).float().contiguous(memory_format=torch.channels_last)


def make_network() -> DecoderNetwork:
    """The network of version 4 before training."""
    config = WaveletConfig(3, 64, 64, 0, common=4)
    width = config.decoder_shapes()["blocks.0.bias"][0]
    return DecoderNetwork(
        25, 34, 4 * len(FILTERED), 12,
        width=width, layers=DECODER_LAYERS, coarse_layers=COARSE_LAYERS, handed=HANDED_ON,
    )  # fmt: skip


def train(cache: Path, output: Path, minutes: float, seed: int) -> None:
    """Train for so many minutes of processor time; write all that it takes to go on."""
    torch.manual_seed(seed)
    network, examples = make_network(), Examples(cache, seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = list(network.last.parameters())
    others = [p for p in network.parameters() if all(p is not other for other in last)]
    groups = [{"params": others, "share": 1.0}, {"params": last, "share": LAST_RATE}]
    optimizer = torch.optim.Adam(groups, lr=LR, betas=(0.9, 0.99))
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    step, done = 0, 0.0
    if output.exists():
        state = torch.load(output)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        kept, step, done = state["kept"], state["step"], state["done"]
    begun, start, gains = time.process_time(), done, list[float]()
    while done < 1:
        rate = min(1, (step + 1) / 300) * (1 + math.cos(math.pi * done)) / 2
        for group in optimizer.param_groups:
            group["lr"] = LR * rate * group["share"]
        (*seen, errors), weights = examples.draw()
        with torch.autocast("cpu", torch.bfloat16):
            estimate = network(*seen)
        squares = (estimate.float() - errors).square().mean(dim=(1, 2, 3))
        before = errors.square().mean(dim=(1, 2, 3))
        loss = (squares * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        done = start + (time.process_time() - begun) / (60 * minutes)
        memory = min(MEMORY, step / (step + 10))
        for name, tensor in network.state_dict().items():
            kept[name].lerp_(tensor, 1 - memory)
        gains.append(10 * math.log10(float((before * weights).mean() / loss.detach())))
        if step % REPORT == 0 or done >= 1:
            print(f"{step:6} gain {np.mean(gains):.3f} dB, {done:.3f} of the time", flush=True)
            gains = []
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"kept": kept, "step": step, "done": done}, output)


def solve_ridge(gram: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The least-squares solution ``[D, C]``."""
    size = np.sqrt(np.diag(gram)) + 1e-9
    normal = gram / np.outer(size, size) + RIDGE * np.eye(len(gram))
    return np.linalg.solve(normal, moments / size[:, None]) / size[:, None]


@torch.no_grad()
def measure(network: DecoderNetwork, path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Of a part: the Gram matrix of what the last layer sees, products with errors, and squares.

    The matrix is divided by the number of blocks, and so are the others.
    """
    *seen, errors = (to_torch(array[None]) for array in read_part(path))
    values = network.see(*seen).flatten(0, 2)
    values = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
    left = errors.movedim(1, -1).flatten(0, 2)
    gram, moments = values.T @ values, values.T @ left
    count = len(values)
    return gram.numpy() / count, moments.numpy() / count, float(left.square().sum()) / count


def solve(cache: Path, hidden: Path, output: Path) -> None:
    """Write the hidden layers, the last one, its unit, and the basis of its modulation."""
    network = make_network()
    network.load_state_dict(torch.load(hidden)["kept"])
    parts = [measure(network, path) for path in sorted(cache.glob("*.npz"))]
    # between equal weights of errors, and of what is taken away relative to the error that is left
    weights = [max(squares, 1e-4) ** -0.5 for *_, squares in parts]
    pairs = [(w, g.astype(np.float64), m) for w, (g, m, _) in zip(weights, parts, strict=True)]
    gram = sum(w * g for w, g, _ in pairs) / len(parts)
    moments = sum(w * m.astype(np.float64) for w, _, m in pairs) / len(parts)
    size, count = moments.shape
    common = solve_ridge(gram, moments)
    diagonal = np.sqrt(np.diag(gram))
    metric = np.linalg.cholesky(gram / np.outer(diagonal, diagonal) + RIDGE * np.eye(size))
    metric *= diagonal[:, None]
    changes = []
    for weight, own, products in pairs:
        change = np.linalg.solve(
            weight * own + SHRINKAGE * gram, weight * (products - own @ common)
        )
        change = (metric.T @ change).ravel()
        changes.append(change / np.linalg.norm(change))  # so that no part rules the directions
    _, singular, directions = np.linalg.svd(np.stack(changes), full_matrices=False)
    plain = sum(g for _, g, _ in pairs) / len(parts)
    basis = np.empty((MODULATION_SIZE, count, size))
    for row, direction in zip(basis, directions, strict=False):
        row[...] = np.linalg.solve(metric.T, direction.reshape(size, count)).T
        # a unit of modulation changes the values of a block by a step, on average
        row /= np.sqrt(np.trace(row @ plain @ row.T))
    scale = np.sqrt(np.diag(plain)).clip(LEAST_SCALE)
    tensors = {
        name: tensor.numpy() for name, tensor in network.state_dict().items() if "last" not in name
    }
    tensors |= {"last.weight": common.T, "last.scale": scale, "last.basis": basis}
    halves = {name: np.ascontiguousarray(t.astype(np.float16)) for name, t in tensors.items()}
    save_file(halves, output)
    print(f"{len(parts)} parts")
    print("singular values", (singular[:MODULATION_SIZE] / singular[0]).round(2))
    print("largest weights", [float(np.abs(tensor).max().round(2)) for tensor in tensors.values()])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("cache", type=Path)
    first.add_argument("photographs", type=Path, nargs="+")
    first.add_argument("--sets", type=int, default=12)
    second = commands.add_parser("train")
    second.add_argument("cache", type=Path)
    second.add_argument("-o", "--output", type=Path, required=True)
    second.add_argument("--minutes", type=float, default=60)
    third = commands.add_parser("solve")
    third.add_argument("cache", type=Path)
    third.add_argument("hidden", type=Path)
    third.add_argument("-o", "--output", type=Path, required=True)
    for command in (first, second):
        command.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.cache, given.photographs, given.sets, given.seed)
    elif given.command == "train":
        train(given.cache, given.output, given.minutes, given.seed)
    else:
        solve(given.cache, given.hidden, given.output)


if __name__ == "__main__":
    main()
