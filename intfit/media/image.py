"""Images: most of what Pillow reads; pixel modes and bit depths are kept."""

import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import metrics
from ..coding.facts import MAX_PIXELS
from ..coding.header import CHANNELS
from ..errors import MediaError, UsageError
from ..limits import USUAL, Limits
from ..metrics import perceptual
from ..signals import Evaluate, Floats, Grid, cell_centres
from .drawings import measure_drawing
from .metadata import describe_lost, of_picture, options_for
from .pixels import (
    LARGEST,
    is_image,
    only_colour,
    open_image,
    read_pixels,
    read_reference,
    reduce_depth,
    to_levels,
    to_pillow,
    value_range,
    values_as_written,
)
from .protocol import NONE, note_lost

#: Lossless, and reads back in every mode written.
DEFAULT_SUFFIX = ".png"
LOSSLESS = frozenset({".png", ".tif", ".tiff", ".bmp"})
METRICS = ("psnr", "ssim", "ms_ssim", "ssimulacra2")
#: Pixels of a decode that are evaluated at once.
CHUNK = 1 << 16
#: Modes whose pixels take the nearest of a few colours.
MAPPED = ("1", "P", "PA")
#: So far below the PSNR of rounding, in dB, rounding takes no more than a twentieth of a dB.
ROUNDING_MARGIN = 19.0
#: Modes of more than 8 bits; pixels a side of the largest icon.
DEEP, ICON = ("I;16", "F"), 256
#: From this many pixels on, a PNG of a photograph's kind is compressed by runs alone, after its
#: filters: a quarter of the time, for a few per cent of the bytes; see docs/results/speed.md.
QUICK_PNG = 1 << 20
#: 8-bit levels by which transparency may differ in a file that keeps it: of lossy formats.
SAME_ALPHA = 64
#: Bytes of memory that decoding takes for each sample of each channel, about.
BYTES_DECODING = 48


@dataclass(frozen=True)
class Target:
    """What to decode: ``region`` (x, y, width, height), in native pixels, at ``size`` (w, h).

    Without a region, the whole image. Without a size, the region's own times ``scale``, which is 1
    where it is not given.
    """

    size: tuple[int, int] | None = None
    scale: float | None = None
    region: tuple[float, float, float, float] | None = None


def accepts(data: bytes, suffix: str = "") -> bool:
    """Whether these bytes are those of an image, sound or not."""
    return is_image(data)


def read(data: bytes, *, suffix: str = "", seed: int = 0, limits: Limits = USUAL) -> Grid:
    """The pixels of an image file, alpha as a channel.

    Raises:
        MediaError: as :func:`.read_pixels`.
    """
    pixels, facts, notes = read_pixels(data, limits=limits)
    height, width, channels = pixels.shape
    values = pixels.reshape(-1, channels)
    low, high = value_range(facts)
    scale, offset = 2 / (high - low), -1 - 2 * low / (high - low)
    if only_colour(facts) is not None:
        values, scale, offset = np.zeros(values.shape, np.int8), 1.0, 0.0
    elif scale > LARGEST:  # float32 cannot hold it
        values = (values.astype(np.float64) * scale + offset).astype(np.float32)
        scale, offset = 1.0, 0.0
    as_written: Callable[[Floats], Floats] | None = partial(values_as_written, facts=facts)
    if only_colour(facts) is not None:
        as_written = np.zeros_like  # whatever the field gives
    elif facts["mode"] == "F":
        as_written = None
    mapped = facts["mode"] in MAPPED or only_colour(facts) is not None
    rounding = metrics.decibels((high - low) ** 2, 1 / 12)
    return Grid(
        shape=(height, width),
        values=values,
        scale=scale,
        offset=offset,
        metric="psnr",
        facts=facts,
        notes=notes,
        as_written=as_written,
        exact_below=-math.inf if mapped else rounding - ROUNDING_MARGIN,
        lossless_size=measure_drawing(pixels, facts),
    )


def count_samples(facts: dict[str, Any]) -> int:
    """Pixels of the original."""
    return int(facts["height"] * facts["width"])


