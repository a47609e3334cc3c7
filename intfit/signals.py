"""Samples on a regular grid, as readers of images and recordings hand them on. Without torch.

Importing torch takes over a second, more than all that latents do; what they need is NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from .training.examples import GridSignal

Floats = NDArray[np.float32]

#: Coordinates ``[B, d]`` to values ``[B, c]``: all that a medium knows of a field.
Evaluate = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Grid:
    """An image ``(H, W)`` or a recording ``(N,)``.

    ``values`` is ``[n, c]`` in a compact type; ``values * scale + offset`` lies in [-1, 1].
    """

    shape: tuple[int, ...]
    values: NDArray[Any]
    scale: float
    offset: float
    metric: Literal["psnr", "snr"]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    loss: Literal["l2"] = field(default="l2", init=False)

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def in_features(self) -> int:
        return len(self.shape)

    @property
    def out_features(self) -> int:
        return int(self.values.shape[1])

    def targets(self) -> Floats:
        """All values ``[n, c]``, in [-1, 1]."""
        scaled = self.values.astype(np.float32)
        scaled *= np.float32(self.scale)
        scaled += np.float32(self.offset)
        return scaled

    def to(self, device: "torch.device") -> "GridSignal":
        """The examples of a fit, on ``device``."""
        import torch

        from .training.examples import GridSignal

        # indexing unsigned 16-bit tensors is not for every device
        kept = self.values.astype(np.int32) if self.values.dtype == np.uint16 else self.values
        return GridSignal(
            self.shape,
            torch.from_numpy(np.array(kept)).to(device),
            self.scale,
            self.offset,
            self.metric,
            self.facts,
            self.notes,
        )


def centres(start: float, stop: float, count: int, *, size: int, longest: int) -> Floats:
    """Coordinates ``[count]`` of the centres of ``count`` equal cells of [start, stop).

    ``start`` and ``stop`` are in native samples of an axis of ``size`` samples; the longest axis
    of the medium has ``longest``. At ``count == stop - start`` these are the native centres.
    """
    cell = (stop - start) / count
    positions = np.arange(count, dtype=np.float64)
    return ((2 * (start + (positions + 0.5) * cell) - size) / longest).astype(np.float32)
