"""The context model of a drawn picture's indices: which colour comes next, by those around.

Pixels are coded diagonal by diagonal: those of a diagonal, of which each lies :data:`SKEW` pixels
to the left of the one above, are independent given the diagonals before. All of them are predicted
at once, and learned from together.

Of each pixel, contexts of several sizes, the colours of so many of the nearest pixels, remember the
colour that came last. The most reliable of these is the first candidate: a decision says whether it
is right. If not, a second follows, and then the index itself, bit by bit. Before all
that, a pixel in the calm, where everything near is of one colour, has a decision of its own.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...coding import mixing
from ...coding.integers import Integers
from ...coding.magnitudes import Coder
from .config import SKEW
from .histories import Histories, assume
from .lanes import ONE, STATES, Counts, LaneDecisions, Longs

#: The pixels around (x, y) reach as far as this; padding of the picture.
REACH = 7
#: The numbers of nearest pixels whose colours are contexts; those of them with memories.
SIZES = (2, 4, 6, 9, 12, 18, 26, 40, 60)
REMEMBERED = (0, 1, 2, 4, 5, 6, 7, 8)
#: Bits of the places in tables of contexts; of those of a whole index.
TABLE_BITS, INDEX_BITS = 18, 16
#: The most contexts of a whole index that are known at once, of each kind: some 200 MB in all.
MOST_INDEX_CONTEXTS = 1 << 17
#: The most reliable memory has been right so often in a row, at least.
MOST_SURE = 15
#: The candidates before the index itself is coded.
CANDIDATES = 2
#: Classes of brightness of the pixels around, where a whole index is coded.
CLASSES = 8
#: A pixel is in the calm where those around have been for so many steps; the longest runs told
#: apart.
CALM, LONGEST = 2, 31
#: Multipliers of hashes.
MIX, MIX_COLOUR, MIX_PLACE = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


def ignore_share(share: float) -> None:
    """Follow nothing."""


def _list_nearest() -> list[tuple[int, int]]:
    """The offsets (x, y) of pixels that come before, the nearest first; of these, the upper."""
    places = [(x, y) for y in range(-REACH, 1) for x in range(-REACH, REACH + 1)]
    before = [(x, y) for x, y in places if x + SKEW * y < 0 and (y < 0 or x < 0)]
    return sorted(before, key=lambda o: (o[0] ** 2 + o[1] ** 2, -o[1], o[0]))[: SIZES[-1]]


NEAREST = _list_nearest()
#: The pixels to the left, above, above to the right and above to the left.
CLOSEST = ((-1, 0), (0, -1), (1, -1), (-1, -1))
BESIDE = tuple(NEAREST.index(place) for place in CLOSEST)


def _list_multipliers() -> NDArray[np.uint32]:
    powers = [1]
    for _ in NEAREST:
        powers.append(powers[-1] * int(MIX) & 0xFFFFFFFF)
    return np.array(powers[1:], np.uint32)[:, None]


MULTIPLIERS = _list_multipliers()


def _hash(values: NDArray[np.uint32], bits: int = TABLE_BITS) -> Longs:
    """Places in a table of 2^``bits``."""
    mixed = (values ^ values >> np.uint32(15)) * MIX_PLACE
    return (mixed >> np.uint32(32 - bits)).astype(np.int64)


class Plane:
    """Numbers of all pixels, with a border of zeros, seen diagonal by diagonal."""

    def __init__(self, height: int, width: int) -> None:
        self._stride = width + 2 * REACH
        self.rows = np.zeros((height + REACH, self._stride), np.int32)
        self._flat = self.rows.reshape(-1)
        self._nearest = np.array([y * self._stride + x for x, y in NEAREST])[:, None]

    def look(self, x: int, y: int, lanes: Longs) -> Integers:
        """The nearest pixels ``[k, n]`` of the ``lanes`` ``[n]`` of a diagonal."""
        first = (y + REACH) * self._stride + REACH + x
        found: Integers = self._flat[self._nearest + (first + lanes * (self._stride - SKEW))]
        return found

    def view(self, x: int, y: int, count: int, dx: int = 0, dy: int = 0) -> Integers:
        """The ``count`` pixels of a diagonal that begins at (x, y), or those (dx, dy) beside."""
        first = (y + dy + REACH) * self._stride + REACH + x + dx
        step = self._stride - SKEW
        return self._flat[first : first + (count - 1) * step + 1 : step]


def list_diagonals(height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """The first pixel (x, y) of each diagonal, and its number of pixels."""
    for place in range(width + SKEW * (height - 1)):
        first = max(0, -((width - 1 - place) // SKEW))
        count = min(height - 1, place // SKEW) - first + 1
        if count > 0:
            yield place - SKEW * first, first, count


class Memories:
    """The colour that came last in each context, and how often it was right in a row."""

    def __init__(self) -> None:
        count = len(REMEMBERED)
        self._cells = np.zeros(count << TABLE_BITS, np.int32)
        self._firsts = np.arange(count)[:, None] << TABLE_BITS
        trust = (np.arange(MOST_SURE + 1) + 1) * ONE // (MOST_SURE + 3)
        self._trust = Counts(np.tile(trust, count))
        self._rows = np.arange(count)[:, None] * (MOST_SURE + 1)

    def read(self, places: Longs) -> tuple[Longs, Longs, Longs]:
        """Colours, how sure they are, and how reliable, each ``[k, n]``; 0, 0, -1 where none is."""
        self._places = places + self._firsts
        cells = self._cells[self._places].astype(np.int64)
        self._colours, self._sure = cells >> 4, cells & MOST_SURE
        reliable = self._trust.predict(self._rows + self._sure)
        reliable[self._colours == 0] = -1
        return self._colours, self._sure, reliable

    def learn(self, colours: Longs) -> None:
        """Take in the colours ``[n]`` that came in the contexts that were read last."""
        right, known = self._colours == colours, self._colours != 0
        self._trust.learn((self._rows + self._sure)[known], right[known])
        sure = np.where(right, np.minimum(self._sure + 1, MOST_SURE), self._sure >> 1)
        kept = right | (self._sure > 1)
        cells = np.where(kept, self._colours << 4 | sure, colours << 4 | ~known)
        self._cells[self._places] = cells


def _assume_candidates() -> Longs:
    """The probabilities that a candidate is right, by what memories say of it, and histories."""
    sure = np.arange(STATES, dtype=np.int64) >> 1
    agree = (np.arange(STATES) & 1).astype(bool)
    memory = np.where(agree, (sure + 1) * ONE // (sure + 2), ONE // (sure + 3))
    memory[0] = ONE // 2  # there is none
    rows = [memory] * len(REMEMBERED) + [assume()] * (len(SIZES) + 2)
    return np.stack(rows)


class ContextModel:
    """The model of the indices ``[H, W]`` of a picture of so many ``colours``.

    ``escapes`` counts the pixels that no candidate was right for; more than ``most_escapes``, where
    that is not None, are refused.
    """

    def __init__(
        self, height: int, width: int, colours: int, most_escapes: int | None = None
    ) -> None:
        self.escapes, self._most_escapes = 0, most_escapes
        self._height, self._width, self._colours = height, width, colours
        self._digits = max(colours - 1, 1).bit_length()
        self._memories = Memories()
        inputs = len(SIZES) + 2
        self._histories = [Histories(inputs, TABLE_BITS) for _ in range(CANDIDATES)]
        self._candidates = [
            LaneDecisions(_assume_candidates(), (2 * (len(REMEMBERED) + 1), 16))
            for _ in range(CANDIDATES)
        ]
        self._calm_histories = Histories(5, INDEX_BITS)
        self._calm = LaneDecisions(np.stack([assume()] * 5), (LONGEST + 1,))
        self._index = mixing.Decisions(7, MOST_INDEX_CONTEXTS)
        self._plane = Plane(height, width)
        self._depths = Plane(height, width)
        self._runs = Plane(height, width)

    def code(
        self,
        coder: Coder,
        rest: mixing.Coder,
        indices: Integers | None,
        follow: Callable[[float], None] = ignore_share,
    ) -> Integers:
        """Code ``indices`` ``[H, W]``; a decoder, which is given None, finds them.

        ``rest`` codes what no candidate is right for; ``follow`` is told the share that is done.

        Raises:
            ValueError: if a decoder finds an index beyond the palette, or too many of them.
        """
        plane, height = self._plane, self._height
        self._rest = rest
        inside = plane.rows[REACH:, REACH : REACH + self._width]
        for x, y, count in list_diagonals(height, self._width):
            here = np.zeros(count, np.int64)
            if indices is not None:
                rows = np.arange(y, y + count)
                here[:] = indices[rows, x - SKEW * (rows - y)] + 1
            found = self._code_diagonal(coder, x, y, here)
            plane.view(x, y, count)[:] = found
            if x + 1 == self._width and not y % 16:
                follow(y / height)
        return inside - 1

    def _code_diagonal(self, coder: Coder, x: int, y: int, given: Longs) -> Longs:
        """Code the colours (indices plus 1) ``given`` ``[n]`` of a diagonal; returns them."""
        count = len(given)
        west, north, north_east, north_west = (
            self._plane.view(x, y, count, *place).astype(np.int64) for place in CLOSEST
        )
        even = (west == north) & (west == north_west) & (west == north_east) & (west != 0)
        depth = np.full(count, LONGEST, np.int32)
        for place in CLOSEST:
            np.minimum(depth, self._depths.view(x, y, count, *place), out=depth)
        runs = self._runs.view(x, y, count, -1, 0)
        calm = even & (depth >= CALM)
        found = np.where(calm, west, 0)
        rows = np.arange(y, y + count)
        columns = x - SKEW * (rows - y)
        quiet = np.flatnonzero(calm)
        if quiet.size:
            moved = self._code_calm(
                coder,
                given[quiet],
                west[quiet],
                depth[quiet],
                runs[quiet],
                rows[quiet],
                columns[quiet],
            )
            found[quiet[moved]] = 0
        lanes = np.flatnonzero(found == 0)
        if lanes.size:
            excluded = np.where(calm, west, 0)[lanes]
            around = self._plane.look(x, y, lanes)
            found[lanes] = self._code_colours(
                coder, given[lanes], around, excluded, rows[lanes], columns[lanes]
            )
        self._depths.view(x, y, count)[:] = np.where(
            even & (found == west), np.minimum(depth + 1, LONGEST), 0
        )
        self._runs.view(x, y, count)[:] = np.where(found == west, np.minimum(runs + 1, LONGEST), 0)
        return found

    def _code_calm(
        self,
        coder: Coder,
        given: Longs,
        west: Longs,
        depth: Integers,
        runs: Integers,
        rows: Longs,
        columns: Longs,
    ) -> NDArray[np.bool_]:
        """Code which pixels in the calm differ from those around; returns that ``[n]``."""
        colour = west.astype(np.uint32) * MIX_COLOUR
        y, x = rows.astype(np.uint32), columns.astype(np.uint32)
        deep, run = depth.astype(np.uint32), runs.astype(np.uint32)
        contexts = np.stack(
            [
                colour + (y << np.uint32(2)),
                colour + (x << np.uint32(2)) + np.uint32(1),
                colour + (deep << np.uint32(7)) + (run << np.uint32(2)) + np.uint32(2),
                colour + (y << np.uint32(7)) + (run << np.uint32(2)) + np.uint32(3),
                colour + (deep << np.uint32(2)),
            ]
        )
        states = self._calm_histories.read(_hash(contexts * MIX, INDEX_BITS))
        bits = (given != west).astype(np.int32)
        moved = self._calm.code(coder, states, (depth.astype(np.int64),), bits)
        self._calm_histories.learn(moved)
        different: NDArray[np.bool_] = moved != 0
        return different

    def _code_colours(
        self,
        coder: Coder,
        given: Longs,
        around: Integers,
        excluded: Longs,
        rows: Longs,
        columns: Longs,
    ) -> Longs:
        """Code the colours ``given`` ``[n]``, of which none is the one ``excluded``; returns them.

        ``around`` ``[k, n]`` are the colours of the nearest pixels.
        """
        hashes = np.cumsum(around.astype(np.uint32) * MULTIPLIERS, axis=0, dtype=np.uint32)
        hashes = hashes[np.array(SIZES) - 1]
        colours, sure, reliable = self._memories.read(_hash(hashes[list(REMEMBERED)]))
        beside = around[list(BESIDE)].astype(np.int64)
        listed = np.concatenate([colours[::-1], beside])
        west, north = beside[0].astype(np.uint32), beside[1].astype(np.uint32)
        places = np.stack(
            [
                (west * MIX_COLOUR + rows.astype(np.uint32)) * MIX,
                (north * MIX_COLOUR + columns.astype(np.uint32)) * MIX + np.uint32(1),
            ]
        )
        contexts = np.concatenate([hashes, places])
        alike = (
            (beside[0] == beside[1]) * 1
            + (beside[1] == beside[2]) * 2
            + (beside[0] == beside[3]) * 4
            + (beside[1] == beside[3]) * 8
        )
        reliable = np.where(colours == excluded, -1, reliable)
        best, live = reliable.argmax(axis=0), np.arange(len(given))
        first = np.where(reliable[best, live] < 0, 0, colours[best, live])
        second = _choose(listed, (excluded, first))
        first = np.where(first == 0, second, first)
        second = _choose(listed, (excluded, first))
        found = np.zeros(len(given), np.int64)
        for rank, candidates in enumerate((first, second)):
            live = live[(found[live] == 0) & (candidates[live] != 0)]
            if not live.size:
                continue
            candidate, known = candidates[live], colours[:, live]
            agree = known == candidate
            memory = np.where(known == 0, 0, 2 * sure[:, live] + agree)
            salt = candidate.astype(np.uint32) * MIX_COLOUR
            past = self._histories[rank].read(_hash((contexts[:, live] ^ salt) * MIX))
            votes = agree.sum(axis=0) + (len(REMEMBERED) + 1) * (excluded[live] != 0)
            bits = (given[live] == candidate).astype(np.int32)
            states = np.concatenate([memory, past])
            right = self._candidates[rank].code(coder, states, (votes, alike[live]), bits)
            self._histories[rank].learn(right)
            found[live] = candidate * right
        left = np.flatnonzero(found == 0)
        if left.size:
            found[left] = self._code_indices(given[left], beside[:, left])
        self._memories.learn(found)
        return found

    def _code_indices(self, given: Longs, beside: Longs) -> Longs:
        """Code colours ``given`` ``[n]`` bit by bit; returns them.

        Raises:
            ValueError: if a colour is beyond the palette, or there are too many.
        """
        self.escapes += len(given)
        if self._most_escapes is not None and self.escapes > self._most_escapes:
            raise ValueError("more indices than the payload can hold")
        found = []
        largest = self._colours - 1
        classes = beside * CLASSES // (self._colours + 1)
        bright = ((classes[0] * CLASSES + classes[1]) * CLASSES + classes[2]) * CLASSES + classes[3]
        for value, (west, north, north_east, north_west), about in zip(
            given.tolist(), beside.T.tolist(), bright.tolist(), strict=True
        ):
            slope = min(max(west + north - north_west, 0), self._colours)
            node = 1
            for place in range(self._digits - 1, -1, -1):
                contexts = (
                    node,
                    node << 13 | west,
                    node << 13 | north,
                    node << 13 | north_east,
                    (node << 13 | west) << 13 | north,
                    node << 13 | slope,
                    node << 12 | about,
                )
                bit = self._rest.code(self._index, contexts, place, (value - 1) >> place & 1)
                node = node << 1 | bit
            index = node - (1 << self._digits)
            if index > largest:
                raise ValueError("an index beyond the palette")
            found.append(index + 1)
        return np.array(found, np.int64)


def _choose(listed: Longs, tried: tuple[Longs, ...]) -> Longs:
    """Of colours ``[k, n]``, the first that is one and was not ``tried``; 0 where none is."""
    open_ = listed != 0
    for colours in tried:
        open_ &= listed != colours
    first = open_.argmax(axis=0)
    every = np.arange(listed.shape[1])
    return np.where(open_[first, every], listed[first, every], 0)
