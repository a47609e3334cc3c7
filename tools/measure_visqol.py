"""Score recordings by ViSQOL beside Zimtohrli: intfit at some qualities, and Opus at some bitrates.

    pip install visqol-python        (its libsvm is built by a C++ compiler)
    python tools/measure_visqol.py RECORDING... --qualities 40,55,70 --bitrates 12,16,24

ViSQOL 3 in its mode for audio, at 48 kHz: the mean over channels. It takes a second of processor
time for each second, so `intfit bench rd` does without it.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from visqol.api import VisqolApi

from intfit import api
from intfit.bench.rivals import code_recording
from intfit.media import audio
from intfit.metrics import perceptual
from intfit.settings import Settings

Coded = tuple[int, NDArray]


def code_by_intfit(data: bytes, suffix: str, quality: float) -> Coded:
    """The bytes of a file at a quality, and the samples ``[N, C]`` that it decodes to."""
    encoded = api.encode(data, Settings(quality=quality, device="cpu"), suffix=suffix)
    decoded = api.render(api.load(encoded.data, device="cpu"), audio.Target())
    return len(encoded.data), decoded


def measure_visqol(ear: VisqolApi, original: NDArray, decoded: NDArray, rate: int) -> float:
    """The mean opinion score of channels."""
    scores = []
    for pair in zip(original.T, decoded.T, strict=True):
        heard = [soxr.resample(c.astype(np.float64), rate, 48000) for c in pair]
        scores.append(ear.measure_from_arrays(*heard, 48000).moslqo)
    return float(np.mean(scores))


def main() -> None:
    """Print a line for each recording, codec and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--qualities", default="40,55,70")
    parser.add_argument("--bitrates", default="12,16,24")
    arguments = parser.parse_args()
    ear = VisqolApi()
    ear.create(mode="audio")
    for path in arguments.recordings:
        data = path.read_bytes()
        original, facts = audio.read_samples(data)
        rate = facts["sample_rate"]
        runs: list[tuple[str, str, Callable[[], Coded]]] = [
            ("intfit", quality, partial(code_by_intfit, data, path.suffix, float(quality)))
            for quality in arguments.qualities.split(",")
        ]
        runs += [
            ("opus", bitrate, partial(code_recording, "opus", float(bitrate), data))
            for bitrate in arguments.bitrates.split(",")
        ]
        for codec, setting, run in runs:
            size, decoded = run()
            kbps = 8 * size * rate / len(original) / 1000
            visqol = measure_visqol(ear, original, decoded, rate)
            zimtohrli = perceptual.zimtohrli(original, decoded, rate=rate)
            print(f"{path.name} {codec} {setting}: {kbps:.1f} kbps, ViSQOL {visqol:.2f}", end=", ")
            print(f"Zimtohrli {zimtohrli:.2f}", flush=True)


if __name__ == "__main__":
    main()
