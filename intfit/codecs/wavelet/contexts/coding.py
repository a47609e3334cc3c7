"""Latents in the order in which they are coded, under the networks of version 2.

Bands are coded from the coarsest level to the finest, each in four passes over a 2 x 2 pattern. A
pass codes which latents are zero, then the magnitudes of the others, then their signs. One network
names the classes of magnitudes, from the magnitudes around; another guesses signs, from the signed
latents around and from the picture of the coarser levels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ....coding.integers import Integers
from ....coding.magnitudes import Decoder, Encoder
from ....coding.steps import TRELLIS_UNIT
from ....errors import FileFormatError
from ....signals import Floats
from ..context_model import PASSES, Latents, Level, band_index
from . import low_pass
from .influence import Influence, Observer, Part, Seen, passes_of
from .low_pass import UNIT
from .network import Outputs, load_networks
from .symbols import EntropyCoding, RoundingEncoding
from .trellis_symbols import TrellisCoding, TrellisRounding
from .windows import (
    CENTRE,
    CROSS,
    DIFFERENCES,
    FRAME,
    NEAR,
    NEAR_DIFFERENCES,
    OWN,
    Inputs,
    Places,
    View,
    Window,
    frame,
    frame_differences,
    signed_inputs,
    spread,
)

#: Signs of this many of the finest levels are guessed; those of coarser ones are as good as random.
GUESSED_LEVELS = 3
#: Latents that a network is evaluated for at once, few enough for a core's cache.
CHUNK = 1 << 12
#: Inputs of the network of magnitudes.
MAGNITUDE_INPUTS = 84


#: Quantisation steps of levels, from the finest on, and of the coarsest picture; in sixteenths.
Steps = Sequence[int]


class Symbols(Protocol):
    """What is done with the latents of a pass: they are encoded, decoded or rounded."""

    def code_magnitudes(self, outputs: Outputs, values: Latents) -> Latents:
        """The magnitudes ``[n]`` to replace ``values`` ``[n]`` by.

        ``outputs`` ``[3, n]`` are those of the network of magnitudes.
        """

    def code_signs(self, logits: Outputs, values: Latents) -> Integers:
        """The signs ``[n]``, 1 or -1, of ``values`` ``[n]``, whose magnitudes are not 0.

        ``logits`` ``[n]`` are those of a plus sign.
        """


class Networks(Protocol):
    """The networks of magnitudes and of signs: see :mod:`.network`."""

    @property
    def magnitudes(self) -> Callable[[int, int, Floats], Outputs]:
        """Of a band, a pass and ``[F, n]`` inputs: outputs ``[3, n]``."""

    @property
    def signs(self) -> Callable[[int, int, Floats, Floats], Outputs]:
        """Of a band, a pass, inputs for magnitudes ``[n]`` and for the rest ``[F, n]``: logits."""


@dataclass(frozen=True)
class _Sight:
    """What the latents of a band see, and by which networks.

    ``index`` is the :func:`.context_model.band_index`. ``own`` is the band itself, as far as it is
    coded. ``above`` are the three bands at the level above, that of the same orientation first;
    ``beside`` the bands of the two orientations before, ``channels`` those of the two channels
    before; ``far`` is the band two levels above: None where there is none. ``picture`` are the
    differences of the low-pass picture.
    """

    index: int
    own: View
    above: Sequence[View | None]
    beside: Sequence[View | None]
    channels: Sequence[View | None]
    far: View | None
    picture: View
    networks: Networks

    def others(self) -> list[Part]:
        """Views and windows of other bands that magnitudes depend on."""
        windows = (NEAR, CENTRE, CENTRE, NEAR, NEAR, CROSS, CENTRE, CENTRE)
        views = (*self.above, *self.beside, *self.channels, self.far)
        return list(zip(views, windows, strict=True))

    def evaluate_magnitudes(self, turn: int, rows: Places, columns: Places) -> Outputs:
        """The outputs ``[3, n]`` of the network of magnitudes, for latents at these places."""
        parts: list[Part] = [(self.own, OWN), *self.others()]
        outputs = np.empty((3, len(rows)), np.int32)
        for first in range(0, len(rows), CHUNK):
            chunk = slice(first, first + CHUNK)
            inputs = self._gather(parts, NEAR_DIFFERENCES, rows[chunk], columns[chunk])
            sizes = np.abs(inputs).astype(np.float32)
            outputs[:, chunk] = self.networks.magnitudes(self.index, turn, sizes)
        return outputs

    def evaluate_signs(
        self, turn: int, rows: Places, columns: Places, magnitudes: Inputs
    ) -> Outputs:
        """The logits ``[n]`` of a plus sign, for latents at these places.

        ``magnitudes`` ``[n]`` are theirs, as inputs.
        """
        windows = (OWN, NEAR, NEAR, NEAR, NEAR, NEAR, NEAR, CENTRE)
        views = (self.own, *self.above, *self.beside, *self.channels)
        parts = list(zip(views, windows, strict=True))
        sizes = magnitudes.astype(np.float32)
        logits = np.empty(len(rows), np.int32)
        for first in range(0, len(rows), CHUNK):
            chunk = slice(first, first + CHUNK)
            inputs = self._gather(parts, DIFFERENCES, rows[chunk], columns[chunk])
            found = self.networks.signs(self.index, turn, sizes[chunk], inputs.astype(np.float32))
            logits[chunk] = found
        return logits

    def list_seen(self, turn: int, busy: NDArray[np.bool_], coded: Latents) -> Iterator[Seen]:
        """What latents ``[h w]`` of a pass see, which are ``coded``, and what they owe to whom.

        Those that are not ``busy`` ``[h, w]`` see zeros alone.
        """
        parts: list[Part] = [(self.own, OWN), *self.others()]
        row, column = PASSES[turn]
        for active in (True, False):
            places = np.flatnonzero(busy == active)
            for first in range(0, len(places), CHUNK):
                chosen = places[first : first + CHUNK]
                rows, columns = np.divmod(chosen, busy.shape[1])
                rows, columns = 2 * rows + row, 2 * columns + column
                inputs = np.zeros((MAGNITUDE_INPUTS, 1), np.float32)
                if active:
                    found = self._gather(parts, NEAR_DIFFERENCES, rows, columns)
                    inputs = np.abs(found).astype(np.float32)
                yield Seen(self.index, turn, parts, (rows, columns), chosen, inputs, coded[chosen])

    def _gather(
        self, parts: Sequence[Part], differences: Sequence[Window], rows: Places, columns: Places
    ) -> Inputs:
        """The inputs ``[F, n]`` of all parts, and of windows of the picture's differences."""
        found = [
            np.zeros((len(window), len(rows)), np.int16)
            if view is None
            else view.gather(rows, columns, window)
            for view, window in parts
        ]
        return np.concatenate([*found, self.picture.gather(rows, columns, *differences)])


