"""The architecture of a recording's latents: MDCT coefficients of blocks of several lengths."""

from dataclasses import dataclass
from typing import Any

from ...coding.header import Header
from ...coding.steps import LATENT_STEPS_PER_OCTAVE, step_size
from ...errors import FileFormatError
from ..latent_steps import check_step

#: The shortest and the longest block, in samples.
SHORTEST, LONGEST = 256, 8192
#: Samples by which the first block begins before the recording; the last one ends as many after it
#: at least.
LEAD = 128
#: The latents of a block may end at one of so many equal parts of its frequencies.
FREQUENCY_PARTS = 64
#: The most channels that are decorrelated.
MAX_CHANNELS = 32


@dataclass(frozen=True)
class MdctConfig:
    """The latents of a recording: ``channels``, and ``frames``, which is samples of each channel.

    ``step`` is the index of the quantisation step.

    Raises:
        FileFormatError: if a recording cannot have them.
    """

    channels: int
    frames: int
    step: int

    def __post_init__(self) -> None:
        check_step(self.step, "a bank")
        if self.channels > MAX_CHANNELS:
            raise FileFormatError(f"not a bank this version can build: {self.channels} channels")

    @property
    def step_size(self) -> float:
        """The quantisation step, in the unit of samples that lie in [-1, 1]."""
        return step_size(self.step, LATENT_STEPS_PER_OCTAVE)

    def padded_frames(self) -> int:
        """Frames with both extensions, a multiple of the shortest block."""
        return -(-(self.frames + 2 * LEAD) // SHORTEST) * SHORTEST

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        return {
            "channels": (self.channels, self.channels),
            "blocks": (self.padded_frames() // SHORTEST,),
            "latents": (self.padded_frames(), self.channels),
        }

    def count(self) -> int:
        """Number of latents."""
        return self.padded_frames() * self.channels

    def count_weights(self) -> int:
        """No network was fitted."""
        return 0

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the field."""
        return {"step": self.step}

    def describe(self) -> str:
        """The field in a phrase."""
        return "latents"


def read_config(header: Header) -> MdctConfig:
    """The latents that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError, KeyError: if it describes none.
    """
    return MdctConfig(header.facts["channels"], header.facts["frames"], **header.network)
