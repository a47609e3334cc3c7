"""The quantisation step of latents: that of a quality, of a file's size, or of a goal.

A step is given by its index, see :mod:`.coding.steps`: the higher, the finer.
"""

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from ..coding.steps import COARSEST_LATENT_STEP, FINEST_LATENT_STEP
from ..defaults import MIDDLE_QUALITY
from ..errors import FileFormatError
from ..settings import Goal, too_few_bytes

#: What a point of quality adds to the index: 19 points halve the step.
INDICES_PER_QUALITY = 1.28
#: A picture's index at the middle quality: a step of 20 grey levels of 255.
MIDDLE_INDEX = 64.0
#: A recording's step at the middle quality, as a share of its root mean square.
MIDDLE_SHARE = 0.35
#: The rate-distortion lambda of latents, in squared quantisation steps a bit: the squared error
#: that a bit must save.
RD_LAMBDA = 0.11
#: The same of a picture that is tuned for the eye, which minds faint detail that is gone more than
#: its squared error says.
VISUAL_RD_LAMBDA = 0.05
#: The same by dependent quantisation.
VISUAL_TRELLIS_RD_LAMBDA = 0.07

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class Candidate(Generic[ConfigT]):
    """A file at some step: its architecture, payload, distortion in dB, and bytes.

    ``steps`` are those of the training that went into it. It does not hold its tensors: a search
    keeps every candidate, and tensors take 12 bytes a pixel.
    """

    config: ConfigT
    payload: bytes
    distortion: float
    data: bytes
    steps: int = 0


def step_index(quality: float | None, *, loudness: float | None = None) -> int:
    """The index of the step at a quality in 0..100 (None: the middle one).

    ``loudness`` is a recording's root mean square, of samples in [-1, 1]; None for a picture.
    """
    middle = MIDDLE_INDEX
    if loudness is not None:
        middle = -24 * math.log2(MIDDLE_SHARE * max(loudness, 1e-6))
    index = round(
        middle
        + INDICES_PER_QUALITY * ((MIDDLE_QUALITY if quality is None else quality) - MIDDLE_QUALITY)
    )
    return min(max(index, COARSEST_LATENT_STEP), FINEST_LATENT_STEP)


def check_step(index: Any, what: str) -> None:
    """Raise FileFormatError, which names ``what``, unless a header may hold this ``index``."""
    if type(index) is not int or not COARSEST_LATENT_STEP <= index <= FINEST_LATENT_STEP:
        raise FileFormatError(f"not {what} this version can build: step {reprlib.repr(index)}")


class StepSearch(Generic[ConfigT]):
    """A search over files at several steps, each of which is made once."""

    def __init__(self, make: Callable[[int], Candidate[ConfigT]], first: int) -> None:
        """``make`` makes the file at the step of an index; ``first`` is the index tried first."""
        self.at = cache(make)
        self._first = first

    def find_coarsest(self, holds: Callable[[Candidate[ConfigT]], bool]) -> int:
        """The index of the coarsest step at which ``holds`` is true; above the finest if none is.

        By bisection, which takes it to be true at all finer steps, too.
        """
        # the result is above low, and at most high
        low, middle, high = COARSEST_LATENT_STEP - 1, self._first, FINEST_LATENT_STEP + 1
        while high - low > 1:
            low, high = (low, middle) if holds(self.at(middle)) else (middle, high)
            middle = (low + high) // 2
        return high

    def find_finest_within(self, size: int) -> int:
        """The finest step whose file has at most ``size`` bytes; below the coarsest if none has."""
        return self.find_coarsest(lambda candidate: len(candidate.data) > size) - 1

    def choose(self, *, goal: Goal | None, size: int | None, bounded: bool) -> int:
        """The index of the finest step within ``size`` bytes, or of the coarsest to reach ``goal``.

        With both, the goal's step is no finer than the size allows. Where the goal is ``bounded``,
        its step is no finer than the first. With neither, the first step.

        Raises:
            UsageError: if no file is as small as ``size``.
        """
        finest = self._first
        if size is not None:
            finest = self.find_finest_within(size)
            if finest < COARSEST_LATENT_STEP:
                raise too_few_bytes(size, len(self.at(COARSEST_LATENT_STEP).data))
        elif goal is not None and not bounded:
            finest = FINEST_LATENT_STEP
        if goal is None:
            return finest
        reaching = self.find_coarsest(lambda candidate: goal.margin(candidate.distortion) >= 0)
        return min(reaching, finest)
