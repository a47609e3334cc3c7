"""The context model of a surface's latents: how likely each value is, given what is known before.

A level's latents are coded in the order of their nodes. Known are those of coarser levels, and
those of the nodes around that come before.
"""

import numpy as np
from numpy.typing import NDArray

from ...coding.mixing import Coder, Decisions
from .pyramid import (
    FRACTION_BITS,
    Grid,
    Integers,
    Pyramid,
    find_numbers,
    offsets,
    pad_indices,
    subdivide,
)

#: The nodes around, all of which come before, and what their latents weigh.
BEFORE = np.array(
    [
        (-1, 0, 0), (0, -1, 0), (0, 0, -1),
        (-1, -1, 0), (-1, 1, 0), (-1, 0, -1), (-1, 0, 1), (0, -1, -1), (0, -1, 1),
        (-1, -1, -1), (-1, -1, 1), (-1, 1, -1), (-1, 1, 1),
        (-2, 0, 0), (0, -2, 0), (0, 0, -2),
    ]
)  # fmt: skip
WEIGHTS = (4, 4, 4, 3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2)
#: Upper bounds of classes: of the coarser level's latents here, their magnitudes and themselves, in
#: 64ths; of how much the prediction bends, in quarters of the level's step; of the sum of the
#: weighted latents around.
ACTIVITY = np.array([3, 10, 19, 32, 51, 77, 128, 256])
COARSER = np.array([6, 19, 38, 77])
BENDING = np.array([1, 3, 6, 12, 24])
#: The nearest 16 eighths of a cell are told apart; magnitudes up to LONGEST, beyond which come the
#: digits of what is left.
DISTANCES, LONGEST = 15, 20
#: Latents are taken for no larger than this where they are contexts.
LARGEST_CONTEXT = 1 << 12
#: Latents whose surroundings are listed at once, which bounds memory.
CHUNK = 1 << 14
#: The greatest number of binary digits of what is left of a magnitude.
MOST_DIGITS = 20


