"""The networks of version 2: integers, exact in float32 in whatever order they are added."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ....signals import Floats
from ...integer_network import INPUT_UNIT, MAX_HIDDEN, WEIGHT_UNIT, rectify
from ..context_model import CHANNELS

#: A network's outputs, in 1 / (INPUT_UNIT * WEIGHT_UNIT).
Outputs = NDArray[np.int32]

#: The largest latent and the largest difference of the low-pass picture, in quarters of a step,
#: that are told from larger ones.
MAX_LATENT, MAX_DIFFERENCE = 1023, 4095
#: The network's input for each difference.
DIFFERENCE_INPUTS = np.array(
    [round(INPUT_UNIT * math.log2(1 + m)) for m in range(MAX_DIFFERENCE + 1)], np.int16
)


@cache
def latent_inputs(step: int, seen_by: int) -> NDArray[np.int16]:
    """The network's input ``[MAX_LATENT + 1]`` for each magnitude of a latent.

    In the ``step`` of the latents that it is ``seen_by``: both are in the same unit.
    """
    return np.array(
        [round(INPUT_UNIT * math.log2(1 + 2 * m * step / seen_by)) for m in range(MAX_LATENT + 1)],
        np.int16,
    )


@dataclass(frozen=True)
class Network:
    """Weights of a network of two hidden layers, integers in float32, at most MAX_WEIGHT.

    ``position`` ``[bands, 4, H]`` is the bias of the first layer, by band and pass; ``first`` ``[3,
    4, H, F]`` its weights, by orientation and pass. ``second`` ``[H2, H]`` and ``last`` ``[K, H2]``
    are weights, in 1 / WEIGHT_UNIT; biases are in 1 / (INPUT_UNIT * WEIGHT_UNIT).
    """

    position: Floats
    first: Floats
    second: Floats
    second_bias: Floats
    last: Floats

    def project(self, band: int, turn: int, inputs: Floats) -> Floats:
        """The sums ``[H, n]`` of the first layer without its bias, of ``inputs`` ``[F, n]``."""
        sums: Floats = self.first[band // CHANNELS % 3, turn] @ inputs
        return sums

    def finish(self, sums: Floats) -> Floats:
        """The outputs ``[K, n]``, without any bias, of the first layer's ``sums`` ``[H, n]``.

        ``sums`` is overwritten.
        """
        x = self.second @ rectify(sums)
        x += self.second_bias[:, None]
        outputs: Floats = self.last @ rectify(x)
        return outputs


@dataclass(frozen=True)
class MagnitudeNetwork(Network):
    """The network of magnitudes; ``last_bias`` ``[3]`` is that of its outputs."""

    last_bias: Floats

    def __call__(self, band: int, turn: int, inputs: Floats) -> Outputs:
        """The outputs ``[3, n]`` for ``inputs`` ``[F, n]``, which have no signs.

        They are the logit of zero against any other magnitude, that of one against larger ones, and
        the logarithm of the scale of magnitudes above one.
        """
        sums = self.project(band, turn, inputs)
        sums += self.position[band, turn][:, None]
        outputs = self.finish(sums)
        outputs += self.last_bias[:, None]
        found: Outputs = outputs.astype(np.int32)
        return found

    def backpropagate(
        self, band: int, turn: int, inputs: Floats, slopes: Callable[[Outputs], Floats]
    ) -> Floats:
        """How something that depends on the outputs changes with ``inputs`` ``[F, n]``, as these.

        ``slopes`` gives how it changes with the outputs ``[3, n]``, of these. Rounding is left out.
        """
        first = self.first[band // CHANNELS % 3, turn]
        hidden = rectify(first @ inputs + self.position[band, turn][:, None])
        last = rectify(self.second @ hidden + self.second_bias[:, None])
        outputs = self.last @ last + self.last_bias[:, None]
        found = self.last.T @ slopes(outputs.astype(np.int32))
        found *= (last > 0) & (last < MAX_HIDDEN)
        found = self.second.T @ found
        found *= (hidden > 0) & (hidden < MAX_HIDDEN)
        slope: Floats = first.T @ found
        slope *= np.float32(1 / WEIGHT_UNIT**2)
        return slope


@dataclass(frozen=True)
class SignNetwork(Network):
    """The network of signs; ``own`` ``[H]`` are its weights of the latent's own magnitude."""

    own: Floats

    def __call__(self, band: int, turn: int, own: Floats, inputs: Floats) -> Outputs:
        """The logits ``[n]`` of a plus sign, for ``inputs`` ``[F, n]`` with signs of their own.

        ``own`` ``[n]`` are the inputs for the latents' magnitudes. Where all ``inputs`` have the
        other sign, so has the logit: it is the difference of one network's output for them as they
        are, and with all signs turned.
        """
        sums = self.project(band, turn, inputs)
        bias = self.own[:, None] * own
        bias += self.position[band, turn][:, None]
        logits = self.finish(bias + sums) - self.finish(bias - sums)
        found: Outputs = logits[0].astype(np.int32)
        return found


@dataclass(frozen=True)
class Networks:
    """The networks of version 2."""

    magnitudes: MagnitudeNetwork
    signs: SignNetwork


@lru_cache(maxsize=1)
def load_networks() -> Networks:
    """The shipped networks. Files depend on them: they never change."""
    from safetensors.numpy import load

    package = __package__.rpartition(".")[0]
    data = resources.files(package).joinpath("context_model-2.safetensors").read_bytes()
    weights: dict[str, dict[str, Floats]] = {"magnitude": {}, "sign": {}}
    for name, tensor in load(data).items():
        network, _, part = name.partition(".")
        weights[network][part] = tensor.astype(np.float32)
    return Networks(MagnitudeNetwork(**weights["magnitude"]), SignNetwork(**weights["sign"]))
