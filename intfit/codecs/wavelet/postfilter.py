"""Post-filters: small networks that estimate the error of quantisation at each pixel of a picture.

They see what surrounds a pixel, level by level and in the picture itself, where errors have their
marks: edges ring, faint texture is missing. The shared post-filter comes with the program and was
trained on photographs; newer files have the decoder network in its place. A picture's own one, a
SIREN, is trained on the error that is then left in this picture, and is stored in its file.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from ...coding.tensors import Tensors
from ...signals import Floats
from .config import FEATURE_LEVELS, NEIGHBOURS, WaveletConfig
from .transform import synthesise_channel

#: Pixels that are filtered at once, few enough for a core's cache.
CHUNK = 1 << 13
#: Features are in quantisation steps, and clipped to this magnitude.
MAX_FEATURE = 8.0
#: The low-pass picture is clipped to this magnitude, which no sound file comes near: float16 holds
#: up to 65504.
MAX_LOW_PASS = 1000.0
#: The files of each version of the shared networks; a later one's tensors replace those before it.
FILES = {
    1: ("postfilter-1",),
    2: ("postfilter-1", "decoder-2"),
    3: ("postfilter-1", "decoder-2", "decoder-3"),
    4: ("decoder-4",),
}
#: The shared post-filter, and the picture's own one, as :meth:`.WaveletConfig.shapes` names them.
Which = Literal["common", "correction"]


class Features:
    """The inputs of post-filters at each pixel of a picture of quantised latents.

    ``picture`` ``[H, W, C]`` is the picture of these latents, in decorrelated colours. The features
    are, for each of the finest levels, what the picture loses without it ``[C]``, then the picture
    that is left ``[C]``, and by how much each of :data:`.config.NEIGHBOURS` is greater in the first
    channel. Without a post-filter in ``config`` there is only the picture.
    """

    def __init__(self, tensors: Mapping[str, Floats], config: WaveletConfig) -> None:
        self._step = np.float32(config.step_size)
        shape = config.height, config.width, config.channels
        filtered = bool(config.shared_postfilter_shapes() or config.own_shapes())
        count = min(FEATURE_LEVELS, config.levels()) if filtered else 0
        self.picture = np.empty(shape, np.float32)
        # in float16 and one channel at a time: those of a large picture would fill memory
        self._levels = [np.empty(shape, np.float16) for _ in range(count + filtered)]
        for channel in range(config.channels):
            last = synthesise_channel(tensors, config, channel)
            self.picture[..., channel] = last
            if not filtered:
                continue
            for level in range(count):
                without = synthesise_channel(tensors, config, channel, finest=level + 1)
                last -= without
                last /= self._step
                self._levels[level][..., channel] = last.clip(-MAX_FEATURE, MAX_FEATURE, out=last)
                last = without
            self._levels[count][..., channel] = last.clip(-MAX_LOW_PASS, MAX_LOW_PASS, out=last)
        self._reach = max(max(map(abs, place)) for place in NEIGHBOURS)
        self._padded = np.pad(self.picture[..., 0], self._reach, mode="edge")

    def split(self, picture: Floats) -> Iterator[tuple[Floats, Floats]]:
        """A few rows ``[h, W, C]`` of a picture after the other, and their features [h, W, F]."""
        height, width, _ = self.picture.shape
        rows = max(1, CHUNK // width)
        for first in range(0, height, rows):
            last = min(first + rows, height)
            yield picture[first:last], self.at(first, last).reshape(last - first, width, -1)

    def at(self, first: int, last: int) -> Floats:
        """Features ``[(last - first) * W, F]`` of the pixels in rows ``first`` to ``last``."""
        width, reach = self.picture.shape[1], self._reach
        here = self.picture[first:last, :, 0]
        features = [level[first:last] for level in self._levels]
        for down, across in NEIGHBOURS:
            rows = self._padded[first + reach + down : last + reach + down]
            neighbour = rows[:, reach + across : reach + across + width]
            difference = ((neighbour - here) / self._step).clip(-MAX_FEATURE, MAX_FEATURE)
            features.append(difference[..., None])
        joined = np.concatenate(features, axis=-1, dtype=np.float32)
        return joined.reshape((last - first) * width, -1)


def estimate_error(
    tensors: Tensors, config: WaveletConfig, features: Floats, which: Which
) -> Floats:
    """The error, in steps, that a post-filter estimates at pixels with features ``[..., F]``.

    Its estimate ``[..., C]`` is to be added to the decorrelated colours.
    """
    shared = which == "common"
    names = config.shared_postfilter_shapes() if shared else config.own_shapes()
    parameters = {name: tensors[f"{which}.{name}"] for name in names}
    return evaluate_network(parameters, features, _rectify if shared else np.sin)


def _rectify(x: Floats, *, out: Floats) -> Floats:
    """max(x, 0) into ``out``."""
    return np.maximum(x, np.float32(0), out=out)


def evaluate_network(
    parameters: Mapping[str, Floats], features: Floats, activation: Callable[..., Floats]
) -> Floats:
    """The outputs ``[B, C]`` of a post-filter for features ``[B, F]``.

    A multilayer perceptron with this activation, and a linear layer beside it. ``parameters`` are
    named as in :meth:`.SirenConfig.shapes_with_skip`.
    """
    count = sum(name.endswith("bias") for name in parameters)
    x = features
    for layer in range(count):
        x = x @ parameters[f"layers.{layer}.weight"].T
        x += parameters[f"layers.{layer}.bias"]
        if layer < count - 1:
            activation(x, out=x)
    outputs: Floats = x + features @ parameters["skip"].T
    return outputs


@cache
def _load_shared(version: int) -> Tensors:
    """The parameters of a version of the shared network.

    Files depend on them: new ones get a new version, and old versions stay.
    """
    from safetensors.numpy import load

    parameters: Tensors = {}
    for file in FILES[version]:
        data = resources.files(__package__).joinpath(f"{file}.safetensors").read_bytes()
        parameters |= {name: tensor.astype(np.float32) for name, tensor in load(data).items()}
    return parameters


def shared_parameters(config: WaveletConfig) -> Tensors:
    """The parameters of the shared network, named as in :meth:`.WaveletConfig.shapes`.

    Empty where ``config`` does without. It was trained by ``tools/train_decoder.py``, version 1 by
    ``tools/train_postfilter.py``.
    """
    if config.common is None:
        return {}
    return {f"common.{name}": tensor for name, tensor in _load_shared(config.common).items()}
