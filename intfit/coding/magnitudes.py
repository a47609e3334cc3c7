"""Integers under models that their contexts name: flags, magnitudes with an escape, and signs.

A magnitude is a symbol of its model's table. The table's last symbol is the escape: it stands for
all magnitudes from there on, and the excess of a magnitude over it follows in :data:`EXCESS_BITS`
raw bits.

Each function both encodes and decodes, so that the order of what is coded is written down once. A
:class:`Encoder` is given the values to code and gives them back; a :class:`Decoder` is given an
array of the same length, whose values it ignores, and gives back those that it reads.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from .integers import Integers, finish, start_decoding

#: A constriction model of symbols.
SymbolModel = Any
#: Raw bits of a magnitude's excess over the escape.
EXCESS_BITS = 24
_EXCESS = constriction.stream.model.Uniform(1 << EXCESS_BITS)
_SIGN = constriction.stream.model.Uniform(2)
_CATEGORICALS = constriction.stream.model.Categorical(perfect=False)


@dataclass(frozen=True)
class MagnitudeModel:
    """A distribution of the magnitudes 0 .. ``escape`` - 1, and of all others together."""

    symbols: SymbolModel
    escape: int


def categorical(weights: NDArray[np.float64]) -> SymbolModel:
    """The model of symbols 0 .. n - 1 with ``weights`` ``[n]``.

    Weights that are integers below 2^53 give the same model on every machine.
    """
    return constriction.stream.model.Categorical(weights, perfect=False)


class Coder(Protocol):
    """An :class:`Encoder` or a :class:`Decoder`."""

    def code(self, symbols: Integers, model: SymbolModel) -> Integers:
        """Code ``symbols`` ``[n]``, all under ``model``; returns those that are coded."""

    def code_each(self, symbols: Integers, weights: NDArray[np.float64]) -> Integers:
        """Code ``symbols`` ``[n]``, each under :func:`categorical` of a row of ``[n, k]``."""


class Encoder:
    """Symbols to bytes."""

    def __init__(self) -> None:
        self._stream = constriction.stream.queue.RangeEncoder()

    def code(self, symbols: Integers, model: SymbolModel) -> Integers:
        """Write ``symbols`` ``[n]``, and return them."""
        self._stream.encode(symbols, model)
        return symbols

    def code_each(self, symbols: Integers, weights: NDArray[np.float64]) -> Integers:
        """Write ``symbols`` ``[n]`` under ``weights`` ``[n, k]``, and return them."""
        if len(symbols):
            self._stream.encode(symbols, _CATEGORICALS, weights)
        return symbols

    def finish(self) -> bytes:
        """The bytes of all symbols so far."""
        return finish(self._stream)


class Decoder:
    """Bytes to symbols. It raises AssertionError or ValueError where bytes cannot be decoded."""

    def __init__(self, data: bytes) -> None:
        self._stream = start_decoding(data)

    def code(self, symbols: Integers, model: SymbolModel) -> Integers:
        """Read as many symbols as there are in ``symbols``, whose values are ignored."""
        decoded: Integers = self._stream.decode(model, len(symbols))
        return decoded

    def code_each(self, symbols: Integers, weights: NDArray[np.float64]) -> Integers:
        """Read as many symbols as there are in ``symbols``, whose values are ignored."""
        if not len(symbols):
            return symbols
        decoded: Integers = self._stream.decode(_CATEGORICALS, weights)
        return decoded


def group_by_class(classes: NDArray[np.integer[Any]]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each class that is in ``classes`` ``[n]``, in order, and the indices of its members.

    Classes are 0 or more; indices are in order.
    """
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    inner = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    edges = [0, *inner.tolist(), len(order)] if len(order) else []
    for first, last in itertools.pairwise(edges):
        yield int(ordered[first]), order[first:last]


def code_symbols(
    coder: Coder,
    symbols: Integers,
    contexts: NDArray[np.integer[Any]],
    model_of: Callable[[int], SymbolModel],
) -> Integers:
    """Code ``symbols`` ``[n]``, each under the model of its context ``[n]``; returns them."""
    coded = np.empty(len(symbols), np.int32)
    for context, run in group_by_class(contexts):
        coded[run] = coder.code(symbols[run], model_of(context))
    return coded


def code_magnitudes(
    coder: Coder,
    magnitudes: Integers,
    contexts: NDArray[np.integer[Any]],
    model_of: Callable[[int], MagnitudeModel],
) -> Integers:
    """Code ``magnitudes`` ``[n]``, each under the model of its context ``[n]``; returns them."""
    coded = np.empty(len(magnitudes), np.int32)
    for context, run in group_by_class(contexts):
        model, known = model_of(context), magnitudes[run]
        symbols = coder.code(np.minimum(known, model.escape), model.symbols)
        escaped = np.flatnonzero(symbols == model.escape)
        if escaped.size:
            excess = coder.code(known[escaped] - np.int32(model.escape), _EXCESS)
            symbols[escaped] += excess
        coded[run] = symbols
    return coded


def code_signs(coder: Coder, values: Integers) -> Integers:
    """Code the signs of ``values`` ``[n]``, which are not 0; returns 1 or -1 for each."""
    if not len(values):
        return np.empty(0, np.int32)
    negative = coder.code((values < 0).astype(np.int32), _SIGN)
    signs: Integers = 1 - 2 * negative
    return signs
