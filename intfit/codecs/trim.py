"""The trim of a surface's file: a small SIREN that tells surface from the caps of holes.

It stands beside any field of a surface, is fitted by the teacher as the others are, and is in a
file only where it pays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..coding import weights
from ..coding.tensors import Tensors
from ..coding.weights import QuantisedTensor
from ..defaults import TRIM_STEPS
from ..plan import Plan, make_plan
from ..settings import Settings
from ..signals import Coordinates, DistanceSamples, Evaluate, Floats, TrimSamples
from .trim_config import DEPTH, OMEGA, OMEGA_FIRST, PREFIX, trim_config

#: The widths that are tried, the narrowest alone at the lowest efforts.
WIDTHS, LOW_EFFORT = (8, 14), 2
#: The bytes of a surface's file grow by this share when its distance falls by one: about.
EXCHANGE = 1.2
#: The bytes and the mean distance, in %, of a usual file, where its own are not known yet.
USUAL_SIZE, USUAL_DISTANCE = 6000, 0.025
#: Points at which a trim is evaluated at once.
CHUNK = 1 << 16
#: The relative gain in distortion that a bit for every weight must bring, in nepers.
RD_LAMBDA = 0.1


class TrimField:
    """A trim: coordinates ``[B, 3]`` to values ``[B, 1]``, below 0 where there is surface."""

    def __init__(self, tensors: Mapping[str, Floats], width: int) -> None:
        self._layers = [
            (tensors[f"{PREFIX}layers.{i}.weight"].T, tensors[f"{PREFIX}layers.{i}.bias"])
            for i in range(DEPTH + 1)
        ]
        self.width = width

    def __call__(self, coords: Coordinates) -> Floats:
        parts = [
            self._evaluate(coords[first : first + CHUNK]) for first in range(0, len(coords), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 1), np.float32)

    def _evaluate(self, coords: Coordinates) -> Floats:
        x = coords.astype(np.float32)
        for layer, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias
            if layer < DEPTH:
                x = np.sin(np.float32(OMEGA if layer else OMEGA_FIRST) * x)
        return x


@dataclass(frozen=True)
class Trim:
    """A trim that was fitted: its width, parameters, bytes when packed, and steps of training.

    ``saved`` is by how much it lessens the mean distance, in %.
    """

    width: int
    tensors: dict[str, QuantisedTensor]
    size: int
    steps: int
    saved: float

    def dequantise(self) -> Tensors:
        """The float32 parameters."""
        return {name: tensor.dequantise() for name, tensor in self.tensors.items()}

    def field(self) -> Evaluate:
        """The trim as a field."""
        return TrimField(self.dequantise(), self.width)


def fit_trims(signal: DistanceSamples, plan: Plan, effort: int) -> tuple[Trim, ...]:
    """Trims of several widths of a surface with holes; of a closed one, none.

    Raises:
        DivergedError: if a parameter is no longer a finite number.
    """
    samples = None if signal.draw_trim is None else signal.draw_trim()
    if samples is None:
        return ()
    own = Settings(teacher=plan.teacher, seed=plan.seed, steps=TRIM_STEPS[effort])
    if plan.teacher == "int":
        own = replace(own, selection=plan.selection)
    widths = WIDTHS[:1] if effort <= LOW_EFFORT else WIDTHS
    return tuple(_fit(samples, replace(own, width=width)) for width in widths)


@lru_cache(maxsize=len(WIDTHS))
def _fit(samples: TrimSamples, settings: Settings) -> Trim:
    import torch

    from ..devices import limit_threads
    from ..networks.siren import Siren
    from ..training.examples import examples_of
    from ..training.quantisation import quantise
    from ..training.session import start_session, train_quantised

    assert settings.width is not None
    plan = make_plan(settings, kind="trim", n=samples.n, features=(3, 1))
    with limit_threads(1):
        network = Siren(
            trim_config(settings.width), generator=torch.Generator().manual_seed(plan.seed)
        )
        session = start_session(network, examples_of(samples, torch.device("cpu")), plan, "cpu")
        steps, progress = train_quantised(session, plan, rd_lambda=RD_LAMBDA, restarts=False)
    quantised = quantise(dict(network.named_parameters()), steps)
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in quantised.items()}
    found = Trim(settings.width, tensors, len(weights.pack(tensors)), progress.step, 0.0)
    values = found.field()(samples.evaluation_points)
    saved = samples.measure_cost(None) - samples.measure_cost(values)
    return replace(found, saved=saved)


def choose_trim(
    trims: tuple[Trim, ...], size: float = USUAL_SIZE, distance: float = USUAL_DISTANCE
) -> Trim | None:
    """The trim that is worth most in a file of ``size`` bytes without it; None if none is.

    ``distance`` is the mean distance of that file's surface with its caps, in %.
    """

    def cost(trim: Trim | None) -> float:
        if trim is None:
            return 0.0
        left = max(distance - trim.saved, 0.05 * distance)
        return float(np.log1p(trim.size / size) + EXCHANGE * np.log(left / distance))

    return min((None, *trims), key=cost)


def note_trim(trim: Trim | None) -> tuple[str, ...]:
    """The note on a file's trim, if it has one."""
    if trim is None:
        return ()
    return (f"its holes stay open, which takes {trim.size} B: decode --watertight closes them",)
