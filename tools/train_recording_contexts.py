"""Train the networks of the context model of recordings, which `intfit` ships, and write them.

    python tools/train_recording_contexts.py collect RECORDING... -o examples
    python tools/train_recording_contexts.py train examples -o context_networks-1.safetensors

The first command encodes each recording at several qualities, and keeps its levels and a sample of
its latents, with all that the networks see of them; the second trains. Every file depends on the
weights: other weights get a new number.
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor, nn

from intfit import api
from intfit.codecs import read_config
from intfit.codecs.integer_network import INPUT_UNIT, MAX_HIDDEN, MAX_WEIGHT, WEIGHT_UNIT
from intfit.codecs.mdct.config import FREQUENCY_PARTS, MdctConfig
from intfit.codecs.mdct.context_network import SIZES, Place
from intfit.codecs.mdct.hearing import contexts, envelope, levels, payload
from intfit.codecs.mdct.hearing.shaping import Shape
from intfit.codecs.mdct.neighbours import PASSES
from intfit.coding import container
from intfit.coding.magnitudes import Encoder
from intfit.settings import Settings

QUALITIES = (36, 50, 64, 80)
#: Latents of a recording at one quality to learn from.
SAMPLES = 12_000
RATE, RELATIONS = 6e-3, 3
#: Passes over the levels of a block.
LEVEL_PASSES = 2
#: The sum of a class's initial counts.
PRIOR = 4096


@dataclass(frozen=True)
class Kind:
    """A network: its name, passes, numbers of inputs and outputs, hidden layers, and training.

    ``measure`` gives the bits ``[B]`` of outputs ``[B, K]``, values ``[B]`` and inputs ``[B, F]``.
    """

    name: str
    passes: int
    inputs: int
    outputs: int
    hidden: tuple[int, int]
    steps: int
    batch: int
    measure: Callable[[Tensor, Tensor, Tensor], Tensor]


def place_number(place: Place, turn: int, passes: int) -> int:
    """A place and a pass as one number."""
    return (place[0] * RELATIONS + place[1]) * passes + turn


class Recorder:
    """Keeps a sample of latents, and what the network sees of each, while they are "coded".

    It stands for the network and for what is done with symbols.
    """

    def __init__(self, share: float) -> None:
        self._random, self._share = np.random.default_rng(0), share
        self.places: list[NDArray[Any]] = []
        self.inputs: list[NDArray[Any]] = []
        self.weights: list[NDArray[Any]] = []
        self.values: list[NDArray[Any]] = []

    def look(self, place: Place, turn: int, inputs: NDArray[Any]) -> NDArray[Any]:
        """In place of the network: marks ``[1, n]`` of what is kept."""
        around = inputs[: -contexts.OTHERS].max(axis=0, initial=0) > 0
        share = np.where(around, 1, 0.15) * self._share
        kept = self._random.random(inputs.shape[1]) < share
        number = place_number(place, turn, len(PASSES))
        self.places.append(np.full(int(kept.sum()), number, np.int16))
        self.inputs.append(inputs[:, kept].T.astype(np.int16))
        self.weights.append((1 / share[kept]).astype(np.float32))
        return kept[None]

    def code_magnitudes(self, outputs: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """Note the magnitudes of examples."""
        sizes: NDArray[Any] = np.abs(values)
        self.values.append(sizes[outputs[0]].astype(np.int16))
        return sizes

    def code_signs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Nothing is learned of signs."""
        signs: NDArray[Any] = np.sign(values).astype(np.int32)
        return signs