def code_latents(
    levels: Sequence[Level],
    coarsest: NDArray[Any],
    symbols: Symbols,
    steps: Steps = (),
    networks: Networks | None = None,
    *,
    trellis: bool = False,
    observer: Observer | None = None,
) -> None:
    """Code all latents of ``levels``, which are listed from the finest on, in place.

    ``coarsest`` ``[C, h, w]`` is the picture above them, integers. ``steps`` are the quantisation
    steps of the levels and of the coarsest picture, in sixteenths; without them all are equal. The
    networks are the shipped ones unless others are given. With ``trellis``, latents are in units,
    :data:`.TRELLIS_UNIT` sixteenths of their level's step, in place of steps. An
    ``observer`` is shown what the latents of each pass see, and what they became.
    """
    networks, steps = networks or load_networks(), steps or (UNIT,) * (len(levels) + 1)
    channels = range(len(coarsest))
    # of latents, in 256ths of the file's step
    units = [step * (TRELLIS_UNIT if trellis else UNIT) for step in steps[:-1]]
    pictures = [low_pass.start(coarsest[channel], steps[-1]) for channel in channels]
    for level in reversed(range(len(levels))):
        framed: list[list[list[Inputs]]] = [[[], [], []]]
        for above in levels[level + 1 : level + 3]:
            scale = units[level + len(framed)], steps[level] * UNIT
            framed.append([[frame(channel, *scale) for channel in band] for band in above])
        for channel in channels:
            picture = View(frame_differences(pictures[channel], steps[level]))
            for orientation in range(3):
                band = levels[level][orientation][channel]
                own = frame(np.zeros(band.shape, np.int16))
                index = band_index(level, orientation, channel)
                sight = _look_around(framed, orientation, channel, index, own, picture, networks)
                scale = units[level], steps[level] * UNIT
                shown = None if observer is None else partial(observer.add, level)
                _code_band(band, sight, symbols, scale, shown)
                framed[0][orientation].append(own)
            if level:
                bands = [levels[level][orientation][channel] for orientation in range(3)]
                pictures[channel] = low_pass.merge_level(
                    pictures[channel], bands, level, units[level]
                )


def _look_around(
    framed: list[list[list[Inputs]]],
    orientation: int,
    channel: int,
    index: int,
    own: Inputs,
    picture: View,
    networks: Networks,
) -> _Sight:
    """What the latents of a band see.

    ``framed`` are the bands before it, of its level and of those above, by orientation and channel.
    """

    def view(above: int, orientation: int, channel: int) -> View | None:
        bands = framed[above][orientation] if above < len(framed) else []
        if channel >= len(bands):
            return None
        return View(bands[channel], above, (above, orientation, channel))

    others = [k for k in range(3) if k != orientation]
    return _Sight(
        index,
        View(own, band=(0, orientation, channel)),
        [view(1, k, channel) for k in (orientation, *others)],
        [view(0, k, channel) if k < orientation else None for k in range(2)],
        [view(0, orientation, k) if k < channel else None for k in range(2)],
        view(2, orientation, channel),
        picture,
        networks,
    )


