"""The field of a recording of latents as a module of torch."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ...signals import Floats, check_coordinates
from .interpolation import REACH


class SincModule(nn.Module):
    """:class:`.SincInterpolation` in torch, differentiable in the coordinates.

    ``samples`` ``[N, C]`` are a buffer, and no parameter. Give coordinates in float64 where a
    recording is longer than a few seconds.
    """

    samples: Tensor

    def __init__(self, samples: Floats) -> None:
        super().__init__()
        self.register_buffer("samples", torch.from_numpy(np.array(samples, np.float32)))

    def forward(self, coords: Tensor) -> Tensor:
        """Values ``[..., C]`` at coordinates ``[..., 1]``, in the type of the samples."""
        check_coordinates(coords.shape, 1)
        size, channels = self.samples.shape
        position = (coords.reshape(-1).double() * size + (size - 1)) / 2
        base = position.detach().floor()
        t = position - base
        total = self.samples.new_zeros(len(position), channels)
        for tap in range(1 - REACH, REACH + 1):
            distance = t - tap
            weight = torch.sinc(distance) * (0.5 + 0.5 * torch.cos(distance * (math.pi / REACH)))
            index = (base.long() + tap) % (2 * size)
            index = torch.where(index >= size, 2 * size - 1 - index, index)
            total = total + self.samples[index] * weight.to(total.dtype)[:, None]
        return total.reshape(*coords.shape[:-1], channels)
