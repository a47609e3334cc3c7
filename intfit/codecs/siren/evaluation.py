"""A SIREN from a file's parameters, evaluated on NumPy arrays."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.architecture import SirenConfig
from ...networks.siren import Siren, set_parameters
from ...signals import Coordinates, Evaluate, Floats, check_coordinates
from ...training.evaluation import CPU_CHUNK, evaluate
from ..trim import TrimField
from .config import COLOURS, AnyConfig, colours_of, distance_of, trim_of


class SirenField:
    """The field of a ``network``: NumPy coordinates ``[B, d]`` to values ``[B, c]``.

    It is evaluated at float32 coordinates, as it was trained: at the samples of the original, these
    are the same numbers. Of a field with creases, ``parts`` has the ``gradient``, with the value
    before it; of an open surface, the ``trim``.
    """

    def __init__(self, network: Siren, device: str) -> None:
        self.network = network.to(device).requires_grad_(False)
        self._device = device
        self.parts: dict[str, Evaluate] = {}
        if network.config.creases:
            self.parts["gradient"] = self._differentiate

    def __call__(self, coords: Coordinates) -> Floats:
        values: Floats = evaluate(self.network, self._to_tensor(coords)).cpu().numpy()
        return values

    def _to_tensor(self, coords: Coordinates) -> Tensor:
        return torch.from_numpy(coords.astype(np.float32, copy=False)).to(self._device)

    def _differentiate(self, coords: Coordinates) -> Floats:
        """Value and gradient ``[B, 1 + d]`` of a field of one value, at ``[B, d]``."""
        parts = []
        for points in self._to_tensor(coords).split(CPU_CHUNK):
            with torch.enable_grad():
                points = points.detach().requires_grad_(True)
                values = self.network(points)
                (gradient,) = torch.autograd.grad(values.sum(), points)
            parts.append(torch.cat([values.detach(), gradient], dim=1))
        found: Floats = torch.cat(parts).cpu().numpy()
        return found


class PaintedField:
    """Two fields side by side: coordinates ``[B, 3]`` to distance, red, green and blue ``[B, 4]``.

    ``parts`` are the two by name, so that one can be evaluated without the other, and those of the
    distance.
    """

    def __init__(self, distance: SirenField, colours: SirenField) -> None:
        self.distance, self.colours = distance, colours
        self.parts = {"distance": distance, "colours": colours, **distance.parts}

    def __call__(self, coords: Coordinates) -> Floats:
        return np.concatenate([self.distance(coords), self.colours(coords)], axis=1)


class SirenModule(Siren):
    """A SIREN for coordinates of any shape ``[..., d]``, in the type of its parameters."""

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[..., c]`` at coordinates ``[..., d]``."""
        check_coordinates(coords.shape, self.config.in_features)
        weight = self.layers[0].get_parameter("weight")
        flat = coords.reshape(-1, self.config.in_features).to(weight.dtype)
        return super().forward(flat).reshape(*coords.shape[:-1], self.config.out_features)


class PaintedModule(SirenModule):
    """The SIREN of a surface's distances, and as its module ``colours`` that of its colours."""

    colours: SirenModule

    def forward(self, coords: Tensor) -> Tensor:
        """Distance, red, green and blue ``[..., 4]`` at coordinates ``[..., 3]``."""
        return torch.cat([super().forward(coords), self.colours(coords)], dim=-1)


ModuleT = TypeVar("ModuleT", bound=SirenModule)


def load_network(
    tensors: Mapping[str, Floats], config: AnyConfig, device: str
) -> SirenField | PaintedField:
    """The field with these parameters, on ``device``; a trim is evaluated without one."""
    colours, trim = colours_of(config), trim_of(config)
    distance = _load_one(tensors, distance_of(config), device)
    if trim is not None:
        distance.parts["trim"] = TrimField(tensors, trim)
    if colours is None:
        return distance
    own = {
        name.removeprefix(COLOURS): values
        for name, values in tensors.items()
        if name.startswith(COLOURS)
    }
    return PaintedField(distance, _load_one(own, colours, device))


def _load_one(tensors: Mapping[str, Floats], config: SirenConfig, device: str) -> SirenField:
    network = Siren(config, generator=torch.Generator())  # the caller's own is left alone
    set_parameters(network, {name: torch.from_numpy(tensors[name]) for name in config.shapes()})
    return SirenField(network, device)


def copy_network(field: SirenField | PaintedField) -> nn.Module:
    """The network of a field once more, on the field's device, to be trained or differentiated."""
    if isinstance(field, SirenField):
        return _copy_one(field, SirenModule)
    module = _copy_one(field.distance, PaintedModule)
    module.colours = _copy_one(field.colours, SirenModule)
    return module


def _copy_one(field: SirenField, kind: type[ModuleT]) -> ModuleT:
    network = kind(field.network.config, generator=torch.Generator())
    set_parameters(network, dict(field.network.named_parameters()))
    return network.to(next(field.network.parameters()).device)
