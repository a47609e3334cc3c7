"""The bits that the second context model takes for latents, each by itself, without coding them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....signals import Floats
from ..context_model import PASSES, Level
from .coding import Steps, code_latents
from .influence import Influence, Observer
from .network import load_networks
from .symbols import BitEstimate


def estimate_bits(
    levels: Sequence[Level], coarsest: NDArray[Any], steps: Steps = (), *, observed: bool = False
) -> tuple[list[list[Floats]], Influence | None]:
    """The bits ``[4, C, h, w]`` that integer latents take: see :class:`.BitEstimate`.

    And, if ``observed``, their influence on the bits of others.
    """
    copies = [[band.copy() for band in level] for level in levels]  # coding works in place
    symbols = BitEstimate()
    observer = Observer(copies, load_networks().magnitudes, symbols) if observed else None
    code_latents(copies, coarsest, symbols, steps, observer=observer)
    bits = [[np.empty((4, *band.shape), np.float32) for band in level] for level in levels]
    found = iter(symbols.bits)
    for bands in reversed(bits):
        for channel in range(len(coarsest)):
            for band in bands:
                for row, column in PASSES:
                    part = band[:, channel, row::2, column::2]
                    if part.size:
                        part[...] = next(found).reshape(part.shape)
    return bits, None if observer is None else observer.influence()
