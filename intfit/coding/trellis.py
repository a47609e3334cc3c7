"""Dependent quantisation: two quantisers, and a trellis that says which one is next.

The first quantiser has the even multiples of a unit, the second the odd ones and zero. A number's
*level* is its place among those of its quantiser: 0, 1, 2 ... with its sign. Whether the levels so
far were even or odd decides which quantiser the next number has, by a state machine: an encoder has
the choice among all multiples, while a level takes the bits of twice the step. It finds the best
sequence of levels by the algorithm of Viterbi. This is the trellis-coded quantisation of Marcellin
and Fischer (1990), as Versatile Video Coding has it (Schwarz et al. 2021), with eight states.

Numbers are in *lanes*, each with a state of its own: number i of n is in lane i modulo the number
of lanes, which all go forward at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The state after each one, at which an even or an odd level was coded.
NEXT = np.array([(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)], np.intp)
#: The first state of a lane: of the eight, the one with which a lane costs least.
FIRST_STATE = 1
#: The numbers in a lane, at least, where there are enough. Each lane loses what its first numbers
#: might have gained.
LANE_LENGTH = 128

Whole = NDArray[np.intp]
Costs = NDArray[np.float32]


def quantiser_of(states: Whole) -> Whole:
    """The quantiser, 0 or 1, that each state has."""
    quantisers: Whole = states & 1
    return quantisers


def count_lanes(count: int) -> int:
    """The number of lanes of so many numbers."""
    return max(1, count // LANE_LENGTH)


def reconstruct(levels: NDArray[Any], quantisers: NDArray[Any]) -> NDArray[Any]:
    """The multiples that magnitudes of levels ``[n]`` stand for, under quantisers ``[n]``."""
    multiples: NDArray[Any] = 2 * levels - (quantisers * (levels > 0))
    return multiples


def _list_arrivals() -> tuple[Whole, Whole]:
    """The two states ``[2, S]`` before each state, and the choices ``[2, S]`` that lead there.

    A choice is a quantiser and a parity: 2 quantiser + parity.
    """
    arrivals: list[list[tuple[int, int]]] = [[] for _ in NEXT]
    for state, after in enumerate(NEXT.tolist()):
        for parity, target in enumerate(after):
            arrivals[target].append((state, 2 * (state & 1) + parity))
    before, choices = np.array(arrivals, np.intp).transpose(2, 1, 0)
    return before, choices


_BEFORE, _CHOICES = _list_arrivals()


def find_path(costs: Costs) -> Whole:
    """The choices ``[n]``, 2 quantiser + parity, along the paths of least cost.

    ``costs`` ``[4, n]`` are those of each choice for each number.
    """
    count, lanes = costs.shape[1], count_lanes(costs.shape[1])
    steps = -(-count // lanes)
    # the lanes that end early have a number more, which costs nothing
    padded = np.zeros((4, steps * lanes), np.float32)
    padded[:, :count] = costs
    each = np.ascontiguousarray(padded.reshape(4, steps, lanes).swapaxes(0, 1))
    least = np.full((len(NEXT), lanes), np.inf, np.float32)
    least[FIRST_STATE] = 0
    second = np.empty((steps, len(NEXT), lanes), np.bool_)
    for step in range(steps):
        ways = least.take(_BEFORE, axis=0)
        ways += each[step].take(_CHOICES, axis=0)
        np.less(ways[1], ways[0], out=second[step])
        np.minimum(ways[0], ways[1], out=least)
    lane = np.arange(lanes)
    state = least.argmin(axis=0)
    choices = np.empty((steps, lanes), np.intp)
    for step in reversed(range(steps)):
        way = second[step][state, lane].astype(np.intp)
        choices[step] = _CHOICES[way, state]
        state = _BEFORE[way, state]
    return choices.ravel()[:count]
