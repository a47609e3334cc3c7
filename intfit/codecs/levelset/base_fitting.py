"""The fit of a surface's base: a small SIREN, taught as a file's only SIREN would be."""

from dataclasses import dataclass, replace

from ...coding import weights
from ...coding.tensors import Tensors
from ...coding.weights import QuantisedTensor
from ...defaults import BASE_STEPS
from ...plan import make_plan
from ...settings import Settings
from ..protocol import Hooks, Prepared
from .base import predict_coefficients
from .config import BASE, COARSEST, LevelSetConfig
from .pyramid import Grid


@dataclass(frozen=True, eq=False)
class Base:
    """A base that was fitted: its parameters, packed, and the steps of its training."""

    neurons: int
    tensors: dict[str, QuantisedTensor]
    packed: bytes
    steps: int

    def dequantise(self) -> Tensors:
        """The float32 parameters, by the names of a file's tensors."""
        return {f"{BASE}{name}": tensor.dequantise() for name, tensor in self.tensors.items()}

    def predict(self, config: LevelSetConfig) -> Grid:
        """The coefficients of the first level, in units."""
        assert config.base is not None
        return predict_coefficients(self.tensors, config.base, config)


def fit_base(prepared: Prepared, neurons: int, hooks: Hooks) -> Base:
    """A base of so many ``neurons`` a layer; by one thread, so that it is the same everywhere.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
    """
    import torch

    from ...devices import limit_threads
    from ...networks.siren import Siren
    from ...training.examples import examples_of
    from ...training.quantisation import quantise
    from ...training.session import start_session, train_quantised

    plan, signal = prepared.plan, prepared.signal
    steps_of_effort = BASE_STEPS[prepared.settings.effort]
    own = Settings(width=neurons, steps=steps_of_effort, teacher=plan.teacher, seed=plan.seed)
    if plan.teacher == "int":
        own = replace(own, selection=plan.selection)
    own_plan = make_plan(own, kind="base", n=signal.n, features=(3, 1))
    architecture = LevelSetConfig(COARSEST, neurons=neurons).base
    assert architecture is not None
    with limit_threads(1):
        network = Siren(architecture, generator=torch.Generator().manual_seed(plan.seed))
        session = start_session(network, examples_of(signal, torch.device("cpu")), own_plan, "cpu")
        if hooks.wrap_teacher is not None:
            wrapped = hooks.wrap_teacher(session.teacher, prepared, None)
            session = replace(session, teacher=wrapped)
        steps, progress = train_quantised(
            session,
            own_plan,
            rd_lambda=own_plan.rd_lambda,
            restarts=False,
            on_progress=hooks.progress,
        )
    tensors = quantise(dict(network.named_parameters()), steps)
    return Base(neurons, tensors, weights.pack(tensors), progress.step)
