"""The architecture of a drawn picture's field: its sizes, and how many colours there are."""

import reprlib
from dataclasses import dataclass
from typing import Any

from ...coding.header import Header, count_features
from ...errors import FileFormatError

#: The most colours.
MAX_COLOURS = 4096
#: Modes of pictures that can have a palette: those of 8 bits.
MODES = frozenset({"1", "L", "LA", "RGB", "RGBA", "P", "PA"})
#: A pixel of a diagonal lies so many pixels to the left of the one above.
SKEW = 3
#: A payload has at least one byte for so many pixels, and for so many diagonals: a small file
#: cannot ask for much time.
MAX_PIXELS_PER_BYTE, MAX_DIAGONALS_PER_BYTE = 2048, 16


@dataclass(frozen=True)
class PaletteConfig:
    """The palette of a picture of ``channels`` x ``height`` x ``width``, of so many ``colours``.

    Raises:
        FileFormatError: if the picture cannot have it.
    """

    channels: int
    height: int
    width: int
    colours: int

    def __post_init__(self) -> None:
        most = min(MAX_COLOURS, self.height * self.width)
        if type(self.colours) is not int or not 1 <= self.colours <= most:
            raise FileFormatError(
                f"not a palette this version can build: {reprlib.repr(self.colours)} colours"
            )

    def least_size(self) -> int:
        """The fewest bytes of a payload."""
        short, long = sorted((self.height, self.width))
        diagonals = long + SKEW * (short - 1)
        return max(
            -(-self.height * self.width // MAX_PIXELS_PER_BYTE),
            -(-diagonals // MAX_DIAGONALS_PER_BYTE),
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        return {"colours": (self.colours, self.channels), "indices": (self.height, self.width)}

    def count(self) -> int:
        """Number of indices."""
        return self.height * self.width

    def count_weights(self) -> int:
        """No network is stored: the one that mixes predictions learns as it decodes."""
        return 0

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the field."""
        return {"colours": self.colours}

    def describe(self) -> str:
        """The field in a phrase."""
        return f"palette of {self.colours} colour{'s' * (self.colours != 1)}, exact"


def read_config(header: Header) -> PaletteConfig:
    """The palette that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError, KeyError: if it describes none.
    """
    facts = header.facts
    if facts["mode"] not in MODES:
        raise FileFormatError("damaged: a palette of a picture that can have none")
    _, channels = count_features(header.medium, facts)
    return PaletteConfig(channels, facts["height"], facts["width"], **header.network)
