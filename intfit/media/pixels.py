"""The pixels of image files: Pillow's images to arrays and back.

Reading turns an image upright, into sRGB and into a mode that a file's header can name; palettes
become colours.
"""

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..coding.header import CHANNELS
from ..errors import MediaError


def read_pixels(data: bytes) -> tuple[NDArray[Any], dict[str, Any], tuple[str, ...]]:
    """Pixels ``[H, W, C]`` (uint8, uint16 or float32), facts and notes of an image file.

    ``facts`` are ``mode``, ``height`` and ``width``; the hex of the ``palette`` where there is one;
    the least and greatest value, ``low`` and ``high``, where pixels are float32.

    Raises:
        MediaError: if it cannot be read, is animated, or holds values that are not numbers.
    """
    notes: list[str] = []
    with warnings.catch_warnings():
        # Pillow warns of damaged metadata and of images past 89 megapixels; those past twice that
        # it refuses, which suffices.
        warnings.simplefilter("ignore")
        image = _open(data, notes)
        try:
            image = _normalise(image, notes)
        except (OSError, ValueError) as error:
            raise MediaError(f"damaged image: {error}") from None
        mode = image.mode
        facts: dict[str, Any] = {"mode": mode, "height": image.height, "width": image.width}
        if mode in ("P", "PA"):
            palette = _read_palette(image)
            facts["mode"] = "PA" if palette.shape[1] == 4 else "P"
            facts["palette"] = palette.tobytes().hex()
            image = image.convert("RGBA" if palette.shape[1] == 4 else "RGB")
        elif mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise MediaError("holds pixels that are not numbers (NaN or infinite)")
        facts["low"], facts["high"] = float(pixels.min()), float(pixels.max())
    return pixels, facts, tuple(notes)


def value_range(facts: dict[str, Any]) -> tuple[float, float]:
    """The pixel values that correspond to -1 and 1."""
    if facts["mode"] == "F":
        return facts["low"], facts["high"]
    return 0.0, 65535.0 if facts["mode"] == "I;16" else 255.0


def to_pillow(pixels: NDArray[Any], facts: dict[str, Any]) -> Image.Image:
    """A Pillow image of the original's mode from pixels ``[H, W, C]``.

    Each pixel of an image with a palette takes the nearest of its colours.
    """
    mode = facts["mode"]
    if mode == "1":
        return Image.fromarray(pixels[..., 0]).point(lambda value: 255 if value > 127 else 0, "1")
    if mode in ("P", "PA"):
        from scipy.spatial import cKDTree

        channels = CHANNELS[mode]
        palette = np.frombuffer(bytes.fromhex(facts["palette"]), np.uint8).reshape(-1, channels)
        _, nearest = cKDTree(palette).query(pixels.reshape(-1, channels))
        image = Image.fromarray(nearest.reshape(pixels.shape[:2]).astype(np.uint8)).convert("L")
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(palette[:, :3].tobytes(), "RGB")
        if channels == 4:
            image.info["transparency"] = palette[:, 3].tobytes()
        return image
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def reduce_depth(image: Image.Image, mode: str) -> Image.Image:
    """The image in a ``mode`` of 8 bits a channel; deep grey is scaled rather than clipped."""
    if image.mode in ("I;16", "F"):
        values = np.asarray(image, np.float64)
        low, high = (0.0, 65535.0) if image.mode == "I;16" else (values.min(), values.max())
        scaled = (values - low) * (255 / max(high - low, 1e-30))
        return Image.fromarray(scaled.round().astype(np.uint8)).convert(mode)
    return image.convert(mode)


def _open(data: bytes, notes: list[str]) -> Image.Image:
    """The decoded image of a file; appends to ``notes``."""
    try:
        image = Image.open(io.BytesIO(data))
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise MediaError(f"animated or many-paged ({frames} frames): give one frame")
        # Pillow reads 16-bit colour as 8-bit; only the raw mode it unpacks from tells.
        unpacked = [str(tile[3]) for tile in getattr(image, "tile", [])]
        if image.mode[0] not in "IF" and any(";16" in rawmode for rawmode in unpacked):
            notes.append("16-bit colour read as 8-bit")
        image.load()
    except UnidentifiedImageError:
        raise MediaError("not an image that can be read") from None
    except Image.DecompressionBombError as error:
        raise MediaError(f"too large: {error}") from None
    except MediaError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their libraries raise
        raise MediaError(f"damaged image: {error}") from None
    return image


def _normalise(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image upright, in sRGB and in one of :data:`~intfit.coding.header.CHANNELS`."""
    profile = image.info.get("icc_profile")
    # Orientation and transparent colour first: a conversion of colours drops them.
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    if profile:
        image = _convert_to_srgb(image, profile, notes)
    if image.mode in CHANNELS:
        return image
    mode = {"I": "F", "La": "LA", "RGBa": "RGBA"}.get(image.mode, "RGB")
    if image.mode == "I":
        values = np.asarray(image)
        mode = "I;16" if values.min() >= 0 and values.max() < 1 << 16 else "F"
    elif image.mode.startswith("I;16"):
        mode = "I;16"  # of another byte order
    if mode != "I;16":
        notes.append(f"colour mode {image.mode} converted to {mode}")
    return image.convert(mode)


def _convert_to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Converted by its ICC profile; unchanged where that is sRGB already or cannot be used."""
    alpha = image.getchannel("A") if image.mode == "LA" else None
    grey = image.mode in ("L", "LA")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower():
            return image
        if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
            notes.append(f"colour profile {name!r} not applied to mode {image.mode}")
            return image
        converted = ImageCms.profileToProfile(
            image.getchannel("L") if grey else image,
            source,
            ImageCms.createProfile("sRGB"),
            outputMode="RGBA" if image.mode == "RGBA" else "RGB",
        )
    except (ImageCms.PyCMSError, OSError):
        notes.append("colour profile damaged or unusable: ignored")
        return image
    assert converted is not None  # None only where the conversion is in place
    notes.append(f"colours converted from {name!r} to sRGB")
    if not grey:
        return converted
    converted = converted.convert("L")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _read_palette(image: Image.Image) -> NDArray[np.uint8]:
    """The palette's K colours as ``[K, 3]`` or, where it has transparency, ``[K, 4]``."""
    mode = "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
    ramp = Image.frombytes("P", (256, 1), bytes(range(256)))
    colours = image.getpalette("RGB") or []
    ramp.putpalette(colours)
    if image.mode == "P" and "transparency" in image.info:
        ramp.info["transparency"] = image.info["transparency"]
    return np.asarray(ramp.convert(mode))[0, : max(1, len(colours) // 3)]
