"""Measure what each network behind the latents of a picture gains, and their refinement.

    python tools/measure_decoder.py PHOTO... --qualities 5,20,35,50 --rounds 2 --shared 3

Prints a JSON line a picture and quality: bytes (250 taken for the header) and PSNR of the transform
alone, with the shared post-filter, with the decoder network of that version as it is, modulated,
adapted where that pays, and refined so many times. ``--summary FILE...`` prints BD-rates of such
lines against those of the first file's post-filter, one line a file.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from intfit import metrics
from intfit.codecs.channels import invert_axes, read_axes, store_axes
from intfit.codecs.latent_steps import RD_LAMBDA, step_index
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import NEWEST_SHARED, WaveletConfig
from intfit.codecs.wavelet.decoder_network import Inputs, apply_postfilter, correct_blocks
from intfit.codecs.wavelet.encoding.adaptation import fit_last_layer
from intfit.codecs.wavelet.postfilter import Features, shared_parameters
from intfit.coding import weights
from intfit.media.pixels import read_pixels

#: Bytes of a file besides its payload.
HEADER = 250
#: Bytes and PSNR by what was done.
Points = dict[str, tuple[int, float]]


def measure(pixels: np.ndarray, quality: float, rounds: int, shared: int) -> Points:
    """Bytes and PSNR of pixels ``[H, W, 3]``, with networks of the version ``shared``."""
    values = pixels.astype(np.float32) / np.float32(127.5) - 1
    step = step_index(quality)
    plain = WaveletConfig(3, len(values), values.shape[1], step, contexts=2)
    config = replace(plain, common=shared)
    first = exact = transform.analyse(values, config, transform.principal_colours(values))
    colours = read_axes(store_axes(exact["colours"]), 3)

    def point(size: int, picture: np.ndarray) -> tuple[int, float]:
        decoded = ((picture @ colours + 1) * 127.5).round().clip(0, 255)
        return size, metrics.psnr(pixels, decoded, peak=255.0)

    def cost(made: tuple[int, float]) -> float:
        squared_error = values.size * 4 * 10 ** (-made[1] / 10)
        return squared_error / config.step_size**2 + RD_LAMBDA * 8 * made[0]

    found: Points = {}
    best: list[tuple[int, float]] = []
    for number in range(rounds + 1):
        data = payload.pack(exact["colours"], payload.quantise(exact, config))
        size = HEADER + len(data)
        tensors = payload.unpack(data, plain) | shared_parameters(config)
        features = Features(tensors, config)
        filtered = apply_postfilter(tensors, config, features)
        inputs = Inputs(tensors, config, features.picture, filtered)
        corrected = correct_blocks(inputs, tensors)
        best.append(point(size, corrected))
        if number == 0:
            found["transform"] = point(size, features.picture)
            found["post-filter"] = point(size, filtered)
            found["decoder"] = found["modulation"] = best[0]
        error = (values @ invert_axes(colours) - filtered).astype(np.float32)
        for name, change in fit_last_layer(inputs, tensors, error):
            size += len(payload.join(b"", weights.pack({name: change})))
            tensors |= {name: change.dequantise()}
            corrected = correct_blocks(inputs, tensors)
            best.append(point(size, corrected))
            if number == 0:
                found[name] = best[-1]
        found[f"refined {number}" if number else "adapted"] = min(best, key=cost)
        added = ((corrected - features.picture) @ colours).astype(np.float32)
        shifts = transform.analyse(added, config, colours)
        exact = {k: v if k == "colours" else v - shifts[k] for k, v in first.items()}
    return found


def summarise(files: list[Path]) -> None:
    """Print BD-rates by PSNR against the post-filter alone in the first file."""
    curves: list[dict[str, dict[str, list[tuple[int, float]]]]] = []
    for file in files:
        curves.append({})
        for line in file.read_text().splitlines():
            point = json.loads(line)
            of_picture = curves[-1].setdefault(point.pop("picture"), {})
            del point["quality"]
            for name, pair in point.items():
                of_picture.setdefault(name, []).append(pair)
    for file, pictures in zip(files, curves, strict=True):
        names = dict.fromkeys(name for curve in pictures.values() for name in curve)
        for name in names:
            rates = []
            for picture, of_picture in pictures.items():
                if len(of_picture.get(name, [])) == len(of_picture["transform"]):
                    base, other = curves[0][picture]["post-filter"], of_picture[name]
                    pairs = [zip(*curve, strict=True) for curve in (base, other)]
                    sizes = [[list(map(float, row)) for row in pair] for pair in pairs]
                    rates.append(metrics.bd_rate(*sizes[0], *sizes[1]))
            known = [rate for rate in rates if rate is not None]
            rates.append(float(np.mean(known)) if known else None)
            line = " ".join("     -" if rate is None else f"{rate:+6.1f}" for rate in rates)
            print(f"{file.stem:12} {name:12} {line}")


def main() -> None:
    """Parse the command line; measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--qualities", default="5,20,35,50")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shared", type=int, default=NEWEST_SHARED)
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    if given.summary:
        summarise(given.photographs)
        return
    for path in given.photographs:
        pixels, *_ = read_pixels(path.read_bytes())
        for quality in map(float, given.qualities.split(",")):
            found = measure(pixels[..., :3], quality, given.rounds, given.shared)
            rounded = {name: [size, round(psnr, 4)] for name, (size, psnr) in found.items()}
            print(json.dumps({"picture": path.name, "quality": quality} | rounded), flush=True)


if __name__ == "__main__":
    main()
