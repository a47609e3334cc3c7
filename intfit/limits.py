"""What one file may make the program hold: bounds on hostile input that a person can lift."""

import math
from dataclasses import dataclass

from .errors import MediaError

#: What is allowed without being asked for.
PIXELS, FRAMES, CELLS, BYTES = 200_000_000, 200_000_000, 20_000_000, 8_000_000_000


@dataclass(frozen=True)
class Limits:
    """Bounds on what is made, ``factor`` times the usual ones."""

    factor: float = 1.0

    def check_pixels(self, count: int) -> None:
        """Raise MediaError where ``count`` pixels are more than allowed."""
        self._check(count, PIXELS, "pixels")

    def check_frames(self, count: int) -> None:
        """Raise MediaError where ``count`` frames of a recording are more than allowed."""
        self._check(count, FRAMES, "frames")

    def check_cells(self, count: int, what: str = "cells") -> None:
        """Raise MediaError where ``count`` cells, faces or vertices are more than allowed."""
        self._check(count, CELLS, what)

    def check_bytes(self, count: int) -> None:
        """Raise MediaError where ``count`` bytes of memory are more than allowed."""
        self._check(count, BYTES, "bytes of memory")

    def _check(self, count: int, usual: int, what: str) -> None:
        if count > usual * self.factor:
            raise MediaError(
                f"{count:.3g} {what} are more than the {usual * self.factor:.3g} allowed: "
                f"--limit {_rounded_up(count / usual):g} or more allows them"
            )


def _rounded_up(factor: float) -> float:
    """A factor at two digits that is no less."""
    digits = 1 - math.floor(math.log10(factor))
    return math.ceil(factor * 10.0**digits) / 10.0**digits


USUAL = Limits()
