"""Train the networks of the second context model, which `intfit` ships, and write them.

    python tools/train_context_model.py collect PHOTO... -o examples
    python tools/train_context_model.py train examples -o context_model-2.safetensors

The first command rounds each photograph at several quantisation steps and sizes, and keeps a sample
of its latents with all that the networks see of them; the second trains. On one core they take some
ten minutes each for thirty photographs. Every file depends on the weights: other weights get a new
number.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn
from train_recording_contexts import read_command

from intfit.codecs.integer_network import INPUT_UNIT, MAX_HIDDEN, MAX_WEIGHT, WEIGHT_UNIT
from intfit.codecs.latent_steps import RD_LAMBDA
from intfit.codecs.wavelet import context_model, transform
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.codecs.wavelet.contexts import coding
from intfit.media.pixels import read_pixels

#: Steps of training, latents a step, learning rates and hidden layers, of magnitudes and of signs.
STEPS, BATCHES, RATES = (11_000, 6500), (6144, 4096), (6e-3, 4e-3)
HIDDEN = ((64, 32), (96, 32))
#: Indices of quantisation steps; a photograph has every third of them at full size, others at half.
STEP_INDICES = tuple(range(0, 90, 6))
#: Latents of a photograph at one step, to learn magnitudes and signs from.
SAMPLES = 35_000, 30_000
BANDS, PASSES = context_model.LEVELS * 3 * context_model.CHANNELS, len(context_model.PASSES)


class Recorder:
    """Keeps a sample of latents, and what the networks see of each, while they are "coded".

    It stands for the networks, whose outputs are then marks of what is kept, and for what is done
    with symbols. Examples are band and pass, inputs (with the own magnitude's, for a sign), weight,
    and magnitude or sign.
    """

    def __init__(self, latents: int, nonzero: int) -> None:
        self._random = np.random.default_rng(0)
        self._shares = SAMPLES[0] / latents, min(1.0, SAMPLES[1] / nonzero)
        self._place = 0, 0
        #: For magnitudes and for signs: arrays of places, inputs and weights; of values.
        self.seen: tuple[list[list[NDArray[Any]]], list[list[NDArray[Any]]]] = ([], [])
        self.values: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])

    def _keep(self, kind: int, inputs: NDArray[Any], weights: NDArray[Any]) -> None:
        places = np.tile(np.array(self._place, np.int16), (len(weights), 1))
        self.seen[kind].append([places, inputs.T.astype(np.int16), weights.astype(np.float32)])

    def _sample(self, kind: int, inputs: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
        """Keep a share of inputs ``[F, n]``; marks ``[n]`` of those that are."""
        kept = self._random.random(len(share)) < share
        self._keep(kind, inputs[:, kept], 1 / share[kept])
        return kept.astype(np.int32)

    def magnitudes(self, band: int, turn: int, inputs: NDArray[Any]) -> NDArray[Any]:
        """In place of the network of magnitudes; latents that see only zeros are marked by -1."""
        self._place = band, turn
        if not inputs.any():
            return np.full((3, inputs.shape[1]), -1, np.int32)
        # latents among large ones take the most bits
        likely = 0.02 + np.minimum(inputs.mean(axis=0) / INPUT_UNIT, 1)
        share = (6 * self._shares[0] * likely).clip(0.004, 1)
        return np.tile(self._sample(0, inputs, share), (3, 1))

    def signs(self, band: int, turn: int, own: NDArray[Any], inputs: NDArray[Any]) -> NDArray[Any]:
        """In place of the network of signs."""
        share = np.full(len(own), self._shares[1])
        return self._sample(1, np.concatenate([inputs, own[None]]), share)

    def code_magnitudes(self, outputs: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """Note the magnitudes of examples, and how many of those that see only zeros are what."""
        sizes: NDArray[Any] = np.abs(values)
        self.values[0].append(sizes[outputs[0] == 1])
        found, counts = np.unique(sizes[outputs[0] == -1], return_counts=True)
        self._keep(0, np.zeros((coding.MAGNITUDE_INPUTS, len(found)), np.int16), counts)
        self.values[0].append(found)
        return sizes

    def code_signs(self, logits: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """Note the signs of examples."""
        signs: NDArray[Any] = np.sign(values).astype(np.int32)
        self.values[1].append(signs[logits == 1])
        return signs


def round_photograph(
    pixels: NDArray[Any], step: int
) -> tuple[list[context_model.Level], NDArray[Any], float]:
    """The latents of a picture at a step, the coarsest picture, and the estimated bits of all."""
    values = (pixels.astype(np.float32) / 127.5 - 1).astype(np.float32)
    config = WaveletConfig(3, len(values), values.shape[1], step)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    bands = [band / config.step_size for name, band in exact.items() if name.startswith("levels")]
    levels = [bands[i : i + 3] for i in range(0, len(bands), 3)]
    rounded, bits = context_model.quantise(levels, RD_LAMBDA)
    return rounded, (exact["coarsest"] / config.step_size).round().astype(np.int32), bits


def collect(paths: list[Path], folder: Path) -> None:
    """Write the examples of all photographs into a folder, a file for each of their steps."""
    folder.mkdir(exist_ok=True)
    for number, path in enumerate(paths):
        pixels, *_ = read_pixels(path.read_bytes())
        tall, wide = (side // 2 for side in pixels.shape[:2])
        pixels = pixels[: 2 * tall, : 2 * wide, :3].astype(np.float32)
        half = pixels.reshape(tall, 2, wide, 2, 3).mean((1, 3))
        for index, step in enumerate(STEP_INDICES):
            if (number + index) % 3 == 2:
                continue
            levels, coarsest, bits = round_photograph((pixels, half)[(number + index) % 3], step)
            latents = sum(band.size for level in levels for band in level)
            nonzero = sum(
                int(np.count_nonzero(band))
                for level in levels[: coding.GUESSED_LEVELS]
                for band in level
            )
            recorder = Recorder(latents, nonzero)
            coding.code_latents(levels, coarsest, recorder, networks=recorder)
            arrays: dict[str, Any] = {}
            for kind, name in enumerate(("magnitude", "sign")):
                places, inputs, weights = (
                    np.concatenate(part) for part in zip(*recorder.seen[kind], strict=True)
                )
                arrays[f"{name}.places"], arrays[f"{name}.inputs"] = places, inputs
                arrays[f"{name}.weights"] = weights / np.float32(bits)
                arrays[f"{name}.values"] = np.concatenate(recorder.values[kind]).astype(np.int16)
            np.savez(folder / f"{path.stem}-{step}.npz", **arrays)
            print(path.stem, step, f"{bits / 8:.0f} bytes")


class Network(nn.Module):
    """What :class:`intfit.codecs.wavelet.contexts.network.Network` is, in floating point.

    Where ``whole`` is set, weights act as they are shipped; gradients pass through the rounding.
    """

    def __init__(self, inputs: int, hidden: tuple[int, int], outputs: int) -> None:
        super().__init__()
        width, second = hidden
        self.whole = False
        first = torch.randn(3 * PASSES, inputs, width) * 0.5 / inputs**0.5
        self.first = nn.Parameter(first)
        self.position = nn.Parameter(0.1 * torch.randn(BANDS * PASSES, width))
        self.second, self.last = nn.Linear(width, second), nn.Linear(second, outputs)
        self.own = nn.Parameter(0.1 * torch.randn(width))

    def weight(self, tensor: Tensor) -> Tensor:
        """Weights as they act."""
        return self._act(tensor, WEIGHT_UNIT)

    def bias(self, tensor: Tensor) -> Tensor:
        """Biases as they act."""
        return self._act(tensor, INPUT_UNIT * WEIGHT_UNIT)

    def _act(self, tensor: Tensor, unit: int) -> Tensor:
        if not self.whole:
            return tensor
        return tensor + ((tensor * unit).round() / unit - tensor).detach()

    def project(self, places: Tensor, inputs: Tensor) -> Tensor:
        """The sums of the first layer without its bias."""
        orientation = places[:, 0] // context_model.CHANNELS % 3
        groups = orientation * PASSES + places[:, 1]
        order = torch.argsort(groups)
        counts = torch.bincount(groups, minlength=len(self.first)).tolist()
        parts, first = inputs[order].split(counts), self.weight(self.first)
        sums = torch.cat([part @ first[i] for i, part in enumerate(parts)])
        return sums[torch.argsort(order)]

    def finish(self, sums: Tensor) -> Tensor:
        """The outputs without their bias."""
        most, second = MAX_HIDDEN / INPUT_UNIT, self.second
        hidden = torch.relu(sums).clamp(max=most) @ self.weight(second.weight).T
        hidden = torch.relu(hidden + self.bias(second.bias)).clamp(max=most)
        return hidden @ self.weight(self.last.weight).T

    def locate(self, places: Tensor) -> Tensor:
        """The bias of the first layer."""
        return self.bias(self.position)[places[:, 0] * PASSES + places[:, 1]]


def magnitude_bits(network: Network, places: Tensor, inputs: Tensor, values: Tensor) -> Tensor:
    """The bits of magnitudes ``[B]``, with ``inputs`` ``[B, F]``."""
    sums = network.project(places, inputs) + network.locate(places)
    zero, one, scale = (network.finish(sums) + network.bias(network.last.bias)).unbind(1)
    zero, one, scale = zero.clamp(-7.9, 7.9), one.clamp(-7.9, 7.9), scale.clamp(-4.9, 5.9).exp()
    softplus = nn.functional.softplus
    more = softplus(one) - torch.log(-torch.expm1(-1 / scale)) + (values - 2).clamp(min=0) / scale
    above = softplus(zero) + torch.where(values <= 1, softplus(-one), more)
    return torch.where(values == 0, softplus(-zero), above) / math.log(2)


def sign_bits(network: Network, places: Tensor, inputs: Tensor, values: Tensor) -> Tensor:
    """The bits of signs ``[B]``; the last of ``inputs`` ``[B, F + 1]`` is the own magnitude's."""
    sums = network.project(places, inputs[:, :-1])
    bias = network.locate(places) + inputs[:, -1:] * network.weight(network.own)
    logits = (network.finish(bias + sums) - network.finish(bias - sums))[:, 0]
    return nn.functional.softplus(-logits.clamp(-5.9, 5.9) * values) / math.log(2)


BITS = {"magnitude": magnitude_bits, "sign": sign_bits}


def batches(paths: list[Path], name: str, size: int) -> Iterator[tuple[Tensor, ...]]:
    """Random examples without end: places, inputs, values and weights, whose mean is 1."""
    parts = []
    for path in paths:
        arrays = np.load(path)
        parts.append([arrays[f"{name}.{key}"] for key in ("places", "inputs", "values", "weights")])
    places, inputs, values, weights = (
        torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)
    )
    weights /= weights.mean()
    while True:
        batch = torch.randint(len(values), (size,))
        scaled = inputs[batch].float() / INPUT_UNIT
        yield places[batch].long(), scaled, values[batch].float(), weights[batch]


