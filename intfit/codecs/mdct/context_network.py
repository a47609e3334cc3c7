"""The networks that say how large levels and latents are likely to be, in whole numbers.

Sums of its products stay below 2^24, so that float32 holds them exactly in any order.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ...coding.integers import Integers
from ...signals import Floats
from ..integer_network import rectify
from .config import LONGEST, SHORTEST

#: The file of the shipped networks.
SHIPPED = "context_networks-1.safetensors"
#: That of latents with equal steps.
SHIPPED_WAVEFORM = "waveform_network-1.safetensors"
#: The largest input, in 1 / INPUT_UNIT.
MAX_INPUT = 511

#: Outputs ``[K, n]``, in 1 / (INPUT_UNIT * WEIGHT_UNIT).
Outputs = NDArray[np.int32]
#: The index of a block's size, and whether the block before is longer (0), as long (1) or shorter.
Place = tuple[int, int]
#: The number of sizes of blocks.
SIZES = (LONGEST // SHORTEST).bit_length()


def place_of(size: int, before: int) -> Place:
    """The place of a block of a ``size`` after one of another."""
    index = (size // SHORTEST).bit_length() - 1
    return index, 1 + (size > before) - (size < before)


@dataclass(frozen=True)
class ContextNetwork:
    """Weights of a network of two hidden layers, integers in float32, at most MAX_WEIGHT.

    ``place`` ``[SIZES, 3, passes, H]`` is the bias of the first layer, by :data:`Place` and pass.
    ``first`` ``[passes, H, F]`` are its weights by pass, ``second`` ``[H2, H]`` and ``last``
    ``[K, H2]`` those of the others. Biases are in 1 / (INPUT_UNIT * WEIGHT_UNIT).
    """

    place: Floats
    first: Floats
    second: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats

    def __call__(self, place: Place, turn: int, inputs: Floats) -> Outputs:
        """The outputs ``[K, n]`` for ``inputs`` ``[F, n]`` of a pass.

        For latents, K is 3: the logit of zero against any other magnitude, that of one against
        larger ones, and the logarithm of the scale of magnitudes above one. For levels it is 2: the
        octaves expected, and the logarithm of how far off these may be.
        """
        x = self.first[turn] @ inputs
        x += self.place[(*place, turn)][:, None]
        x = self.second @ rectify(x)
        x += self.second_bias[:, None]
        outputs = self.last @ rectify(x)
        outputs += self.last_bias[:, None]
        found: Outputs = outputs.astype(np.int32)
        return found


@dataclass(frozen=True)
class Networks:
    """The networks of latents and of levels, and these levels' initial ``counts``."""

    latents: ContextNetwork
    levels: ContextNetwork
    counts: Integers


@lru_cache(maxsize=1)
def load_networks() -> Networks:
    """The shipped networks. Files depend on them: they never change."""
    from safetensors.numpy import load

    data = resources.files(__package__).joinpath(SHIPPED).read_bytes()
    tensors = load(data)
    weights: dict[str, dict[str, Floats]] = {"latents": {}, "levels": {}}
    for name, tensor in tensors.items():
        network, _, part = name.partition(".")
        if part:
            weights[network][part] = tensor.astype(np.float32)
    networks = {name: ContextNetwork(**parts) for name, parts in weights.items()}
    return Networks(**networks, counts=tensors["counts"].astype(np.int32))


@lru_cache(maxsize=1)
def load_waveform_network() -> ContextNetwork:
    """The shipped network of latents with equal steps. Files depend on it: it never changes."""
    from safetensors.numpy import load

    data = resources.files(__package__).joinpath(SHIPPED_WAVEFORM).read_bytes()
    parts = {name.partition(".")[2]: part.astype(np.float32) for name, part in load(data).items()}
    return ContextNetwork(**parts)
