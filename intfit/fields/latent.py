"""A field on quantised latents: a pyramid of wavelet bands, interpolated at the coordinate.

The latents are whole numbers of steps in a decorrelated colour space. Each stands for a smooth bump
or ripple of its level's size, so a fit needs no descent to start from: the wavelet transform gives
the exact latents, and rate and distortion together say how to round them.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from . import wavelet
from .architecture import ORIENTATIONS, LatentConfig

#: The matrix of colours is kept in so many parts of 1.
COLOUR_UNIT = 127

#: Tensors by name, as :meth:`.LatentConfig.shapes` lists them.
Tensors = dict[str, Tensor]


def principal(*values: Tensor) -> Tensor:
    """The matrix ``[C, C]``, in whole 127ths, whose rows are the principal axes of ``[C, n]``.

    From the strongest on (Karhunen and Loeve).
    """
    spread = sum(((part @ part.T).double().cpu() for part in values), torch.zeros(()))
    _, vectors = torch.linalg.eigh(spread)
    rows = vectors.flip(1).T
    rows = rows * torch.where(rows.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    found: Tensor = (rows * COLOUR_UNIT).round().float() / COLOUR_UNIT
    return found


def analysed(values: Tensor, config: LatentConfig, colours: Tensor) -> Tensors:
    """The exact latents of a picture ``[C, H, W]``, not in steps but in the unit of its values."""
    back = torch.linalg.inv(colours.double().T).float().to(values.device)
    mixed = torch.einsum("ij,jhw->ihw", back, values)
    coarsest, levels = wavelet.analyse(mixed, config.levels())
    found = {"colours": colours, "coarsest": coarsest}
    for level, bands in enumerate(levels):
        for orientation, (name, band) in enumerate(zip(ORIENTATIONS, bands, strict=True)):
            found[f"levels.{level}.{name}"] = band * wavelet.norm(level, orientation)
    return found


def pictured(tensors: Mapping[str, Tensor], config: LatentConfig) -> Tensor:
    """The picture ``[C, H, W]`` of latents in the unit of its values: undoes :func:`analysed`."""
    levels = []
    for level in range(config.levels()):
        bands = (
            tensors[f"levels.{level}.{name}"] / wavelet.norm(level, orientation)
            for orientation, name in enumerate(ORIENTATIONS)
        )
        levels.append(cast("wavelet.Bands", tuple(bands)))
    mixed = wavelet.synthesise(tensors["coarsest"], levels)
    return torch.einsum("ji,jhw->ihw", tensors["colours"].to(mixed.device), mixed)


class Latent(nn.Module):
    """A field: coordinates ``[B, 2]`` in [-1, 1] along the longest axis to values ``[B, C]``.

    ``samples`` ``[C, H, W]`` are what its latents sum to at the pixels; between them, the cubic
    of Catmull and Rom (1974) interpolates, mirrored at the edges.
    """

    def __init__(self, samples: Tensor) -> None:
        super().__init__()
        self.register_buffer("samples", samples)

    def forward(self, coords: Tensor) -> Tensor:
        samples = self.get_buffer("samples")
        channels, *sides = samples.shape
        longest = max(sides)
        picked, weights = [], []
        for axis, size in enumerate(sides):
            position = (coords[:, axis].double() * longest + (size - 1)) / 2
            base = position.floor()
            t = (position - base).float()
            weights.append(
                torch.stack(
                    [
                        ((2 - t) * t - 1) * t / 2,
                        ((3 * t - 5) * t * t + 2) / 2,
                        ((4 - 3 * t) * t + 1) * t / 2,
                        (t - 1) * t * t / 2,
                    ]
                )
            )
            taken = base.long() + torch.arange(-1, 3, device=base.device)[:, None]
            taken = torch.where(taken < 0, -1 - taken, taken)
            taken = torch.where(taken >= size, 2 * size - 1 - taken, taken)
            picked.append(taken.clamp(0, size - 1))
        flat = samples.reshape(channels, -1)
        total = coords.new_zeros(channels, len(coords))
        for row, down in zip(picked[0], weights[0], strict=True):
            line = torch.zeros_like(total)
            for column, across in zip(picked[1], weights[1], strict=True):
                line += flat[:, row * sides[1] + column] * across
            total += line * down
        return total.T
