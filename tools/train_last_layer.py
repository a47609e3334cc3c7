"""Learn the decoder network's last layer of version 3, and the basis of its modulation.

    python tools/train_last_layer.py collect CACHE PHOTO...
    python tools/train_last_layer.py solve CACHE -o decoder-3.safetensors

``collect`` encodes parts of every photograph at several steps, mirrored and turned at random, some
of them refined once or tuned for the eye, and keeps in CACHE, for each, the Gram matrix of what the
last layer sees and its products with the error that is left: half a second and 200 kB a part.
``solve`` makes, in closed form, the layer that is best on average, and the directions in which the
best layers of single parts differ most (principal components, in the metric of what they change in
a picture). The layers below are those of version 2. docs/results/images.md names the photographs.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from intfit.codecs.channels import invert_axes, read_axes, store_axes
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import MODULATION_SIZE, ORIENTATIONS, WaveletConfig
from intfit.codecs.wavelet.decoder_network import Inputs, apply_postfilter, correct_blocks
from intfit.codecs.wavelet.encoding.adaptation import accumulate
from intfit.codecs.wavelet.postfilter import Features, shared_parameters

#: Indices of quantisation steps, of qualities of about 0 to 70.
LAST_STEP = 90
#: A larger photograph is reduced by box averages until its longer side is at most this; some are
#: reduced twice as much. Pixels a side of the part that is encoded.
LONGEST, HALVED, PART = 1100, 0.25, 384
#: The shares of parts that are refined once, and that are tuned for the eye.
REFINED, VISUAL = 0.5, 0.25
#: Added to the Gram matrix of all parts, relative to its diagonal; and to that of a part, as a
#: share of the mean of all, so that a part that says little is near to all.
RIDGE, SHRINKAGE = 1e-4, 0.3
#: The least unit of what the last layer sees.
LEAST_SCALE = 0.05
#: Quantities of a part, by name.
Part = dict[str, np.ndarray]


def draw_part(photograph: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Values ``[h, w, 3]`` in [-1, 1] of a part of a photograph, turned and mirrored at random."""
    factor = -(-max(photograph.size) // LONGEST)
    if rng.random() < HALVED and min(photograph.size) // factor >= 2 * PART:
        factor *= 2
    values = np.asarray(photograph.reduce(factor), np.float32) / np.float32(127.5) - 1
    values = np.rot90(values, rng.integers(4))
    values = values[::-1] if rng.integers(2) else values
    sides = [min(side, PART) for side in values.shape[:2]]
    top, left = (
        int(rng.integers(side - part + 1))
        for side, part in zip(values.shape[:2], sides, strict=True)
    )
    return np.ascontiguousarray(values[top : top + sides[0], left : left + sides[1]])


def make_tensors(quantised: payload.Quantised, colours: np.ndarray, config: WaveletConfig) -> Part:
    """The tensors of integer latents, and the shared networks."""
    size = np.float32(config.coarsest_step())
    tensors = {"colours": colours, "coarsest": quantised.coarsest.astype(np.float32) * size}
    for level, bands in enumerate(quantised.levels):
        size = np.float32(config.band_step(level))
        for name, band in zip(ORIENTATIONS, bands, strict=True):
            tensors[f"levels.{level}.{name}"] = band.astype(np.float32) * size
    return tensors | shared_parameters(config)


def measure(values: np.ndarray, config: WaveletConfig, rounds: int) -> Part:
    """The sums of a part, refined so many times through the networks of version 2."""
    first = exact = transform.analyse(values, config, transform.principal_colours(values))
    colours = read_axes(store_axes(exact["colours"]), 3)
    for left in reversed(range(1 + rounds)):
        tensors = make_tensors(payload.quantise(exact, config), colours, config)
        features = Features(tensors, config)
        filtered = apply_postfilter(tensors, config, features)
        inputs = Inputs(tensors, config, features.picture, filtered)
        if left:
            added = (correct_blocks(inputs, tensors) - features.picture) @ colours
            shifts = transform.analyse(added, config, colours)
            exact = exact | {k: first[k] - v for k, v in shifts.items() if k != "colours"}
    weight = tensors["common.last.weight"]
    modulated = replace(config, common=3)
    seen = modulated.decoder_shapes()["last.weight"][1]
    padded = np.zeros((len(weight), seen), np.float32)
    padded[:, : weight.shape[1] - 1], padded[:, -1] = weight[:, :-1], weight[:, -1]
    tensors["common.last.weight"] = padded
    inputs = Inputs(tensors, modulated, features.picture, filtered)
    error = values @ invert_axes(colours) - filtered
    gram, moments = accumulate(inputs, tensors, error)
    squares = np.square(error / np.float32(config.step_size), dtype=np.float64).sum()
    return {
        "gram": gram.astype(np.float32), "moments": moments.astype(np.float32),
        "squares": squares, "weight": padded,
    }  # fmt: skip


def collect(cache: Path, photographs: list[Path], sets: int, seed: int) -> None:
    """Write the sums of every set."""
    cache.mkdir(parents=True, exist_ok=True)
    for path in photographs:
        rng = np.random.default_rng([seed, *path.stem.encode()])
        photograph = Image.open(path).convert("RGB")
        for number in range(sets):
            values = draw_part(photograph, rng)
            step = int((number + rng.random()) * LAST_STEP / sets)
            config = WaveletConfig(3, *values.shape[:2], step, common=2, contexts=2)
            rounds = int(rng.random() < REFINED)
            if rng.random() < VISUAL:
                config, rounds = replace(config, bands=1), 0
            target = cache / f"{path.stem}-{number}.npz"
            if target.exists():
                continue
            np.savez(target, **measure(values, config, rounds))
            print(f"{time.process_time():7.1f} s: {target.name}, step {step}", flush=True)


def solve_ridge(gram: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The least-squares solution ``[D, C]``."""
    size = np.sqrt(np.diag(gram)) + 1e-9
    normal = gram / np.outer(size, size) + RIDGE * np.eye(len(gram))
    return np.linalg.solve(normal, moments / size[:, None]) / size[:, None]


def solve(cache: Path, output: Path) -> None:
    """Write the last layer, its unit, and the basis of its modulation."""
    parts = [dict(np.load(path)) for path in sorted(cache.glob("*.npz"))]
    # between equal weights of errors, and of what is taken away relative to the error that is left
    weights = [max(float(part["squares"]), 1.0) ** -0.5 for part in parts]
    pairs = list(zip(weights, parts, strict=True))
    gram = sum(w * part["gram"].astype(np.float64) for w, part in pairs) / len(parts)
    moments = sum(w * part["moments"].astype(np.float64) for w, part in pairs) / len(parts)
    size, count = moments.shape
    common = solve_ridge(gram, moments)
    diagonal = np.sqrt(np.diag(gram))
    metric = np.linalg.cholesky(gram / np.outer(diagonal, diagonal) + RIDGE * np.eye(size))
    metric *= diagonal[:, None]
    changes = []
    for weight, part in pairs:
        own, products = weight * part["gram"], weight * part["moments"]
        change = np.linalg.solve(own + SHRINKAGE * gram, products - own @ common)
        change = (metric.T @ change).ravel()
        changes.append(change / np.linalg.norm(change))  # so that no part rules the directions
    _, singular, directions = np.linalg.svd(np.stack(changes), full_matrices=False)
    places = sum(float(part["gram"][-1, -1]) for part in parts)
    plain = sum(part["gram"].astype(np.float64) for part in parts) / places
    basis = np.empty((MODULATION_SIZE, count, size))
    for row, direction in zip(basis, directions, strict=False):
        row[...] = np.linalg.solve(metric.T, direction.reshape(size, count)).T
        # a unit of modulation changes the values of a block by a step, on average
        row /= np.sqrt(np.trace(row @ plain @ row.T))
    scale = np.sqrt(np.diag(plain)).clip(LEAST_SCALE)
    tensors = {
        "last.weight": parts[0]["weight"] + common.T, "last.scale": scale, "last.basis": basis,
    }  # fmt: skip
    save_file({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, output)
    print(f"{len(parts)} parts")
    print("singular values", (singular[:MODULATION_SIZE] / singular[0]).round(2))
    print("largest weights", [float(np.abs(tensor).max().round(2)) for tensor in tensors.values()])


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("collect")
    first.add_argument("cache", type=Path)
    first.add_argument("photographs", type=Path, nargs="+")
    first.add_argument("--sets", type=int, default=6)
    first.add_argument("--seed", type=int, default=0)
    second = commands.add_parser("solve")
    second.add_argument("cache", type=Path)
    second.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "collect":
        collect(given.cache, given.photographs, given.sets, given.seed)
    else:
        solve(given.cache, given.output)


if __name__ == "__main__":
    main()
