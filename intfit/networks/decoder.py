"""The trainable decoder network, see :mod:`.codecs.wavelet.decoder_network`."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The slope of rectifiers below 0.
SLOPE = 0.1


class DecoderNetwork(nn.Module):
    """A network of two scales, whose inputs have frames that its layers take away.

    ``coarse_layers`` layers of 3 x 3 see ``coarse_inputs`` at half the places each way, and hand
    ``handed`` channels on to each place; ``layers`` more see these and ``inputs``. Leaky rectifiers
    follow each, and residual connections lie around all but the first of a scale. The last layer,
    whose weights are 0 before training, sees their values, their inputs and ``others`` at its
    place.
    """

    def __init__(
        self,
        inputs: int,
        coarse_inputs: int,
        others: int,
        outputs: int,
        *,
        width: int,
        layers: int,
        coarse_layers: int,
        handed: int,
    ) -> None:
        super().__init__()
        self.coarse = _make_layers(coarse_inputs, width, coarse_layers)
        self.handed = nn.Linear(width, 4 * handed)
        self.blocks = _make_layers(inputs + handed, width, layers)
        self.last = nn.Linear(width + inputs + handed + others, outputs)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def see(self, inputs: Tensor, coarse_inputs: Tensor, others: Tensor) -> Tensor:
        """What the last layer sees, ``[B, h, w, D]``.

        ``inputs`` are ``[B, F, h + 2 n, w + 2 n]``, n the number of layers, an even one;
        ``coarse_inputs`` ``[B, F, h / 2 + n + 2 m, w / 2 + n + 2 m]``, m that of coarse layers.
        """
        handed = self.handed(_evaluate(coarse_inputs, self.coarse).movedim(1, -1)).movedim(-1, 1)
        handed = functional.pixel_shuffle(functional.leaky_relu(handed, SLOPE), 2)
        frame = len(self.blocks)
        x = torch.cat([inputs.to(handed.dtype), handed], dim=1)
        inner = x[..., frame:-frame, frame:-frame]
        seen = [_evaluate(x, self.blocks), inner, others.to(handed.dtype)]
        return torch.cat(seen, dim=1).movedim(1, -1)

    def forward(self, inputs: Tensor, coarse_inputs: Tensor, others: Tensor) -> Tensor:
        """The outputs ``[B, C, h, w]`` for what :meth:`see` is given."""
        outputs: Tensor = self.last(self.see(inputs, coarse_inputs, others))
        return outputs.movedim(-1, 1)


def _make_layers(inputs: int, width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(*size, 3) for size in pairwise([inputs, *[width] * count]))


def _evaluate(x: Tensor, layers: Iterable[nn.Module]) -> Tensor:
    """The values of layers of 3 x 3, one after the other, for ``x``."""
    for index, layer in enumerate(layers):
        y = functional.leaky_relu(layer(x), SLOPE)
        x = y + x[..., 1:-1, 1:-1] if index else y
    return x
