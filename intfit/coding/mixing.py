"""An adaptive binary range coder whose predictions are mixed, in whole numbers only.

Each decision has several contexts. Each context keeps a probability that follows the decisions made
in it; a small mixing network, which learns from every decision, weighs them in the logistic domain
(Mahoney 2005: Adaptive weighing of context models for lossless data compression).
"""

import math
from collections.abc import Sequence

#: Probabilities have 12 bits, those that contexts keep 16; logits have 8 bits behind the point and
#: lie between -LIMIT and LIMIT.
ONE, HALF, LIMIT = 4096, 2048, 2047
#: 4096 / (1 + exp(-x)) for x = -8, -7.5, ..., 8, rounded.
LOGISTIC = (
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349,
    3608, 3785, 3902, 3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095,
)  # fmt: skip
#: How fast the probability of a context follows, by the number of decisions made in it, up to
#: MOST_SEEN: 2^16 / (k + 2).
MOST_SEEN = 60
RATES = tuple(65536 // (k + 2) for k in range(MOST_SEEN + 1))
#: How fast mixing weights learn. They are in 65536ths and their sum is about INITIAL at first.
LEARNING, INITIAL = 8, 1 << 16


def _squash(logit: int) -> int:
    """The probability, from 1 to 4095, of a logit from -2047 to 2047: by linear interpolation."""
    place, part = (logit + 2048) >> 7, (logit + 2048) & 127
    return min((LOGISTIC[place] * (128 - part) + LOGISTIC[place + 1] * part + 64) >> 7, ONE - 1)


SQUASH = tuple(_squash(logit) for logit in range(-LIMIT - 1, LIMIT + 1))


def _invert() -> list[int]:
    """The logit of each probability: the least that has at least this probability."""
    logits = []
    logit = -LIMIT
    for probability in range(ONE):
        while logit < LIMIT and SQUASH[logit + LIMIT + 1] < probability:
            logit += 1
        logits.append(logit)
    return logits


STRETCH = _invert()


class Decisions:
    """The model of one kind of decision, with ``count`` contexts each.

    A table of contexts that has ``most`` is emptied, where that is not None, before another comes.
    """

    def __init__(self, count: int, most: int | None = None) -> None:
        self._most = math.inf if most is None else most
        self._tables: list[dict[int, list[int]]] = [{} for _ in range(count)]
        self._weights: dict[int, list[int]] = {}
        self._first = [INITIAL // count] * count
        self._cells: list[list[int]] = []
        self._logits: list[int] = []
        self._mix: list[int] = []
        self._probability = HALF

    def predict(self, contexts: Sequence[int], mix: int) -> int:
        """The probability of a 1 in these ``contexts``, by the weights of number ``mix``."""
        cells, logits = [], []
        for table, context in zip(self._tables, contexts, strict=True):
            cell = table.get(context)
            if cell is None:
                if len(table) >= self._most:
                    table.clear()
                cell = table[context] = [HALF << 4, 0]
            cells.append(cell)
            logits.append(STRETCH[cell[0] >> 4])
        weights = self._weights.get(mix)
        if weights is None:
            weights = self._weights[mix] = self._first.copy()
        total = 0
        for weight, logit in zip(weights, logits, strict=True):
            total += weight * logit
        total >>= 16
        total = LIMIT if total > LIMIT else -LIMIT if total < -LIMIT else total
        self._cells, self._logits, self._mix = cells, logits, weights
        self._probability = SQUASH[total + LIMIT + 1]
        return self._probability

    def learn(self, bit: int) -> None:
        """Take in the decision that was predicted last."""
        error = ((bit << 12) - self._probability) * LEARNING
        weights = self._mix
        for index, logit in enumerate(self._logits):
            weights[index] += (logit * error + 0x2000) >> 14
        target = 65535 if bit else 0
        for cell in self._cells:
            value, seen = cell
            cell[0] = value + ((target - value) * RATES[seen] >> 16)
            if seen < MOST_SEEN:
                cell[1] = seen + 1


class Encoder:
    """Decisions to bytes."""

    def __init__(self) -> None:
        self._low, self._high = 0, 0xFFFFFFFF
        self._bytes = bytearray()

    def code(self, model: Decisions, contexts: Sequence[int], mix: int, bit: int) -> int:
        """Write a decision ``bit``, 0 or 1, under a model; and give it back."""
        self._write(model.predict(contexts, mix), bit)
        model.learn(bit)
        return bit

    def code_evenly(self, bit: int) -> int:
        """Write a ``bit`` that takes one bit."""
        self._write(HALF, bit)
        return bit

    def _write(self, probability: int, bit: int) -> None:
        middle = self._low + ((self._high - self._low) * probability >> 12)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & 0xFF000000:
            self._bytes.append(self._high >> 24)
            self._low = self._low << 8 & 0xFFFFFFFF
            self._high = self._high << 8 & 0xFFFFFFFF | 0xFF

    def finish(self) -> bytes:
        """All bytes, without zeros at the end: the decoder reads zeros there."""
        for count in range(1, 5):
            drop = 32 - 8 * count
            value = (self._low + (1 << drop) - 1) >> drop << drop
            if value <= self._high:
                break
        return bytes(self._bytes + value.to_bytes(4, "big")).rstrip(b"\0")


class Decoder:
    """The decisions in bytes; any bytes hold some."""

    def __init__(self, data: bytes) -> None:
        self._low, self._high = 0, 0xFFFFFFFF
        self._bytes = iter(data)
        self._value = 0
        for _ in range(4):
            self._value = self._value << 8 | next(self._bytes, 0)

    def code(self, model: Decisions, contexts: Sequence[int], mix: int, bit: int) -> int:
        """Read a decision under a model. What is passed as ``bit`` does not matter."""
        bit = self._read(model.predict(contexts, mix))
        model.learn(bit)
        return bit

    def code_evenly(self, bit: int) -> int:
        """Read a bit. What is passed does not matter."""
        return self._read(HALF)

    def _read(self, probability: int) -> int:
        middle = self._low + ((self._high - self._low) * probability >> 12)
        bit = int(self._value <= middle)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & 0xFF000000:
            self._low = self._low << 8 & 0xFFFFFFFF
            self._high = self._high << 8 & 0xFFFFFFFF | 0xFF
            self._value = self._value << 8 & 0xFFFFFFFF | next(self._bytes, 0)
        return bit


Coder = Encoder | Decoder
