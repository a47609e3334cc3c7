"""The architecture of a recording's latents: MDCT coefficients of blocks of several lengths."""

import reprlib
from dataclasses import dataclass
from typing import Any

from ...coding.header import Header
from ...coding.steps import LATENT_STEPS_PER_OCTAVE, step_size
from ...errors import FileFormatError
from ...networks.architecture import SirenConfig
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
#: The networks of an envelope: their number of sine layers, these layers' frequencies (omega), and
#: the largest width (neurons).
ENVELOPE_DEPTH, ENVELOPE_FIRST_OMEGA, ENVELOPE_OMEGA, MAX_ENVELOPE_WIDTH = 3, 20.0, 30.0, 64

#: The version of the table of steps by frequency that encoders use: see
#: :data:`.hearing.shaping.STEP_OFFSETS`.
NEWEST_BANDS = 1
#: The version of the shipped network by which latents with equal steps are coded.
NEWEST_SHARED = 1


@dataclass(frozen=True)
class MdctConfig:
    """The latents of a recording: ``channels``, and ``frames``, which is samples of each channel.

    ``step`` is the index of the quantisation step, ``rate`` the sample rate in Hz. ``neurons`` is
    the width of the networks of the envelope that steps follow; None where there is no envelope,
    and all steps are equal. ``bands`` is the version of the table of steps by frequency, None where
    there is none. ``common`` is the version of the shipped network that says how large latents with
    equal steps are likely to be, with which go dependent quantisation and no noise; None where
    contexts alone say it, as in files of older encoders, or where there is an envelope.

    Raises:
        FileFormatError: if a recording cannot have them.
    """

    channels: int
    frames: int
    step: int
    rate: int = 0
    neurons: int | None = None
    bands: int | None = None
    common: int | None = None

    def __post_init__(self) -> None:
        check_step(self.step, "a bank")
        if self.channels > MAX_CHANNELS:
            raise FileFormatError(f"not a bank this version can build: {self.channels} channels")
        if self.neurons is not None and not (
            type(self.neurons) is int and 1 <= self.neurons <= MAX_ENVELOPE_WIDTH
        ):
            shown = reprlib.repr(self.neurons)
            raise FileFormatError(f"not an envelope this version can build: {shown} neurons")
        if self.bands is not None and (type(self.bands) is not int or self.bands != NEWEST_BANDS):
            raise FileFormatError("its bands have steps that this version does not know")
        if self.common is not None:
            if type(self.common) is not int or self.common != NEWEST_SHARED:
                raise FileFormatError("its latents have a network that this version does not have")
            if self.neurons is not None or self.bands is not None:
                raise FileFormatError("damaged: a network that is for other latents")

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
        names = ("step", "neurons", "common", "bands")
        return {name: getattr(self, name) for name in names}

    def envelope_network(self) -> SirenConfig | None:
        """The architecture of each network of the envelope, if there is one."""
        if self.neurons is None:
            return None
        frequencies = ENVELOPE_FIRST_OMEGA, ENVELOPE_OMEGA
        return SirenConfig(2, self.channels, self.neurons, ENVELOPE_DEPTH, *frequencies)

    def describe(self) -> str:
        """The field in a phrase."""
        if self.neurons is None:
            return "latents"
        return f"latents + SIREN {self.neurons} x {ENVELOPE_DEPTH}"


def read_config(header: Header) -> MdctConfig:
    """The latents that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError, KeyError: if it describes none.
    """
    facts = header.facts
    shape = facts["channels"], facts["frames"]
    return MdctConfig(*shape, rate=facts["sample_rate"], **header.network)
