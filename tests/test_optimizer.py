"""SOAP and Muon: what they do to weights as matrices, and that all else is Adam's."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import photo, png

from intfit import Settings
from intfit.api import prepare
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren
from intfit.training.optimizers.adam import Adam
from intfit.training.optimizers.preconditioned import REFRESH_STEPS, Muon, Soap, make_optimizer

WIDTH = 24
CONFIG = SirenConfig(2, 3, WIDTH, 4, 30.0, 30.0)


def make(name, *, config=CONFIG, **settings):
    network = Siren(config, generator=torch.Generator().manual_seed(0))
    common = {"field": "siren", "width": WIDTH, "depth": 4, "device": "cpu", "steps": 100}
    plan = prepare(png(photo()), Settings(**common | settings)).plan
    return network, make_optimizer([network], replace(plan, optimizer=name))


def move(network, optimizer, generator, steps=1, mixing=None):
    """Steps along random gradients, those of hidden weights multiplied by ``mixing``."""
    for _ in range(steps):
        for name, parameter in network.named_parameters():
            parameter.grad.normal_(generator=generator)
            if mixing is not None and tuple(parameter.shape) == (WIDTH, WIDTH) and "weight" in name:
                parameter.grad.copy_(mixing @ parameter.grad @ mixing.T)
        optimizer.advance(1.0)
        optimizer.step()


def parameters(network):
    return [p.detach().clone() for p in network.parameters()]


def hidden(network):
    return [layer.weight.detach().clone() for layer in network.layers[1:-1]]


def untouched(name, network):
    """The parameters that an optimizer leaves to Adam."""
    own = [layer.weight for layer in network.layers[1 : None if name == "soap" else -1]]
    return [p.detach().clone() for p in network.parameters() if not any(p is w for w in own)]


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_biases_and_layers_that_are_not_matrices_are_adam_s(name):
    moved = []
    for each in ("adam", name):
        network, optimizer = make(each, lr=1e-3)
        move(network, optimizer, torch.Generator().manual_seed(1), 3 * REFRESH_STEPS)
        moved.append((untouched(name, network), hidden(network)))
    (others_by_adam, hidden_by_adam), (others, own) = moved
    assert all(torch.equal(a, b) for a, b in zip(others_by_adam, others, strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(hidden_by_adam, own, strict=True))


def test_before_the_first_refresh_soap_is_adam():
    moved = []
    for name in ("adam", "soap"):
        network, optimizer = make(name, lr=1e-3)
        move(network, optimizer, torch.Generator().manual_seed(1), REFRESH_STEPS)
        moved.append(parameters(network))
    torch.testing.assert_close(*moved)


def test_the_bases_become_the_covariances_eigenvectors():
    generator = torch.Generator().manual_seed(1)
    network, optimizer = make("soap")
    assert isinstance(optimizer, Soap)
    mixing = torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5
    move(network, optimizer, generator, 20 * REFRESH_STEPS + 1, mixing)
    bases, covariances = optimizer._bases, optimizer._covariances
    assert torch.allclose(bases.mT @ bases, torch.eye(WIDTH), atol=1e-5)
    diagonal = bases.mT @ covariances @ bases
    on = diagonal.diagonal(dim1=-2, dim2=-1).square().sum()
    before = covariances.diagonal(dim1=-2, dim2=-1).square().sum() / covariances.square().sum()
    assert on / diagonal.square().sum() > 0.9 > before


def test_a_refresh_turns_the_mean_gradient_and_moves_no_memory():
    generator = torch.Generator().manual_seed(1)
    network, optimizer = make("soap")
    assert isinstance(optimizer, Soap)
    move(network, optimizer, generator, REFRESH_STEPS)

    def means():
        left, right, last = optimizer._by_side(optimizer._bases)
        return left @ optimizer._mean @ right.mT, optimizer._last_mean @ last.mT

    def addresses():
        tensors = optimizer._bases, optimizer._covariances, optimizer._mean, optimizer._last_mean
        return [tensor.data_ptr() for tensor in tensors]

    before, addresses_before = means(), addresses()
    optimizer.advance(1.0)  # refreshes
    assert not torch.allclose(optimizer._bases, torch.eye(WIDTH).expand(7, -1, -1))
    torch.testing.assert_close(means(), before, rtol=1e-3, atol=1e-5)
    assert addresses() == addresses_before


def test_muon_moves_along_an_orthogonal_matrix_of_adam_s_size():
    generator = torch.Generator().manual_seed(1)
    network, optimizer = make("muon", lr=1e-3)
    assert isinstance(optimizer, Muon)
    before = hidden(network)
    move(network, optimizer, generator)
    for was, now in zip(before, hidden(network), strict=True):
        values = torch.linalg.svdvals(now - was)
        assert values.max() < 2 * values.median()  # those of a random matrix go up to 2.5 times it
        assert float((now - was).square().mean().sqrt()) == pytest.approx(0.2e-3, rel=0.2)


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_a_restart_forgets_all_gradients(name):
    network, optimizer = make(name, lr=1e-3)
    start = parameters(network)
    move(network, optimizer, torch.Generator().manual_seed(1), REFRESH_STEPS + 3)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), start, strict=True):
            parameter.copy_(value)
    optimizer.restart(5e-4)
    assert optimizer.lrs == [5e-4]
    move(network, optimizer, torch.Generator().manual_seed(2), REFRESH_STEPS + 3)
    fresh, other = make(name, lr=5e-4)
    move(fresh, other, torch.Generator().manual_seed(2), REFRESH_STEPS + 3)
    torch.testing.assert_close(parameters(network), parameters(fresh), rtol=1e-4, atol=1e-6)


def test_a_network_without_hidden_weights_is_adam_s():
    _, optimizer = make("soap", config=SirenConfig(2, 3, WIDTH, 1, 30.0, 30.0))
    assert type(optimizer) is Adam


def test_optimizers_are_compared_and_one_nobody_knows_is_refused(intfit, picture):
    common = "bench", "teachers", picture, "--steps", 20, "--width", 8, "--depth", 2, "--json"
    run = intfit(*common, "--teachers", "uniform,default", "--optimizers", "adam,soap,muon")
    assert run.code == 0, run.err
    points = [json.loads(line) for line in run.out.splitlines()]
    ends = [(point["teacher"], point["optimizer"]) for point in points if point["last"]]
    assert ends == [(t, o) for t in ("uniform", "default") for o in ("adam", "soap", "muon")]
    run = intfit(*common, "--optimizers", "sgd")
    assert run.code == 2
    assert "'sgd' is not adam, soap or muon" in run.err


def test_photographs_are_trained_by_soap_unless_a_layer_is_too_wide_for_it():
    def optimizer(**settings):
        settings = Settings(**{"field": "siren", "device": "cpu"} | settings)
        return prepare(png(photo()), settings).plan.optimizer

    assert optimizer() == "soap"
    assert optimizer(width=1024) == "adam"
    assert optimizer(field="latent") == "adam"
