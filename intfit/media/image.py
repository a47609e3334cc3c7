"""Images: anything Pillow reads, pixel modes and bit depths kept."""

import io
import math
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from .. import metrics
from ..coding.header import CHANNELS
from ..errors import MediaError, UsageError
from ..signals import Evaluate, Grid, cell_centres

#: Lossless, and reads back in every mode written.
DEFAULT_SUFFIX = ".png"
LOSSLESS = frozenset({".png", ".tif", ".tiff", ".bmp"})
METRICS = ("psnr", "ssim")
#: Pixels of a decode that are evaluated at once.
CHUNK = 1 << 16
#: The largest picture `decode` makes: 1 GiB of 8-bit RGB.
MAX_PIXELS = (1 << 30) // 3


@dataclass(frozen=True)
class Target:
    """What to decode: ``region`` (x, y, width, height) in native pixels, at ``size`` (w, h).

    None means the whole image, and its native size; ``scale`` multiplies the region's size.
    """

    size: tuple[int, int] | None = None
    scale: float | None = None
    region: tuple[float, float, float, float] | None = None


def suffixes() -> frozenset[str]:
    """Suffixes of the formats Pillow can write."""
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in Image.SAVE)


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether Pillow takes these bytes for an image, sound or not."""
    Image.init()
    head = data[:16]
    for name in Image.ID:
        accept = Image.OPEN[name][1]
        if accept is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if accept(head):
                    return True
            except (struct.error, IndexError):  # Pillow's checks expect a few bytes at least
                continue
    return False


def _oriented(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image upright, in sRGB and in one of :data:`~intfit.schema.CHANNELS`."""
    profile = image.info.get("icc_profile")
    # Orientation and transparent colour first: a conversion of colours forgets them.
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    if profile:
        image = _to_srgb(image, profile, notes)
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


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Converted by its ICC profile; unchanged where that is sRGB or cannot be used."""
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


def _palette(image: Image.Image) -> NDArray[np.uint8]:
    """The palette as ``[K, 3]`` or, where it has transparency, ``[K, 4]``."""
    mode = "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
    ramp = Image.frombytes("P", (256, 1), bytes(range(256)))
    colours = image.getpalette("RGB") or []
    ramp.putpalette(colours)
    if image.mode == "P" and "transparency" in image.info:
        ramp.info["transparency"] = image.info["transparency"]
    return np.asarray(ramp.convert(mode))[0, : max(1, len(colours) // 3)]


def _open(data: bytes, notes: list[str]) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise MediaError(f"animated or many-paged ({frames} frames): give one frame")
        # Pillow reads 16-bit colour as 8-bit and does not say so, except in how it will unpack it.
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


def samples(data: bytes) -> tuple[NDArray[Any], dict[str, Any], tuple[str, ...]]:
    """Pixels ``[H, W, C]`` (uint8, uint16 or float32), facts and notes of an image file.

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
            image = _oriented(image, notes)
        except (OSError, ValueError) as error:
            raise MediaError(f"damaged image: {error}") from None
        mode = image.mode
        facts: dict[str, Any] = {"mode": mode, "height": image.height, "width": image.width}
        if mode in ("P", "PA"):
            palette = _palette(image)
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


def span(facts: dict[str, Any]) -> tuple[float, float]:
    """The values that stand for -1 and 1."""
    if facts["mode"] == "F":
        return facts["low"], facts["high"]
    return 0.0, 65535.0 if facts["mode"] == "I;16" else 255.0


def read(data: bytes, *, suffix: str = "", seed: int = 0) -> Grid:
    """The examples of an image file: one a pixel, alpha as a channel.

    Raises:
        MediaError: as :func:`samples`, and if there is nothing to fit.
    """
    pixels, facts, notes = samples(data)
    height, width, channels = pixels.shape
    if height * width < 2:
        raise MediaError("a 1 x 1 image has nothing to fit")
    if (pixels == pixels[:1, :1]).all():
        raise MediaError("every pixel is the same: nothing to fit")
    low, high = span(facts)
    return Grid(
        shape=(height, width),
        values=pixels.reshape(-1, channels),
        scale=2 / (high - low),
        offset=-1 - 2 * low / (high - low),
        metric="psnr",
        facts=facts,
        notes=notes,
    )


