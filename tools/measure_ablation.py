"""What each part of a recording that is tuned for hearing gains: Zimtohrli at equal bit rates.

    python tools/measure_ablation.py RECORDING... -o ablation.jsonl

Five seconds of each recording, from the first second on, are encoded with all parts, and with one
left out at a time, in memory. Each row's step is searched so that the payload has about the bit
rate that is asked for; a score is corrected for what is left of the difference. The networks count
as in a recording that is as long as they describe. A run that was ended goes on where it was.
"""

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from intfit.codecs.channels import invert_axes, principal_axes
from intfit.codecs.mdct import codec
from intfit.codecs.mdct.config import NEWEST_BANDS, MdctConfig
from intfit.codecs.mdct.hearing import envelope, payload, shaping
from intfit.codecs.mdct.hearing.bands import BAND_COUNTS
from intfit.codecs.mdct.hearing.training import train_networks
from intfit.codecs.mdct.transform import pad
from intfit.media import audio
from intfit.metrics import perceptual
from intfit.plan import make_plan
from intfit.settings import Settings

START, SECONDS = 1, 5
#: A rate within this share of the one asked for is near enough; steps that are tried for it.
NEAR, TRIES = 0.04, 5
#: What a score grows by when the rate grows by the factor e; and what the logarithm of the rate
#: changes by, about, when a step's index grows by 1.
SCORE_SLOPE, RATE_SLOPE = 0.8, 1 / 30
#: A table of steps by frequency in which all are equal, for each version.
FLAT = dict.fromkeys(shaping.STEP_OFFSETS, ((200, 0), (3500, 0)))


def without_network(
    networks: list[Any], config: object, sizes: list[int], rate: int
) -> list[NDArray[Any]]:
    """In place of the envelope's levels: the same everywhere."""
    channels, level = networks[0]["layers.3.bias"].integers.size, envelope.MIDDLE * 16
    return [np.full((BAND_COUNTS[size], channels), level) for size in sizes]


def without_levels(
    coder: object, sizes: list[int], predicted: list[Any], *exact: object
) -> list[Any]:
    """In place of coded levels: those of the envelope."""
    return [np.zeros_like(levels) for levels in predicted]


#: What is replaced for each row: names in modules, and their values.
Patches = dict[ModuleType, dict[str, Any]]
GRID = "no network: a grid of levels, coded alone"
ROWS: dict[str, Patches] = {
    "all": {},
    GRID: {payload: {"predict_levels": without_network}},
    "the network alone, without levels": {payload: {"code_differences": without_levels}},
    "no shaping: equal steps": {
        payload: {"SLOPE": 0, "TILT": 0},
        shaping: {"STEP_OFFSETS": FLAT},
    },
    "no steps by frequency": {shaping: {"STEP_OFFSETS": FLAT}},
    "sizes of blocks by bits alone": {payload: {"LEAST_GAIN": 0.0}},
    "no noise in place of zeros": {shaping: {"NOISE_SHARE": 1e-6}},
    "noise the same throughout a block": {shaping: {"SLOPE_SHARE": 0.0, "SMOOTH_SHARE": 0.0}},
    "no less noise below 300 Hz": {shaping: {"LOW_NOISE": 1.0}},
}


@dataclass(frozen=True)
class Recording:
    """Samples ``[N, C]`` at a rate, and what they are packed from."""

    samples: NDArray[Any]
    peak: float
    padded: NDArray[Any]
    axes: NDArray[Any]
    networks: payload.Networks
    config: MdctConfig

    def pack(self, step: int, row: str) -> tuple[float, NDArray[Any]]:
        """The kbps of the payload, and what it decodes to."""
        config = replace(self.config, step=step)
        with ExitStack() as stack:
            for module, values in ROWS[row].items():
                stack.enter_context(mock.patch.multiple(module, **values))
            shaping.offset_bands.cache_clear()
            packer = payload.Packer(self.padded, self.axes, self.networks, config)
            data = packer.pack(config)
            decoded = codec.reconstruct(payload.unpack(data, config), config)
        shaping.offset_bands.cache_clear()
        network, seconds = len(self.networks.data), config.frames / config.rate
        counted = network * min(1.0, seconds / envelope.PIECE_SECONDS)
        if row == GRID:
            counted = 0
        size = len(data) - network + counted
        return 8 * size / seconds / 1000, decoded * np.float32(self.peak)


def prepare(path: Path) -> Recording:
    """Read a part of a recording, and train its networks."""
    samples, facts = audio.read_samples(path.read_bytes())
    rate = facts["sample_rate"]
    samples = samples[START * rate : (START + SECONDS) * rate]
    config = MdctConfig(samples.shape[1], len(samples), 0, rate, codec.NEURONS, NEWEST_BANDS)
    peak = float(np.abs(samples).max())
    axes = principal_axes(samples / peak)
    padded = pad((samples / peak @ invert_axes(axes)).astype("f"), config)
    plan = make_plan(
        Settings(device="cpu", field="latent"), kind="audio", n=len(samples), features=(2, 1)
    )
    networks, _ = train_networks(padded, config, plan, "cpu")
    return Recording(samples, peak, padded, axes, networks, config)


def search(recording: Recording, row: str, kbps: float, step: int) -> tuple[float, int]:
    """The score at a rate, and the step for it, from the first ``step`` to be tried on."""
    tried: dict[int, tuple[float, float]] = {}
    while len(tried) < TRIES and step not in tried:
        rate, decoded = recording.pack(step, row)
        score = perceptual.zimtohrli(recording.samples, decoded, rate=recording.config.rate)
        assert score is not None, "zimtohrli is missing"
        tried[step] = rate, score
        if abs(math.log(rate / kbps)) < NEAR:
            break
        step += round(math.log(kbps / rate) / RATE_SLOPE)
    best = min(tried, key=lambda step: abs(math.log(tried[step][0] / kbps)))
    rate, score = tried[best]
    return score + SCORE_SLOPE * math.log(kbps / rate), best


def measure(paths: list[Path], kbps: float, log: Path) -> Iterator[dict[str, Any]]:
    """A line for each recording and row; those that the log has are not measured again."""
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for path in paths:
        recording, step = None, codec.hearing_step(40)
        for row in ROWS:
            name = {"recording": path.name, "row": row, "kbps": kbps}
            found = [line for line in known if name.items() <= line.items()]
            if found:
                step = found[0]["step"]
                continue
            recording = recording or prepare(path)
            score, step = search(recording, row, kbps, step)
            line = {**name, "score": score, "step": step}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            known.append(line)
            yield line


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation.jsonl"))
    parser.add_argument("--kbps", type=float, default=14.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for line in measure(arguments.recordings, arguments.kbps, arguments.output):
        print(line, flush=True)
    lines = [json.loads(line) for line in arguments.output.read_text().splitlines()]
    names = [path.name for path in arguments.recordings]
    print("| | mean |", " | ".join(names), "|\n|---|---|" + "---|" * len(names))
    for row in ROWS:
        keys = [{"recording": name, "row": row, "kbps": arguments.kbps} for name in names]
        scores = [
            next(line["score"] for line in lines if key.items() <= line.items()) for key in keys
        ]
        cells = " | ".join(f"{score:.2f}" for score in (np.mean(scores), *scores))
        print(f"| {row} | {cells} |")


if __name__ == "__main__":
    main()
