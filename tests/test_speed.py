"""The gradient by hand, and `bench speed`. Nothing here depends on how fast the machine is."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import photo, png
from torch import nn

from intfit import Settings
from intfit.api import prepare
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren
from intfit.teachers import Uniform
from intfit.training.examples import examples_of
from intfit.training.gradients import by_hand
from intfit.training.gradients.autograd import AutogradGradient
from intfit.training.gradients.base import Batch
from intfit.training.gradients.by_hand import GradientByHand
from intfit.training.loop import fit
from intfit.training.optimizers.adam import BETA1, Adam
from intfit.training.quantisation import Rounding, Steps
from intfit.training.step import TrainingStep

SMALL = ("--shapes", "8x2x64", "--seconds", 0.1, "--threads", 1)


def twins(inside=2, outside=3, width=24, depth=3):
    """The same SIREN twice."""
    config = SirenConfig(inside, outside, width, depth, omega_first=60.0, omega=30.0)
    pair = Siren(config, generator=torch.Generator().manual_seed(0)), Siren(config)
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def examples(inside, outside, count):
    generator = torch.Generator().manual_seed(1)
    coords = torch.rand(count, inside, generator=generator) * 2 - 1
    return coords, torch.rand(count, outside, generator=generator) * 2 - 1


def differentiated(field, coords, targets, loss):
    difference = field(coords) - targets
    (difference.abs() if loss == "l1" else difference.square()).mean().backward()
    return difference.detach().abs().sum(dim=1)


def assert_same_gradients(one, other):
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert (mine.grad - theirs.grad).norm() < 1e-4 * theirs.grad.norm()


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize(("inside", "outside", "depth"), [(2, 3, 3), (1, 1, 1), (3, 1, 5)])
def test_gradients_by_hand_are_autograd_s(loss, inside, outside, depth, monkeypatch):
    monkeypatch.setattr(by_hand, "TILE", 24 * 40)  # several tiles, the last one smaller
    one, other = twins(inside, outside, depth=depth)
    coords, targets = examples(inside, outside, 150)
    errors = GradientByHand(one)(Batch(coords, targets, loss=loss, count=150))
    expected = differentiated(other, coords, targets, loss)
    assert_same_gradients(one, other)
    assert torch.allclose(errors, expected, atol=1e-5)


@pytest.mark.parametrize(("width", "depth"), [(48, 4), (128, 2), (128, 3), (72, 5)])
def test_gradients_in_bfloat16_are_nearly_those_of_float32(width, depth):
    one, other = twins(width=width, depth=depth)
    coords, targets = examples(2, 3, 500)
    errors = GradientByHand(one, dtype=torch.bfloat16)(Batch(coords, targets, loss="l2", count=500))
    expected = differentiated(other, coords, targets, "l2")
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert 0 < (mine.grad - theirs.grad).norm() < 0.03 * theirs.grad.norm()
    assert torch.allclose(errors, expected, atol=0.05)


def test_gradients_of_a_network_with_a_linear_layer_beside_it_are_autograd_s():
    pair = twins(inside=5)
    for field in pair:
        field.skip = nn.Parameter(torch.linspace(-1, 1, 15).reshape(3, 5))
        field.gain = 0.3
    coords, targets = examples(5, 3, 150)
    GradientByHand(pair[0])(Batch(coords, targets, loss="l2", count=150))
    differentiated(pair[1], coords, targets, "l2")
    assert_same_gradients(*pair)


def test_gradients_of_parts_add_up_to_those_of_the_whole():
    one, other = twins()
    coords, targets = examples(2, 3, 90)
    gradient = GradientByHand(one)
    for part in (slice(0, 50), slice(50, 90)):
        gradient(Batch(coords[part], targets[part], loss="l2", count=90))
    differentiated(other, coords, targets, "l2")
    assert_same_gradients(one, other)


def test_gradients_go_straight_through_the_rounding():
    one, other = twins()
    optimizer = Adam([one.groups(1.0)], 1e-3, beta2=0.99)
    rounding = Rounding(one, Steps(dict.fromkeys(dict(one.named_parameters()), 110)))
    exact = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    coords, targets = examples(2, 3, 64)
    gradient = GradientByHand(one)
    with rounding:
        gradient(Batch(coords, targets, loss="l2", count=64))
        other.load_state_dict(one.state_dict())
    assert not torch.equal(other.layers[1].weight, one.layers[1].weight)
    differentiated(other, coords, targets, "l2")
    assert_same_gradients(one, other)
    assert all(torch.equal(exact[name], tensor) for name, tensor in one.state_dict().items())
    optimizer.advance(1.0)
    optimizer.step()
    assert not any(torch.equal(exact[name], tensor) for name, tensor in one.state_dict().items())


def test_a_wave_is_a_cosine_and_its_slope():
    turns = torch.linspace(-40, 40, 100_001)[:, None]
    angle = 2 * math.pi * turns.double()
    sine, slope, spare = torch.empty(3, *turns.shape).unbind()
    by_hand.wave(turns.clone(), sine, slope, spare)
    assert (sine - angle.cos()).abs().max() < 2e-6
    assert (slope + 2 * math.pi * angle.sin()).abs().max() < 1e-3


def test_one_tensor_a_group_learns_as_many_do():
    one, other = twins()
    flat = Adam([one.groups(1.0)], 1e-3, beta2=0.99)
    plain = torch.optim.Adam(other.groups(1e-3), betas=(BETA1, 0.99))
    coords, targets = examples(2, 3, 64)
    for _ in range(5):
        flat.advance(1.0)
        plain.zero_grad()
        for field, optimizer in ((one, flat), (other, plain)):
            differentiated(field, coords, targets, "l2")
            optimizer.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def moved(gradient_of, steps=12):
    """How far so many training steps on a picture move the parameters ``[P]`` of a SIREN."""
    prepared = prepare(png(photo()), Settings(field="siren", width=24, depth=3, device="cpu"))
    signal = examples_of(prepared.signal, torch.device("cpu"))
    network = Siren(prepared.config, generator=torch.Generator().manual_seed(0))
    optimizer = Adam([network.groups(1.0)], 1e-3, beta2=0.99)
    step = TrainingStep(signal, optimizer, gradient_of(network))
    before = torch.cat([p.detach().flatten() for p in network.parameters()])
    draws = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.advance(1.0)
        step(torch.randint(signal.n, (512,), generator=draws), None)
    return torch.cat([p.detach().flatten() for p in network.parameters()]) - before


def test_steps_by_hand_move_parameters_as_steps_by_autograd_do():
    by_hand, by_autograd = moved(GradientByHand), moved(AutogradGradient)
    assert 0 < (by_hand - by_autograd).norm() < 0.02 * by_autograd.norm()


class Waves(nn.Module):
    """A field that is no SIREN: sines at fixed frequencies, of learned amplitudes."""

    def __init__(self):
        super().__init__()
        self.amplitudes = nn.Parameter(torch.zeros(64, 3))
        frequencies = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
        self.register_buffer("frequencies", 4 * frequencies)

    def groups(self, lr):
        return [{"params": [self.amplitudes], "lr": lr}]

    def wrap_phases(self):
        pass

    def forward(self, coords):
        return torch.sin(coords @ self.frequencies + 1) @ self.amplitudes


def test_any_field_can_be_fitted():
    prepared = prepare(png(photo()), Settings(field="siren", steps=200, lr=0.02, device="cpu"))
    signal = examples_of(prepared.signal, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    teacher = Uniform(signal.n, batch=256, generator=generator)
    plan = replace(prepared.plan, optimizer="adam")  # it has no hidden weights
    *_, last = fit(Waves(), signal, teacher, plan, generator=generator)
    assert last.distortion > 15


def test_bench_speed_prints_a_table_of_80_columns(intfit):
    run = intfit("bench", "speed", *SMALL)
    assert run.code == 0, run.err
    assert "8 x 2" in run.out
    assert max(map(len, run.out.splitlines())) <= 80


def test_bench_speed_compares_ratios_with_a_baseline(intfit):
    run = intfit("bench", "speed", *SMALL, "--json")
    assert run.code == 0, run.err
    cost = json.loads(run.out)
    parts = [cost[part] for part in ("matrix", "sine", "draw", "adam", "rest")]
    assert sum(parts) == pytest.approx(1)
    assert cost["of_matrix_rate"] == pytest.approx(cost["multiply_adds"] / cost["matrix_rate"])
    options = ("--seconds", 0.1, "--threads", 1, "--compare", "base.json")
    for factor, code in ((0.01, 0), (100, 1)):
        doctored = cost | {name: cost[name] * factor for name in ("of_matrix_rate", "times_plain")}
        Path("base.json").write_text(json.dumps(doctored | {"seconds": 1e-9}))
        run = intfit("bench", "speed", *options)
        assert run.code == code, run.err
        assert ("8x2x64: slower: times_plain" in run.err) == bool(code)


def test_bench_speed_says_what_is_wrong_with_a_request(intfit):
    assert "64x6x2048" in intfit("bench", "speed", "--shapes", "64x6").err
    assert intfit("bench", "speed", "--compare", "missing.json").code == 1
    Path("base.json").write_text("{}")
    run = intfit("bench", "speed", "--compare", "base.json")
    assert (run.code, run.err.count("\n")) == (2, 1)
    cost = json.loads(intfit("bench", "speed", *SMALL, "--json").out)
    Path("base.json").write_text(json.dumps(cost))
    run = intfit("bench", "speed", "--compare", "base.json", "--shapes", "9x2x64", "--threads", 1)
    assert (run.code, "9x2x64" in run.err) == (2, True)
    Path("base.json").write_text(json.dumps(cost | {"threads": 7}))
    run = intfit("bench", "speed", "--compare", "base.json", "--threads", 1)
    assert (run.code, "--threads 7" in run.err) == (2, True)


TOOL = Path(__file__).resolve().parents[1] / "tools" / "measure_cuda.py"


@pytest.mark.slow
@pytest.mark.usefixtures("small_pools")
def test_what_a_gpu_is_measured_by_works_in_tiny_on_the_cpu_and_goes_on(capsys):
    main = runpy.run_path(str(TOOL))["main"]
    assert main(["--smoke", "--results", "kept.json"]) == 0
    table = capsys.readouterr().out
    kept = json.loads(Path("kept.json").read_text())
    assert set(kept) == {"start", "steps", "files", "networks", "decoding", "quality"}
    assert all(row["what"] in table for part in kept.values() for row in part)
    dropped = kept.pop("quality")
    Path("kept.json").write_text(json.dumps(kept))
    assert main(["--smoke", "--results", "kept.json"]) == 0
    again = json.loads(Path("kept.json").read_text())
    assert [row["what"] for row in again["quality"]] == [row["what"] for row in dropped]
    assert {name: again[name] for name in kept} == kept


def test_measuring_a_gpu_that_is_not_there_says_so(capsys):
    assert runpy.run_path(str(TOOL))["main"]([]) == 2
    assert "no CUDA device" in capsys.readouterr().err
