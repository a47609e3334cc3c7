"""Steps that are recorded and replayed, as CUDA graphs are: on the CPU a tape stands in for one."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import photo, png
from torch.utils._python_dispatch import TorchDispatchMode

from intfit import Settings
from intfit.api import encode, prepare
from intfit.networks.siren import Siren
from intfit.teachers import make_teacher
from intfit.training import loop as fit
from intfit.training.cuda_graph import Graphed
from intfit.training.examples import examples_of
from intfit.training.gradients.by_hand import Descent
from intfit.training.optimizer import Adam
from intfit.training.quantisation import Rounding

#: What makes the host wait for a GPU, or a shape depend on values: neither can be recorded.
FORBIDDEN = {"_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "equal"}


class Tape(TorchDispatchMode):
    """All operations on tensors, in order, with the very tensors that they were done on."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in FORBIDDEN
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, kept in self.calls:
            found = func(*args, **kwargs)
            for old, new in zip(listed(kept), listed(found), strict=True):
                if old is not new:
                    old.copy_(new)


def listed(found):
    return found if isinstance(found, (tuple, list)) else [] if found is None else [found]


def taped(tapes):
    def record(call):
        tape = Tape()
        tapes.append(tape)
        with tape:
            found = call()
        done = iter([None])  # a graph does nothing before it is replayed; a tape has done it once
        return lambda: None if next(done, 0) is None else tape.replay(), found

    return record


def refuse(call):
    raise RuntimeError("operation not permitted when stream is capturing")


def learnt(kind, record=None):
    """The parameters after 40 steps of a small fit, the last ten of them rounded."""
    settings = Settings(field="siren", steps=40, width=16, depth=2, batch=256, device="cpu")
    ready = prepare(png(photo()), settings)
    signal = examples_of(ready.signal, torch.device("cpu"))
    field = Siren(ready.config, generator=torch.Generator().manual_seed(0))
    optimizer = Adam(field.groups(1.0), 1e-3, beta2=0.99)
    gradient = Descent(field) if kind == "by hand" else partial(fit.by_autograd, field, None)
    descend = fit.Descend(signal, optimizer, gradient)
    work = descend if record is None else Graphed(descend, record=record)
    draws = torch.Generator().manual_seed(0)
    teacher = make_teacher(ready.plan, signal.n, shape=signal.shape, generator=draws)
    for step in range(40):
        if step == 30:
            descend.rounding = Rounding(field, dict.fromkeys(dict(field.named_parameters()), 110))
        chosen = teacher.choose(step, step / 40, torch.ones_like)
        fit.learn(chosen, work, optimizer, teacher, share=1 - step / 40)
    return torch.cat([p.detach().flatten() for p in field.parameters()])


@pytest.mark.parametrize("kind", ["by hand", "autograd"])
def test_steps_replayed_learn_what_steps_done_one_by_one_do(kind):
    tapes = []
    assert torch.equal(learnt(kind, taped(tapes)), learnt(kind))
    assert len(tapes) == 2  # one more once parameters are rounded


def test_steps_that_cannot_be_recorded_are_done_one_by_one():
    with pytest.warns(UserWarning, match="not permitted") as said:
        found = learnt("by hand", refuse)
    assert torch.equal(found, learnt("by hand"))
    assert len(said) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("field", ["siren", "latent"])
def test_a_fit_on_cuda_replays_a_graph_and_ends_where_one_on_the_cpu_does(field):
    settings = Settings(field=field, steps=300, quality=40)
    found = [encode(png(photo()), replace(settings, device=d)) for d in ("cpu", "cuda")]
    assert found[1].distortion == pytest.approx(found[0].distortion, abs=0.5)
