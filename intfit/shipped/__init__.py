"""Networks that come with the program, fitted to photographs once for all files.

What a file means depends on them: a new one gets a new version, and old ones stay.
"""

from functools import cache
from importlib import resources

import numpy as np

from ..grid import Floats

#: The version that new files are written with.
NEWEST = 2


@cache
def shipped(name: str, version: int) -> dict[str, Floats]:
    """The parameters, as float32, of a network of a version."""
    from safetensors.numpy import load

    data = resources.files(__package__).joinpath(f"{name}-{version}.safetensors").read_bytes()
    return {key: tensor.astype(np.float32) for key, tensor in load(data).items()}