class ContextModel:
    """The model of all latents of a file, which learns as they are coded, level by level."""

    def __init__(self, pyramid: Pyramid) -> None:
        self._pyramid = pyramid
        self._zero, self._sign, self._size = Decisions(6), Decisions(5), Decisions(4)
        self._coarser: Grid | None = None
        # a base's first corrections are as those of the third level
        self._skipped = max(pyramid.config.first_level - 3, 0)

    def code(
        self, coder: Coder, level: int, predicted: Grid, core: Integers, latents: Integers | None
    ) -> Integers:
        """Code the ``latents`` ``[k]`` of a level's ``core``, of which ``predicted`` is known.

        An encoder writes them; a decoder, to which None is given, finds them. They are returned.

        Raises:
            ValueError: if a decoder finds a value that no encoder writes.
        """
        features = self._describe(level, predicted, core)
        side = len(predicted)
        numbers, steps = find_numbers(core, side), offsets(BEFORE, side)
        values = [0] * (len(core) + 1)  # the last is for nodes that are not there
        for first in range(0, len(core), CHUNK):
            part = slice(first, first + CHUNK)
            beside = numbers[pad_indices(core[part], side)[:, None] + steps].tolist()
            given = None if latents is None else latents[part].tolist()
            self._code_values(
                coder, level, features[:, part].tolist(), beside, given, values, first
            )
        found = np.array(values[:-1], np.int64)
        known = np.zeros(predicted.size, np.int32)
        known[core] = found.clip(-LARGEST_CONTEXT, LARGEST_CONTEXT)
        self._coarser = known.reshape(predicted.shape)
        return found

    def _describe(self, level: int, predicted: Grid, core: Integers) -> NDArray[np.uint8]:
        """What is known of each node of the core before its level: five classes ``[5, k]``."""
        pyramid = self._pyramid
        here = predicted.reshape(-1)[core].astype(np.int64)
        shift = 13 + pyramid.config.levels - level
        distance = np.minimum(np.abs(here) * pyramid.config.fine_step >> shift, DISTANCES)
        bending = _sum_around(predicted).reshape(-1)[core] - 27 * here
        quarter = 1 << (pyramid.shift(level) - 2)
        bend = np.sign(bending) * np.searchsorted(BENDING, np.abs(bending) // quarter, "right")
        if self._coarser is None:
            activity = coarser = np.zeros(len(core), np.int64)
        else:
            upper = self._coarser << FRACTION_BITS
            size = subdivide(np.abs(upper)).reshape(-1)[core]
            value = subdivide(upper).reshape(-1)[core]
            activity = np.searchsorted(ACTIVITY, size, "right")
            coarser = np.sign(value) * np.searchsorted(COARSER, np.abs(value), "right")
        inside = (here < 0).astype(np.int64)
        classes = distance, inside, bend + 5, activity, coarser + 4
        return np.stack(classes, dtype=np.uint8, casting="unsafe")

    def _code_values(
        self,
        coder: Coder,
        level: int,
        features: list[list[int]],
        beside: list[list[int]],
        given: list[int] | None,
        values: list[int],
        first_index: int,
    ) -> None:
        """Code a part of a level's latents, the ``given`` ones or those found, into ``values``.

        Of each there are its ``features``, and the places in ``values`` of those ``beside`` it.
        """
        stage = min(level - self._skipped, 5)
        zero, sign, size, code = self._zero, self._sign, self._size, coder.code
        for index, (distance, inside, bend, activity, coarser) in enumerate(
            zip(*features, strict=True)
        ):
            around = beside[index]
            total = magnitude = 0
            for number, weight in zip(around, WEIGHTS, strict=True):
                if value := values[number]:
                    total += weight * value
                    magnitude += weight * (value if value > 0 else -value)
            near = _classify(magnitude)
            few = near if near < 8 else 8
            bent = bend - 5 if bend > 5 else 5 - bend
            first = 0
            for number in around[:3]:
                first = 3 * first + min(abs(values[number]), 2)
            value = 0 if given is None else given[index]
            if not code(
                zero,
                (
                    near << 3 | stage,
                    near << 4 | distance,
                    (activity << 4 | distance) << 3 | stage,
                    (few << 4 | activity) << 3 | bent,
                    (first << 3 | distance >> 1) << 3 | activity >> 1,
                    (near << 3 | bent) << 3 | stage,
                ),
                stage,
                int(value != 0),
            ):
                continue
            trend = _classify_sum(total)
            negative = code(
                sign,
                (
                    trend << 3 | stage,
                    bend << 3 | stage,
                    coarser << 3 | stage,
                    trend << 4 | bend,
                    (trend << 4 | coarser) << 1 | inside,
                ),
                stage,
                int(value < 0),
            )
            left = value if value > 0 else -value
            found = 1
            while found < LONGEST:
                rank = found if found < 12 else 12
                if not code(
                    size,
                    (
                        rank << 5 | near,
                        rank << 4 | activity,
                        (rank << 3 | stage) << 3 | distance >> 1,
                        (rank << 3 | bent) << 4 | few,
                    ),
                    (rank if rank < 3 else 3) << 1 | (stage == 1),
                    int(left > found),
                ):
                    break
                found += 1
            else:
                found += _code_rest(coder, left - LONGEST)
            values[first_index + index] = -found if negative else found


def _classify(magnitude: int) -> int:
    """A class from 0 to 20 of the sum of the weighted magnitudes around."""
    if magnitude < 6:
        return magnitude
    if magnitude < 30:
        return 6 + (magnitude - 6) // 4
    return 12 + min((magnitude - 30) // 16, 8)


def _classify_sum(total: int) -> int:
    """A class from 0 to 10 of the sum of the weighted latents around: 5 where it is 0."""
    if total == 0:
        return 5
    size = abs(total)
    rank = 1 + (size > 3) + (size > 7) + (size > 14) + (size > 40)
    return 5 + rank if total > 0 else 5 - rank


def _code_rest(coder: Coder, rest: int) -> int:
    """Code what is left of a large magnitude: its number of digits, one by one, and these.

    Raises:
        ValueError: if there are more than any encoder writes.
    """
    digits = 0
    length = (rest + 1).bit_length() - 1 if rest >= 0 else 0
    while coder.code_evenly(int(length > digits)):
        digits += 1
        if digits > MOST_DIGITS:
            raise ValueError(digits)
    value = 1
    for place in range(digits - 1, -1, -1):
        value = value << 1 | coder.code_evenly((rest + 1) >> place & 1 if rest >= 0 else 0)
    return value - 1


def _sum_around(grid: Grid) -> Grid:
    """The sum over each node and its 26 neighbours; beyond the border, the nearest node counts."""
    for axis in range(3):
        lines = np.moveaxis(grid, axis, 0)
        padded = np.concatenate([lines[:1], lines, lines[-1:]])
        grid = np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)
    return np.ascontiguousarray(grid)
