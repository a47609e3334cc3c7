"""The envelope of a recording: how loud it is over time and frequency, by small SIRENs.

A network takes a time and a frequency to the logarithm of the amplitude there, one for each
decorrelated channel. What follows from it decides in which contexts latents are coded, and must be
the same on every machine: so networks are evaluated in whole numbers.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ....coding.weights import QuantisedTensor
from ....networks.architecture import SirenConfig
from ....networks.whole import SINE_BITS, WEIGHT_BITS, evaluate_whole
from .bands import BAND_COUNTS, Whole, starts_of

#: The seconds that one network describes, about. A longer recording has several.
PIECE_SECONDS = 12
#: The unit of times, in seconds.
TIME_UNIT = 2
#: Bits of the index of a phase in the table of sines.
PHASE_BITS = 12
#: Amplitudes are in sixteenths of an octave of full scale, within these bounds. An output of 0
#: stands for MIDDLE octaves, and a difference of 1 for OCTAVES.
SIXTEENTHS, LOWEST, HIGHEST = 16, -15 * 16, 4 * 16
MIDDLE, OCTAVES = -6, 4


def pieces(frames: int, rate: int) -> Iterator[range]:
    """The samples that each network describes, of ``frames`` padded ones."""
    count = max(1, (2 * frames + PIECE_SECONDS * rate) // (2 * PIECE_SECONDS * rate))
    for index in range(count):
        yield range(frames * index // count, frames * (index + 1) // count)


def time_coordinates(doubled: Whole, piece: range, rate: int) -> Whole:
    """Times, given in half samples, from the middle of a piece, in units of 2^-14."""
    centred = doubled - (piece.start + piece.stop)
    units: Whole = (centred << SINE_BITS) // (2 * TIME_UNIT * rate)
    return units


def band_coordinates(count: int) -> Whole:
    """The middles of so many bands, from -1 to 1, in units of 2^-14."""
    middles = 2 * np.arange(count, dtype=np.int64) + 1 - count
    units: Whole = (middles << SINE_BITS) // count
    return units


def evaluate_exactly(
    parameters: Mapping[str, QuantisedTensor], network: SirenConfig, coordinates: Whole
) -> Whole:
    """Amplitudes ``[n, C]`` at ``coordinates`` ``[n, 2]``, in sixteenths of an octave."""
    sums = evaluate_whole(parameters, network, coordinates, phase_bits=PHASE_BITS)
    scaled = sums * (OCTAVES * SIXTEENTHS) >> (SINE_BITS + WEIGHT_BITS)
    amplitudes: Whole = (scaled + MIDDLE * SIXTEENTHS).clip(LOWEST, HIGHEST)
    return amplitudes


def predict_levels(
    networks: Sequence[Mapping[str, QuantisedTensor]],
    network: SirenConfig,
    sizes: Sequence[int],
    rate: int,
) -> list[Whole]:
    """The envelope's amplitudes ``[bands, C]`` of each block, in sixteenths of an octave.

    At the middle of the block, by the network of the piece that this lies in.
    """
    starts = starts_of(sizes)
    doubled = starts[1:] + starts[:-1]
    levels: list[Whole] = []
    for parameters, piece in zip(networks, pieces(int(starts[-1]), rate), strict=True):
        first, last = np.searchsorted(doubled, [2 * piece.start, 2 * piece.stop]).tolist()
        counts = [BAND_COUNTS[size] for size in sizes[first:last]]
        if not counts:
            continue
        times = time_coordinates(doubled[first:last], piece, rate)
        coordinates = np.stack(
            [times.repeat(counts), np.concatenate([band_coordinates(n) for n in counts])], axis=1
        )
        found = evaluate_exactly(parameters, network, coordinates)
        levels += np.split(found, np.cumsum(counts)[:-1])
    return levels
