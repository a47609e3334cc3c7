"""Quantisation steps of neurons: chosen by what neurons matter, stored with them in any order."""

import numpy as np
import pytest
import torch

from intfit.codecs.siren import packing
from intfit.coding import weights
from intfit.coding.tensors import store_payload
from intfit.errors import FileFormatError
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren, set_parameters
from intfit.training.quantisation import (
    Steps,
    compare_neurons,
    count_bits,
    dequantise,
    quantise,
)

CONFIG = SirenConfig(2, 3, width=16, depth=4, omega_first=30.0, omega=30.0, neuron_steps=1)


def make_network() -> tuple[Siren, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return Siren(CONFIG, generator=generator), torch.rand(500, 2, generator=generator) * 2 - 1


def weaken(network: Siren, layer: int, neuron: int, octaves: int) -> None:
    """Divide what leads on from a neuron by so many octaves."""
    with torch.no_grad():
        network.layers[layer + 1].get_parameter("weight")[:, neuron] /= 2.0**octaves


def test_neurons_that_matter_little_take_coarser_steps():
    network, coords = make_network()
    before = compare_neurons(network, coords, generator=torch.Generator())
    weaken(network, 2, 5, octaves=4)
    after = compare_neurons(network, coords, generator=torch.Generator())
    assert set(after) == {"layers.1", "layers.2", "layers.3"}
    others = [after["layers.2"] - after["layers.2"][5], before["layers.2"] - before["layers.2"][5]]
    assert np.delete(others[0] - others[1], 5).min() >= 7  # of eight halves of an octave
    assert np.abs(before["layers.3"] - after["layers.3"]).max() <= 1


def test_a_network_with_steps_by_neuron_comes_back_as_the_same_function():
    network, coords = make_network()
    weaken(network, 1, 3, octaves=5)
    finer = compare_neurons(network, coords, generator=torch.Generator())
    steps = Steps(dict.fromkeys(CONFIG.shapes(), 84), finer)
    parameters = dict(network.named_parameters())
    quantised = quantise(parameters, steps)
    stored = store_payload(packing.pack(quantised, finer, CONFIG))
    rounded = dequantise(quantised, steps)
    back = packing.unpack(stored, CONFIG)
    assert {values.dtype for values in back.values()} == {np.dtype(np.float32)}
    assert not np.array_equal(back["layers.1.weight"], rounded["layers.1.weight"].numpy())
    set_parameters(network, rounded)
    expected = network(coords).detach()
    set_parameters(network, {name: torch.from_numpy(values) for name, values in back.items()})
    torch.testing.assert_close(network(coords).detach(), expected, rtol=0, atol=1e-4)


def test_the_bits_of_steps_by_neuron_are_known_before_they_are_packed():
    network, coords = make_network()
    for neuron in range(12):
        weaken(network, 2, neuron, octaves=neuron // 2)
    finer = compare_neurons(network, coords, generator=torch.Generator())
    steps = Steps(dict.fromkeys(CONFIG.shapes(), 84), finer)
    quantised = quantise(dict(network.named_parameters()), steps)
    packed = 8 * len(packing.pack(quantised, finer, CONFIG))
    assert count_bits(quantised, finer) == pytest.approx(packed, rel=0.01)
    assert count_bits(quantised, {}) > 1.02 * packed


@pytest.mark.parametrize("growth", [-(1 << 24), 1 << 24, 8])
def test_steps_finer_than_any_encoder_writes_are_refused(growth):
    tensors = {
        name: weights.QuantisedTensor(0, np.full(shape, 7, np.int32))
        for name, shape in packing._packed_shapes(CONFIG).items()
    }
    shape = CONFIG.depth - 1, CONFIG.width
    tensors["steps"] = weights.QuantisedTensor(0, np.full(shape, growth, np.int32))
    payload = weights.pack(tensors)
    with pytest.raises(FileFormatError, match="steps of its neurons"):
        packing.unpack(store_payload(payload), CONFIG)


def test_a_network_without_hidden_layers_is_packed(intfit, picture):
    intfit("encode", picture, "--field", "siren", "--depth", 1, "--width", 8, "--steps", 60)
