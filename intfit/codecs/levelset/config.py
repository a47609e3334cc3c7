"""The architecture of a surface's latents: levels of B-splines, each twice as fine as the last."""

import reprlib
from dataclasses import dataclass
from typing import Any

from ...coding.header import SMALL_DEPTH, SMALL_OMEGA, SMALL_OMEGA_FIRST, Header
from ...errors import FileFormatError
from ...networks.architecture import SirenConfig
from ..trim_config import describe_trim, trim_config, trim_shapes

#: The file's step is an index: so many of them halve the quantisation step, and add a level.
STEPS_PER_LEVEL = 16
#: The quantisation step of the finest level in 1024ths of its cells' side, by the index's remainder
#: after :data:`STEPS_PER_LEVEL`.
FINE_STEPS = (128, 123, 117, 112, 108, 103, 99, 95, 91, 87, 83, 79, 76, 73, 70, 67)
#: The fewest and the most levels. Level ``l`` has ``2 ** l`` cells along the cube's side.
FEWEST_LEVELS, MOST_LEVELS = 3, 8
#: A base gives the coefficients of this level.
BASE_LEVEL = 5
#: The most neurons of a layer of the base.
MOST_NEURONS = 64
#: What the names of its parameters begin with.
BASE = "base."
#: The coarsest and the finest step.
COARSEST, FINEST = STEPS_PER_LEVEL * FEWEST_LEVELS, STEPS_PER_LEVEL * (MOST_LEVELS + 1) - 1


@dataclass(frozen=True)
class LevelSetConfig:
    """The latents of a surface.

    ``step`` is the index of the quantisation step, which gives the number of levels, too; ``trim``
    the width of the network that says where the surface is open, None where it is closed;
    ``neurons`` that of the base, None where coarse latents are in its place. The base knows nothing
    beyond ``extent``, half of the sides of the padded box.

    Raises:
        FileFormatError: if no surface can have them.
    """

    step: int
    trim: int | None = None
    neurons: int | None = None
    extent: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if type(self.step) is not int or not COARSEST <= self.step <= FINEST:
            raise FileFormatError(
                f"not levels this version can build: step {reprlib.repr(self.step)}"
            )

        if self.neurons is not None and not (
            type(self.neurons) is int and 1 <= self.neurons <= MOST_NEURONS
        ):
            raise FileFormatError(
                f"not a base this version can build: {reprlib.repr(self.neurons)} neurons"
            )

    @property
    def levels(self) -> int:
        """The number of levels, and of the finest one; on a base, that of its level at least."""
        levels = self.step // STEPS_PER_LEVEL
        return levels if self.neurons is None else max(levels, BASE_LEVEL)

    @property
    def first_level(self) -> int:
        """The first level that has latents."""
        return 1 if self.neurons is None else BASE_LEVEL

    @property
    def base(self) -> SirenConfig | None:
        """The architecture of the base, where there is one."""
        if self.neurons is None:
            return None
        return SirenConfig(3, 1, self.neurons, SMALL_DEPTH, SMALL_OMEGA_FIRST, SMALL_OMEGA)

    @property
    def fine_step(self) -> int:
        """The quantisation step of the finest level, in 1024ths of the side of its cells."""
        return FINE_STEPS[self.step % STEPS_PER_LEVEL] << (
            self.levels - self.step // STEPS_PER_LEVEL
        )

    @property
    def step_size(self) -> float:
        """The quantisation step of the finest level, in coordinates."""
        return self.fine_step / 1024 * self.cell(self.levels)

    @property
    def unit(self) -> float:
        """What coefficients are whole multiples of, in coordinates: a 64th of the finest step."""
        return self.step_size / 64

    def cell(self, level: int) -> float:
        """The side of a cell of a level, in coordinates."""
        return float(2.0 ** (1 - level))

    def side(self, level: int) -> int:
        """The number of nodes along each side of a level's grid."""
        return (1 << level) + 3

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        base = {} if self.base is None else self.base.shapes()
        trim = {} if self.trim is None else trim_shapes(self.trim)
        own = {f"{BASE}{name}": shape for name, shape in base.items()}
        return {"coefficients": (self.side(self.levels),) * 3} | own | trim

    def count(self) -> int:
        """Number of coefficients of the finest level, most of which follow from coarser ones."""
        return self.side(self.levels) ** 3

    def count_weights(self) -> int:
        """Number of weights that were trained: those of the base and of the trim."""
        base = 0 if self.base is None else self.base.count()
        return base + (0 if self.trim is None else trim_config(self.trim).count())

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the field."""
        return {"step": self.step} | ({} if self.neurons is None else {"neurons": self.neurons})

    def describe(self) -> str:
        """The field in a phrase."""
        finest = f"the finest of {1 << self.levels} cells a side"
        count = self.levels - self.first_level + 1
        latents = f"latents on {count} level{'s' if count > 1 else ''}, {finest}"
        base = f"SIREN {self.neurons} x {SMALL_DEPTH}, corrected by " if self.neurons else ""
        return f"{base}{latents}{describe_trim(self.trim)}"


def read_config(header: Header) -> LevelSetConfig:
    """The latents that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError: if it describes none.
    """
    if header.facts.get("texture") is not None:
        raise FileFormatError("damaged: its colours and its latents do not belong together")
    extent = tuple(header.facts["extent"])
    return LevelSetConfig(**header.network, trim=header.facts.get("trim"), extent=extent)
