"""Small networks on latents: what rounding took from a picture, as far as one can tell.

What stands around a pixel, level by level and in the picture itself, says something of the error
that rounding left there: edges ring, faint texture is gone. One network comes with the program and
knows what photographs have in common. A SIREN starts from there: it is fitted to what is left of
the error in this one picture, and costs some hundreds of bytes.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ...coding.tensors import Tensors
from ...signals import Floats
from .config import NEIGHBOURS, SEEN_LEVELS, WaveletConfig
from .field import mixed_channel

#: Pixels that are corrected at once: what is made of them stays in a core's cache.
CHUNK = 1 << 13
#: Features are in steps, and no larger than this.
MOST = 8.0
#: What is left of a sound picture is far less; halves hold up to 65504.
LIMIT = 1000.0


class Seen:
    """What the network sees at each pixel of a picture of rounded latents.

    ``picture`` ``[H, W, C]`` is what they sum to, along the colours.
    """

    def __init__(self, tensors: Mapping[str, Floats], config: WaveletConfig) -> None:
        self._size = np.float32(config.step_size)
        shape = config.height, config.width, config.channels
        count = min(SEEN_LEVELS, config.levels())
        self.picture = np.empty(shape, np.float32)
        # level by level: what the picture loses without it. Halves, one channel at a time: a large
        # picture would fill memory
        self._levels = [np.empty(shape, np.float16) for _ in range(count + 1)]
        for channel in range(config.channels):
            last = mixed_channel(tensors, config, channel)
            self.picture[..., channel] = last
            for level in range(count):
                without = mixed_channel(tensors, config, channel, finest=level + 1)
                last -= without
                last /= self._size
                self._levels[level][..., channel] = last.clip(-MOST, MOST, out=last)
                last = without
            self._levels[count][..., channel] = last.clip(-LIMIT, LIMIT, out=last)
        reach = max(max(map(abs, place)) for place in NEIGHBOURS)
        frame = np.pad(self.picture[..., 0], reach, mode="edge")
        self._frame, self._reach = frame, reach

    def at(self, first: int, last: int) -> Floats:
        """Features ``[(last - first) * W, F]`` of some rows of pixels."""
        width, reach = self.picture.shape[1], self._reach
        here = self.picture[first:last, :, 0]
        seen = [level[first:last] for level in self._levels]
        for down, across in NEIGHBOURS:
            rows = self._frame[first + reach + down : last + reach + down]
            beside = rows[:, reach + across : reach + across + width]
            seen.append(((beside - here) / self._size).clip(-MOST, MOST)[..., None])
        return np.concatenate(seen, axis=-1, dtype=np.float32).reshape((last - first) * width, -1)


def corrected(tensors: Tensors, config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, corrected by their networks, in its own colours."""
    seen = Seen(tensors, config)
    picture, rows = seen.picture, max(1, CHUNK // config.width)
    for first in range(0, config.height, rows):
        part = picture[first : first + rows]
        added = missing(tensors, config, seen.at(first, first + len(part)))
        added *= np.float32(config.step_size)
        part += added.reshape(part.shape)
        part[...] = part @ tensors["colours"]  # no longer looked at
    return picture


def missing(tensors: Tensors, config: WaveletConfig, seen: Floats) -> Floats:
    """What all networks say, from features ``[B, F]``, that pixels lack ``[B, C]``, in steps."""
    total = np.zeros((len(seen), config.channels), np.float32)
    for network, names, bend in (
        ("common", config.shared_shapes(), _rectified),
        ("correction", config.own_shapes(), np.sin),
    ):
        if names:
            total += values({name: tensors[f"{network}.{name}"] for name in names}, seen, bend)
    return total


def _rectified(x: Floats, *, out: Floats) -> Floats:
    return np.maximum(x, np.float32(0), out=out)


def values(parameters: Mapping[str, Floats], seen: Floats, bend: Callable[..., Floats]) -> Floats:
    """The outputs ``[B, C]`` of a network for features ``[B, F]``; ``bend`` is its nonlinearity."""
    count = sum(name.endswith("bias") for name in parameters)
    x = seen
    for layer in range(count):
        x = x @ parameters[f"layers.{layer}.weight"].T
        x += parameters[f"layers.{layer}.bias"]
        if layer < count - 1:
            bend(x, out=x)
    found: Floats = x + seen @ parameters["skip"].T
    return found
