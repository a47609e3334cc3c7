"""The field of a picture of latents as a module of torch."""

import numpy as np
import torch
from torch import Tensor, nn

from ...signals import Floats, check_coordinates


class CubicModule(nn.Module):
    """:class:`.CubicInterpolation` in torch, differentiable in the coordinates.

    ``samples`` ``[H, W, C]`` are a buffer, and no parameter. Positions are not rounded to parts of
    a pixel: gradients follow them.
    """

    samples: Tensor

    def __init__(self, samples: Floats) -> None:
        super().__init__()
        self.register_buffer("samples", torch.from_numpy(np.array(samples, np.float32)))

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[..., C]`` at coordinates ``[..., 2]``, in the type of the samples."""
        check_coordinates(coords.shape, 2)
        height, width, channels = self.samples.shape
        longest = max(height, width)
        positions = [
            (coords[..., axis].reshape(-1).double() * longest + (size - 1)) / 2
            for axis, size in enumerate((height, width))
        ]
        (rows, down), (columns, across) = (
            _taps(position, size, self.samples.dtype)
            for position, size in zip(positions, (height, width), strict=True)
        )
        flat = self.samples.reshape(-1, channels)
        total = flat.new_zeros(len(positions[0]), channels)
        for row, weight in zip(rows, down, strict=True):
            line = torch.zeros_like(total)
            for column, beside in zip(columns, across, strict=True):
                line = line + flat[row * width + column] * beside[:, None]
            total = total + line * weight[:, None]
        return total.reshape(*coords.shape[:-1], channels)


def _taps(position: Tensor, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The indices ``[4, B]`` of the samples around positions ``[B]``, and their weights ``[4, B]``.

    Positions are in samples of an axis of ``size``.
    """
    base = position.detach().floor()
    t = position - base
    weights = torch.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    ).to(dtype)
    indices = base.long() + torch.arange(-1, 3, device=base.device)[:, None]
    indices = torch.where(indices < 0, -1 - indices, indices)
    indices = torch.where(indices >= size, 2 * size - 1 - indices, indices)
    return indices.clamp(0, size - 1), weights
