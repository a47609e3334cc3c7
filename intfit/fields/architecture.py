"""What a network looks like, without the network: knows nothing of torch."""

import itertools
import math
import reprlib
from dataclasses import dataclass
from typing import Any

from ..codec.container import Header
from ..errors import FileFormatError
from ..schema import features
from ..settings import MAX_DEPTH, MAX_WIDTH

#: So that a hostile header cannot ask for an absurd network.
MAX_FEATURES = 1024


@dataclass(frozen=True)
class SirenConfig:
    """The architecture of a SIREN.

    ``depth`` counts the sine layers; one linear layer follows them. ``omega_first`` scales the
    argument of the first sine and so sets the highest frequency the field starts from; ``omega``
    scales all others.
    """

    in_features: int
    out_features: int
    width: int
    depth: int
    omega_first: float
    omega: float

    def __post_init__(self) -> None:
        def whole(value: Any, limit: int) -> bool:
            return type(value) is int and 1 <= value <= limit

        frequencies = (self.omega_first, self.omega)
        if not (
            whole(self.in_features, 3)
            and whole(self.out_features, MAX_FEATURES)
            and whole(self.width, MAX_WIDTH)
            and whole(self.depth, MAX_DEPTH)
            and all(type(f) in (int, float) and 0 < f < 1e9 for f in frequencies)
        ):
            said = ", ".join(f"{key} {reprlib.repr(value)}" for key, value in vars(self).items())
            raise FileFormatError(f"not a SIREN this version can build: {said}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order."""
        sizes = [self.in_features, *[self.width] * self.depth, self.out_features]
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (n, m) in enumerate(itertools.pairwise(sizes)):
            shapes[f"layers.{i}.weight"] = (m, n)
            shapes[f"layers.{i}.bias"] = (m,)
        return shapes

    def count(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())


def architecture(header: Header) -> SirenConfig:
    """The network that a header describes; its facts must be sound.

    Raises:
        FileFormatError: if it describes none.
    """
    try:
        inside, outside = features(header.medium, header.facts)
        return SirenConfig(inside, outside, **header.network)
    except (TypeError, KeyError):
        raise FileFormatError("damaged: not a network this version can build") from None
