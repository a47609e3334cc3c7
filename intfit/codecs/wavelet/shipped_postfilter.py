"""The network common to pictures of three colours. It comes with the program and takes no bytes.

It was fitted to photographs once (`tools/train_common.py`). What a file means depends on it: a new
one gets a new version, and old ones stay.
"""

from functools import cache
from importlib import resources

import numpy as np

from ...coding.tensors import Tensors
from .config import WaveletConfig


@cache
def _shipped(version: int) -> Tensors:
    from safetensors.numpy import load

    data = resources.files(__package__).joinpath(f"postfilter-{version}.safetensors").read_bytes()
    return {name: tensor.astype(np.float32) for name, tensor in load(data).items()}


def common(config: WaveletConfig) -> Tensors:
    """Its parameters, where it is used, named as in :meth:`.WaveletConfig.shapes`."""
    if config.common is None:
        return {}
    return {f"common.{name}": tensor for name, tensor in _shipped(config.common).items()}
