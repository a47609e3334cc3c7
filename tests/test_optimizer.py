"""SOAP and Muon: what they do to the hidden weights, and that all else is Adam's."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import photo, png

from intfit import Settings
from intfit.api import prepare
from intfit.codecs.siren.fitting import start_training
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren
from intfit.training.optimizer import Adam
from intfit.training.preconditioned import REFRESH_STEPS, Muon, Soap, make_optimizer
from intfit.training.session import train

WIDTH = 24
CONFIG = SirenConfig(2, 3, WIDTH, 4, 30.0, 30.0)


def make(name, *, config=CONFIG, **settings):
    network = Siren(config, generator=torch.Generator().manual_seed(0))
    common = {"field": "siren", "width": WIDTH, "depth": 4, "device": "cpu", "steps": 100}
    plan = prepare(png(photo()), Settings(**common | settings)).plan
    return network, make_optimizer(network, replace(plan, optimizer=name))


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


def others(network):
    unlike = {id(layer.weight) for layer in network.layers[1:-1]}
    return [p.detach().clone() for p in network.parameters() if id(p) not in unlike]


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_first_and_last_layers_and_biases_are_adam_s(name):
    moved = []
    for each in ("adam", name):
        network, optimizer = make(each, lr=1e-3)
        move(network, optimizer, torch.Generator().manual_seed(1), 3 * REFRESH_STEPS)
        moved.append((others(network), hidden(network)))
    (other_adam, hidden_adam), (other, own) = moved
    if name == "muon":
        assert all(torch.equal(a, b) for a, b in zip(other_adam, other, strict=True))
    torch.testing.assert_close(other_adam, other)
    assert not any(torch.allclose(a, b) for a, b in zip(hidden_adam, own, strict=True))


def test_soap_starts_as_adam_and_its_bases_become_the_covariances_eigenvectors():
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

    def mean():
        left, right = optimizer._bases
        return left @ optimizer._mean @ right.mT

    before = mean()
    addresses = [t.data_ptr() for t in (optimizer._bases, optimizer._mean, optimizer._covariances)]
    optimizer.advance(1.0)  # refreshes
    assert not torch.equal(optimizer._bases[0], torch.eye(WIDTH).expand(3, -1, -1))
    torch.testing.assert_close(mean(), before, rtol=1e-3, atol=1e-5)
    tensors = optimizer._bases, optimizer._mean, optimizer._covariances
    assert addresses == [t.data_ptr() for t in tensors]


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
    assert optimizer.lr == 5e-4
    move(network, optimizer, torch.Generator().manual_seed(2), REFRESH_STEPS + 3)
    fresh, other = make(name, lr=5e-4)
    move(fresh, other, torch.Generator().manual_seed(2), REFRESH_STEPS + 3)
    torch.testing.assert_close(parameters(network), parameters(fresh), rtol=1e-4, atol=1e-6)


def test_a_network_without_hidden_weights_is_adam_s():
    _, optimizer = make("soap", config=SirenConfig(2, 3, WIDTH, 1, 30.0, 30.0))
    assert type(optimizer) is Adam


def fitted(name):
    settings = Settings(field="siren", width=24, depth=4, batch=256, steps=400, device="cpu")
    prepared = prepare(png(photo()), settings)
    plan = replace(prepared.plan, optimizer=name)
    return train(start_training(replace(prepared, plan=plan)), plan).distortion


def test_soap_fits_better_than_adam_in_as_many_steps():
    assert fitted("soap") > fitted("adam") + 0.1


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
