"""Examples: what a field is trained on and measured on, as tensors on a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from .. import metrics
from ..devices import precise
from ..signals import (
    ColourSamples,
    DistanceSamples,
    Evaluate,
    Floats,
    Grid,
    Signal,
    TrimSamples,
)

Metric = Literal["psnr", "snr", "iou", "mean_distance"]

#: The error of a signed distance is weighted by 1 / (this + its absolute value, in clamps). Smaller
#: values leave specks of surface far from the true one; see docs/results.
NEAR_SURFACE = 0.15

#: A field in training: coordinates ``[B, d]`` to values ``[B, c]``.
EvaluateTensor = Callable[[Tensor], Tensor]


class Examples(Protocol):
    """Examples that a teacher chooses from; each kind of signal stores them in its own way."""

    @property
    def n(self) -> int:
        """Number of examples; indices run from 0 to n - 1."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid that the examples lie on, row by row; ``()`` where there is none."""

    @property
    def loss(self) -> Literal["l2", "l1"]:
        """The loss to minimise."""

    @property
    def metric(self) -> Literal["psnr", "snr", "iou"]:
        """The metric that distortion is reported in."""

    @property
    def importance(self) -> Tensor | None:
        """Weight of each example's error, ``[n]``, with mean 1; None where all weigh the same."""

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``[B, d]`` and targets ``[B, c]``, in [-1, 1], of indices ``[B]``."""

    def gather_sides(self, indices: Tensor) -> Tensor | None:
        """The ``sides`` ``[B, K]`` of :class:`.gradients.base.Batch`, where there are any."""

    def draw_evaluation_examples(
        self, count: int, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """At most ``count`` coordinates and targets that represent the medium without bias."""

    def measure(
        self,
        evaluate: EvaluateTensor,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        """The distortion of a field in ``metric``, by default the medium's own.

        Measured on at most ``count`` evaluation examples. The mean distance of surfaces is measured
        exactly where ``count`` exceeds the number of surface points, and estimated below that.
        """


class UniformEvaluation:
    """A base of examples that are evaluated on a uniform draw of themselves, without creases."""

    def gather_sides(self, indices: Tensor) -> Tensor | None:
        return None

    def draw_evaluation_examples(
        self: Examples, count: int, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return self.gather(draw_uniformly(self.n, count, generator=generator))

    def measure(
        self: Examples,
        evaluate: EvaluateTensor,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        coords, targets = self.draw_evaluation_examples(count, generator=generator)
        return quality(metric or self.metric, evaluate(coords), targets)


@dataclass(frozen=True)
class GridExamples(UniformEvaluation):
    """The samples of a :class:`~intfit.signals.Grid`.

    ``values`` is ``[n, c]`` in a compact number type; ``values * scale + offset`` lies in [-1, 1].
    Coordinates are sample centres, in [-1, 1] along the longest axis. They are computed from
    indices: an image of 24 megapixels needs no table of them.
    """

    shape: tuple[int, ...]
    values: Tensor
    scale: float
    offset: float
    metric: Literal["psnr", "snr"]
    signal: Grid | None = None
    loss: Literal["l2"] = field(default="l2", init=False)
    importance: None = field(default=None, init=False)

    @property
    def n(self) -> int:
        return self.values.shape[0]

    def measure(
        self,
        evaluate: EvaluateTensor,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        found = super().measure(evaluate, count=count, generator=generator, metric=metric)
        signal = self.signal
        if signal is None or signal.as_written is None or found < signal.exact_below:
            return found
        # what writing does to a sample may depend on others: all of them
        coords, _ = self.gather(torch.arange(self.n, device=self.values.device))
        return signal.quality(evaluate(coords).cpu().numpy(), signal.targets())

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        targets = self.values.index_select(0, indices).float().mul_(self.scale).add_(self.offset)
        return locate(indices, self.shape, max(self.shape)), targets


def locate(indices: Tensor, shape: Sequence[int | Tensor], longest: int | Tensor) -> Tensor:
    """The coordinates ``[..., d]`` of samples ``[...]`` of a grid of a ``shape``, row by row.

    Sizes, and the ``longest`` of them, may be tensors: of rows of indices in grids of their own.
    """
    axes: list[Tensor] = []
    rest = indices
    for size in reversed(shape):
        above = rest // size  # always 0 on the first axis
        position = (rest - above * size).to(precise(indices.device))
        rest = above
        axes.append(((2 * position + (1 - size)) / longest).float())
    return torch.stack(axes[::-1], dim=-1)


@dataclass(frozen=True)
class HeldOutEvaluation(UniformEvaluation):
    """A base of examples that are points, evaluated on others that are held out."""

    points: Tensor
    targets: Tensor
    evaluation_points: Tensor
    evaluation_targets: Tensor

    @property
    def n(self) -> int:
        return self.points.shape[0]

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.points.index_select(0, indices), self.targets.index_select(0, indices)

    def draw_evaluation_examples(
        self, count: int, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return self.evaluation_points[:count], self.evaluation_targets[:count]


@dataclass(frozen=True)
class PointExamples(HeldOutEvaluation):
    """The points and signed distances of :class:`~intfit.signals.DistanceSamples`.

    Shapes, ranges and units are those of its fields of the same names.
    """

    surface_points: Tensor
    clamp: float
    measure_distance: Callable[[Evaluate], float]
    sides: Tensor | None = None
    shape: tuple[()] = field(default=(), init=False)
    loss: Literal["l1"] = field(default="l1", init=False)
    metric: Literal["iou"] = field(default="iou", init=False)

    def gather_sides(self, indices: Tensor) -> Tensor | None:
        """The sides of creases ``[B, K]``, where the surface has any, as its signal has them."""
        return None if self.sides is None else self.sides.index_select(0, indices)

    @property
    def importance(self) -> Tensor:
        """Errors near the surface move it; errors far from it only matter if they flip a sign."""
        relative = NEAR_SURFACE / (NEAR_SURFACE + self.targets[:, 0].abs())
        return relative / relative.mean()

    def measure(
        self,
        evaluate: EvaluateTensor,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        if metric == "mean_distance":
            if count > len(self.surface_points):
                return self.measure_distance(self._on_arrays(evaluate))
            return self.clamp * float(evaluate(self.surface_points[:count]).abs().mean())
        coords, targets = self.draw_evaluation_examples(count, generator=generator)
        return quality(self.metric, evaluate(coords), targets)

    def _on_arrays(self, evaluate: EvaluateTensor) -> Evaluate:
        """The same field, from arrays to arrays."""
        device = self.points.device

        def evaluate_array(coords: Floats) -> Floats:
            values: Floats = evaluate(torch.from_numpy(coords).to(device)).cpu().numpy()
            return values

        return evaluate_array


@dataclass(frozen=True)
class ColourExamples(HeldOutEvaluation):
    """The points of :class:`~intfit.signals.ColourSamples`, or ``TrimSamples``, and their values.

    As its fields have them.
    """

    shape: tuple[()] = field(default=(), init=False)
    loss: Literal["l2"] = field(default="l2", init=False)
    metric: Literal["psnr"] = field(default="psnr", init=False)
    importance: None = field(default=None, init=False)


def examples_of(signal: Signal | ColourSamples | TrimSamples, device: torch.device) -> Examples:
    """The examples of a signal, their tensors on ``device``."""
    return _BUILDERS[type(signal)](signal, device)


def _build_grid(signal: Grid, device: torch.device) -> GridExamples:
    values = signal.values
    # not every device can index unsigned 16-bit tensors
    kept = values.astype(np.int32) if values.dtype == np.uint16 else values
    tensor = torch.from_numpy(np.array(kept)).to(device)
    return GridExamples(signal.shape, tensor, signal.scale, signal.offset, signal.metric, signal)


def _build_points(signal: DistanceSamples, device: torch.device) -> PointExamples:
    return PointExamples(
        torch.from_numpy(signal.points).to(device),
        torch.from_numpy(signal.targets).to(device),
        torch.from_numpy(signal.evaluation_points).to(device),
        torch.from_numpy(signal.evaluation_targets).to(device),
        torch.from_numpy(signal.surface_points).to(device),
        signal.clamp,
        signal.measure_distance,
        None if signal.sides is None else torch.from_numpy(signal.sides).to(device),
    )


def _build_colours(signal: ColourSamples | TrimSamples, device: torch.device) -> ColourExamples:
    return ColourExamples(
        torch.from_numpy(signal.points).to(device),
        torch.from_numpy(signal.targets).to(device),
        torch.from_numpy(signal.evaluation_points).to(device),
        torch.from_numpy(signal.evaluation_targets).to(device),
    )


#: How the examples of each type of signal are built.
_BUILDERS: dict[type, Callable[[Any, torch.device], Examples]] = {
    Grid: _build_grid,
    DistanceSamples: _build_points,
    ColourSamples: _build_colours,
    TrimSamples: _build_colours,
}


def draw_uniformly(n: int, count: int, *, generator: torch.Generator) -> Tensor:
    """Indices ``[B]`` of at most ``count`` of ``n`` examples: all, or drawn with replacement."""
    device = generator.device
    if n <= count:
        return torch.arange(n, device=device)
    return torch.randint(n, (count,), generator=generator, device=device)


def quality(metric: Metric, outputs: Tensor, targets: Tensor) -> float:
    """The distortion of ``outputs`` ``[B, c]`` against ``targets`` ``[B, c]``, both in [-1, 1].

    In dB for ``psnr`` and ``snr``; for ``iou`` a share in [0, 1].
    """
    return metrics.quality(metric, outputs.cpu().numpy(), targets.cpu().numpy())
