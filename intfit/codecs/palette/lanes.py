"""Adaptive binary models of many decisions at once, in whole numbers only.

The decisions of a step are independent given those of earlier steps: all are predicted, then coded,
then learned from together. Each has several inputs; each input is in one of :data:`STATES` states,
for each of which counts say how often a 1 came. A small network, which learns as it codes, weighs
the inputs' predictions in the logistic domain (Mahoney 2005: Adaptive weighing of context models
for lossless data compression).
"""

import decimal

import numpy as np
from numpy.typing import NDArray

from ...coding.integers import Integers
from ...coding.magnitudes import Coder

Longs = NDArray[np.int64]

#: Probabilities have 16 bits. Logits are in 256ths and lie between -LIMIT and LIMIT.
ONE, LIMIT = 1 << 16, 11 << 8
#: The logistic function is exact at multiples of so many 256ths, and linear between them.
SPACING = 64
#: States of an input.
STATES = 256
#: What an observation adds to the counts of a state; the count at which they are halved; the weight
#: of what is assumed before anything is observed.
OBSERVED, MOST_COUNTED, ASSUMED = 32, 1 << 15, 48
#: Counts are halved after every so many steps.
HALVING = 64
#: The weight of an input at first, in 65536ths of the sum of logits; the greatest weight.
FIRST_WEIGHT, LARGEST_WEIGHT = 8000, 1 << 20
#: An error of a prediction times a logit changes a weight by this share: 2^-LEARNING.
LEARNING = 16


def _make_squash() -> Longs:
    """The probability of each logit from -LIMIT to LIMIT: 65536 / (1 + exp(-x / 256))."""
    with decimal.localcontext() as context:
        context.prec, context.rounding = 40, decimal.ROUND_HALF_EVEN
        exact = [
            int((ONE / (1 + (-decimal.Decimal(logit) / 256).exp())).to_integral_value())
            for logit in range(-LIMIT, LIMIT + 1, SPACING)
        ]
    places, parts = np.divmod(np.arange(2 * LIMIT + 1), SPACING)
    known = np.array([*exact, exact[-1]], np.int64)
    between = known[places] * (SPACING - parts) + known[places + 1] * parts
    squashed: Longs = ((between + SPACING // 2) // SPACING).clip(1, ONE - 1)
    return squashed


SQUASH = _make_squash()
#: The logit of each probability: the least that has at least this probability.
STRETCH: Longs = np.searchsorted(SQUASH, np.arange(ONE)).clip(0, 2 * LIMIT) - LIMIT


class Counts:
    """How often 0 and 1 came in each state, from probabilities ``[states]`` that are assumed first.

    Counts are halved now and then where they are large.
    """

    def __init__(self, assumed: Longs) -> None:
        ones = assumed * ASSUMED // ONE
        self._counts = np.stack([ASSUMED - ones + 1, ones + 1], axis=1)
        self._calls = 0

    def predict(self, states: Longs) -> Longs:
        """The probabilities of a 1 in these ``states``, of any shape."""
        ones = self._counts[states, 1]
        found: Longs = ones * ONE // (self._counts[states, 0] + ones)
        return found

    def learn(self, states: Longs, bits: Integers | Longs) -> None:
        """Take in what came, ``bits``, in ``states`` of a shape that it spreads to."""
        np.add.at(self._counts.reshape(-1), 2 * states + bits, OBSERVED)
        self._calls += 1
        if self._calls % HALVING == 0:
            full = np.flatnonzero(self._counts.max(axis=1) > MOST_COUNTED)
            self._counts[full] = (self._counts[full] + 1) >> 1


class LaneDecisions:
    """The model of one kind of decision.

    ``assumed`` ``[inputs, STATES]`` are the probabilities of a 1 by state at first. There are as
    many sets of weights as ``selections`` count classes, all together; those of the classes that a
    decision is in, one of each selection, are added.
    """

    def __init__(self, assumed: Longs, selections: tuple[int, ...]) -> None:
        inputs = len(assumed)
        self._counts = Counts(assumed.reshape(-1))
        self._firsts = np.arange(inputs)[:, None] * STATES
        self._sets = [
            np.full((classes, inputs + 1), FIRST_WEIGHT // len(selections), np.int64)
            for classes in selections
        ]

    def code(
        self, coder: Coder, states: Longs, selected: tuple[Longs, ...], bits: Integers
    ) -> Integers:
        """Code ``bits`` ``[n]`` in ``states`` ``[inputs, n]``; returns those that are coded.

        ``selected`` are the classes ``[n]`` whose weights are used.
        """
        places = states + self._firsts
        logits = np.empty((len(places) + 1, len(bits)), np.int64)
        logits[:-1] = STRETCH[self._counts.predict(places)]
        logits[-1] = 256
        weights = sum(own[classes] for own, classes in zip(self._sets, selected, strict=True))
        total = np.einsum("nk,kn->n", weights, logits) >> 16
        ones = SQUASH[np.minimum(np.maximum(total, -LIMIT), LIMIT) + LIMIT]
        each = np.empty((len(bits), 2))
        each[:, 0], each[:, 1] = ONE - ones, ones
        coded = coder.code_each(bits, each)
        self._counts.learn(places, coded)
        # whole numbers below 2^53, whose sums are exact in any order
        steps = (logits * ((coded.astype(np.int64) << 16) - ones)).T.astype(np.float64)
        for own, classes in zip(self._sets, selected, strict=True):
            chosen = (classes == np.arange(len(own))[:, None]).astype(np.float64)
            own += (chosen @ steps).astype(np.int64) >> LEARNING
            np.minimum(np.maximum(own, -LARGEST_WEIGHT, out=own), LARGEST_WEIGHT, out=own)
        return coded
