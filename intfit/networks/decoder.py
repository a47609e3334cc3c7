"""The trainable decoder network, see :mod:`.codecs.wavelet.decoder_network`."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The slope of rectifiers below 0.
SLOPE = 0.1


class DecoderNetwork(nn.Module):
    """Inputs ``[B, F, h, w]`` to outputs ``[B, C, h - 2 n, w - 2 n]``, by n hidden layers of 3 x 3.

    Leaky rectifiers follow each, and residual connections lie around all but the first. The last
    layer, whose weights are 0 before training, sees their values and the inputs at its place.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth]
        self.blocks = nn.ModuleList(nn.Conv2d(*size, 3) for size in pairwise(sizes))
        self.last = nn.Conv2d(width + inputs, outputs, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        first, *others = self.blocks
        x: Tensor = functional.leaky_relu(first(inputs), SLOPE)
        for layer in others:
            x = functional.leaky_relu(layer(x), SLOPE) + x[..., 1:-1, 1:-1]
        reach = len(self.blocks)
        seen = inputs[..., reach:-reach, reach:-reach].to(x.dtype)
        outputs: Tensor = self.last(torch.cat([x, seen], dim=1))
        return outputs
