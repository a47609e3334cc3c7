"""The trainable network of a picture's own post-filter."""

from typing import Any

import torch
from torch import nn

from .architecture import SirenConfig
from .siren import Siren

#: The factor by which the first layer's initial weights are larger than a SIREN's, so that similar
#: features are told apart: with the usual ones, training often makes no progress.
FIRST_LAYER_GAIN = 6.0


class PostfilterSiren(Siren):
    """Features of pixels ``[B, F]`` to the estimated error there ``[B, C]``: 0, before training.

    A SIREN and a linear layer side by side; their sum is multiplied by ``gain``.
    """

    def __init__(self, config: SirenConfig, *, gain: float, generator: torch.Generator) -> None:
        super().__init__(config, generator=generator)
        self.skip = nn.Parameter(torch.zeros(config.out_features, config.in_features))
        self.gain = gain
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.get_parameter("layers.0.weight").mul_(FIRST_LAYER_GAIN)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group of parameters: all have the same learning rate."""
        return [{"params": list(self.parameters()), "lr": lr}]
