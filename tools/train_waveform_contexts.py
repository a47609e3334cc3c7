"""Train the network of latents with equal steps, which `intfit` ships, and write it.

    python tools/train_waveform_contexts.py collect RECORDING... -o examples
    python tools/train_waveform_contexts.py train examples -o waveform_network-1.safetensors

The first command rounds each recording as `--tune snr` does, without the network, and keeps a
sample of its latents, with all that the network sees of them; the second trains. Every file depends
on the weights: other weights get a new number.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn
from train_recording_contexts import (
    Kind,
    place_number,
    read_command,
    read_examples,
    round_weights,
    train,
)

from intfit.codecs.channels import invert_axes, principal_axes
from intfit.codecs.latent_steps import RD_LAMBDA, step_index
from intfit.codecs.mdct.blocks import choose_sizes
from intfit.codecs.mdct.config import MdctConfig
from intfit.codecs.mdct.context_network import Outputs, Place
from intfit.codecs.mdct.neighbours import PASSES
from intfit.codecs.mdct.transform import analyse, pad
from intfit.codecs.mdct.waveform import contexts, payload
from intfit.codecs.wavelet.contexts import trellis_symbols
from intfit.codecs.wavelet.contexts.symbols import Classes, OrderedFlags, classify
from intfit.coding.magnitudes import Encoder
from intfit.coding.steps import TRELLIS_UNIT
from intfit.media import audio

#: The qualities of every second recording, and of the others.
QUALITIES = ((30, 60), (45, 75))
#: Seconds of a recording, from its second one on, and latents of it, to learn from.
SECONDS, SAMPLES = 4, 22_000
#: The powers of dependent quantisation: see :mod:`.trellis_symbols`.
ZERO_POWERS, ONE_POWERS = (
    torch.tensor([float(power) for power in powers])
    for powers in (trellis_symbols.ZERO_POWERS, trellis_symbols.ONE_POWERS)
)


class Recorder(trellis_symbols.TrellisRounding):
    """Keeps a sample of latents, and what the network sees of each, while they are coded.

    It stands for the network, too, and has no opinion but that of the weighted sum.
    """

    def __init__(self, coder: Encoder, share: float) -> None:
        super().__init__(RD_LAMBDA * (16 / TRELLIS_UNIT) ** 2, coder, OrderedFlags)
        self._random, self._share = np.random.default_rng(0), share
        self.examples: list[dict[str, NDArray[Any]]] = []

    def look(self, place: Place, turn: int, inputs: NDArray[Any]) -> Outputs:
        """In place of the network."""
        self._seen = place_number(place, turn, len(PASSES)), inputs
        return contexts.guesses()[:, inputs[-1].astype(np.intp)]

    def _count(self, classes: Classes, levels: NDArray[Any], quantisers: NDArray[Any]) -> None:
        super()._count(classes, levels, quantisers)
        self._lanes = 2 * levels + quantisers

    def code_magnitudes(self, outputs: Outputs, values: NDArray[Any]) -> NDArray[Any]:
        """Round and encode the magnitudes ``[n]`` of exact latents, and note some."""
        number, inputs = self._seen
        self._lanes = np.zeros(0, np.int64)
        found = super().code_magnitudes(outputs, values)
        levels = found.astype(np.int64)  # twice a level of the first quantiser
        active = classify(outputs).zero < trellis_symbols.FIRST_SURE_CLASS
        levels[active] = self._lanes
        around = inputs[: contexts.MOST_OWN + contexts.KNOWN - 1].max(axis=0) > 3
        share = np.where(around, 1, 0.1) * self._share
        kept = self._random.random(len(found)) < share
        self.examples.append(
            {
                "places": np.full(int(kept.sum()), number, np.int16),
                "inputs": inputs[:, kept].T.astype(np.int16),
                "values": np.minimum(levels[kept], 30000).astype(np.int16),
                "weights": (1 / share[kept]).astype(np.float32),
            }
        )
        return found


def collect(paths: list[Path], folder: Path) -> None:
    """Write the examples of all recordings into a folder, a file for each quality."""
    folder.mkdir(exist_ok=True)
    for index, path in enumerate(paths):
        signal = audio.read(path.read_bytes())
        rate = signal.facts["sample_rate"]
        samples = signal.targets()[rate : (1 + SECONDS) * rate]
        axes = principal_axes(samples)
        samples = (samples @ invert_axes(axes)).astype(np.float32)
        loudness = float(np.sqrt(np.square(samples).mean()))
        for quality in QUALITIES[index % 2]:
            step = step_index(quality, loudness=loudness)
            config = MdctConfig(samples.shape[1], len(samples), step, rate, common=1)
            padded = pad(samples, config)
            sizes = choose_sizes(padded, config.step_size)
            exact = analyse(padded, sizes) / np.float32(config.step_size)
            cutoff = payload.find_cutoff(exact, sizes)
            exact *= np.float32(16 / TRELLIS_UNIT)
            encoder = Encoder()
            recorder = Recorder(encoder, min(1, 2 * SAMPLES / (exact.size * cutoff / 64)))
            symbols = contexts.Symbols(encoder, recorder)
            payload.code_blocks(exact, sizes, cutoff, config, symbols, recorder.look)
            size = len(encoder.finish())
            parts = recorder.examples
            arrays: dict[str, Any] = {
                f"latents.{key}": np.concatenate([part[key] for part in parts]) for key in parts[0]
            }
            arrays["latents.weights"] /= np.float32(8 * size)  # small files count as much
            np.savez(folder / f"{path.stem}-{quality}.npz", **arrays)
            print(path.stem, quality, size, flush=True)


def measure_bits(outputs: Tensor, values: Tensor, inputs: Tensor) -> Tensor:
    """The bits of ``values`` ``[B]``, 2 level + quantiser, under a network's outputs ``[B, 3]``."""
    softplus = nn.functional.softplus
    zero, one, scale = outputs.unbind(1)
    zero, one, scale = zero.clamp(-7.9, 7.9), one.clamp(-7.9, 7.9), scale.clamp(-4.9, 5.9)
    quantiser, level = values.long() % 2, values.long() // 2
    nonzero = -softplus(zero) * ZERO_POWERS[quantiser]
    larger = -softplus(one) * ONE_POWERS[quantiser]
    inverse, halves = torch.exp(-scale), (level - 2).clamp(min=0) // 2
    step = torch.exp(-(scale - trellis_symbols.HALF_CLASSES / 4).clamp(min=-4.9))
    more = softplus(-inverse) + inverse * (level % 2) + halves * step - log_rest(-step)
    bits = torch.where(level == 0, -log_rest(nonzero), -nonzero)
    bits = bits + torch.where(level == 1, -log_rest(larger), 0.0)
    bits = bits + torch.where(level > 1, more - larger, 0.0)
    return bits / math.log(2)


def log_rest(x: Tensor) -> Tensor:
    """The logarithm of 1 - exp(``x``), for ``x`` below 0."""
    return torch.log(-torch.expm1(x.clamp(max=-1e-6)))


KIND = Kind(
    "latents", len(PASSES), contexts.INPUTS, 3, hidden=(40, 24), steps=8000, batch=2048,
    measure=measure_bits,
)  # fmt: skip


def main() -> None:
    """Collect examples, or train and write."""
    paths, output = read_command(__doc__, collect)
    save_file(round_weights(train(read_examples(paths, KIND.name), KIND), KIND), output)


if __name__ == "__main__":
    main()