def train(paths: list[Path], kind: int) -> Network:
    """The network of magnitudes (0) or of signs (1) under which all examples take few bits."""
    name, steps, rate = ("magnitude", "sign")[kind], STEPS[kind], RATES[kind]
    torch.manual_seed(0)
    examples = batches(paths, name, BATCHES[kind])
    inputs = next(examples)[1].shape[1] - kind
    network = Network(inputs, HIDDEN[kind], (3, 1)[kind])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.1 * kind)
    mean, most = 0.0, MAX_WEIGHT / WEIGHT_UNIT
    for step in range(steps):
        network.whole = step > 0.6 * steps
        for group in optimizer.param_groups:
            warm, share = min(1, (step + 1) / 100), step / steps
            group["lr"] = rate * warm * (0.5 + 0.5 * math.cos(math.pi * share))
        *example, weights = next(examples)
        loss = (BITS[name](network, *example) * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for weight in (network.first, network.second.weight, network.last.weight, network.own):
                weight.clamp_(-most, most)
        mean += (loss.item() - mean) * max(0.01, 1 / (step + 1))
        if (step + 1) % 500 == 0:
            print(f"{name} {step + 1:5} {mean:.4f} bits")
            sys.stdout.flush()
    return network


def round_weights(network: Network, name: str) -> dict[str, NDArray[Any]]:
    """The tensors of a network as it is shipped: whole numbers."""

    def whole(tensor: Tensor, unit: int, dtype: type) -> NDArray[Any]:
        rounded = (tensor.detach() * unit).round().numpy()
        return np.ascontiguousarray(rounded.astype(dtype))

    width = network.position.shape[1]
    biases = {
        "position": network.position.reshape(BANDS, PASSES, width),
        "second_bias": network.second.bias,
    }
    weights = {
        "first": network.first.reshape(3, PASSES, -1, width).transpose(2, 3),
        "second": network.second.weight,
        "last": network.last.weight,
    }
    if name == "sign":
        weights["own"] = network.own
    else:
        biases["last_bias"] = network.last.bias
    unit = INPUT_UNIT * WEIGHT_UNIT
    tensors = {key: whole(tensor, unit, np.int16) for key, tensor in biases.items()}
    tensors |= {key: whole(tensor, WEIGHT_UNIT, np.int8) for key, tensor in weights.items()}
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def main() -> None:
    """Collect examples, or train and write."""
    paths, output = read_command(__doc__, collect)
    tensors = round_weights(train(paths, 0), "magnitude") | round_weights(train(paths, 1), "sign")
    save_file(tensors, output)


if __name__ == "__main__":
    main()
