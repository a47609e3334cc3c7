"""The pixels of image files: Pillow's images to arrays and back.

Reading turns an image upright, into sRGB and into a mode that a file's header can name; palettes
become colours.
"""

import io
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from ..coding.header import CHANNELS
from ..errors import MediaError
from ..limits import USUAL, Limits
from ..signals import Floats

#: What is read: Pillow decodes each of these by itself. It starts another program for EPS and, on
#: some systems, WMF; it reads IPTC, FITS and others by unpacking them first, at any size.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "JPEG2000", "GIF", "TIFF", "BMP", "DIB", "ICO", "CUR", "ICNS"),
    *("PPM", "QOI", "PCX", "DCX", "PSD", "DDS", "FTEX", "BLP", "SGI", "SUN", "XBM", "XPM", "MSP"),
    *("PIXAR", "IM", "SPIDER", "TGA"),
)
#: How PostScript begins.
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
#: Bytes of memory that encoding takes for each sample of each channel, about.
BYTES_PER_SAMPLE = 48
#: 8-bit levels by which a profile may differ from sRGB and be taken for it.
SAME_COLOUR = 3
#: The greatest float32.
LARGEST = float(np.finfo(np.float32).max)


def read_pixels(
    data: bytes, *, limits: Limits = USUAL
) -> tuple[NDArray[Any], dict[str, Any], tuple[str, ...]]:
    """Pixels ``[H, W, C]`` (uint8, uint16 or float32), facts and notes of an image file.

    ``facts`` are ``mode``, ``height`` and ``width``; the hex of the ``palette`` where there is one,
    and where all pixels of 8 bits have one colour, of that;
    the least and greatest value, ``low`` and ``high``, of pixels that are float32, and of uint16
    that do not use their whole range. Where all pixels have one value, it lies in the middle.

    Raises:
        MediaError: if it cannot be read, is animated, is larger than ``limits`` allow, or holds
            values that are not numbers.
    """
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, and of images past 89 megapixels
        image = _open(data, notes, limits)
        try:
            image = _normalise(image, notes)
        except (OSError, ValueError) as error:
            raise MediaError(f"damaged image: {error}") from None
        mode = image.mode
        facts: dict[str, Any] = {"mode": mode, "height": image.height, "width": image.width}
        if mode == "P":
            palette = _read_palette(image)
            facts["mode"] = "PA" if palette.shape[1] == 4 else "P"
            facts["palette"] = palette.tobytes().hex()
            image = image.convert("RGBA" if palette.shape[1] == 4 else "RGB")
        elif mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if mode in ("F", "I;16"):
        facts |= _range_in_use(pixels)
    elif (pixels == pixels[:1, :1]).all():
        facts["palette"] = pixels[0, 0].tobytes().hex()
    return pixels, facts, tuple(notes)


def _range_in_use(pixels: NDArray[Any]) -> dict[str, float]:
    """The least and greatest value of float32 pixels, and of uint16 that do not use all of theirs.

    Raises:
        MediaError: if some are not numbers, or too large.
    """
    if not np.isfinite(pixels).all():
        raise MediaError("holds pixels that are not numbers (NaN or infinite)")
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:  # the middle of a range is kept exactly
        reach = abs(low) or 1.0
        low, high = low - reach, high + reach
        if max(-low, high) > LARGEST:
            raise MediaError("holds a value beyond half of what float32 can hold")
    if pixels.dtype == np.uint16 and (low, high) == (0, 65535):
        return {}
    return {"low": low, "high": high}


