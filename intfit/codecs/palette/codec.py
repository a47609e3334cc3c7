"""A palette and its indices as a field, for drawn pictures: the only field that is exact.

Nothing is fitted before coding: the network that mixes predictions learns as pixels are coded, and
again as they are decoded.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...coding.container import Stored
from ...coding.header import Header
from ...coding.tensors import Tensors, payload_of, read_open, store_open, store_payload
from ...errors import FileFormatError, UsageError
from ...metrics import IDENTICAL_DB
from ...plan import Plan
from ...settings import TRAINING_SETTINGS, Settings, flag, refuse_settings, too_few_bytes
from ...signals import Evaluate, Grid
from ..assemble import assemble
from ..protocol import NO_ONNX, Encoding, Hooks, Prepared
from ..wavelet.interpolation import CubicInterpolation
from . import payload
from .colours import Colours, index_colours
from .config import MAX_COLOURS, MODES, PaletteConfig

if TYPE_CHECKING:
    from torch import nn

DECODES_ON_DEVICE = False


def configure(signal: Grid, plan: Plan, settings: Settings) -> PaletteConfig:
    """The palette of a picture.

    Raises:
        UsageError: if it has too many colours, or a setting is given that only training has.
    """
    refuse_settings(settings, TRAINING_SETTINGS, "a palette's network learns as it codes")
    if signal.facts["mode"] not in MODES:
        raise UsageError(f"--field palette is for 8 bits, and this is {signal.facts['mode']}")
    colours = signal.count_colours(MAX_COLOURS)
    if colours > MAX_COLOURS:
        raise UsageError(
            f"--field palette is for at most {MAX_COLOURS} colours, and this picture has more: "
            "leave it out"
        )
    height, width = signal.shape
    return PaletteConfig(signal.out_features, height, width, colours)


def _pixels_of(signal: Grid) -> Colours:
    """The pixels ``[H, W, C]``, from 0 to 255."""
    return signal.values.reshape(*signal.shape, -1).astype(np.uint8, copy=False)


def trains(plan: Plan) -> bool:
    """Nothing is trained before coding."""
    return False


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Code the picture without loss, whatever the quality or the goal.

    Raises:
        UsageError: if the file is larger than asked.
    """
    start = time.monotonic()
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    hooks.enter("coding")
    signal, plan, config = prepared.signal, prepared.plan, prepared.config
    assert isinstance(signal, Grid)
    colours, indices = index_colours(_pixels_of(signal))
    if plan.profile == "open":
        stored = store_open(_to_tensors(colours, indices))
    else:

        def follow(share: float) -> None:
            hooks.advance("coding", share)

        stored = store_payload(payload.pack(colours, indices, config, follow))
    data = assemble(prepared, config, stored, steps=0, distortion=IDENTICAL_DB)
    if plan.target_size is not None and len(data) > plan.target_size:
        raise too_few_bytes(plan.target_size, len(data))
    notes: tuple[str, ...] = ()
    if hooks.wrap_teacher is not None:
        notes = ("no network was trained: there are no maps of a selection",)
    if vain := prepared.settings.changed(("quality", "effort", "max_time")):
        notes += (f"it is exact: {' and '.join(map(flag, vain))} changed nothing",)
    return Encoding(
        data=data,
        config=config,
        network=config.describe(),
        distortion=IDENTICAL_DB,
        reached=None if plan.goal is None else IDENTICAL_DB,
        steps=0,
        seconds=time.monotonic() - start,
        teacher="none",
        notes=notes,
    )


def _to_tensors(colours: Colours, indices: NDArray[Any]) -> Tensors:
    """Colours in [-1, 1], and indices, as float32, which holds both exactly."""
    scaled = colours.astype(np.float32) * np.float32(2 / 255) - np.float32(1)
    return {"colours": scaled, "indices": indices.astype(np.float32)}


def unpack(stored: Mapping[str, Stored], config: PaletteConfig) -> Tensors:
    """The colours, in [-1, 1], and the indices in a file.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    if data is not None:
        return _to_tensors(*payload.unpack(data, config))
    tensors = read_open(stored, config.shapes())
    indices = tensors["indices"]
    if not ((indices == np.floor(indices)) & (indices >= 0) & (indices < config.colours)).all():
        raise FileFormatError("damaged: an index beyond the palette")
    return tensors


def decode(tensors: Tensors, config: PaletteConfig, device: str) -> Evaluate:
    """The field of these colours; it needs no device."""
    return CubicInterpolation(tensors["colours"][tensors["indices"].astype(np.int32)])


def make_module(field: CubicInterpolation, config: PaletteConfig) -> "nn.Module":
    """The interpolation of the picture's pixels, differentiable in the coordinates."""
    from ..wavelet.module import CubicModule

    return CubicModule(field.samples)


def write_onnx(tensors: Tensors, config: PaletteConfig, header: Header) -> bytes:
    """A palette is no network: raises UsageError."""
    raise UsageError(NO_ONNX.replace("latents", "a palette"))


def parts(data: bytes, config: PaletteConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    colours, candidates = payload.split(data)
    return {
        "colours and new indices": float(payload.LENGTH_SIZE + len(colours)),
        "indices": float(len(candidates)),
    }


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    phrase: str = prepared.config.describe()
    return phrase
