"""A surface that a field was rendered to, with its colours where the field has some."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from .search import Array


@dataclass(frozen=True)
class Palette:
    """The colours of a field: sRGB from 0 to 1, ``[B, 3]``, at ``evaluate``'s coordinates.

    ``centre + unit * coordinates`` is a place of the surface.
    """

    evaluate: Callable[[NDArray[np.floating]], NDArray[np.float32]]
    centre: Array
    unit: float

    def at(self, places: Array) -> NDArray[np.float32]:
        """Colours ``[B, 3]`` at places ``[B, 3]`` of the surface, in its own units."""
        coords = ((places - self.centre) / self.unit).astype(np.float32)
        return np.asarray(((self.evaluate(coords) + 1) / 2).clip(0, 1))


class DecodedSurface(trimesh.Trimesh):
    """Triangles in the original's place, and the colours of the field that they come from."""

    palette: Palette | None = None
