"""Block switching: which block sizes suit a recording, and how they are coded.

A stretch of :data:`.config.LONGEST` samples is one block, or is split into halves, each of which is
a block or is split again, down to :data:`.config.SHORTEST`. Long blocks suit steady tones, short
ones suit clicks.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...coding.magnitudes import Coder, SymbolModel, categorical
from ...errors import FileFormatError
from ...signals import Floats
from .config import LONGEST, SHORTEST
from .transform import STRETCH, Reals, analyse

#: The sizes of blocks, in samples.
SIZES = tuple(SHORTEST << i for i in range((LONGEST // SHORTEST).bit_length()))
#: The bits that :func:`choose_sizes` takes a block to cost besides its coefficients.
BLOCK_BITS = 3.0

#: Estimates the bits of blocks' coefficients ``[n, size, C]`` at a quantisation step.
EstimateBits = Callable[[Reals, float], Reals]


def estimate_bits(coefficients: Reals, step: float) -> Reals:
    """The bits ``[n]`` of each block's coefficients ``[n, size, C]``.

    A coefficient c is taken to need log2(1 + (2c / step)^2) / 2 bits.
    """
    scaled = coefficients.reshape(len(coefficients), -1) * (2 / step)
    bits: Reals = np.log2(1 + np.square(scaled)).sum(axis=1) / 2
    return bits + BLOCK_BITS


def choose_sizes(
    x: Reals,
    step: float,
    estimate: EstimateBits = estimate_bits,
    *,
    least_gain: float = 0.0,
    longest_free: int = LONGEST,
    longest: int = LONGEST,
    report: Callable[[float], None] | None = None,
) -> list[int]:
    """The sizes of blocks under which ``x`` ``[N, C]`` takes few bits at a quantisation ``step``.

    N is a multiple of the shortest size; no block is above ``longest``. The best basis of Coifman
    and Wickerhauser (1992): from the shortest up, two blocks become one where that saves bits; and
    one longer than ``longest_free``, where it saves at least the share ``least_gain``. The
    neighbours of a block are taken to be of its size. ``report`` is told the share that is done.
    """
    sizes: list[int] = []
    for start in range(0, len(x), STRETCH):
        if report is not None:
            report(start / len(x))
        end = min(start + STRETCH, len(x))
        sizes += _choose_sizes(
            x, start, end, lambda blocks: estimate(blocks, step), least_gain, longest_free, longest
        )
    return sizes


def _choose_sizes(
    x: Reals,
    start: int,
    end: int,
    estimate: Callable[[Reals], Reals],
    least_gain: float,
    longest_free: int,
    longest: int,
) -> list[int]:
    """:func:`choose_sizes` of the samples from ``start`` to ``end``."""
    size = SHORTEST
    best: list[tuple[float, list[int]]] = []  # bits and sizes of each stretch of the last size
    while size <= longest:
        count = (end - start) // size
        blocks = _analyse_alike(x, start, count, size)
        costs: list[float] = estimate(blocks).tolist() if count else []
        factor = 1 + least_gain if size > longest_free else 1.0
        joined: list[tuple[float, list[int]]] = []
        for index, whole in enumerate(costs):
            halves = best[2 * index : 2 * index + 2]
            split = sum(cost for cost, _ in halves) if halves else float("inf")
            if whole * factor <= split:
                joined.append((whole, [size]))
            else:
                joined.append((split, [s for _, half in halves for s in half]))
        best = joined + best[2 * count :]  # the rest is too short for a block of this size
        size *= 2
    return [s for _, sizes in best for s in sizes]


def _analyse_alike(x: Reals, start: int, count: int, size: int) -> Reals:
    """The coefficients ``[count, size, C]`` of so many blocks of one size from ``start`` on."""
    before, after = max(start - size, 0), min(start + (count + 1) * size, len(x))
    equal = [size] * ((after - before) // size)
    coefficients = analyse(x[before : before + size * len(equal)], equal)
    return coefficients[start - before :][: count * size].reshape(count, size, x.shape[1])


#: Says whether a stretch is split, given its size, the index of the block that begins there, and
#: the model of the two answers, by which they are coded.
IsSplit = Callable[[int, int, SymbolModel], bool]


def _split_stretches(total: int, is_split: IsSplit) -> list[int]:
    """The sizes of blocks of ``total`` samples, whose stretches are split as ``is_split`` says.

    The model of a split is adaptive: it counts how often stretches of this size were split before,
    after a shorter block and after others. A stretch that ends after ``total`` is always split.
    """
    counts_of: dict[tuple[int, bool], list[int]] = {}
    sizes: list[int] = []

    def divide(start: int, size: int) -> None:
        if start >= total:
            return
        split = start + size > total
        if size > SHORTEST and not split:
            after_shorter = bool(sizes) and sizes[-1] < size
            counts = counts_of.setdefault((size, after_shorter), [1, 1])
            model = categorical(np.array(counts, np.float64))
            split = is_split(size, len(sizes), model)
            counts[split] += 1
        if split:
            divide(start, size // 2)
            divide(start + size // 2, size // 2)
        else:
            sizes.append(size)

    for position in range(0, total, LONGEST):
        divide(position, LONGEST)
    return sizes


def encode_sizes(coder: Coder, sizes: Sequence[int]) -> None:
    """Code the sizes of blocks, as :func:`choose_sizes` returns them."""

    def is_split(size: int, index: int, model: SymbolModel) -> bool:
        split = sizes[index] < size
        coder.code(np.array([split], np.int32), model)
        return split

    _split_stretches(sum(sizes), is_split)


def decode_sizes(coder: Coder, total: int) -> list[int]:
    """The sizes of blocks of ``total`` samples: undoes :func:`encode_sizes`."""
    unknown = np.zeros(1, np.int32)
    return _split_stretches(total, lambda size, index, model: bool(coder.code(unknown, model)[0]))


def make_size_tensor(sizes: Sequence[int]) -> Floats:
    """The size of the block that each run of :data:`.config.SHORTEST` samples belongs to.

    The tensor ``blocks`` of the open profile.
    """
    tensor: Floats = np.repeat(sizes, np.array(sizes) // SHORTEST).astype(np.float32)
    return tensor


def read_size_tensor(tensor: Floats) -> list[int]:
    """The sizes of blocks in a tensor as :func:`make_size_tensor` returns it.

    Raises:
        FileFormatError: if the entries are not those of whole blocks.
    """
    sizes: list[int] = []
    entries, unit = tensor.tolist(), 0
    while unit < len(entries):
        size = int(entries[unit])
        if size not in SIZES or unit + size // SHORTEST > len(entries):
            raise FileFormatError("damaged: its blocks do not fill the recording")
        sizes.append(size)
        unit += size // SHORTEST
    return sizes
