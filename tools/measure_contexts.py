"""Compare the two context models: python tools/measure_contexts.py PHOTO...

Bytes of latents, PSNR with the shared post-filter, and processor seconds of encoding and decoding
them, by each model at three qualities; and the mean difference in bytes at equal PSNR (BD-rate).
"""

import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intfit.codecs.latent_steps import step_index
from intfit.codecs.wavelet import codec, payload, transform
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.media.pixels import read_pixels

QUALITIES = (5, 20, 50)
#: Bytes, dB, seconds to encode, seconds to decode.
Row = tuple[int, float, float, float]


def measure(pixels: NDArray, quality: float, contexts: int | None) -> Row:
    """A picture ``[H, W, 3]`` of bytes at a quality, by one of the context models."""
    values = (pixels / np.float32(127.5) - 1).astype(np.float32)
    size = values.shape[:2]
    config = WaveletConfig(3, *size, step_index(quality), common=1, contexts=contexts)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    start = time.process_time()
    data = payload.pack(exact, config)
    packed = time.process_time()
    tensors = payload.unpack(data, config)
    unpacked = time.process_time()
    picture = np.rint((codec.reconstruct(tensors, config).clip(-1, 1) + 1) * 127.5)
    error = float(np.square(picture - pixels.astype(float)).mean())
    return len(data), 10 * np.log10(255**2 / error), packed - start, unpacked - packed


def compare(first: list[Row], second: list[Row]) -> float:
    """The BD-rate of the second against the first, in %; of quadratics through three points."""
    lowest = max(min(row[1] for row in rows) for rows in (first, second))
    highest = min(max(row[1] for row in rows) for rows in (first, second))
    means = []
    for rows in (first, second):
        curve = np.polyint(np.polyfit([row[1] for row in rows], np.log([r[0] for r in rows]), 2))
        means.append((np.polyval(curve, highest) - np.polyval(curve, lowest)) / (highest - lowest))
    return float(100 * np.expm1(means[1] - means[0]))


def main(paths: list[str]) -> None:
    """Measure and print."""
    for path in paths:
        pixels = read_pixels(Path(path).read_bytes())[0][..., :3]
        first, second = (
            [measure(pixels, quality, contexts) for quality in QUALITIES] for contexts in (None, 2)
        )
        print(f"{Path(path).stem}: BD-rate {compare(first, second):+.1f} %")
        for quality, one, two in zip(QUALITIES, first, second, strict=True):
            share = 100 * (two[0] / one[0] - 1)
            print(
                f"  -q {quality}: {one[0]} to {two[0]} bytes, {share:+.1f} %, "
                f"{one[1]:.2f} to {two[1]:.2f} dB, encode {one[2]:.2f} to {two[2]:.2f} s, "
                f"decode {one[3]:.2f} to {two[3]:.2f} s"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
