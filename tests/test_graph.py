"""Steps that are recorded and replayed, as CUDA graphs are: on the CPU a tape stands in for one."""

from dataclasses import replace

import pytest
import torch
from conftest import photo, png
from torch.utils._python_dispatch import TorchDispatchMode

from intfit import Settings
from intfit.api import encode, prepare
from intfit.networks.siren import Siren
from intfit.teachers import TeacherWrapper, make_teacher, proportional
from intfit.training import step as steps
from intfit.training.cuda_graph import STEPS_BEFORE_RECORDING, CudaGraphStep, record_on
from intfit.training.examples import examples_of
from intfit.training.gradients.autograd import AutogradGradient
from intfit.training.gradients.by_hand import GradientByHand
from intfit.training.gradients.choice import choose_gradients
from intfit.training.optimizers.preconditioned import make_optimizer
from intfit.training.quantisation import Rounding, Steps
from intfit.training.step import DrawnStep, TrainingStep, train_step

#: What makes the host wait for a GPU, or a shape depend on values: neither can be recorded.
FORBIDDEN = {"_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "equal"}


class Tape(TorchDispatchMode):
    """All operations on tensors, in order, with the very tensors that they were done on."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in FORBIDDEN
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, kept in self.calls:
            result = func(*args, **kwargs)
            for old, new in zip(listed(kept), listed(result), strict=True):
                if old is not new:
                    old.copy_(new)


def listed(result):
    return result if isinstance(result, (tuple, list)) else [] if result is None else [result]


def taped(tapes):
    def record(call):
        tape = Tape()
        tapes.append(tape)
        with tape:
            result = call()
        done = iter([None])  # a graph does nothing before it is replayed; a tape has done it once
        return lambda: None if next(done, 0) is None else tape.replay(), result

    return record


def refuse(call):
    raise RuntimeError("operation not permitted when stream is capturing")


def train(
    gradient_of, record=None, *, device="cpu", rounded_from=30, steps=40, name="adam", drawn=False
):
    """The parameters ``[P]`` before and after some training steps, the last of them rounded.

    If it is ``drawn``, the teacher's part of a step is recorded, too.
    """
    settings = Settings(field="siren", steps=40, width=16, depth=2, batch=256, device="cpu")
    prepared = prepare(png(photo()), settings)
    examples = examples_of(prepared.signal, torch.device(device))
    network = Siren(prepared.config, generator=torch.Generator().manual_seed(0)).to(device)
    plan = replace(prepared.plan, lr=1e-3, beta2=0.99, decay=1000.0, optimizer=name)
    optimizer = make_optimizer([network], plan)
    training_step = TrainingStep(examples, optimizer, gradient_of(network))
    step_function = training_step
    if record is not None:
        step_function = CudaGraphStep(training_step, record=record)
    # draws on the CPU are the same for every device
    draws = torch.Generator().manual_seed(0)
    teacher = make_teacher(prepared.plan, examples.n, shape=examples.shape, generator=draws)
    on_device = OnDevice(teacher, device)
    drawn_step = CudaGraphStep(DrawnStep(training_step, teacher), record=record) if drawn else None
    before = flattened(network)
    for step in range(steps):
        if step == rounded_from:
            indices = dict.fromkeys(dict(network.named_parameters()), 110)
            training_step.rounding = Rounding(network, Steps(indices))
        if drawn_step is not None:
            assert teacher.prepare(step, step / steps)
            optimizer.advance(1 - step / steps)
            drawn_step()
            continue
        indices = on_device.select(step, step / steps, torch.ones_like)
        train_step(indices, step_function, optimizer, on_device, lr_share=1 - step / steps)
    return before, flattened(network)


def flattened(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).cpu()


class OnDevice(TeacherWrapper):
    """A teacher on the CPU, for training on a device."""

    def __init__(self, teacher, device):
        super().__init__(teacher)
        self._device = device

    def select(self, step, progress, score):
        return super().select(step, progress, score).to(self._device)

    def weights(self):
        weights = super().weights()
        return None if weights is None else weights.to(self._device)

    def observe(self, indices, errors):
        super().observe(indices.cpu(), errors.cpu())


GRADIENTS = {"by hand": GradientByHand, "autograd": AutogradGradient}


@pytest.mark.parametrize("kind", GRADIENTS)
def test_steps_replayed_learn_what_steps_done_one_by_one_do(kind):
    tapes = []
    _, replayed = train(GRADIENTS[kind], taped(tapes))
    before, parameters = train(GRADIENTS[kind])
    assert torch.equal(replayed, parameters)
    assert not torch.equal(before, parameters)
    assert len(tapes) == 2  # one more once parameters are rounded


@pytest.mark.parametrize("pool", [1 << 19, 700])  # of the picture's 1536 pixels: all, or a part
def test_draws_and_their_errors_are_replayed_with_the_step(pool, monkeypatch):
    monkeypatch.setattr(proportional, "POOL", pool)
    tapes = []
    _, replayed = train(GradientByHand, taped(tapes), drawn=True)
    _, parameters = train(GradientByHand)
    assert torch.equal(replayed, parameters)
    assert len(tapes) == 2  # one more once parameters are rounded, none for another table of draws


@pytest.mark.parametrize("teacher", ["int", "uniform"])
def test_a_fit_of_replayed_steps_makes_the_same_file(teacher, monkeypatch):
    settings = Settings(
        field="siren", steps=60, width=16, depth=2, batch=256, teacher=teacher, device="cpu"
    )
    data, tapes = encode(png(photo()), settings).data, []
    monkeypatch.setattr(steps, "choose_recorder", lambda device: taped(tapes))
    assert encode(png(photo()), settings).data == data
    assert len(tapes) == 2  # one more once parameters are rounded


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_optimizers_whose_bases_are_refreshed_between_steps_are_replayed_too(name):
    tapes = []
    _, replayed = train(GradientByHand, taped(tapes), steps=60, rounded_from=60, name=name)
    _, parameters = train(GradientByHand, steps=60, rounded_from=60, name=name)
    assert torch.equal(replayed, parameters)
    assert len(tapes) == 1


def test_steps_that_cannot_be_recorded_are_done_one_by_one():
    with pytest.warns(UserWarning, match="not permitted") as warned:
        _, parameters = train(GradientByHand, refuse)
    assert torch.equal(parameters, train(GradientByHand)[1])
    assert len(warned) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("kind", ["autograd", "the fastest"])
def test_steps_replayed_on_cuda_move_parameters_as_steps_on_the_cpu_do(kind):
    def fastest(network):
        return choose_gradients([network], batch=256, loss="l2")[1]

    gradient_of = fastest if kind == "the fastest" else GRADIENTS[kind]
    record, graphs = record_on(torch.device("cuda")), []

    def counted(call):
        graphs.append(call)
        return record(call)

    steps = 4 * STEPS_BEFORE_RECORDING
    before, on_cpu = train(AutogradGradient, steps=steps)
    _, on_cuda = train(gradient_of, device="cuda", steps=steps)
    _, replayed = train(gradient_of, counted, device="cuda", steps=steps)
    move = (on_cpu - before).norm()
    assert (on_cuda - on_cpu).norm() < 0.05 * move
    assert (replayed - on_cuda).norm() < 1e-3 * move
    assert len(graphs) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.filterwarnings("default:slower, since Triton")
@pytest.mark.parametrize("field", ["siren", "latent"])
def test_a_fit_on_cuda_takes_all_its_steps(field):
    settings = Settings(field=field, steps=60, quality=40, device="cuda")
    assert encode(png(photo()), settings).steps == 60
