"""The fit of a surface's base: a small SIREN, taught as a file's only SIREN would be."""

from dataclasses import dataclass
from functools import partial

from ...coding import weights
from ...coding.tensors import Tensors
from ...coding.weights import QuantisedTensor
from ...defaults import BASE_STEPS
from ...signals import DistanceSamples
from ..protocol import Hooks, Prepared
from ..small_siren import fit_small_siren, settings_of
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
    """A base of so many ``neurons`` a layer.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
    """
    wrap = hooks.wrap_teacher
    architecture = LevelSetConfig(COARSEST, neurons=neurons).base
    assert architecture is not None
    assert isinstance(prepared.signal, DistanceSamples)
    tensors, steps = fit_small_siren(
        prepared.signal,
        architecture,
        settings_of(prepared.plan, width=neurons, steps=BASE_STEPS[prepared.settings.effort]),
        "base",
        wrap_teacher=None if wrap is None else partial(wrap, prepared=prepared, places=None),
        on_progress=hooks.progress,
    )
    return Base(neurons, tensors, weights.pack(tensors), steps)
