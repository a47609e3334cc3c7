"""What has come in a context so far: a state of eight bits, by two counts that forget."""

import numpy as np
from numpy.typing import NDArray

from .lanes import ONE, STATES, Longs

#: A state is 16 times the number of zeros plus that of ones, each up to this.
MOST = 15
#: Counts of this and less are kept where the other comes; larger ones are about halved, to at most
#: the second number.
KEPT, LEFT = 2, 6


def _forget(count: int) -> int:
    return count if count <= KEPT else min((count + 3) // 2, LEFT)


def _make_transitions() -> NDArray[np.uint8]:
    """The next state ``[2, STATES]`` by what came and the state before."""
    table = np.empty((2, STATES), np.uint8)
    for state in range(STATES):
        zeros, ones = divmod(state, MOST + 1)
        table[0, state] = min(zeros + 1, MOST) * (MOST + 1) + _forget(ones)
        table[1, state] = _forget(zeros) * (MOST + 1) + min(ones + 1, MOST)
    return table


TRANSITIONS = _make_transitions()


def assume() -> Longs:
    """The probability ``[STATES]`` of a 1 in each state, before anything is known of it."""
    zeros, ones = np.divmod(np.arange(STATES, dtype=np.int64), MOST + 1)
    assumed: Longs = (5 * ones + 2) * ONE // (5 * (zeros + ones) + 4)
    return assumed


class Histories:
    """The states of contexts, in ``tables`` tables of 2^``bits`` each."""

    def __init__(self, tables: int, bits: int) -> None:
        self._states = np.zeros(tables << bits, np.uint8)
        self._firsts = np.arange(tables)[:, None] << bits
        self._places = np.zeros((tables, 0), np.int64)

    def read(self, contexts: Longs) -> Longs:
        """The states of ``contexts`` ``[tables, n]``."""
        self._places = contexts + self._firsts
        self._found = self._states[self._places]
        return self._found.astype(np.int64)

    def learn(self, bits: NDArray[np.int32]) -> None:
        """Take in what came, ``bits`` ``[n]``, in the contexts that were read last.

        Of several that are the same, the last counts.
        """
        new = np.where(bits != 0, TRANSITIONS[1][self._found], TRANSITIONS[0][self._found])
        self._states[self._places] = new
