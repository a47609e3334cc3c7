"""The architecture of a SIREN, known without torch: `info` reads it, decoding checks it."""

import itertools
import math
import reprlib
from dataclasses import dataclass
from typing import Any

from ..errors import FileFormatError
from ..settings import MAX_DEPTH, MAX_WIDTH

#: The most inputs and outputs: a hostile header cannot ask for an absurd network.
MAX_FEATURES = 1024
#: The most creases of a field, in the sense of :func:`.siren.add_creases`.
MAX_CREASES = 8


@dataclass(frozen=True)
class SirenConfig:
    """The architecture of a SIREN.

    ``depth`` counts the sine layers; one linear layer follows them. ``omega_first`` scales the
    argument of the first sine and so sets the highest frequency that the network starts from;
    ``omega`` scales all others. A field of one output with ``creases`` has two more outputs of the
    last layer for each: see :func:`.siren.add_creases`. ``neuron_steps`` is 1 where the neurons of
    packed hidden layers have quantisation steps that differ, 0 where they do not.

    Raises:
        FileFormatError: if a size or a frequency is out of range.
    """

    in_features: int
    out_features: int
    width: int
    depth: int
    omega_first: float
    omega: float
    creases: int = 0
    neuron_steps: int = 0

    def __post_init__(self) -> None:
        def in_range(value: Any, limit: int, least: int = 1) -> bool:
            return type(value) is int and least <= value <= limit

        frequencies = (self.omega_first, self.omega)
        if not (
            in_range(self.in_features, MAX_FEATURES)
            and in_range(self.out_features, MAX_FEATURES)
            and in_range(self.width, MAX_WIDTH)
            and in_range(self.depth, MAX_DEPTH)
            and in_range(self.creases, MAX_CREASES if self.out_features == 1 else 0, 0)
            and in_range(self.neuron_steps, 1, 0)
            and all(type(f) in (int, float) and 1e-9 < f < 1e9 for f in frequencies)
        ):
            values = ", ".join(f"{key} {reprlib.repr(value)}" for key, value in vars(self).items())
            raise FileFormatError(f"not a SIREN this version can build: {values}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order."""
        last = self.out_features + 2 * self.creases
        sizes = [self.in_features, *[self.width] * self.depth, last]
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            shapes[f"layers.{i}.weight"] = (m, n)
            shapes[f"layers.{i}.bias"] = (m,)
        return shapes

    def shapes_with_skip(self) -> dict[str, tuple[int, ...]]:
        """The same with a linear layer from the inputs straight to the outputs at the end."""
        return self.shapes() | {"skip": (self.out_features, self.in_features)}

    def count(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def count_weights(self) -> int:
        """Number of weights and biases: all parameters are."""
        return self.count()

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the network."""
        names = ("width", "depth", "omega_first", "omega")
        entries = {name: getattr(self, name) for name in names}
        return entries | {
            name: getattr(self, name) for name in ("creases", "neuron_steps") if getattr(self, name)
        }

    def describe(self) -> str:
        """The network in a phrase."""
        creased = f", {self.creases} absolute values for creases" if self.creases else ""
        return (
            f"SIREN {self.width} x {self.depth}, omega {self.omega_first} / {self.omega}{creased}"
        )