def check_facts(facts: dict[str, Any]) -> None:
    """Raise MediaError unless a header's facts are those of an image this version can write."""
    sizes = [facts.get(key) for key in ("height", "width")]
    low, high = facts.get("low"), facts.get("high")
    palette = facts.get("palette", "")
    mode = facts.get("mode")
    bounded = isinstance(low, float) and isinstance(high, float) and low < high < math.inf
    if not (
        isinstance(mode, str)
        and mode in CHANNELS
        and all(type(size) is int and 0 < size < 1 << 24 for size in sizes)
        and isinstance(palette, str)
        and (mode not in ("P", "PA") or _palette_is_sound(palette, CHANNELS[mode]))
        and (mode != "F" or bounded)
        and facts["height"] * facts["width"] <= MAX_PIXELS
    ):
        raise MediaError("damaged: the header does not describe an image")


def _palette_is_sound(palette: str, channels: int) -> bool:
    """Whether this is the hex of 1 to 256 colours."""
    try:
        size = len(bytes.fromhex(palette))
    except ValueError:
        return False
    return 0 < size <= 256 * channels and size % channels == 0


def count_samples(facts: dict[str, Any]) -> int:
    """Pixels."""
    return int(facts["height"] * facts["width"])


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of the pixels, uncompressed."""
    bits = {"1": 1, "I;16": 16, "F": 32, "P": 8, "PA": 8}.get(facts["mode"])
    return -(-count_samples(facts) * (bits or 8 * CHANNELS[facts["mode"]]) // 8)


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """Bits a pixel of a file of ``size`` bytes."""
    return "bpp", 8 * size / count_samples(facts)


def _output_size(facts: dict[str, Any], target: Target) -> tuple[int, int]:
    _, _, width, height = target.region or (0, 0, facts["width"], facts["height"])
    scale = target.scale or 1.0
    size = target.size or (max(1, round(width * scale)), max(1, round(height * scale)))
    if size[0] * size[1] > MAX_PIXELS:
        raise UsageError(f"{size[0]} x {size[1]} pixels are more than one image may have here")
    return size


def render(evaluate: Evaluate, facts: dict[str, Any], target: Target) -> NDArray[Any]:
    """Pixels ``[H', W', C]`` of the field at the target's resolution.

    Where an output pixel covers more than one native pixel, the field is averaged over its
    footprint, at the native density at least, so that a smaller picture does not alias.

    Raises:
        UsageError: if the region lies outside the image, or the result would be absurdly large.
    """
    width, height = facts["width"], facts["height"]
    region = target.region or (0.0, 0.0, float(width), float(height))
    x, y, w, h = region
    if not (w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= width and y + h <= height):
        raise UsageError(f"--region {region} does not lie within the {width} x {height} image")
    columns, rows = _output_size(facts, target)
    across, down = max(1, math.ceil(w / columns)), max(1, math.ceil(h / rows))
    longest = max(width, height)
    xs = cell_centres(x, x + w, columns * across, size=width, longest=longest)
    ys = cell_centres(y, y + h, rows * down, size=height, longest=longest)
    deep = facts["mode"] in ("I;16", "F")
    channels = CHANNELS[facts["mode"]]
    low, high = span(facts)
    pixels = np.empty((rows, columns, channels), np.float32 if deep else np.uint8)
    # Blocks of whole output pixels, so that memory is bounded however large the picture.
    wide = max(1, min(columns, CHUNK // (across * down)))
    tall = max(1, CHUNK // (across * down * wide))
    for top in range(0, rows, tall):
        for left in range(0, columns, wide):
            block_y = ys[top * down : (top + tall) * down]
            block_x = xs[left * across : (left + wide) * across]
            grid = np.stack(np.meshgrid(block_y, block_x, indexing="ij"), axis=-1)
            values = evaluate(grid.reshape(-1, 2))
            shape = (len(block_y) // down, down, len(block_x) // across, across, channels)
            values = values.reshape(shape).mean(axis=(1, 3)).clip(-1, 1)
            values = (values + 1) * np.float32((high - low) / 2) + np.float32(low)
            values = values if facts["mode"] == "F" else values.round()
            pixels[top : top + tall, left : left + wide] = values
    return pixels.astype(np.uint16) if facts["mode"] == "I;16" else pixels


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = ""
) -> Callable[[NDArray[Any]], dict[str, float | None]]:
    """Measures PSNR (dB) and SSIM of pixels ``[H, W, C]`` against the original in ``data``.

    Raises:
        MediaError: if the original cannot be read, or is not of the same size.
    """
    reference, original, _ = samples(data)
    sizes = [(f["width"], f["height"], CHANNELS[f["mode"]]) for f in (original, facts)]
    if sizes[0] != sizes[1]:
        raise MediaError(
            f"the original is {original['width']} x {original['height']} of {original['mode']}, "
            f"the file holds {facts['width']} x {facts['height']} of {facts['mode']}"
        )
    low, high = span(facts)
    peak = high - low
    return lambda decoded: {
        "psnr": metrics.psnr(reference, decoded, peak=peak),
        "ssim": metrics.ssim(reference, decoded, peak=peak),
    }


def restored(pixels: NDArray[Any], facts: dict[str, Any]) -> Image.Image:
    """A Pillow image of the original's mode."""
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