def read_reference(data: bytes, mode: str, *, limits: Limits = USUAL) -> NDArray[Any]:
    """Pixels ``[H, W, C]`` to measure those of a file of ``mode`` against.

    Pillow's own conversions give them, not those of :func:`read_pixels`: a fault there would be
    measured against itself. C is the original's, whatever ``mode`` says.

    Raises:
        MediaError: as :func:`read_pixels`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(data, [], limits)
        try:
            image = ImageOps.exif_transpose(image)
            if mode in ("I;16", "F") and len(image.getbands()) == 1 and image.mode != "P":
                return np.asarray(image.convert("F"))[..., None]
            grey, clear = image.mode in ("1", "L", "LA", "La"), image.has_transparency_data
            wanted = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")
            profile = image.info.get("icc_profile")
            if profile and image.mode not in ("P", "PA", "CMYK"):
                image = image.convert(wanted)
            if profile:
                image = _convert_to_srgb(image, profile, [])
            pixels = np.asarray(image.convert(wanted))
        except (OSError, ValueError) as error:
            raise MediaError(f"damaged image: {error}") from None
    return pixels.reshape(*pixels.shape[:2], -1)


def value_range(facts: dict[str, Any]) -> tuple[float, float]:
    """The pixel values that correspond to -1 and 1."""
    if facts["mode"] == "F":
        return facts["low"], facts["high"]
    if facts["mode"] == "I;16":
        return facts.get("low", 0.0), facts.get("high", 65535.0)
    return 0.0, 255.0


def only_colour(facts: dict[str, Any]) -> NDArray[np.uint8] | None:
    """The colour ``[C]`` of every pixel where there is but one: in any mode, a palette of one."""
    colour = np.frombuffer(bytes.fromhex(facts.get("palette", "")), np.uint8)
    return colour if len(colour) == CHANNELS[facts["mode"]] else None


def to_pillow(pixels: NDArray[Any], facts: dict[str, Any]) -> Image.Image:
    """A Pillow image of the original's mode from pixels ``[H, W, C]``.

    Each pixel of an image with a palette takes the nearest of its colours.
    """
    mode = facts["mode"]
    if mode == "1":
        return Image.fromarray(pixels[..., 0]).point(lambda value: 255 if value > 127 else 0, "1")
    if mode in ("P", "PA"):
        channels = CHANNELS[mode]
        palette, nearest = _nearest_colours(pixels, facts)
        image = Image.fromarray(nearest.reshape(pixels.shape[:2])).convert("L")
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(palette[:, :3].tobytes(), "RGB")
        if channels == 4:
            image.info["transparency"] = palette[:, 3].tobytes()
        return image
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _nearest_colours(
    pixels: NDArray[Any], facts: dict[str, Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A palette ``[K, C]``, and the index of its colour that is nearest to each pixel."""
    from scipy.spatial import cKDTree

    channels = CHANNELS[facts["mode"]]
    palette = np.frombuffer(bytes.fromhex(facts["palette"]), np.uint8).reshape(-1, channels)
    _, nearest = cKDTree(palette).query(pixels.reshape(-1, channels))
    return palette, nearest.astype(np.uint8)


def to_levels(values: Floats, facts: dict[str, Any]) -> Floats:
    """Values ``[..., C]`` in [-1, 1] as whole pixel values of a mode of 8 or 16 bits."""
    low, high = value_range(facts)
    levels = (values + 1) * np.float32((high - low) / 2) + np.float32(low)
    return levels.round().clip(0, 65535 if facts["mode"] == "I;16" else 255)


def values_as_written(outputs: Floats, facts: dict[str, Any]) -> Floats:
    """A field's values ``[n, C]`` at pixels, in [-1, 1], as those that a file of them holds."""
    low, high = value_range(facts)
    levels = to_levels(outputs.clip(-1, 1), facts)
    if facts["mode"] == "1":
        levels = np.where(levels > 127, np.float32(255), np.float32(0))
    elif facts["mode"] in ("P", "PA"):
        palette, nearest = _nearest_colours(levels, facts)
        levels = palette[nearest].astype(np.float32)
    written: Floats = ((levels - low) * (2 / (high - low)) - 1).astype(np.float32)
    return written


def reduce_depth(image: Image.Image, mode: str) -> Image.Image:
    """The image in a ``mode`` of 8 bits a channel; deep grey is scaled rather than clipped."""
    if image.mode in ("I;16", "F"):
        values = np.asarray(image, np.float64)
        low, high = (0.0, 65535.0) if image.mode == "I;16" else (values.min(), values.max())
        scaled = (values - low) * (255 / max(high - low, 1e-30))
        return Image.fromarray(scaled.round().astype(np.uint8)).convert(mode)
    return image.convert(mode)


