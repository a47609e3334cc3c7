"""The field of a surface of latents as a module of torch."""

import numpy as np
import torch
from torch import Tensor, nn

from ...signals import Floats, check_coordinates
from .interpolation import CLAMP


class SplineModule(nn.Module):
    """:class:`.SplineField` in torch, differentiable in the coordinates.

    ``coefficients`` ``[n, n, n]`` are a buffer, and no parameter.
    """

    coefficients: Tensor

    def __init__(self, coefficients: Floats) -> None:
        super().__init__()
        self.register_buffer("coefficients", torch.from_numpy(np.array(coefficients, np.float32)))

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[..., 1]`` at coordinates ``[..., 3]``, in the type of the coefficients."""
        check_coordinates(coords.shape, 3)
        side = len(self.coefficients)
        cells = side - 3
        places = (coords.reshape(-1, 3).double().clamp(-1, 1) + 1) * (cells / 2)
        first = places.detach().floor().long().clamp(0, cells - 1)
        t = places - first
        weights = torch.stack(
            [
                (1 - t) ** 3,
                (3 * t - 6) * t * t + 4,
                ((3 - 3 * t) * t + 3) * t + 1,
                t**3,
            ],
            dim=-1,
        ).to(self.coefficients.dtype)
        flat = self.coefficients.reshape(-1)
        total = flat.new_zeros(len(places))
        for x in range(4):
            for y in range(4):
                line = ((first[:, 0] + x) * side + first[:, 1] + y) * side + first[:, 2]
                across = sum(flat[line + z] * weights[:, 2, z] for z in range(4))
                total = total + across * weights[:, 0, x] * weights[:, 1, y]
        values = (total / (216 * CLAMP)).clamp(-1, 1)
        return values.reshape(*coords.shape[:-1], 1)
