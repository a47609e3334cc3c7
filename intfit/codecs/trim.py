"""The trim of a surface's file: a small SIREN that tells surface from the caps of holes.

It stands beside any field of a surface, is fitted by the teacher as the others are, and is in a
file only where it pays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..coding import weights
from ..coding.header import SMALL_DEPTH, SMALL_OMEGA, SMALL_OMEGA_FIRST
from ..coding.tensors import Tensors
from ..coding.weights import QuantisedTensor
from ..defaults import TRIM_STEPS
from ..plan import Plan
from ..settings import Settings
from ..signals import Coordinates, DistanceSamples, Evaluate, Floats, TrimSamples
from .small_siren import fit_small_siren, settings_of
from .trim_config import PREFIX, trim_config

#: The widths that are tried, the narrowest alone at the lowest efforts.
WIDTHS, LOW_EFFORT = (8, 14), 2
#: The bytes of a surface's file grow by this share when its distance falls by one: about.
EXCHANGE = 1.2
#: The bytes and the mean distance, in %, of a usual file, where its own are not known yet.
USUAL_SIZE, USUAL_DISTANCE = 6000, 0.025
#: Points at which a trim is evaluated at once.
CHUNK = 1 << 16


class TrimField:
    """A trim: coordinates ``[B, 3]`` to values ``[B, 1]``, below 0 where there is surface."""

    def __init__(self, tensors: Mapping[str, Floats], width: int) -> None:
        self._layers = [
            (tensors[f"{PREFIX}layers.{i}.weight"].T, tensors[f"{PREFIX}layers.{i}.bias"])
            for i in range(SMALL_DEPTH + 1)
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
            if layer < SMALL_DEPTH:
                x = np.sin(np.float32(SMALL_OMEGA if layer else SMALL_OMEGA_FIRST) * x)
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
    widths = WIDTHS[:1] if effort <= LOW_EFFORT else WIDTHS
    steps = TRIM_STEPS[effort]
    return tuple(_fit(samples, settings_of(plan, width=width, steps=steps)) for width in widths)


@lru_cache(maxsize=len(WIDTHS))
def _fit(samples: TrimSamples, settings: Settings) -> Trim:
    assert settings.width is not None
    quantised, steps = fit_small_siren(samples, trim_config(settings.width), settings, "trim")
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in quantised.items()}
    found = Trim(settings.width, tensors, len(weights.pack(tensors)), steps, 0.0)
    values = found.field()(samples.evaluation_points)
    saved = samples.measure_cost(None) - samples.measure_cost(values)
    return replace(found, saved=saved)


def choose_trim(
    trims: tuple[Trim, ...], size: float = USUAL_SIZE, distance: float = USUAL_DISTANCE
) -> Trim | None:
    """The trim that is worth most in a file of ``size`` bytes without it; None if none is.

    ``distance`` is the mean distance of that file's surface but for its caps, in %.
    """
    capped = distance + max((trim.saved for trim in trims), default=0.0)

    def cost(trim: Trim | None) -> float:
        if trim is None:
            return 0.0
        left = max(capped - trim.saved, 0.05 * capped)
        return float(np.log1p(trim.size / size) + EXCHANGE * np.log(left / capped))

    return min((None, *trims), key=cost)


def note_trim(trim: Trim | None) -> tuple[str, ...]:
    """The note on a file's trim, if it has one."""
    if trim is None:
        return ()
    return (f"its holes stay open, which takes {trim.size} B: decode --watertight closes them",)