def record_latents(shape: Shape, latents: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Examples of the latents ``[size, C]`` of blocks."""
    recorder = Recorder(min(1.0, SAMPLES / sum(block.size for block in latents)))
    coder = contexts.LatentCoder(shape, FREQUENCY_PARTS, recorder, recorder.look)
    for index, block in enumerate(latents):
        coder.code(index, block)
    return {
        "places": np.concatenate(recorder.places),
        "inputs": np.concatenate(recorder.inputs),
        "values": np.concatenate(recorder.values),
        "weights": np.concatenate(recorder.weights),
    }


def record_levels(
    sizes: list[int], predicted: list[NDArray[Any]], differences: list[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Examples of the differences ``[bands, C]`` of blocks from the envelope ``predicted``."""
    seen: list[tuple[int, NDArray[Any]]] = []

    def look(place: Place, turn: int, inputs: NDArray[Any]) -> NDArray[Any]:
        seen.append((place_number(place, turn, LEVEL_PASSES), inputs.T.astype(np.int16)))
        return np.zeros((2, inputs.shape[1]), np.int32)

    near = [np.full(block.shape, 0.01) for block in differences]
    levels.code_differences(Encoder(), sizes, predicted, differences, near, network=look)
    places = [np.full(len(inputs), number, np.int16) for number, inputs in seen]
    values = [
        block[t::2, c] for block in differences for c in range(block.shape[1]) for t in (0, 1)
    ]
    count = sum(len(part) for part in values)
    return {
        "places": np.concatenate(places),
        "inputs": np.concatenate([inputs for _, inputs in seen]),
        "values": np.concatenate(values).astype(np.int16),
        "weights": np.ones(count, np.float32),
    }


def save_examples(
    path: Path, size: int, latents: dict[str, Any], differences: dict[str, Any]
) -> None:
    """Write examples of a file of ``size`` bytes; small files count as much as large ones."""
    arrays: dict[str, Any] = {}
    for name, examples in (("latents", latents), ("levels", differences)):
        examples["weights"] = examples["weights"] / np.float32(8 * size)
        arrays |= {f"{name}.{key}": array for key, array in examples.items()}
    np.savez(path, **arrays)


def collect(paths: list[Path], folder: Path) -> None:
    """Write the examples of all recordings into a folder, a file for each quality."""
    folder.mkdir(exist_ok=True)
    for path in paths:
        for quality in QUALITIES:
            found = api.encode(path, Settings(quality=quality, device="cpu", threads=1))
            layout, stored = container.load(found.data)
            config = read_config(layout.header)
            assert isinstance(config, MdctConfig)
            network, data = config.envelope_network(), stored["payload"].data
            assert network is not None
            contents = payload.read(data, config)
            head = payload.parts(data, config)["noise"]
            networks = payload.read_networks(data[head:], config)
            sizes = list(contents.shape.sizes)
            predicted = envelope.predict_levels(networks.parameters, network, sizes, config.rate)
            differences = [
                (own - usual) // envelope.SIXTEENTHS
                for own, usual in zip(contents.shape.levels, predicted, strict=True)
            ]
            save_examples(
                folder / f"{path.stem}-{quality}.npz",
                len(found.data),
                record_latents(contents.shape, list(contents.latents)),
                record_levels(sizes, predicted, differences),
            )
            print(path.stem, quality, len(found.data), flush=True)


class Network(nn.Module):
    """What :class:`..context_network.ContextNetwork` is, in floating point.

    Where ``whole`` is set, weights act as they are shipped; gradients pass through the rounding.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.passes, inputs, (width, second) = kind.passes, kind.inputs, kind.hidden
        self.whole = False
        self.first = nn.Parameter(torch.randn(self.passes, inputs, width) * 0.5 / inputs**0.5)
        self.place = nn.Parameter(0.1 * torch.randn(SIZES * RELATIONS * self.passes, width))
        self.second, self.last = nn.Linear(width, second), nn.Linear(second, kind.outputs)

    def act(self, tensor: Tensor, unit: int) -> Tensor:
        """Weights or biases as they act."""
        if not self.whole:
            return tensor
        return tensor + ((tensor * unit).round() / unit - tensor).detach()

    def forward(self, places: Tensor, inputs: Tensor) -> Tensor:
        """The outputs ``[B, K]`` of inputs ``[B, F]``."""
        most, fine = MAX_HIDDEN / INPUT_UNIT, INPUT_UNIT * WEIGHT_UNIT
        turns = places % self.passes
        order = torch.argsort(turns)
        counts = torch.bincount(turns, minlength=self.passes).tolist()
        first = self.act(self.first, WEIGHT_UNIT)
        parts = inputs[order].split(counts)
        sums = torch.cat([part @ first[i] for i, part in enumerate(parts)])[torch.argsort(order)]
        x = torch.relu(sums + self.act(self.place, fine)[places]).clamp(max=most)
        x = x @ self.act(self.second.weight, WEIGHT_UNIT).T + self.act(self.second.bias, fine)
        x = torch.relu(x).clamp(max=most)
        return x @ self.act(self.last.weight, WEIGHT_UNIT).T + self.act(self.last.bias, fine)


def measure_bits(outputs: Tensor, values: Tensor, inputs: Tensor) -> Tensor:
    """The bits of magnitudes ``[B]`` under ``outputs`` ``[B, 3]``."""
    zero, one, scale = outputs.unbind(1)
    zero, one, scale = zero.clamp(-7.9, 7.9), one.clamp(-7.9, 7.9), scale.clamp(-4.9, 5.9).exp()
    softplus = nn.functional.softplus
    more = softplus(one) - torch.log(-torch.expm1(-1 / scale)) + (values - 2).clamp(min=0) / scale
    above = softplus(zero) + torch.where(values <= 1, softplus(-one), more)
    return torch.where(values == 0, softplus(-zero), above) / math.log(2)


def measure_level_bits(outputs: Tensor, values: Tensor, inputs: Tensor) -> Tensor:
    """The bits of differences ``[B]`` under ``outputs`` ``[B, 2]``: a logistic distribution."""
    off, scale = values - outputs[:, 0], outputs[:, 1].clamp(-3, 2).exp()
    # of both sides, the one whose tail is not 1
    inner, outer = (0.5 - off.abs()) / scale, (-0.5 - off.abs()) / scale
    share = torch.sigmoid(inner) - torch.sigmoid(outer)
    return -torch.log2(share + 1e-4)


LATENTS = Kind(
    "latents", len(PASSES), contexts.INPUTS, 3, hidden=(40, 24), steps=6000, batch=4096,
    measure=measure_bits,
)  # fmt: skip
LEVELS = Kind(
    "levels", LEVEL_PASSES, levels.INPUTS, 2, hidden=(24, 16), steps=2500, batch=2048,
    measure=measure_level_bits,
)  # fmt: skip


def make_counts() -> NDArray[Any]:
    """The initial counts ``[classes, SYMBOLS]`` of levels."""
    rows = []
    for context in range(levels.SCALES * levels.FRACTIONS):
        scale, fraction = divmod(context, levels.FRACTIONS)
        wide = math.exp((scale + 0.5 + levels.LOWEST_SCALE) / 2)
        edges = np.arange(levels.SYMBOLS + 1) - 0.5 - 2 * levels.LARGEST
        edges = (edges - (fraction + 0.5) / levels.FRACTIONS) / wide
        shares = np.diff(1 / (1 + np.exp(-edges.clip(-40, 40))))
        rows.append(np.maximum(np.rint(shares * PRIOR), 2))
    return np.array(rows).astype(np.int16)


Examples = tuple[Tensor, Tensor, Tensor, Tensor]


def read_examples(paths: list[Path], name: str) -> Examples:
    """Places, inputs, values and weights, whose mean is 1."""
    found = [np.load(path) for path in paths]
    places, inputs, values, weights = (
        torch.from_numpy(np.concatenate([arrays[f"{name}.{key}"] for arrays in found]))
        for key in ("places", "inputs", "values", "weights")
    )
    return places, inputs, values, weights / weights.mean()


def train(examples: Examples, kind: Kind) -> Network:
    """The network under which all examples take few bits."""
    torch.manual_seed(0)
    places, inputs, values, weights = examples
    network, steps = Network(kind), kind.steps
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0)
    mean, most = 0.0, MAX_WEIGHT / WEIGHT_UNIT
    for step in range(steps):
        network.whole = step > 0.6 * steps
        for group in optimizer.param_groups:
            warm, share = min(1, (step + 1) / 100), step / steps
            group["lr"] = RATE * warm * (0.5 + 0.5 * math.cos(math.pi * share))
        batch = torch.randint(len(values), (kind.batch,))
        seen = inputs[batch].float() / INPUT_UNIT
        outputs = network(places[batch].long(), seen)
        loss = (kind.measure(outputs, values[batch].float(), seen) * weights[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for weight in (network.first, network.second.weight, network.last.weight):
                weight.clamp_(-most, most)
        mean += (loss.item() - mean) * max(0.01, 1 / (step + 1))
        if (step + 1) % 500 == 0:
            print(f"{kind.name} {step + 1:5} {mean:.4f} bits")
            sys.stdout.flush()
    return network


def round_weights(network: Network, kind: Kind) -> dict[str, NDArray[Any]]:
    """The tensors of a network as it is shipped: whole numbers."""

    def whole(tensor: Tensor, unit: int, dtype: type) -> NDArray[Any]:
        rounded = (tensor.detach() * unit).round().numpy()
        return np.ascontiguousarray(rounded.astype(dtype))

    fine = INPUT_UNIT * WEIGHT_UNIT
    tensors = {
        "place": whole(network.place.reshape(SIZES, RELATIONS, network.passes, -1), fine, np.int16),
        "first": whole(network.first.transpose(1, 2), WEIGHT_UNIT, np.int8),
        "second": whole(network.second.weight, WEIGHT_UNIT, np.int8),
        "second_bias": whole(network.second.bias, fine, np.int16),
        "last": whole(network.last.weight, WEIGHT_UNIT, np.int8),
        "last_bias": whole(network.last.bias, fine, np.int16),
    }
    return {f"{kind.name}.{key}": tensor for key, tensor in tensors.items()}


def read_command(
    about: str, collect: Callable[[list[Path], Path], None]
) -> tuple[list[Path], Path]:
    """The files of examples to train on, and the output; ``collect`` makes them, and all ends."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("command", choices=("collect", "train"))
    parser.add_argument("inputs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path)
    given = parser.parse_args()
    if given.command == "collect":
        collect(given.inputs, given.output)
        sys.exit()
    return sorted(path for folder in given.inputs for path in folder.glob("*.npz")), given.output


def main() -> None:
    """Collect examples, or train and write."""
    paths, output = read_command(__doc__, collect)
    tensors = {"counts": make_counts()}
    for kind in (LATENTS, LEVELS):
        tensors |= round_weights(train(read_examples(paths, kind.name), kind), kind)
    save_file(tensors, output)


if __name__ == "__main__":
    main()
