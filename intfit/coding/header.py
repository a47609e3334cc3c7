"""What a file's header says, and in which order. A leaf.

A header is kept short, because some files are: values stand in lists, under the name of the medium
and of the field they describe. A list may end early; what is missing is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A medium: the names of its facts, and the metric its distortion is reported in."""

    facts: tuple[str, ...]
    metric: str


#: In the order in which they are tried on an input: each knows its own by content, meshes last
#: because text formats tell least.
KINDS = {
    "image": Kind(("width", "height", "mode", "low", "high", "palette"), "psnr"),
    "audio": Kind(("frames", "channels", "sample_rate", "subtype", "peak"), "snr"),
    "mesh": Kind(("faces", "vertices", "centre", "unit", "extent"), "iou"),
}
#: Channels of an image of each mode that is kept as it is.
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "PA": 4, "I;16": 1, "F": 1}
#: The fields: the names of what describes their architecture.
FIELDS = {
    "siren": ("width", "depth", "omega_first", "omega"),
    "latent": ("step", "neurons", "common"),
}
#: How the fit went.
FIT = ("distortion", "steps", "teacher", "seed")


def features(kind: str, facts: Mapping[str, Any]) -> tuple[int, int]:
    """Coordinates and values of an example of a medium with sound facts."""
    if kind == "image":
        return 2, CHANNELS[facts["mode"]]
    return (1, facts["channels"]) if kind == "audio" else (3, 1)
