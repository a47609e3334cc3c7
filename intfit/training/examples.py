"""Signals: the examples a field is fitted to, and the facts needed to write the medium back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from .. import metrics
from ..devices import precise

Metric = Literal["psnr", "snr", "iou", "mean_distance"]

#: An error of a signed distance counts relative to the distance, plus this share of the clamp's.
#: (Measured, bunny at -q 20 and 35: at 0.05 specks far off survive in both, at 0.15 in neither.)
NEAR = 0.15

#: Coordinates ``[B, d]`` to values ``[B, c]``: all that a medium knows of a field.
Evaluate = Callable[[Tensor], Tensor]


class Signal(Protocol):
    """Examples the teacher can choose from; media differ in how they store them."""

    @property
    def n(self) -> int:
        """Number of examples; indices run from 0 to n - 1."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid that the examples lie on, in order; ``()`` where there is none."""

    @property
    def in_features(self) -> int:
        """Coordinates of an example, d."""

    @property
    def out_features(self) -> int:
        """Values of an example, c."""

    @property
    def loss(self) -> Literal["l2", "l1"]:
        """The distortion to minimise."""

    @property
    def metric(self) -> Literal["psnr", "snr", "iou"]:
        """The distortion to report."""

    @property
    def importance(self) -> Tensor | None:
        """How much each example's error counts, ``[n]``, on average 1; None: all alike."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the header keeps to write the medium back: JSON values."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should know: conversions made, things not kept."""

    def examples(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates ``[B, d]`` and targets ``[B, c]``, in [-1, 1], of indices ``[B]``."""

    def check(self, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """At most ``count`` examples that represent the medium without bias, to measure on."""

    def measure(
        self,
        evaluate: Evaluate,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        """The distortion of a field, in the medium's metric or in ``metric``.

        On at most ``count`` examples, or estimated from as many where it is none of examples.
        """

    def to(self, device: torch.device) -> Self:
        """The same signal with its tensors on ``device``."""


class Drawn:
    """A signal that is measured on its own examples, drawn evenly."""

    def check(self: Signal, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.examples(evenly(self.n, count, generator=generator))

    def measure(
        self: Signal,
        evaluate: Evaluate,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        coords, targets = self.check(count, generator=generator)
        return quality(metric or self.metric, evaluate(coords), targets)


@dataclass(frozen=True)
class GridSignal(Drawn):
    """Samples on a regular grid: an image ``(H, W)`` or a recording ``(N,)``.

    ``values`` is ``[n, c]`` in a compact type; ``values * scale + offset`` lies in [-1, 1].
    Coordinates are sample centres, in [-1, 1] along the longest axis, and are computed from
    indices: a 24-megapixel image needs no table of them.
    """

    shape: tuple[int, ...]
    values: Tensor
    scale: float
    offset: float
    metric: Literal["psnr", "snr"]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    loss: Literal["l2"] = field(default="l2", init=False)
    importance: None = field(default=None, init=False)

    @property
    def n(self) -> int:
        return self.values.shape[0]

    @property
    def in_features(self) -> int:
        return len(self.shape)

    @property
    def out_features(self) -> int:
        return self.values.shape[1]

    def examples(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        longest = max(self.shape)
        axes: list[Tensor] = []
        rest = indices
        for size in reversed(self.shape):
            above = rest // size  # always 0 on the first axis
            position = (rest - above * size).to(precise(indices.device))
            rest = above
            axes.append(((2 * position + (1 - size)) / longest).float())
        targets = self.values.index_select(0, indices).float().mul_(self.scale).add_(self.offset)
        return torch.stack(axes[::-1], dim=-1), targets

    def to(self, device: torch.device) -> "GridSignal":
        values = self.values.to(device)
        return GridSignal(
            self.shape, values, self.scale, self.offset, self.metric, self.facts, self.notes
        )


@dataclass(frozen=True)
class PointSignal:
    """A pool of signed-distance samples of a surface, and uniform ones held out to measure on.

    ``points`` ``[n, 3]``, ``targets`` ``[n, 1]``: distance over the clamp, negative inside.
    ``check_points`` and ``check_targets`` are alike, drawn uniformly over the padded box;
    ``surface`` ``[m, 3]`` lies on the surface itself, to estimate its distance from the field's: a
    value of 1 is ``clamp`` % of the box diagonal. ``distance`` measures that of a field's surface,
    both ways, in % of the diagonal.
    """

    points: Tensor
    targets: Tensor
    check_points: Tensor
    check_targets: Tensor
    surface: Tensor
    clamp: float
    distance: Callable[[Evaluate, torch.device], float]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    shape: tuple[()] = field(default=(), init=False)
    loss: Literal["l1"] = field(default="l1", init=False)
    metric: Literal["iou"] = field(default="iou", init=False)

    @property
    def n(self) -> int:
        return self.points.shape[0]

    @property
    def in_features(self) -> int:
        return 3

    @property
    def out_features(self) -> int:
        return 1

    @property
    def importance(self) -> Tensor:
        """Near the surface an error moves it; farther off it must turn a sign to do so."""
        relative = NEAR / (NEAR + self.targets[:, 0].abs())
        return relative / relative.mean()

    def examples(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.points.index_select(0, indices), self.targets.index_select(0, indices)

    def check(self, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.check_points[:count], self.check_targets[:count]

    def measure(
        self,
        evaluate: Evaluate,
        *,
        count: int,
        generator: torch.Generator,
        metric: Metric | None = None,
    ) -> float:
        if metric == "mean_distance":
            if count > len(self.surface):
                return self.distance(evaluate, self.points.device)
            return self.clamp * float(evaluate(self.surface[:count]).abs().mean())
        coords, targets = self.check(count, generator=generator)
        return quality(self.metric, evaluate(coords), targets)

    def to(self, device: torch.device) -> "PointSignal":
        return PointSignal(
            self.points.to(device),
            self.targets.to(device),
            self.check_points.to(device),
            self.check_targets.to(device),
            self.surface.to(device),
            self.clamp,
            self.distance,
            self.facts,
            self.notes,
        )


def evenly(n: int, count: int, *, generator: torch.Generator) -> Tensor:
    """Indices ``[B]`` of at most ``count`` of ``n`` examples: all, or as many drawn uniformly."""
    device = generator.device
    if n <= count:
        return torch.arange(n, device=device)
    return torch.randint(n, (count,), generator=generator, device=device)


def quality(metric: Metric, outputs: Tensor, targets: Tensor) -> float:
    """The distortion of ``outputs`` ``[B, c]`` against ``targets`` ``[B, c]``, both in [-1, 1]."""
    return metrics.quality(metric, outputs.cpu().numpy(), targets.cpu().numpy())