def recognise(data: bytes) -> list[str]:
    """The names in :data:`FORMATS` that the first bytes may be of, in the order to try them in.

    Pillow has no test of first bytes for IM, SPIDER and TGA: these are always among them.
    """
    Image.init()
    head, found = data[:16], []
    for name in FORMATS:
        if name not in Image.OPEN:
            continue  # this Pillow was built without it
        accept = Image.OPEN[name][1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if accept is None or accept(head):
                    found.append(name)
            except (struct.error, IndexError):  # Pillow's checks expect a few bytes at least
                continue
    return found


def is_image(data: bytes) -> bool:
    """Whether the first bytes are those of an image, sound or not."""
    tested = [name for name in recognise(data) if Image.OPEN[name][1] is not None]
    return bool(tested) or data.startswith(_POSTSCRIPT)


def open_image(data: bytes, *, limits: Limits = USUAL) -> Image.Image:
    """The image of a file, its pixels still to be decoded; of :data:`FORMATS` only.

    Pillow's own `open` refuses images past 179 megapixels, whatever ``limits`` say.

    Raises:
        MediaError: if it is none of them, or has more pixels than ``limits`` allow.
    """
    if data.startswith(_POSTSCRIPT):
        raise MediaError("PostScript is not read: that would start another program")
    for name in recognise(data):
        try:
            image: Image.Image = Image.OPEN[name][0](io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
        limits.check_pixels(image.width * image.height)
        limits.check_bytes(image.width * image.height * len(image.getbands()) * BYTES_PER_SAMPLE)
        return image
    raise MediaError("not an image that can be read")


def _open(data: bytes, notes: list[str], limits: Limits) -> Image.Image:
    """The decoded image of a file; appends to ``notes``."""
    try:
        image = open_image(data, limits=limits)
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise MediaError(f"animated or many-paged ({frames} frames): give one frame")
        # Pillow reads 16-bit colour as 8-bit; only the raw mode it unpacks from tells.
        unpacked = [str(tile[3]) for tile in getattr(image, "tile", [])]
        if image.mode[0] not in "IF" and any(";16" in rawmode for rawmode in unpacked):
            notes.append("16-bit colour read as 8-bit")
            _reduce_key(image)
        image.load()
        return _as_unsigned(image) if image.mode == "I" else image
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise whatever their libraries raise
        rest = _without_text(data)  # of which Pillow takes no more than so much
        if rest != data:
            notes.clear()
            return _open(rest, notes, limits)
        raise MediaError(f"damaged image: {error}") from None


def _without_text(data: bytes) -> bytes:
    """A PNG file without its text; any other as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    kept, position = [data[:8]], 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def _reduce_key(image: Image.Image) -> None:
    """Bring the transparent colour of a 16-bit image to the 8 bits that its pixels are read as."""
    key = image.info.get("transparency")
    if isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int):
        image.info["transparency"] = key >> 8


def _as_unsigned(image: Image.Image) -> Image.Image:
    """32-bit integers of a TIFF, which Pillow takes to be signed, as float32 if they are not."""
    formats = getattr(image, "tag_v2", {}).get(339, (1,))
    unsigned = image.format == "TIFF" and formats[0] == 1
    values = np.asarray(image)
    if not unsigned or values.min() >= 0:
        return image
    found = Image.fromarray(values.view(np.uint32).astype(np.float32))
    found.info = image.info
    return found


def _normalise(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image upright, in sRGB and in one of :data:`~intfit.coding.header.CHANNELS`."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):  # of any byte order
        info = image.info
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
        image.info = info
    # Orientation and transparent colour first: a conversion of colours drops them.
    image = ImageOps.exif_transpose(image)
    transparent = {"1": "LA", "L": "LA", "RGB": "RGBA"}.get(image.mode)
    if "transparency" in image.info and transparent:
        image = image.convert(transparent)
    elif "transparency" in image.info and image.mode not in ("P", "LA", "RGBA"):
        notes.append(f"the transparent value of mode {image.mode} is not kept")
    if profile:
        image = _convert_to_srgb(image, profile, notes)
    if image.mode in CHANNELS and image.mode != "PA":
        return image
    mode = {"I": "F", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(image.mode, "RGB")
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() >= 0 and values.max() < 1 << 16:
            return Image.fromarray(values.astype(np.uint16))
    notes.append(f"colour mode {image.mode} converted to {mode}")
    return image.convert(mode)


def _convert_to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Converted by its ICC profile; unchanged where that does nothing or cannot be used."""
    alpha = image.getchannel("A") if image.mode == "LA" else None
    grey = image.mode in ("L", "LA", "1", "I;16", "I", "F")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        space = {"GRAY": "L", "RGB": "RGB"}.get(source.profile.xcolor_space.strip(), "CMYK")
        if space != "CMYK" and _is_srgb(source, space, grey=grey):
            return image
        if image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
            notes.append(f"colour profile {name!r} not applied to mode {image.mode}")
            return image
        converted = ImageCms.profileToProfile(
            image.convert(space) if grey else image,
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


def _is_srgb(source: ImageCms.ImageCmsProfile, space: str, *, grey: bool) -> bool:
    """Whether a profile of ``space`` (L, RGB) leaves colours, or greys, about as sRGB has them.

    Its name says nothing of that: a linear profile may call itself sRGB.
    """
    levels = np.arange(0, 256, 1 if grey or space == "L" else 17, dtype=np.uint8)
    if grey or space == "L":
        colours = np.repeat(levels[:, None], 3, axis=1)
    else:
        colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    ramp = Image.fromarray(colours[None])
    converted = ImageCms.profileToProfile(
        ramp.convert(space), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    change = np.asarray(converted, np.int16) - np.asarray(ramp, np.int16)
    return int(np.abs(change).max()) <= SAME_COLOUR


def _read_palette(image: Image.Image) -> NDArray[np.uint8]:
    """The palette's K colours as ``[K, 3]`` or, where it has transparency, ``[K, 4]``."""
    mode = "RGBA" if "transparency" in image.info else "RGB"
    ramp = Image.frombytes("P", (256, 1), bytes(range(256)))
    colours = image.getpalette("RGB") or []
    ramp.putpalette(colours)
    if "transparency" in image.info:
        ramp.info["transparency"] = image.info["transparency"]
    return np.asarray(ramp.convert(mode))[0, : max(1, len(colours) // 3)]
