"""A SIREN from a file's parameters, evaluated on NumPy arrays."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.architecture import SirenConfig
from ...networks.siren import Siren, set_parameters
from ...signals import Coordinates, Floats, check_coordinates
from ...training.evaluation import evaluate


class SirenField:
    """The field of a ``network``: NumPy coordinates ``[B, d]`` to values ``[B, c]``.

    It is evaluated at float32 coordinates, as it was trained: at the samples of the original, these
    are the same numbers.
    """

    def __init__(self, network: Siren, device: str) -> None:
        self.network = network.to(device).requires_grad_(False)
        self._device = device

    def __call__(self, coords: Coordinates) -> Floats:
        points = torch.from_numpy(coords.astype(np.float32, copy=False))
        values: Floats = evaluate(self.network, points.to(self._device)).cpu().numpy()
        return values


class SirenModule(Siren):
    """A SIREN for coordinates of any shape ``[..., d]``, in the type of its parameters."""

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[..., c]`` at coordinates ``[..., d]``."""
        check_coordinates(coords.shape, self.config.in_features)
        weight = self.layers[0].get_parameter("weight")
        flat = coords.reshape(-1, self.config.in_features).to(weight.dtype)
        return super().forward(flat).reshape(*coords.shape[:-1], self.config.out_features)


def load_network(tensors: Mapping[str, Floats], config: SirenConfig, device: str) -> SirenField:
    """The field with these parameters, on ``device``."""
    network = Siren(config, generator=torch.Generator())  # the caller's own is left alone
    set_parameters(network, {name: torch.from_numpy(values) for name, values in tensors.items()})
    return SirenField(network, device)


def copy_network(field: SirenField, config: SirenConfig) -> nn.Module:
    """The network of a field once more, on the field's device, to be trained or differentiated."""
    network = SirenModule(config, generator=torch.Generator())
    set_parameters(network, dict(field.network.named_parameters()))
    return network.to(next(field.network.parameters()).device)
