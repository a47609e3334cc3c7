"""A picture in a page: weights of a SIREN, or pixels with what the clipping of pixels loses."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..field import Field
from ..limits import Limits
from ..media.pixels import only_colour, read_reference, value_range
from ..signals import Floats, cell_centres

#: The most pixels of a picture that go into a page, and the most along a side: every graphics card
#: holds such a texture.
MOST_PIXELS, LONGEST_SIDE = 1 << 23, 4096
#: The widest SIREN that a page evaluates, and the most weights: beyond, its pixels are shown.
WIDEST, MOST_WEIGHTS = 256, 1 << 20
#: Coordinates that are evaluated at once.
CHUNK = 1 << 16
#: How `decode` makes pixels of a mode of the field's values.
MAPPINGS = {"1": "threshold", "P": "palette", "PA": "palette"}


def describe(
    field: Field, found: dict[str, Any], original: bytes | None, suffix: str, limits: Limits
) -> tuple[dict[str, Any], list[str]]:
    """The values of a picture for the page, and notes on what the page lacks."""
    facts, notes = field.facts, list[str]()
    width, height = facts["width"], facts["height"]
    siren = found["field"]["kind"] == "siren" and only_colour(facts) is None
    if siren and (field.config.count() > MOST_WEIGHTS or found["field"]["width"] > WIDEST):
        notes.append("the network is too large for a page: shown are its pixels, and between them")
        siren = False
    shrink = min(1.0, LONGEST_SIDE / max(width, height), (MOST_PIXELS / (width * height)) ** 0.5)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    if shrink < 1 and not (siren and original is None):
        shown = "the original is" if siren else "it is"
        notes.append(f"{shown} shown at {size[0]} x {size[1]} pixels: all would make a large page")
    if facts["mode"] in ("I;16", "F"):
        notes.append("shown at 8 bits, from the least value to the greatest")
    values: dict[str, Any] = {
        "width": width, "height": height, "channels": field.out_features, "mapping": "levels",
        "palette": None, "colours": 0,
    }  # fmt: skip
    if only_colour(facts) is None and facts["mode"] in MAPPINGS:
        values["mapping"] = MAPPINGS[facts["mode"]]
    if values["mapping"] == "palette":
        values |= _pack_palette(facts["palette"], field.out_features)
    if siren:
        values["field"] = _pack_siren(field, found["field"])
    else:
        values |= {"width": size[0], "height": size[1]}
        values["field"] = _pack_samples(_sample(field, size))
    values["original"] = None
    if original is not None:
        values["original"] = _pack_original(original, facts, size, limits)
    return values, notes


def _pack_siren(field: Field, network: dict[str, Any]) -> dict[str, Any]:
    """A SIREN's architecture, and its weights in base64: float32, layer by layer."""
    parameters = [p.detach().cpu().numpy() for p in field.module().parameters()]
    weights = b"".join(np.ascontiguousarray(values, "<f4").tobytes() for values in parameters)
    names = ("width", "depth", "omega_first", "omega")
    return {
        "type": "siren",
        **{name: network[name] for name in names},
        "weights": base64.b64encode(weights).decode(),
    }


def _sample(field: Field, size: tuple[int, int]) -> Floats:
    """A field's values ``[H', W', C]`` at ``size`` (width, height), averaged where that is less.

    Unlike pixels, they are not clipped: what is interpolated between pixels depends on it.
    """
    width, height = field.facts["width"], field.facts["height"]
    if (colour := only_colour(field.facts)) is not None:
        return np.broadcast_to(colour / np.float32(127.5) - 1, (*size[::-1], len(colour)))
    longest = max(width, height)
    across, down = -(-width // size[0]), -(-height // size[1])
    xs = cell_centres(0, width, size[0] * across, size=width, longest=longest)
    ys = cell_centres(0, height, size[1] * down, size=height, longest=longest)
    values = np.empty((size[1], size[0], field.out_features), np.float32)
    rows = max(1, CHUNK // (len(xs) * down))
    for top in range(0, size[1], rows):
        part = ys[top * down : (top + rows) * down]
        grid = np.stack(np.meshgrid(part, xs, indexing="ij"), axis=-1)
        shape = (len(part) // down, down, size[0], across, field.out_features)
        values[top : top + rows] = field(grid).reshape(shape).mean(axis=(1, 3))
    return values


def _pack_samples(values: Floats) -> dict[str, Any]:
    """Values ``[H, W, C]`` in [-1, 1] as a PNG of 8 bits; what lies beyond, as another one."""
    levels = ((values + 1) * np.float32(127.5)).round()
    pixels = levels.clip(0, 255)
    beyond = (levels - pixels).clip(-128, 127) + 128
    return {
        "type": "pixels",
        "pixels": pack_png(pixels.astype(np.uint8)),
        "beyond": pack_png(beyond.astype(np.uint8)) if (beyond != 128).any() else None,
    }


def pack_png(pixels: NDArray[np.uint8]) -> str:
    """Pixels ``[H, W]`` or ``[H, W, C]`` as a PNG, in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _pack_palette(palette: str, channels: int) -> dict[str, Any]:
    """A palette's colours, RGBA, in base64; and their number."""
    colours = np.frombuffer(bytes.fromhex(palette), np.uint8).reshape(-1, channels)
    whole = np.full((len(colours), 4), 255, np.uint8)
    whole[:, :channels] = colours
    return {"palette": base64.b64encode(whole.tobytes()).decode(), "colours": len(colours)}


def _pack_original(
    data: bytes, facts: dict[str, Any], size: tuple[int, int], limits: Limits
) -> str:
    """The original's pixels at ``size``, at 8 bits as the field's are shown, as a PNG."""
    pixels = read_reference(data, facts["mode"], limits=limits)
    if pixels.dtype != np.uint8:
        low, high = value_range(facts)
        scaled = (pixels.astype(np.float64) - low) * (255 / (high - low))
        pixels = scaled.round().clip(0, 255).astype(np.uint8)
    if pixels.shape[1::-1] != size:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        pixels = np.asarray(image.resize(size, Image.Resampling.BOX))
    return pack_png(pixels)