def _code_band(
    band: Latents,
    sight: _Sight,
    symbols: Symbols,
    scale: tuple[int, int],
    show: Callable[[Seen], None] | None,
) -> None:
    """Code a band ``[h, w]`` in place, and fill in what is seen of itself.

    ``scale`` are the unit of latents and their quantisation step, in the same measure.
    """
    own = sight.own.framed
    inner = own[FRAME:-FRAME, FRAME:-FRAME]
    guessed = sight.index < band_index(GUESSED_LEVELS, 0, 0)
    busy = _mark_busy(sight.others(), band.shape)
    empty = np.zeros((MAGNITUDE_INPUTS, 1), np.float32)
    for turn, (row, column) in enumerate(PASSES):
        part = band[row::2, column::2]
        if not part.size:
            continue
        near = spread(own != 0, OWN)[FRAME:-FRAME, FRAME:-FRAME]
        rows, columns = np.nonzero((busy | near)[row::2, column::2])
        outputs = sight.networks.magnitudes(sight.index, turn, empty).repeat(part.size, axis=1)
        found = sight.evaluate_magnitudes(turn, 2 * rows + row, 2 * columns + column)
        outputs[:, rows * part.shape[1] + columns] = found
        values = part.ravel()
        coded = symbols.code_magnitudes(outputs, values)
        if show is not None:
            for seen in sight.list_seen(turn, (busy | near)[row::2, column::2], coded):
                show(seen)
        places = np.flatnonzero(coded)
        logits = np.zeros(len(places), np.int32)
        if guessed:
            rows, columns = np.divmod(places, part.shape[1])
            rows, columns = 2 * rows + row, 2 * columns + column
            sizes = signed_inputs(coded[places], *scale)
            logits = sight.evaluate_signs(turn, rows, columns, sizes)
        coded[places] *= symbols.code_signs(logits, values[places])
        part[...] = coded.reshape(part.shape)
        inner[row::2, column::2] = signed_inputs(part, *scale)


def _mark_busy(parts: Sequence[Part], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where latents of a band ``[h, w]`` see any that is not zero, in other bands."""
    busy = np.zeros(shape, np.bool_)
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    for view, window in parts:
        if view is not None:
            near = spread(view.framed != 0, window)
            down = (rows >> view.octaves) + FRAME
            busy |= near[down[:, None], (columns >> view.octaves) + FRAME]
    return busy


def quantise_and_encode(
    levels: Sequence[Level],
    coarsest: NDArray[Any],
    rd_lambda: float,
    steps: Steps = (),
) -> tuple[list[Level], bytes]:
    """Exact latents as integers; and the bytes of these.

    For ``levels``, ``coarsest`` (already integers) and ``steps`` see :func:`code_latents`.
    Rate-distortion optimised at ``rd_lambda`` squared steps a bit.
    """
    encoder = Encoder()
    exact = [[band.astype(np.float64) for band in level] for level in levels]
    code_latents(exact, coarsest, RoundingEncoding(rd_lambda, encoder), steps)
    return [[band.astype(np.int32) for band in level] for level in exact], encoder.finish()


def quantise_by_trellis(
    levels: Sequence[Level],
    coarsest: NDArray[Any],
    rd_lambda: float,
    steps: Steps = (),
    influence: Influence | None = None,
    *,
    observed: bool = False,
) -> tuple[list[Level], bytes, Influence | None]:
    """As :func:`quantise_and_encode` with a trellis, and the influence of latents if ``observed``.

    That of latents as they were before, ``influence``, counts as bits of theirs.
    """
    encoder = Encoder()
    exact = [[band.astype(np.float64) for band in level] for level in levels]
    symbols = TrellisRounding(
        rd_lambda * (UNIT / TRELLIS_UNIT) ** 2,
        encoder,
        influence=None if influence is None else passes_of(influence),
    )
    observer = Observer(exact, load_networks().magnitudes, symbols) if observed else None
    code_latents(exact, coarsest, symbols, steps, trellis=True, observer=observer)
    found: list[Level] = [[band.astype(np.int32) for band in level] for level in exact]
    return found, encoder.finish(), None if observer is None else observer.influence()


def encode(levels: Sequence[Level], coarsest: NDArray[Any], steps: Steps = ()) -> bytes:
    """The bytes of integer latents: see :func:`code_latents`."""
    encoder = Encoder()
    code_latents(levels, coarsest, EntropyCoding(encoder), steps)
    return encoder.finish()


def decode(
    data: bytes,
    shapes: Sequence[Sequence[tuple[int, int, int]]],
    coarsest: NDArray[Any],
    steps: Steps = (),
    *,
    trellis: bool = False,
) -> list[Level]:
    """The levels of latents of these shapes, from the finest on: see :func:`code_latents`.

    Raises:
        FileFormatError: if these bytes are not such latents.
    """
    levels = [[np.zeros(shape, np.int32) for shape in level] for level in shapes]
    decoder = Decoder(data)
    symbols = TrellisCoding(decoder) if trellis else EntropyCoding(decoder)
    try:
        code_latents(levels, coarsest, symbols, steps, trellis=trellis)
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    return list(levels)
