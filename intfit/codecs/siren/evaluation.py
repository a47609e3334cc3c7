"""A SIREN from a file's parameters, evaluated on NumPy arrays."""

from collections.abc import Mapping

import numpy as np
import torch

from ...networks.architecture import SirenConfig
from ...networks.siren import Siren, set_parameters
from ...signals import Coordinates, Evaluate, Floats
from ...training.evaluation import evaluate


def load_network(tensors: Mapping[str, Floats], config: SirenConfig, device: str) -> Evaluate:
    """The field with these parameters, on ``device``.

    It is evaluated at float32 coordinates, as it was trained: at the samples of the original, these
    are the same numbers.
    """
    network = Siren(config)
    set_parameters(network, {name: torch.from_numpy(values) for name, values in tensors.items()})
    network = network.to(device).requires_grad_(False)

    def field(coords: Coordinates) -> Floats:
        points = torch.from_numpy(coords.astype(np.float32, copy=False))
        values: Floats = evaluate(network, points.to(device)).cpu().numpy()
        return values

    return field