def describe(pixels: NDArray[Any], facts: dict[str, Any], target: Target) -> str:
    """What was rendered, in a phrase."""
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def check_format(suffix: str) -> str:
    """Pillow's name of the format ``suffix`` names.

    Raises:
        MediaError: if Pillow cannot write it.
    """
    Image.init()
    name = Image.registered_extensions().get(suffix.lower())
    if name is None or name not in Image.SAVE:
        raise MediaError(f"cannot write images as {suffix!r}: try .png, .webp, .jpg or .tiff")
    return name


def write(
    pixels: NDArray[Any], facts: dict[str, Any], target: Target, suffix: str
) -> tuple[bytes, tuple[str, ...]]:
    """An image file of the format ``suffix`` names, in the original's mode where it can hold it.

    And notes on what it cannot hold.

    Raises:
        MediaError: if Pillow cannot write the format, or not this picture.
    """
    name = check_format(suffix)
    image = restored(pixels, facts)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"quality": 95} if name in ("JPEG", "WEBP", "AVIF") else {}
    # The mode itself, then the nearest that less capable formats hold.
    opaque = "RGB" if image.mode in ("P", "PA", "RGBA", "RGB") else "L"
    for mode in dict.fromkeys(
        (image.mode, "RGBA" if CHANNELS[facts["mode"]] == 4 else opaque, opaque)
    ):
        buffer.seek(0)
        buffer.truncate()
        try:
            attempt = image if mode == image.mode else _narrowed(image, mode)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of palettes without room for transparency
                attempt.save(buffer, name, **options)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = error
        else:
            return buffer.getvalue(), _lost(buffer, facts, suffix)
    raise MediaError(f"cannot write a {facts['mode']} image as {suffix!r}: {reason}")


def _lost(buffer: io.BytesIO, facts: dict[str, Any], suffix: str) -> tuple[str, ...]:
    """What a picture of these facts lost in being written, by what is read back."""
    try:
        with Image.open(buffer) as image:
            mode, transparent = image.mode, image.has_transparency_data
    except (UnidentifiedImageError, OSError):
        return ()  # a format that Pillow only writes
    lost = []
    if CHANNELS[facts["mode"]] in (2, 4):
        lost += [] if transparent else ["transparency"]
    if facts["mode"] in ("I;16", "F") and mode[0] not in "IF":
        lost.append("depth beyond 8 bits")
    return (f"{suffix} does not keep {' or '.join(lost)}",) if lost else ()


def _narrowed(image: Image.Image, mode: str) -> Image.Image:
    """Converted to a mode of 8 bits; deep grey is scaled rather than clipped."""
    if image.mode in ("I;16", "F"):
        values = np.asarray(image, np.float64)
        low, high = (0.0, 65535.0) if image.mode == "I;16" else (values.min(), values.max())
        scaled = (values - low) * (255 / max(high - low, 1e-30))
        return Image.fromarray(scaled.round().astype(np.uint8)).convert(mode)
    return image.convert(mode)


def draw_selection(signal: Grid, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PNG of the image, darkened, with the pixels at ``indices`` marked; and its suffix."""
    grey = signal.targets().mean(axis=1)
    picture = np.repeat(((grey + 1) * 50).astype(np.uint8)[:, None], 3, axis=1)
    picture[indices] = (255, 160, 0)
    buffer = io.BytesIO()
    Image.fromarray(picture.reshape(*signal.shape, 3)).save(buffer, "PNG")
    return buffer.getvalue(), ".png"
