"""Draw spectrograms of recordings: original, intfit at a quality, and Opus at a bitrate.

    python tools/draw_spectrograms.py OUTPUT.png RECORDING:QUALITY:KBPS:START:SECONDS...

Needs matplotlib; the scores in titles are Zimtohrli's of the whole recording.
"""

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from intfit import api
from intfit.bench.rivals import code_recording
from intfit.media import audio
from intfit.metrics import perceptual
from intfit.settings import Settings

matplotlib.use("Agg")
import matplotlib.pyplot as plt

#: Samples of a window, and what is drawn, in dB.
WINDOW, QUIETEST, LOUDEST = 1024, -130, -40


def draw_column(column: np.ndarray, path: Path, quality: float, kbps: float, part: slice) -> None:
    """Three spectrograms of a recording, of the seconds of ``part``, the mean of channels."""
    data = path.read_bytes()
    original, facts = audio.read_samples(data)
    rate = facts["sample_rate"]
    encoded = api.encode(data, Settings(quality=quality, device="cpu"), suffix=path.suffix)
    decoded = api.render(api.load(encoded.data, device="cpu"), audio.Target())
    runs = [("original", 0, original), ("intfit", len(encoded.data), decoded)]
    runs.append(("Opus", *code_recording("opus", kbps, data)))
    for axes, (name, size, samples) in zip(column, runs, strict=True):
        title = f"{path.stem}: {name}"
        if size:
            score = perceptual.zimtohrli(original, samples, rate=rate)
            title += f", {8 * size * rate / len(original) / 1000:.1f} kbps, {score:.2f}"
        heard = samples[int(part.start * rate) : int(part.stop * rate)].mean(axis=1)
        axes.specgram(
            heard + 1e-9, NFFT=WINDOW, Fs=rate / 1000, noverlap=WINDOW // 2,
            vmin=QUIETEST, vmax=LOUDEST, cmap="magma",
        )  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_ylabel("kHz", fontsize=8)
    column[-1].set_xlabel("ms", fontsize=8)


def main() -> None:
    """Draw a column for each recording, and write a PNG of few colours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("recordings", nargs="+", metavar="RECORDING:QUALITY:KBPS:START:SECONDS")
    arguments = parser.parse_args()
    count = len(arguments.recordings)
    figure, axes = plt.subplots(
        3, count, figsize=(5.5 * count, 8), sharex="col", sharey="col", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for index, text in enumerate(arguments.recordings):
        path, quality, kbps, start, seconds = text.rsplit(":", 4)
        part = slice(float(start), float(start) + float(seconds))
        draw_column(axes[:, index], Path(path), float(quality), float(kbps), part)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=70)
    picture = Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=48)
    picture.save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
