"""A field that was read from a file, and the medium that it is rendered to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from .codecs.protocol import Config
from .coding.header import count_features
from .errors import FileFormatError
from .limits import USUAL, Limits
from .media import medium
from .signals import Evaluate, Floats, check_coordinates
from .targets import Asked, check_asked, keywords_for

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Field:
    """The field in a file, and the facts of its medium: what :func:`.load` gives.

    Call it with coordinates ``[..., d]``; they are sample centres, in [-1, 1] along the longest
    axis, and the others in proportion. It gives values ``[..., c]`` in about [-1, 1]:

    * ``image``: (y, x), downwards and to the right; a value v of a channel is the pixel
      ``(v + 1) / 2`` of the way from the least value to the greatest: from 0 to 255, or from
      ``facts["low"]`` to ``facts["high"]``.
    * ``audio``: (t), from the beginning to the end; v times ``facts["peak"]`` is the sample, of
      full scale 1.
    * ``mesh``: (x, y, z); ``centre + unit * coordinates``, of ``facts``, is a place in the mesh's
      own units, and v the signed distance from the surface, negative inside, in tenths of half the
      longest side of the padded box, clamped to [-1, 1]. Of a surface with colours, red, green and
      blue (sRGB) follow, like the channels of an image.

    ``kind`` is the medium, ``facts`` are those of :func:`.info`; ``config`` is the architecture,
    ``device`` where the field is evaluated; ``metadata`` are those of the original that were kept.
    ``parts`` evaluate the ``distance`` and the ``colours`` of a surface that has both, each by
    itself, of one with creases the value and the ``gradient`` of the distance ``[..., 4]``, and of
    an open one the ``trim`` ``[..., 1]``, which is above 0 where the distance closes a hole.
    """

    kind: str
    evaluate: Evaluate
    config: Config
    facts: dict[str, Any]
    device: str
    limits: Limits = USUAL
    metadata: dict[str, str] = dataclass_field(default_factory=dict)
    make_module: "Callable[[], nn.Module] | None" = None
    parts: Mapping[str, Evaluate] = dataclass_field(default_factory=dict)

    def part(self, name: str) -> "Field | None":
        """The field of one of ``parts`` alone; None where there is none of that name."""
        if name not in self.parts:
            return None
        return replace(self, evaluate=self.parts[name], parts={})

    @property
    def in_features(self) -> int:
        """Coordinates of a point, d: 2 of an image, 1 of a recording, 3 of a surface."""
        return count_features(self.kind, self.facts)[0]

    @property
    def out_features(self) -> int:
        """Values at a point, c: the channels, or 1 of a surface, and 4 of one with colours."""
        return count_features(self.kind, self.facts)[1]

    def __call__(self, coords: ArrayLike) -> Floats:
        """Values ``[..., c]``, float32, at coordinates ``[..., d]``, float64 or float32.

        Give the coordinates of a recording longer than a few seconds in float64: float32 does not
        tell its samples apart.

        Raises:
            ValueError: if the coordinates have not that shape, or are not numbers.
            FileFormatError: if a value is not a number.
        """
        coords = np.asarray(coords)
        check_coordinates(coords.shape, self.in_features)
        precise = coords if coords.dtype == np.float64 else coords.astype(np.float32)
        if not np.isfinite(precise).all():
            raise ValueError("coordinates that are not numbers (NaN or infinite)")
        values = self.evaluate(precise.reshape(-1, self.in_features))
        if not np.isfinite(values).all():
            raise FileFormatError("damaged: the network gives values that are not numbers")
        return values.reshape(*coords.shape[:-1], values.shape[-1])

    def module(self) -> "nn.Module":
        """A ``torch.nn.Module`` that computes the same, on the field's device.

        Coordinates ``[..., d]`` to values ``[..., c]``, in the order and ranges of a call, and
        differentiable in the coordinates. Of a SIREN it is the network itself, a copy whose
        parameters (``layers.0.weight``, ``layers.0.bias``, ...) can be trained; of latents, the
        interpolation of the samples they are decoded to, without parameters. Each call makes a new
        one. A wrong shape raises ValueError.
        """
        assert self.make_module is not None
        return self.make_module()

    def render(
        self,
        *,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        region: tuple[float, float, float, float] | None = None,
        sample_rate: int | None = None,
        start: float | None = None,
        duration: float | None = None,
        resolution: int | None = None,
        voxel: float | None = None,
        faces: int | None = None,
        tolerance: float | None = None,
        watertight: bool | None = None,
    ) -> Any:
        """The medium as arrays; without any keyword, at its native resolution.

        * ``image``: pixels ``[H, W, C]``, uint8, uint16 or float32 as in the original, before a
          palette is applied; at ``scale`` times the native size or at ``size`` (width, height) in
          pixels, of a ``region`` (x, y, width, height) in native pixels.
        * ``audio``: samples ``[T, C]``, float32 of full scale 1, at ``sample_rate`` Hz, from
          ``start`` seconds for ``duration`` seconds.
        * ``mesh``: vertices ``[V, 3]``, float64, and faces ``[F, 3]``, in the original's place;
          in cells of which ``resolution`` lie along the longest side (256), or of side ``voxel``,
          in the mesh's own units; simplified to at most so many ``faces``, or to as few as lie
          within ``tolerance``, a mean distance in % of the box diagonal (by default, a quarter of
          the field's own distance from the original; with ``resolution`` or ``voxel``, not at all).
          Holes of the original are open, unless it is to be ``watertight``.

        Raises:
            UsageError: if a keyword is for another medium, out of range, or contradicts another.
            MediaError: if a field has no surface, or one larger than allowed.
        """
        from .media.arrays import to_arrays

        target = make_target(
            self.kind, scale=scale, size=size, region=region, sample_rate=sample_rate,
            start=start, duration=duration, resolution=resolution, voxel=voxel,
            faces=faces, tolerance=tolerance, watertight=watertight,
        )  # fmt: skip
        return to_arrays(self.kind, render(self, target))


def make_target(kind: str, **asked: Unpack[Asked]) -> Any:
    """The ``Target`` of a medium's module for what was asked, by the names of :class:`.Asked`.

    Raises:
        UsageError: if a keyword is for another medium, out of range, or contradicts another.
    """
    check_asked(asked)
    return medium(kind).Target(**keywords_for(kind, asked))


def render(field: Field, target: Any) -> Any:
    """The medium at the resolution of ``target``, a ``Target`` of the medium's module."""
    return medium(field.kind).render(field, field.facts, target, limits=field.limits)
