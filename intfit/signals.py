"""Signals: what a medium's reader hands to an encoder, in NumPy.

Importing torch takes over a second, longer than the wavelet and MDCT codecs take to encode, and
they need none of it. :mod:`.training.examples` turns a signal into examples to train on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .metrics import quality

Floats = NDArray[np.float32]
#: Samples whose colours are counted at once.
PART = 1 << 18

#: Coordinates ``[B, d]``: media give them in float64, since float32 cannot tell the samples of a
#: recording of some minutes apart; a field takes float32 as well.
Coordinates = NDArray[np.floating[Any]]
#: A field as media know it: coordinates ``[B, d]`` in [-1, 1] to values ``[B, c]`` in [-1, 1].
Evaluate = Callable[[Coordinates], Floats]


@dataclass(frozen=True)
class Grid:
    """Samples on a regular grid: an image of shape ``(H, W)`` or a recording of shape ``(N,)``.

    ``values`` is ``[n, c]`` in a compact number type, row by row;
    ``values * scale + offset`` lies in [-1, 1]. ``facts`` is what the file's header keeps to write
    the medium back (JSON values); ``notes`` tells the person what was converted or is not kept.
    ``as_written`` takes a field's values ``[n, c]`` at all samples to those in the file that
    `decode` writes, where that differs (a palette, fewer bits); below ``exact_below`` dB, that
    makes no difference. ``lossless_size`` is given of pictures that look drawn: what a lossless
    file takes, in bytes.
    """

    shape: tuple[int, ...]
    values: NDArray[Any]
    scale: float
    offset: float
    metric: Literal["psnr", "snr"]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    as_written: Callable[[Floats], Floats] | None = None
    exact_below: float = -math.inf
    lossless_size: int | None = None

    def quality(self, outputs: Floats, targets: Floats) -> float:
        """The PSNR or SNR, in dB, of a field's values ``[n, c]`` once they are written to a file.

        ``targets`` are all of :meth:`targets`.
        """
        found = quality(self.metric, outputs, targets)
        if self.as_written is None or found < self.exact_below:
            return found
        return quality(self.metric, self.as_written(outputs), targets)

    @property
    def n(self) -> int:
        """Number of samples: pixels, or frames of all channels together."""
        return len(self.values)

    @property
    def in_features(self) -> int:
        """Coordinates of a sample, d."""
        return len(self.shape)

    @property
    def out_features(self) -> int:
        """Values of a sample, c."""
        return int(self.values.shape[1])

    def count_colours(self, most: int) -> int:
        """How many different values ``[c]`` of 8 bits there are; ``most`` + 1 where there are more.

        Of at most 8 channels.
        """
        powers = 256 ** np.arange(self.out_features, dtype=np.int64)
        found: set[int] = set()
        for first in range(0, self.n, PART):
            numbers = self.values[first : first + PART].astype(np.int64) @ powers
            found.update(np.unique(numbers).tolist())
            if len(found) > most:
                return most + 1
        return len(found)

    def targets(self) -> Floats:
        """All values ``[n, c]``, scaled to [-1, 1]."""
        scaled = self.values.astype(np.float32)
        scaled *= np.float32(self.scale)
        scaled += np.float32(self.offset)
        return scaled


@dataclass(frozen=True)
class ColourSamples:
    """The colours of a surface: points near it, and what is seen at the nearest place on it.

    ``points`` ``[n, 3]`` are coordinates as those of :class:`DistanceSamples`; ``targets``
    ``[n, 3]`` are red, green and blue in sRGB, from -1 to 1. ``evaluation_points`` ``[m, 3]`` and
    ``evaluation_targets`` ``[m, 3]`` lie on the surface and are held out.
    """

    points: Floats
    targets: Floats
    evaluation_points: Floats
    evaluation_targets: Floats
    shape: tuple[()] = field(default=(), init=False)
    metric: Literal["psnr"] = field(default="psnr", init=False)

    @property
    def n(self) -> int:
        """Number of points to learn from."""
        return len(self.points)


@dataclass(frozen=True, eq=False)
class TrimSamples:
    """Points of an open surface and of the caps that close its holes.

    ``points`` ``[n, 3]`` are coordinates as those of :class:`DistanceSamples`, most of them near
    the border; ``targets`` ``[n, 1]`` are their distances from it, negative on the surface and
    positive on caps, in [-1, 1], where they are cut off. ``evaluation_points`` ``[m, 3]`` are drawn
    uniformly over surface and caps, and of them ``evaluation_targets`` ``[m, 1]`` are not cut off.
    A distance of 1 is ``percent`` % of the box diagonal.
    """

    points: Floats
    targets: Floats
    evaluation_points: Floats
    evaluation_targets: Floats
    percent: float
    shape: tuple[()] = field(default=(), init=False)
    metric: Literal["psnr"] = field(default="psnr", init=False)

    @property
    def n(self) -> int:
        """Number of points to learn from."""
        return len(self.points)

    def measure_cost(self, values: Floats | None) -> float:
        """What a trim adds to the mean distance from the original, both ways, in %, about.

        ``values`` ``[m, 1]`` are those at the evaluation points; None for no trim: caps that are
        left lie off the original, and surface that is cut away off what is left.
        """
        targets = self.evaluation_targets
        wrong = (targets > 0) if values is None else (values < 0) != (targets < 0)
        return 0.5 * self.percent * float(np.abs(targets[wrong]).sum()) / len(targets)


@dataclass(frozen=True)
class SurfaceSamples:
    """Exact points of a surface, in the coordinates of :class:`DistanceSamples`.

    ``on`` ``[k, 3]`` lie on it, drawn uniformly; ``off`` ``[m, 3]`` anywhere in its padded box and
    at several scales around it, with their signed ``distances`` ``[m]``, negative inside.
    """

    on: NDArray[np.float64]
    off: NDArray[np.float64]
    distances: NDArray[np.float64]


@dataclass(frozen=True)
class DistanceSamples:
    """A surface as a pool of points with their signed distances from it.

    ``points`` ``[n, 3]`` lie in the padded box, or a little outside, in coordinates whose longest
    side spans [-1, 1]; ``targets`` ``[n, 1]`` are distances divided by the clamp, in [-1, 1],
    negative inside. ``evaluation_points`` ``[m, 3]`` are held out, drawn uniformly over the padded
    box; of them ``evaluation_targets`` ``[m, 1]`` tell only inside (-1) from outside (1).
    ``surface_points`` ``[k, 3]`` lie on the surface: a field's mean absolute value there, times
    ``clamp``, estimates the distance between the field's surface and this one. ``clamp`` is in %
    of the box diagonal. ``measure_distance`` extracts a field's surface and gives its mean distance
    from this one, both ways, in % of the diagonal; where a trim is given, the surface is trimmed.
    ``draw`` draws so many points on the surface and at each scale around it. ``sides`` ``[n, K]``,
    of a surface with creases, tell on which side of them the points lie: signed distances, in
    clamps, in [-1, 1], as :func:`.creases.measure_sides` has them. ``draw_trim``, of a surface with
    holes, draws what a trim is learnt from; None where there are no caps. ``colours`` are there
    where the surface has several. ``facts`` and ``notes`` are those of :class:`Grid`.
    """

    points: Floats
    targets: Floats
    evaluation_points: Floats
    evaluation_targets: Floats
    surface_points: Floats
    clamp: float
    measure_distance: Callable[..., float]
    draw: Callable[[int, int], SurfaceSamples]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    colours: ColourSamples | None = None
    sides: Floats | None = None
    draw_trim: Callable[[], TrimSamples | None] | None = None
    shape: tuple[()] = field(default=(), init=False)
    metric: Literal["iou"] = field(default="iou", init=False)

    @property
    def n(self) -> int:
        """Number of points in the pool."""
        return len(self.points)

    @property
    def in_features(self) -> int:
        """Coordinates of a point."""
        return 3

    @property
    def out_features(self) -> int:
        """Values of a point: the distance."""
        return 1


#: The axes of coordinates, in order, by their number.
AXES = {1: "(t)", 2: "(y, x)", 3: "(x, y, z)"}


def check_coordinates(shape: Sequence[int], features: int) -> None:
    """Raise ValueError unless ``shape`` is that of coordinates ``[..., features]``."""
    if not shape or shape[-1] != features:
        raise ValueError(
            f"coordinates of shape {tuple(shape)}: this field takes [..., {features}], "
            f"{AXES[features]} in [-1, 1]"
        )


#: What the reader of a medium gives.
Signal = Grid | DistanceSamples


def cell_centres(
    start: float, stop: float, count: int, *, size: int, longest: int
) -> NDArray[np.float64]:
    """Coordinates ``[count]``, float64, of the centres of ``count`` equal cells of [start, stop).

    ``start`` and ``stop`` count native samples along an axis of ``size`` samples; the medium's
    longest axis has ``longest`` samples and spans [-1, 1]. With ``count == stop - start`` these are
    the centres of the native samples.
    """
    cell = (stop - start) / count
    positions = np.arange(count, dtype=np.float64)
    centres: NDArray[np.float64] = (2 * (start + (positions + 0.5) * cell) - size) / longest
    return centres
