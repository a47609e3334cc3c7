"""The latents of a bank of sines as bytes.

A payload is the matrix of channels (a signed byte each), a byte that says up to which frequency
there are latents, the loudness of noise where there are none, and one stream of the range coder:
how stretches split into blocks, and the latents. Their distributions are learned while decoding:
what was seen in a context so far says what to expect in it. All of it is whole numbers, so that
every machine decodes the same.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from ...coding import integers as entropy
from ...coding.integers import BEYOND, LARGEST, SIGN, Integers, Model, finished, grouped, reading
from ...coding.tensors import Tensors
from ...errors import FileFormatError
from ..channels import UNIT as CHANNEL_UNIT
from . import transform as bank
from .config import LONGEST, SHORTEST, MdctConfig

Whole = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

#: Rate-distortion lambda of latents: the squared error, in squared steps, that a bit must save.
RD_LAMBDA = 0.11
#: Frequencies are cut off at one of so many parts of the highest.
PARTS = 64

# --- contexts ------------------------------------------------------------------------------------

#: The passes over the frequencies of a block.
PASSES = (slice(0, None, 4), slice(2, None, 4), slice(1, None, 2))
#: How far away the two pairs of frequencies are that a pass sees decoded in its own block.
APART = ((0, 0), (2, 0), (1, 3))
#: What a pass makes of magnitudes: in its own block (two pairs), in the block before (in place, and
#: the pairs 1 and 2 apart), in the one before that (in place, 1 apart), on average of what was
#: (in place, 1 apart, 2 to 4 apart), and in the channel before (in place, 1 apart). Their sum over
#: all latents seen is :data:`WHOLE`. (Fitting them to a recording gains 1 % on it, and loses up to
#: 5 % on another: these are round numbers near the least of both.)
WEIGHTS = (
    (0, 0, 28, 22, 13, 6, 2, 8, 3, 1, 0, 0),
    (31, 0, 21, 12, 2, 3, 0, 6, 2, 0, 2, 1),
    (41, 3, 12, 6, 1, 0, 0, 6, 2, 0, 2, 1),
)
WHOLE = 128
#: Fixed point of a magnitude, and the largest that is told from larger ones.
POINT, CAP = 8, 255
#: Contexts: eighths of an octave of the expected magnitude between two of them, from 1 / 128.
WIDTH, CLASSES = 3, 40
#: Samples over which the average forgets.
MEMORY = 1 << 14
#: Samples after which the distributions are made anew from what was seen.
REFRESH = 1 << 12
#: How many observations the expected magnitude itself is worth; fixed point of their number.
TRUST, UNIT = 4, 256
#: Magnitudes below are told apart in a distribution's shape; beyond, it falls geometrically.
SHAPED = 3
#: The largest magnitude that has a symbol of its own; what is beyond goes as it is.
MOST = 1000
_WEIGHT = 1 << 40


def _root(power: int) -> int:
    """The whole part of 2^16 x 2^(``power`` / 8)."""
    return math.isqrt(math.isqrt(math.isqrt(1 << (8 * 16 + power))))


#: Sums where the next context begins; the expected magnitude of each context, in 2^-16.
_EDGES = np.array(
    [(WHOLE << POINT) * _root(WIDTH * i) >> (7 + 16) for i in range(1, CLASSES)], np.int64
)
_EXPECTED = [_root(WIDTH * i) >> 7 for i in range(CLASSES)]


class Odds:
    """What was seen in each context so far, and the distributions that follow."""

    def __init__(self) -> None:
        #: ``[CLASSES, SHAPED + 2]``, in :data:`UNIT`: magnitudes 0, 1, 2, of 3 and more, and what
        #: the last exceed 3 by.
        self.seen = np.zeros((CLASSES, SHAPED + 2), np.int64)
        for context, expected in enumerate(_EXPECTED):
            left = TRUST * UNIT << 16
            for magnitude in range(SHAPED):
                stops = (left << 16) // ((1 << 16) + expected)
                self.seen[context, magnitude] = max(stops >> 16, 1)
                left -= stops
            self.seen[context, SHAPED] = max(left >> 16, 1)
            self.seen[context, SHAPED + 1] = max(left * expected >> 32, 1)
        self._models: dict[int, tuple[Any, int, NDArray[np.float64]]] = {}

    def see(self, contexts: Whole, magnitudes: Whole) -> None:
        """Count these."""
        kinds = contexts * (SHAPED + 1) + np.minimum(magnitudes, SHAPED)
        counts = np.bincount(kinds, minlength=CLASSES * (SHAPED + 1))
        self.seen[:, : SHAPED + 1] += UNIT * counts.reshape(CLASSES, SHAPED + 1)
        if (large := np.flatnonzero(magnitudes > SHAPED)).size:
            over = np.minimum(magnitudes[large] - SHAPED, MOST)
            np.add.at(self.seen[:, SHAPED + 1], contexts[large], UNIT * over)

    def refresh(self) -> None:
        """Take what was seen into account from here on."""
        self._models.clear()

    def model(self, context: int) -> tuple[Any, int, NDArray[np.float64]]:
        """The distribution of magnitudes; its last symbol, for all larger ones; and bits of each.

        With a bit for the sign of those above 0.
        """
        if context not in self._models:
            self._models[context] = self._made(context)
        return self._models[context]

    def _made(self, context: int) -> tuple[Any, int, NDArray[np.float64]]:
        counts = self.seen[context].tolist()
        left, weights = _WEIGHT, []
        for magnitude in range(SHAPED):
            stops = left * counts[magnitude] // sum(counts[magnitude : SHAPED + 1])
            weights.append(stops)
            left -= stops
        stop, go = counts[SHAPED], counts[SHAPED + 1]
        reach = min(MOST, SHAPED + 4 + 12 * (stop + go) // stop)
        for _ in range(SHAPED, reach):
            stops = left * stop // (stop + go)
            weights.append(stops)
            left -= stops
        weights.append(left)
        table = np.maximum(np.array(weights, np.float64), _WEIGHT >> 20)
        bits = math.log2(table.sum()) - np.log2(table)
        bits[1:] += 1
        return constriction.stream.model.Categorical(table, perfect=False), reach, bits


class Coder(Protocol):
    """What is done with the latents of a pass."""

    odds: Odds

    def __call__(self, where: tuple[slice, int], contexts: Whole) -> Integers:
        """Code the latents at ``where`` in ``[N, C]``; returns them."""


class Writer:
    """Latents to bytes."""

    def __init__(self, latents: Integers) -> None:
        self.odds = Odds()
        self.latents = latents
        self.encoder = constriction.stream.queue.RangeEncoder()

    def __call__(self, where: tuple[slice, int], contexts: Whole) -> Integers:
        values: Integers = self.latents[where]
        magnitudes = np.abs(values)
        for context, run in grouped(contexts):
            model, reach, _ = self.odds.model(context)
            self.encoder.encode(np.minimum(magnitudes[run], reach), model)
            if (beyond := magnitudes[run] - reach)[beyond >= 0].size:
                self.encoder.encode(beyond[beyond >= 0], BEYOND)
        there = values[values != 0]
        if there.size:
            self.encoder.encode((there < 0).astype(np.int32), SIGN)
        return values


class Reader:
    """Bytes to latents."""

    def __init__(self, data: bytes, shape: tuple[int, int]) -> None:
        self.odds = Odds()
        self.latents = np.zeros(shape, np.int32)
        self.decoder = reading(data)

    def __call__(self, where: tuple[slice, int], contexts: Whole) -> Integers:
        values = np.empty(len(contexts), np.int32)
        for context, run in grouped(contexts):
            model, reach, _ = self.odds.model(context)
            found = self.decoder.decode(model, len(run))
            if (beyond := np.flatnonzero(found == reach)).size:
                found[beyond] += self.decoder.decode(BEYOND, len(beyond))
            values[run] = found
        there = np.flatnonzero(values)
        if there.size:
            values[there] *= 1 - 2 * self.decoder.decode(SIGN, len(there))
        self.latents[where] = values
        return values


class Chooser:
    """Rounds latents, in steps, to what costs least: squared error + :data:`RD_LAMBDA` x bits."""

    def __init__(self, exact: Floats) -> None:
        self.odds = Odds()
        self.exact = exact
        self.latents = np.zeros(exact.shape, np.int32)
        self.bits = 0.0

    def __call__(self, where: tuple[slice, int], contexts: Whole) -> Integers:
        exact = self.exact[where]
        sizes = np.abs(exact)
        chosen = np.zeros(len(sizes), np.int32)
        for context, run in grouped(contexts):
            _, reach, bits = self.odds.model(context)
            size = sizes[run]
            low = size.astype(np.int32)
            best, least, taken = np.zeros_like(low), size**2 + RD_LAMBDA * bits[0], bits[0]
            for candidate in (low, low + 1):
                more = bits[np.minimum(candidate, reach)] + 24 * (candidate >= reach)
                cost = (size - candidate) ** 2 + RD_LAMBDA * more
                better = cost < least
                best, least = np.where(better, candidate, best), np.where(better, cost, least)
                taken = np.where(better, more, taken)
            chosen[run] = best
            self.bits += float(np.sum(taken))
        values: Integers = np.where(exact < 0, -chosen, chosen)
        self.latents[where] = values
        return values


def _resized(magnitudes: Whole, size: int) -> Whole:
    """Magnitudes on a grid of another size: means of groups, or repeated."""
    ratio = len(magnitudes) // size
    if ratio <= 1:
        return magnitudes if ratio else magnitudes.repeat(size // len(magnitudes))
    means: Whole = magnitudes.reshape(size, ratio).sum(axis=1) // ratio
    return means


def _pair(padded: Whole, apart: int, part: slice) -> Whole:
    """The sums of both neighbours at a distance; ``padded`` has 4 zeros on either side."""
    end = len(padded) - 4
    found: Whole = padded[4 - apart : end - apart][part] + padded[4 + apart : end + apart][part]
    return found


def walk(sizes: Sequence[int], channels: int, top: int, code: Coder) -> None:
    """Code all latents of blocks of these sizes, below ``top`` of :data:`PARTS` of the highest."""
    average = [np.zeros(LONGEST, np.int64) for _ in range(channels)]
    last = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    older = list(last)
    start, refreshed = 0, 0
    for size in sizes:
        count = size * top // PARTS
        if start - refreshed >= REFRESH:
            code.odds.refresh()
            refreshed = start
        beside = np.zeros(count + 8, np.int64)
        for channel in range(channels):
            before = np.pad(_resized(last[channel], size)[:count], 4)
            earlier = np.pad(_resized(older[channel], size)[:count], 4)
            mean = np.pad(_resized(average[channel], size)[:count], 4)
            current = np.zeros(count + 8, np.int64)
            for weights, (near, far), part in zip(WEIGHTS, APART, PASSES, strict=True):
                seen = (
                    _pair(current, near, part),
                    _pair(current, far, part),
                    before[4:-4][part],
                    _pair(before, 1, part),
                    _pair(before, 2, part),
                    earlier[4:-4][part],
                    _pair(earlier, 1, part),
                    mean[4:-4][part],
                    _pair(mean, 1, part),
                    _pair(mean, 2, part) + _pair(mean, 3, part) + _pair(mean, 4, part),
                    beside[4:-4][part],
                    _pair(beside, 1, part),
                )
                total = sum(w * values for w, values in zip(weights, seen, strict=True) if w)
                contexts = np.searchsorted(_EDGES, total, side="right")
                place = slice(start + (part.start or 0), start + count, part.step)
                magnitudes = np.abs(code((place, channel), contexts)).astype(np.int64)
                code.odds.see(contexts, magnitudes)
                current[4:-4][part] = np.minimum(magnitudes, CAP) << POINT
            older[channel] = last[channel]
            last[channel] = np.pad(current[4:-4], (0, size - count))
            average[channel] += (
                (_resized(last[channel], LONGEST) - average[channel]) * size // MEMORY
            )
            beside = current
        start += size


# --- blocks --------------------------------------------------------------------------------------


#: Whether a stretch of a length is split, given the index of the block that begins there.
Ask = Callable[[int, int, "constriction.stream.model.Categorical"], bool]


def _divided(total: int, ask: Ask) -> list[int]:
    """The sizes of blocks of ``total`` samples: stretches are halved as ``ask`` says.

    It is asked under how often stretches of the length were split before, after a block that was
    shorter or not.
    """
    seen: dict[tuple[int, bool], list[int]] = {}
    found: list[int] = []

    def divide(start: int, size: int) -> None:
        if start >= total:
            return
        split = start + size > total
        if size > SHORTEST and not split:
            shorter = bool(found) and found[-1] < size
            counts = seen.setdefault((size, shorter), [1, 1])
            table = np.array(counts, np.float64)
            model = constriction.stream.model.Categorical(table, perfect=False)
            split = ask(size, len(found), model)
            counts[split] += 1
        if split:
            divide(start, size // 2)
            divide(start + size // 2, size // 2)
        else:
            found.append(size)

    for position in range(0, total, LONGEST):
        divide(position, LONGEST)
    return found


def write_sizes(encoder: Any, sizes: Sequence[int]) -> None:
    """Encode the sizes of blocks that :func:`read_sizes` can tell apart."""

    def ask(size: int, index: int, model: Any) -> bool:
        split = sizes[index] < size
        encoder.encode(np.array([split], np.int32), model)
        return split

    _divided(sum(sizes), ask)


def read_sizes(decoder: Any, total: int) -> list[int]:
    """The sizes of blocks of ``total`` samples."""
    return _divided(total, lambda size, index, model: bool(decoder.decode(model, 1)[0]))


# --- noise ---------------------------------------------------------------------------------------

#: The edges of bands of noise, in parts of the highest frequency.
BANDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
#: Samples that a loudness holds for.
SEGMENT = 1 << 14
#: A loudness of LOUDEST is noise with a deviation of an eighth of a step, each less is half an
#: octave less, and 0 is none. (Louder noise is nearer to the spectrum, and costs more SNR.)
LOUDEST = 15


@dataclass(frozen=True)
class Cells:
    """Where noise has one loudness: the cell of each latent ``[N]``, and their number."""

    owner: Whole
    segments: int

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.segments * (len(BANDS) - 1)


def cells(sizes: Sequence[int]) -> Cells:
    """The cells of the latents of blocks."""
    bands = {
        size: np.searchsorted(np.array(BANDS) * (size // PARTS), np.arange(size), side="right") - 1
        for size in set(sizes)
    }
    starts = [0, *itertools.accumulate(sizes)]
    owner = np.concatenate(
        [
            start // SEGMENT * (len(BANDS) - 1) + bands[size]
            for start, size in zip(starts[:-1], sizes, strict=True)
        ]
    )
    return Cells(owner, -(-starts[-1] // SEGMENT))


def loudness(exact: Floats, latents: Integers, where: Cells) -> Integers:
    """How loud what was rounded to nothing is, ``[cells, C]``, by the mean of its logarithm."""
    found = np.zeros((where.count, exact.shape[1]), np.int32)
    for channel in range(exact.shape[1]):
        nothing = np.flatnonzero(latents[:, channel] == 0)
        owner = where.owner[nothing]
        counts = np.bincount(owner, minlength=where.count)
        octaves = np.log2(np.abs(exact[nothing, channel]) + 1e-7)
        mean = np.bincount(owner, octaves, where.count) / np.maximum(counts, 1)
        # of a normal distribution, the mean logarithm lies .916 octaves below the deviation
        level = LOUDEST + np.rint(2 * (mean + 0.916 + 3))
        found[:, channel] = np.where(counts > 0, level.clip(0, LOUDEST), 0)
    return found


def noise(latents: Integers, levels: Integers, where: Cells) -> Floats:
    """Latents, in steps, with noise where they are 0."""
    filled = latents.astype(np.float32)
    gains = np.where(levels > 0, 2.0 ** ((levels - LOUDEST) / 2 - 3), 0) * math.sqrt(3)
    for channel in range(latents.shape[1]):
        nothing = np.flatnonzero(latents[:, channel] == 0)
        gain = gains[where.owner[nothing], channel]
        filled[nothing, channel] = gain * _uniform(nothing * latents.shape[1] + channel)
    return filled


def _uniform(index: Whole) -> Floats:
    """Numbers in [-1, 1) that look drawn, the same for the same index."""
    mixed = index.astype(np.uint64)
    for factor, shift in ((0x9E3779B1, 15), (0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        mixed = (mixed * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
        mixed ^= mixed >> np.uint64(shift)
    return mixed.astype(np.float64) / 2**31 - 1


def _residuals(levels: Integers) -> Integers:
    """Levels ``[segments, bands, C]`` less those of the segment before."""
    return np.diff(levels, axis=0, prepend=0)


# --- payloads ------------------------------------------------------------------------------------


def pack(samples: Floats, mixing: Floats, config: MdctConfig) -> bytes:
    """The payload of decorrelated samples ``[N, C]``, in the blocks and latents that are best."""
    padded = bank.padded(samples, config)
    sizes = bank.partition(padded, config.step_size)
    exact = bank.analyse(padded, sizes) / np.float32(config.step_size)
    np.clip(exact, -LARGEST, LARGEST, out=exact)
    top = _top(exact, sizes)
    chooser = Chooser(exact)
    walk(sizes, config.channels, top, chooser)
    where = cells(sizes)
    levels = loudness(exact, chooser.latents, where)
    shaped = levels.reshape(where.segments, -1, config.channels)
    model, _ = entropy.fitted(_residuals(shaped))
    noisy = entropy.encode([(_residuals(shaped), model)])
    writer = Writer(chooser.latents)
    write_sizes(writer.encoder, sizes)
    walk(sizes, config.channels, top, writer)
    channels = (mixing * CHANNEL_UNIT).round().astype(np.int8).tobytes()
    head = channels + bytes([top]) + model.to_bytes() + len(noisy).to_bytes(3, "little")
    return head + noisy + finished(writer.encoder)


def parts(payload: bytes, config: MdctConfig) -> dict[str, int]:
    """Bytes of a payload: of the noise with all before it, and of the latents."""
    head = config.channels**2 + 1 + entropy.SIZE + 3
    first = head + int.from_bytes(payload[head - 3 : head], "little")
    return {"noise": first, "latents": len(payload) - first}


def _top(exact: Floats, sizes: Sequence[int]) -> int:
    """The least part of frequencies that holds all latents that may be more than zero."""
    loud = np.abs(exact).max(axis=1) >= 0.5
    top, start = 0, 0
    for size in sizes:
        used = np.flatnonzero(loud[start : start + size])
        top = max(top, -(-(int(used[-1]) + 1) * PARTS // size) if used.size else 0)
        start += size
    return top


def unpack(payload: bytes, config: MdctConfig) -> Tensors:
    """The latents in a payload, noise included, in the unit of the samples.

    Raises:
        FileFormatError: if it does not hold them.
    """
    channels = config.channels
    head = channels**2 + 1 + entropy.SIZE + 3
    if len(payload) < head:
        raise FileFormatError("damaged: its payload is too small for its recording")
    mixing = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    top = payload[channels**2]
    if top > PARTS:
        raise FileFormatError("damaged: its latents cannot be decoded")
    model = Model.from_bytes(payload[channels**2 + 1 : head - 3])
    end = head + int.from_bytes(payload[head - 3 : head], "little")
    reader = Reader(payload[end:], (config.padded_frames(), channels))
    try:
        sizes = read_sizes(reader.decoder, config.padded_frames())
        where = cells(sizes)
        shape = (where.segments, len(BANDS) - 1, channels)
        (runs,) = entropy.decode(payload[head:end], [(math.prod(shape), model)])
        walk(sizes, channels, top, reader)
    except (AssertionError, ValueError):
        raise FileFormatError("damaged: its latents cannot be decoded") from None
    levels = runs.reshape(shape).cumsum(axis=0).clip(0, LOUDEST)
    filled = noise(reader.latents, levels.reshape(-1, channels), where)
    blocks: Floats = np.repeat(sizes, np.array(sizes) // SHORTEST).astype(np.float32)
    return {
        "channels": (mixing.astype(np.float32) / CHANNEL_UNIT).astype(np.float32),
        "blocks": blocks,
        "latents": (filled * np.float32(config.step_size)).astype(np.float32),
    }
