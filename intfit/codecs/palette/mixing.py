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
#: The weight of an input at first, in 65536ths of the sum of logits; the greatest weight.
FIRST_WEIGHT, LARGEST_WEIGHT = 11000, 1 << 20
#: An error of a prediction times a logit changes a weight by this share: 2^-LEARNING.
LEARNING = 17


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
    """How often a 1 came in each state, from probabilities ``[states]`` that are assumed first."""

    def __init__(self, assumed: Longs) -> None:
        self._ones = (assumed * ASSUMED) // ONE + 1
        self._total = np.full(len(assumed), ASSUMED + 2, np.int64)

    def predict(self, states: Longs) -> Longs:
        """The probabilities of a 1 in these ``states``, of any shape."""
        found: Longs = self._ones[states] * ONE // self._total[states]
        return found

    def learn(self, states: Longs, bits: Longs) -> None:
        """Take in what came, ``bits`` ``[n]``, in ``states`` ``[n]``."""
        size = len(self._total)
        self._total += np.bincount(states, minlength=size) * OBSERVED
        self._ones += np.bincount(states[bits != 0], minlength=size) * OBSERVED
        full = np.flatnonzero(self._total > MOST_COUNTED)
        if full.size:
            self._total[full] >>= 1
            self._ones[full] >>= 1
        self._ones.clip(1, self._total - 1, out=self._ones)


class Decisions:
    """The model of one kind of decision.

    ``assumed`` ``[inputs, STATES]`` are the probabilities of a 1 by state at first. There are as
    many sets of weights as each of ``selections`` counts classes; one of each is averaged.
    """

    def __init__(self, assumed: Longs, selections: tuple[int, ...]) -> None:
        inputs = len(assumed)
        self._counts = Counts(assumed.reshape(-1))
        self._firsts = np.arange(inputs)[:, None] * STATES
        self._weights = [
            np.full((classes, inputs + 1), FIRST_WEIGHT, np.int64) for classes in selections
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
        outputs = [
            (np.einsum("nk,kn->n", weights[classes], logits) >> 16).clip(-LIMIT, LIMIT)
            for weights, classes in zip(self._weights, selected, strict=True)
        ]
        mixed = sum(outputs) // len(outputs)
        ones = SQUASH[mixed + LIMIT]
        coded = coder.code_each(bits, np.stack([ONE - ones, ones], axis=1).astype(np.float64))
        self._counts.learn(places.ravel(), np.tile(coded, len(places)))
        for weights, classes, output in zip(self._weights, selected, outputs, strict=True):
            errors = (coded.astype(np.int64) << 16) - SQUASH[output + LIMIT]
            # whole numbers below 2^53, whose sums are exact in any order
            chosen = (classes == np.arange(len(weights))[:, None]).astype(np.float64)
            change = chosen @ (logits * errors).T.astype(np.float64)
            weights += change.astype(np.int64) >> LEARNING
            weights.clip(-LARGEST_WEIGHT, LARGEST_WEIGHT, out=weights)
        return coded
