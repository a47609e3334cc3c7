"""A SIREN from a file's parameters, evaluated on NumPy arrays."""

from collections.abc import Mapping

import torch

from ...networks.architecture import SirenConfig
from ...networks.siren import Siren, set_parameters
from ...signals import Evaluate, Floats
from ...training.evaluation import evaluate
from ...training.memory import keep_freed_memory


def load_network(tensors: Mapping[str, Floats], config: SirenConfig, device: str) -> Evaluate:
    """The field with these parameters, on ``device``."""
    keep_freed_memory()
    network = Siren(config)
    set_parameters(network, {name: torch.from_numpy(values) for name, values in tensors.items()})
    network = network.to(device).requires_grad_(False)

    def field(coords: Floats) -> Floats:
        values: Floats = evaluate(network, torch.from_numpy(coords).to(device)).cpu().numpy()
        return values

    return field
