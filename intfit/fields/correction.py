"""A small SIREN on latents: what rounding them took from a picture, as far as one can tell.

What stands around a pixel, level by level and in the picture itself, says something of the error
that rounding left there: edges ring, faint texture is gone. The network is fitted to that error of
this one picture, and costs some hundreds of bytes.
"""

from collections.abc import Mapping

import numpy as np

from ..grid import Floats
from .architecture import APART, NEIGHBOURS, LatentConfig
from .latent import Tensors, mixed

#: Pixels that are corrected at once.
CHUNK = 1 << 16
#: Features are in steps, and no larger than this.
MOST = 8.0


class Seen:
    """What the network sees at each pixel of a picture of rounded latents.

    ``picture`` ``[H, W, C]`` is what they sum to, along the colours.
    """

    def __init__(self, tensors: Mapping[str, Floats], config: LatentConfig) -> None:
        self.picture = mixed(tensors, config)
        self._size = np.float32(config.size())
        # level by level: what the picture loses without it
        kept = dict(tensors)
        self._levels, last = [], self.picture
        for level in range(min(APART, config.levels())):
            for name in tensors:
                if name.startswith(f"levels.{level}."):
                    kept[name] = np.zeros_like(tensors[name])
            without = mixed(kept, config)
            self._levels.append(((last - without) / self._size).clip(-MOST, MOST))
            last = without
        self._levels.append(last)
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
        return np.concatenate(seen, axis=-1).reshape((last - first) * width, -1)


def corrected(tensors: Tensors, config: LatentConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, corrected by their network, in its own colours."""
    seen = Seen(tensors, config)
    (height, width, channels), rows = seen.picture.shape, max(1, CHUNK // config.width)
    parameters = {name: tensors[f"correction.{name}"].T for name in config.correction()}
    picture = np.empty((height, width, channels), np.float32)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        added = values(parameters, seen.at(first, last)) * np.float32(config.size())
        part = seen.picture[first:last] + added.reshape(last - first, width, channels)
        picture[first:last] = part @ tensors["colours"]
    return picture


def values(parameters: Mapping[str, Floats], seen: Floats) -> Floats:
    """The network's outputs ``[B, C]`` for features ``[B, F]``, of transposed parameters."""
    count = sum(name.endswith("bias") for name in parameters)
    x = seen
    for layer in range(count):
        x = x @ parameters[f"layers.{layer}.weight"] + parameters[f"layers.{layer}.bias"]
        if layer < count - 1:
            np.sin(x, out=x)
    found: Floats = x + seen @ parameters["skip"]
    return found
