"""Teachers side by side: the same network, the same seconds, one run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..media import image
from ..pipeline import Encoded, prepare
from ..settings import Settings, plan
from ..sirens import fit_prepared

#: What is compared, by the name in the table. "INT dense" and "INT step + incremental" are the
#: paper's; its full batch is the paper's baseline, uniform draws are the honest one.
RIVALS: dict[str, dict[str, Any]] = {
    "full batch": {"teacher": "full"},
    "uniform": {"teacher": "uniform"},
    "INT dense": {"selection": "top", "ratio_schedule": "constant", "interval_schedule": "dense"},
    "INT step + incremental": {"selection": "top"},
    "default": {},
}


def halved(data: bytes) -> bytes:
    """An image at half its size, by averaging 2 x 2 pixels: a TIFF without a palette.

    Raises:
        MediaError: if the input is no image that can be read.
    """
    pixels, facts, _ = image.samples(data)
    height, width, channels = (pixels.shape[0] // 2, pixels.shape[1] // 2, pixels.shape[2])
    blocks = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, channels)
    means = blocks.mean(axis=(1, 3), dtype=np.float64)
    means = means if pixels.dtype.kind == "f" else means.round()
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    mode = facts["mode"] if facts["mode"] in ("I;16", "F") else modes[channels]
    small = facts | {"mode": mode, "width": width, "height": height}
    return image.write(means.astype(pixels.dtype), small, image.Target(), ".tiff")[0]


def compare(data: bytes, base: Settings, *, suffix: str) -> Iterator[tuple[str, Encoded]]:
    """Fit with every rival in turn, each with ``base``'s network, device and seconds."""
    ready = prepare(data, base, suffix=suffix)
    for name, rival in RIVALS.items():
        features = ready.signal.in_features, ready.signal.out_features
        rivals = replace(base, **rival)
        chosen = plan(rivals, kind=ready.kind, n=ready.signal.n, features=features)
        yield name, fit_prepared(replace(ready, plan=chosen))
