"""What a network looks like, without the network: knows nothing of torch."""

import itertools
import math
import reprlib
from dataclasses import dataclass
from typing import Any

from ..coding.container import Header
from ..coding.header import features
from ..errors import FileFormatError
from ..settings import COARSEST_STEP, FINEST_STEP, MAX_CHANNELS, MAX_DEPTH, MAX_WIDTH

#: So that a hostile header cannot ask for an absurd network.
MAX_FEATURES = 1024
#: The index of a step of latents counts 24ths of an octave below 1.
STEPS_PER_OCTAVE = 24
#: The bands of a level: of detail across, down, and both ways.
ORIENTATIONS = ("across", "down", "both")
#: What a network on latents sees at a pixel: so many of the finest levels apart, and how much
#: brighter these neighbours are. Its sine layers and their frequency.
APART = 3
NEIGHBOURS = (
    *((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)),
    *((0, 2), (2, 0), (0, -2), (-2, 0)),
)  # fmt: skip
SINES, FREQUENCY = 2, 1.0
#: The widest such network.
MOST_NEURONS = 64
#: The network common to pictures of so many channels: its newest version, its width and depth.
COMMON_CHANNELS, NEWEST, COMMON = 3, 1, (32, 2)
#: The blocks of a bank of sines, in samples.
SHORTEST, LONGEST = 256, 8192
#: Samples by which they begin before a recording, and end after it at least.
LEAD = 128


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
            whole(self.in_features, MAX_FEATURES)
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


@dataclass(frozen=True)
class LatentConfig:
    """The architecture of a pyramid of latents for a picture ``channels`` x ``height`` x ``width``.

    ``step`` indexes the size of a quantisation step, see :meth:`size`. ``neurons`` is the width of
    the SIREN of its own that corrects the picture, and ``common`` the version of the common
    network that does so before it; None where there is none.
    """

    channels: int
    height: int
    width: int
    step: int
    neurons: int | None = None
    common: int | None = None

    def __post_init__(self) -> None:
        _check_step(self.step, "a pyramid")
        if self.common is not None:
            if type(self.common) is not int or not 1 <= self.common <= NEWEST:
                raise FileFormatError("it is corrected by a network this version does not have")
            if not self.corrigible():
                raise FileFormatError("damaged: a network that is for other pictures")
        if self.neurons is not None:
            if type(self.neurons) is not int or not 1 <= self.neurons <= MOST_NEURONS:
                raise FileFormatError(f"not a network this version can build: {self.neurons!r}")
            if not self.levels():
                raise FileFormatError("damaged: a network on latents that are not there")

    def size(self) -> float:
        """The quantisation step, where a channel's values lie in [-1, 1]."""
        return step_size(self.step)

    def levels(self) -> int:
        """Octaves: the coarsest picture has 8 pixels or more a side, if the picture has them."""
        count = 0
        while min(self.height, self.width) >> count >= 16:
            count += 1
        return count

    def coarsest(self) -> tuple[int, int, int]:
        """The shape of what is left after all levels."""
        scale = 1 << self.levels()
        return self.channels, -(-self.height // scale), -(-self.width // scale)

    def network(self) -> SirenConfig | None:
        """The SIREN that corrects the picture; its outputs have a linear layer beside them."""
        return self._seeing(self.neurons, SINES) if self.neurons else None

    def _seeing(self, neurons: int, layers: int) -> SirenConfig:
        """A network that sees :data:`APART` levels, what is left, and :data:`NEIGHBOURS`.

        These in the first channel.
        """
        inside = (min(APART, self.levels()) + 1) * self.channels + len(NEIGHBOURS)
        return SirenConfig(inside, self.channels, neurons, layers, FREQUENCY, FREQUENCY)

    def correction(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the network, in order; none without one."""
        return _with_skip(self.network())

    def corrigible(self) -> bool:
        """Whether the common network is for this picture: of three colours, 64 pixels a side."""
        return self.channels == COMMON_CHANNELS and self.levels() >= APART

    def shared(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the common network, where it corrects the picture.

        It is built as the other one is, but has rectifiers in place of sines.
        """
        return _with_skip(None if self.common is None else self._seeing(*COMMON))

    def bands(self) -> list[tuple[tuple[int, int, int], ...]]:
        """The shapes of the bands of each level, from the finest on: across, down and both."""
        found: list[tuple[tuple[int, int, int], ...]] = []
        height, width = self.height, self.width
        for _ in range(self.levels()):
            tall, wide = -(-height // 2), -(-width // 2)
            sides = ((tall, width // 2), (height // 2, wide), (height // 2, width // 2))
            found.append(tuple((self.channels, *side) for side in sides))
            height, width = tall, wide
        return found

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        shapes: dict[str, tuple[int, ...]] = {
            "colours": (self.channels, self.channels),
            "coarsest": self.coarsest(),
        }
        for level, bands in enumerate(self.bands()):
            for name, shape in zip(ORIENTATIONS, bands, strict=True):
                shapes[f"levels.{level}.{name}"] = shape
        for network, parameters in (("common", self.shared()), ("correction", self.correction())):
            shapes |= {f"{network}.{name}": shape for name, shape in parameters.items()}
        return shapes

    def count(self) -> int:
        """Number of latents."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class BankConfig:
    """The architecture of a bank of sines for a recording of ``channels`` and ``frames``.

    ``step`` indexes the size of a quantisation step, see :meth:`size`.
    """

    channels: int
    frames: int
    step: int

    def __post_init__(self) -> None:
        _check_step(self.step, "a bank")
        if self.channels > MAX_CHANNELS:
            raise FileFormatError(f"not a bank this version can build: {self.channels} channels")

    def size(self) -> float:
        """The quantisation step, where a recording's samples lie in [-1, 1]."""
        return step_size(self.step)

    def padded(self) -> int:
        """Frames, with what leads in and out, filled to whole blocks."""
        return -(-(self.frames + 2 * LEAD) // SHORTEST) * SHORTEST

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        return {
            "channels": (self.channels, self.channels),
            "blocks": (self.padded() // SHORTEST,),
            "latents": (self.padded(), self.channels),
        }

    def count(self) -> int:
        """Number of latents."""
        return self.padded() * self.channels


#: An architecture on latents, and any.
LatentsConfig = LatentConfig | BankConfig
Config = SirenConfig | LatentsConfig


def _with_skip(network: SirenConfig | None) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter of a network with a linear layer beside it."""
    if network is None:
        return {}
    return network.shapes() | {"skip": (network.out_features, network.in_features)}


def _check_step(step: Any, what: str) -> None:
    if type(step) is not int or not COARSEST_STEP <= step <= FINEST_STEP:
        raise FileFormatError(f"not {what} this version can build: step {step!r}")


def step_size(index: int) -> float:
    """The quantisation step of an index."""
    return float(2.0 ** (-index / STEPS_PER_OCTAVE))


def architecture(header: Header) -> Config:
    """The network that a header describes; its facts must be sound.

    Raises:
        FileFormatError: if it describes none.
    """
    try:
        inside, outside = features(header.medium, header.facts)
        if header.field == "siren":
            return SirenConfig(inside, outside, **header.network)
        if header.medium == "image":
            facts = header.facts
            return LatentConfig(outside, facts["height"], facts["width"], **header.network)
        if header.medium == "audio":
            return BankConfig(outside, header.facts["frames"], **header.network)
    except (TypeError, KeyError):
        pass
    raise FileFormatError("damaged: not a network this version can build")