def raw_size(facts: dict[str, Any]) -> int:
    """Bytes of the original's pixels, uncompressed; one each where there is a palette."""
    bits = {"1": 1, "I;16": 16, "F": 32, "P": 8, "PA": 8}.get(facts["mode"])
    return -(-count_samples(facts) * (bits or 8 * CHANNELS[facts["mode"]]) // 8)


def rate(facts: dict[str, Any], size: int) -> tuple[str, float]:
    """``bpp``, and the bits per pixel of a file of ``size`` bytes."""
    return "bpp", 8 * size / count_samples(facts)


def _choose_size(facts: dict[str, Any], target: Target) -> tuple[int, int]:
    """Width and height to render at.

    Raises:
        UsageError: if that is more than :data:`MAX_PIXELS`.
    """
    _, _, width, height = target.region or (0, 0, facts["width"], facts["height"])
    scale = target.scale or 1.0
    size = target.size or (max(1, round(width * scale)), max(1, round(height * scale)))
    if size[0] * size[1] > MAX_PIXELS:
        raise UsageError(
            f"{size[0]} x {size[1]} pixels are more than the {MAX_PIXELS} of the largest image: "
            "give a smaller --scale or --size, or a --region"
        )
    return size


def check_limits(facts: dict[str, Any], limits: Limits) -> None:
    """Raise MediaError where an image has more pixels, or takes more memory, than allowed."""
    pixels = facts["width"] * facts["height"]
    limits.check_pixels(pixels)
    limits.check_bytes(pixels * CHANNELS[facts["mode"]] * BYTES_DECODING)


def render(
    evaluate: Evaluate, facts: dict[str, Any], target: Target, *, limits: Limits = USUAL
) -> NDArray[Any]:
    """Pixels ``[H', W', C]`` of the field at the target's resolution, in the original's range.

    Where an output pixel covers more than one native pixel, the field is averaged over the pixel's
    area, sampled at least as densely as the original, so that a smaller picture does not alias.

    Raises:
        UsageError: if the region lies outside the image, or the result exceeds :data:`MAX_PIXELS`.
    """
    width, height = facts["width"], facts["height"]
    region = target.region or (0.0, 0.0, float(width), float(height))
    x, y, w, h = region
    if not (w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= width and y + h <= height):
        raise UsageError(f"--region {region} does not lie within the {width} x {height} image")
    columns, rows = _choose_size(facts, target)
    across, down = max(1, math.ceil(w / columns)), max(1, math.ceil(h / rows))
    longest = max(width, height)
    xs = cell_centres(x, x + w, columns * across, size=width, longest=longest)
    ys = cell_centres(y, y + h, rows * down, size=height, longest=longest)
    deep = facts["mode"] in DEEP
    channels = CHANNELS[facts["mode"]]
    low, high = value_range(facts)
    pixels = np.empty((rows, columns, channels), np.float32 if deep else np.uint8)
    if (colour := only_colour(facts)) is not None:
        pixels[:] = colour
        return pixels
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
            if facts["mode"] == "F":  # in float64, where twice the range is a number, too
                values = values.astype(np.float64)
                values = (values + 1) * ((high - low) / 2) + low
            else:
                values = to_levels(values, facts)
            pixels[top : top + tall, left : left + wide] = values
    return pixels.astype(np.uint16) if facts["mode"] == "I;16" else pixels


def compare_with(
    data: bytes, facts: dict[str, Any], *, suffix: str = "", limits: Limits = USUAL
) -> Callable[[NDArray[Any]], dict[str, float | None]]:
    """Read the original; the result takes pixels ``[H, W, C]`` to their :data:`METRICS`.

    Raises:
        MediaError: if the original cannot be read, or is not of the same size.
    """
    reference = read_reference(data, facts["mode"], limits=limits)
    height, width, channels = reference.shape
    kept = facts["width"], facts["height"], CHANNELS[facts["mode"]]
    if (width, height, channels) != kept:
        raise MediaError(
            f"it is {width} x {height} of {channels} channels, "
            f"the file holds {kept[0]} x {kept[1]} of {kept[2]}"
        )
    low, high = value_range(facts)
    peak = high - low

    def measure(pixels: NDArray[Any]) -> dict[str, float | None]:
        # as in the file that decode writes: with the palette's colours, black or white, 8 bits
        written, _ = write(pixels, facts, Target(), ".tif" if facts["mode"] in DEEP else ".png")
        decoded = read_reference(written, facts["mode"], limits=Limits(math.inf))
        return {
            "psnr": metrics.psnr(reference, decoded, peak=peak),
            "ssim": metrics.ssim(reference, decoded, peak=peak),
            "ms_ssim": perceptual.ms_ssim(reference, decoded, peak=peak),
            "ssimulacra2": perceptual.ssimulacra2(reference, decoded, low=low, high=high),
        }

    return measure


def describe(
    pixels: NDArray[Any], facts: dict[str, Any], target: Target, *, written: bytes = b""
) -> str:
    """Width and height in a phrase, of the ``written`` file where Pillow reads it."""
    with _reopened(io.BytesIO(written)) as image:
        width, height = pixels.shape[1::-1] if image is None else image.size
    return f"{width} x {height}"


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


def read_metadata(data: bytes) -> dict[str, str]:
    """EXIF, XMP and resolution of an image file."""
    with _reopened(io.BytesIO(data)) as image:
        if image is None:
            return {}
        if image.format == "PNG" and b"eXIf" in data:
            with suppress(Exception):  # it was read before
                image.load()
        return of_picture(image)


def write(
    pixels: NDArray[Any],
    facts: dict[str, Any],
    target: Target,
    suffix: str,
    *,
    metadata: Mapping[str, str] = NONE,
) -> tuple[bytes, tuple[str, ...]]:
    """An image file of the format ``suffix`` names, and notes on what it cannot hold.

    In the original's mode, or the nearest that the format holds with its transparency, or else
    without.

    Raises:
        MediaError: if Pillow cannot write the format, or not this image in it.
    """
    name = check_format(suffix)
    image = to_pillow(pixels, facts)
    options: dict[str, Any] = {"quality": 95} if name in ("JPEG", "WEBP", "AVIF") else {}
    options |= options_for(name, metadata)
    if name == "ICO":  # whose own sizes are smaller
        shrink = min(1.0, ICON / max(image.size))
        options["sizes"] = [tuple(max(1, round(side * shrink)) for side in image.size)]
    if name == "PNG" and image.mode not in MAPPED and image.width * image.height >= QUICK_PNG:
        options["compress_type"] = zlib.Z_RLE
    # The image's own mode first, then the nearest that less capable formats hold.
    opaque = "RGB" if image.mode in ("P", "PA", "RGBA", "RGB") else "L"
    clear = ("RGBA",) if CHANNELS[facts["mode"]] in (2, 4) else ()
    lacking: tuple[bytes, tuple[str, ...]] | None = None
    for mode in dict.fromkeys((image.mode, *clear, opaque, "RGB")):
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of palettes without room for transparency
                attempt = image if mode == image.mode else reduce_depth(image, mode)
                attempt.save(buffer, name, **options)
        except Exception as error:  # Pillow's writers raise whatever they like
            if metadata:  # which may be more than the format holds, or nonsense
                data, lost = write(pixels, facts, target, suffix)
                return data, (*lost, *note_lost(metadata, suffix))
            reason = error
            continue
        with _reopened(buffer) as written:
            # Some formats take deep pixels, and cut off what is beyond 8 bits.
            if mode in DEEP and (written is None or written.mode[0] not in "IF"):
                reason = ValueError("it holds 8 bits")
                continue
            kept = _transparency_kept(written, mode, pixels, facts)
            notes = _describe_loss(written, kept, pixels, facts, suffix)
            made = buffer.getvalue(), (*notes, *describe_lost(written, metadata, suffix))
        if kept == "all":
            return made
        lacking = lacking or made
    if lacking is not None:
        return lacking
    raise MediaError(f"cannot write a {facts['mode']} image as {suffix!r}: {reason}")


@contextmanager
def _reopened(buffer: io.BytesIO) -> Iterator[Image.Image | None]:
    """The image just written to ``buffer``; None where Pillow only writes its format."""
    try:
        image = open_image(buffer.getvalue(), limits=Limits(math.inf))
    except (MediaError, OSError):
        yield None
        return
    with image:
        yield image


def _transparency_kept(
    written: Image.Image | None, mode: str, pixels: NDArray[Any], facts: dict[str, Any]
) -> Literal["all", "part", "none"]:
    """How much of the transparency of ``pixels`` an image holds that was saved in ``mode``.

    Without ``written``, the file read again, its mode tells: palettes are then saved without.
    """
    if CHANNELS[facts["mode"]] not in (2, 4):
        return "all"
    if written is None:
        return "all" if mode in ("LA", "RGBA") else "none"
    if not written.has_transparency_data:
        return "none"
    if written.size != pixels.shape[1::-1]:
        return "all"
    found = np.asarray(written.convert("RGBA").getchannel("A"), np.int16)
    return "all" if np.abs(found - pixels[..., -1]).max() <= SAME_ALPHA else "part"


def _describe_loss(
    written: Image.Image | None,
    transparency: Literal["all", "part", "none"],
    pixels: NDArray[Any],
    facts: dict[str, Any],
    suffix: str,
) -> tuple[str, ...]:
    """Notes on what a ``written`` image lacks of ``pixels`` with these facts."""
    lost = ["transparency"] if transparency == "none" else []
    # formats that are only written, not read, get no deep modes
    if facts["mode"] in DEEP and (written is None or written.mode[0] not in "IF"):
        lost.append("depth beyond 8 bits")
    notes = [f"{suffix} does not keep {' or '.join(lost)}"] if lost else []
    if transparency == "part":
        notes.append(f"{suffix} keeps only part of the transparency")
    if written is not None and written.size != pixels.shape[1::-1]:
        notes.append(f"{suffix} reduces it to {written.width} x {written.height}")
    return tuple(notes)


def draw_selection(signal: Grid, indices: NDArray[np.int64]) -> tuple[bytes, str]:
    """A PNG of the image, darkened, with the pixels at ``indices`` marked; and its suffix."""
    grey = signal.targets().mean(axis=1)
    picture = np.repeat(((grey + 1) * 50).astype(np.uint8)[:, None], 3, axis=1)
    picture[indices] = (255, 160, 0)
    buffer = io.BytesIO()
    Image.fromarray(picture.reshape(*signal.shape, 3)).save(buffer, "PNG")
    return buffer.getvalue(), ".png"
