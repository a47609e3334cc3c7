"""Measure what each network behind the latents of a picture gains, and their refinement.

    python tools/measure_decoder.py PHOTO... --qualities 5,20,35,50 --rounds 2

Prints a JSON line a picture and quality: bytes (250 taken for the header) and PSNR of the transform
alone, with the shared post-filter, with the decoder network, with its adaptation where that pays,
and refined so many times.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from intfit import metrics
from intfit.codecs.channels import invert_axes
from intfit.codecs.latent_steps import RD_LAMBDA, step_index
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.codecs.wavelet.decoder_network import Inputs, apply_postfilter, correct_blocks
from intfit.codecs.wavelet.encoding.adaptation import fit_adaptation
from intfit.codecs.wavelet.postfilter import Features
from intfit.coding import weights
from intfit.media.pixels import read_pixels

#: Bytes of a file besides its payload.
HEADER = 250


def measure(pixels: np.ndarray, quality: float, rounds: int) -> dict[str, tuple[int, float]]:
    """Bytes and PSNR by what was done, of pixels ``[H, W, 3]``."""
    values = pixels.astype(np.float32) / np.float32(127.5) - 1
    config = WaveletConfig(3, *values.shape[:2], step_index(quality), common=2)
    first = exact = transform.analyse(values, config, transform.principal_colours(values))
    colours = exact["colours"]

    def point(size: int, picture: np.ndarray) -> tuple[int, float]:
        decoded = ((picture @ colours + 1) * 127.5).round().clip(0, 255)
        return size, metrics.psnr(pixels, decoded, peak=255.0)

    def cost(made: tuple[int, float]) -> float:
        squared_error = values.size * 4 * 10 ** (-made[1] / 10)
        return squared_error / config.step_size**2 + RD_LAMBDA * 8 * made[0]

    found: dict[str, tuple[int, float]] = {}
    best: list[tuple[int, float]] = []
    for number in range(rounds + 1):
        data = payload.pack(exact, config)
        tensors, size = payload.unpack(data, config), HEADER + len(data)
        features = Features(tensors, config)
        filtered = apply_postfilter(tensors, config, features)
        inputs = Inputs(tensors, config, features.picture, filtered)
        corrected = correct_blocks(inputs, tensors)
        best.append(point(size, corrected))
        if number == 0:
            found["transform"] = point(size, features.picture)
            found["post-filter"] = point(size, filtered)
            found["decoder"] = best[0]
        change = fit_adaptation(inputs, tensors, values @ invert_axes(colours) - filtered)
        if change is not None:
            corrected = correct_blocks(inputs, tensors | {"adaptation": change.dequantise()})
            added = payload.join(b"", weights.pack({"adaptation": change}))
            best.append(point(size + len(added), corrected))
        found[f"refined {number}" if number else "adapted"] = min(best, key=cost)
        shifts = transform.analyse((corrected - features.picture) @ colours, config, colours)
        exact = {k: v if k == "colours" else v - shifts[k] for k, v in first.items()}
    return found


def main() -> None:
    """Parse the command line; measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--qualities", default="5,20,35,50")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    for path in given.photographs:
        pixels, *_ = read_pixels(path.read_bytes())
        for quality in map(float, given.qualities.split(",")):
            found = measure(pixels[..., :3], quality, given.rounds)
            rounded = {name: [size, round(psnr, 4)] for name, (size, psnr) in found.items()}
            print(json.dumps({"picture": path.name, "quality": quality} | rounded), flush=True)


if __name__ == "__main__":
    main()
