"""The colours of a drawn picture: which there are, in which order, and their bytes."""

import numpy as np
from numpy.typing import NDArray

from ...coding.integers import Integers
from ...coding.mixing import Coder, Decisions

#: Colours ``[N, C]`` of C channels from 0 to 255.
Colours = NDArray[np.uint8]
#: What channels count for the order of colours: about their brightness. Those of one channel or
#: two (grey, and how opaque it is), and of three or four.
BRIGHTNESS = {1: (1,), 2: (1, 1), 3: (2, 5, 1), 4: (2, 5, 1, 1)}


def _as_numbers(colours: NDArray[np.generic]) -> NDArray[np.int64]:
    """One number ``[N]`` for each colour; their order is that of the first channel, and so on."""
    powers = 256 ** np.arange(colours.shape[-1] - 1, -1, -1, dtype=np.int64)
    numbers: NDArray[np.int64] = colours.astype(np.int64) @ powers
    return numbers


def _order(colours: Colours) -> NDArray[np.int64]:
    """The places ``[N]`` of colours, listed by their numbers, from the darkest to the brightest."""
    weights = np.array(BRIGHTNESS[colours.shape[1]], np.int64)
    return np.argsort(colours.astype(np.int64) @ weights, kind="stable")


def index_colours(pixels: Colours) -> tuple[Colours, Integers]:
    """The colours ``[N, C]`` of ``pixels`` ``[H, W, C]``, dark to bright, and their indices."""
    height, width, channels = pixels.shape
    numbers, indices = np.unique(_as_numbers(pixels), return_inverse=True)
    shifts = 8 * np.arange(channels - 1, -1, -1)
    colours = (numbers[:, None] >> shifts & 255).astype(np.uint8)
    order = _order(colours)
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order))
    return colours[order], ranks[indices].reshape(height, width)


def code_colours(coder: Coder, colours: Colours | None, count: int, channels: int) -> Colours:
    """Code ``count`` colours ``[N, C]``, dark to bright; a decoder, given None, finds them.

    They are listed by their numbers: of the first channel, how much it is above that of the colour
    before; of the others, their differences from the channel before, as bytes.
    """
    model = Decisions(5)
    listed = None if colours is None else colours[np.argsort(_as_numbers(colours))].tolist()
    found: list[list[int]] = []
    last, before = [0] * channels, [0] * channels
    for place in range(count):
        value, own = 0, list[int]()
        for channel in range(channels):
            base = value if channel or not found else found[-1][0]
            given = 0 if listed is None else listed[place][channel] - base & 255
            step = _code_byte(
                coder,
                model,
                channel,
                (last[channel], before[channel], value >> 3, own[-1] if own else 0),
                given,
            )
            value = base + step & 255
            own.append(step)
            if not channel:
                found.append([value])
            else:
                found[-1].append(value)
        last, before = own, last
    table = np.array(found, np.uint8).reshape(count, channels)
    return table[_order(table)]


def _code_byte(
    coder: Coder, model: Decisions, channel: int, beside: tuple[int, ...], given: int
) -> int:
    """Code a byte, its highest bit first, in the contexts of the bytes ``beside`` it."""
    node = 1
    for place in range(7, -1, -1):
        here = node << 2 | channel
        contexts = (here, *(here << 8 | each for each in beside))
        node = node << 1 | coder.code(model, contexts, channel, given >> place & 1)
    return node & 255
