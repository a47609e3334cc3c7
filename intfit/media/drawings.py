"""Drawn pictures, text and windows, which are smaller without loss than with it."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MediaError
from .pixels import to_pillow

#: The fewest pixels that are looked at, and the most that are coded to see what they take.
FEWEST_PIXELS, MOST_PIXELS = 1 << 14, 1 << 23
#: A picture is drawn if this share of its pixels, at least, are like those to their left, and a
#: lossless file of it takes at most so many bits for each pixel.
LIKE_THE_LAST, MOST_BITS = 0.6, 1.5


def looks_drawn(pixels: NDArray[Any]) -> bool:
    """Whether most pixels of ``[H, W, C]`` are exactly like those to their left."""
    height, width = pixels.shape[:2]
    if width < 2 or not FEWEST_PIXELS <= height * width <= MOST_PIXELS:
        return False
    alike = (pixels[:, 1:] == pixels[:, :-1]).all(axis=2)
    return bool(alike.mean() >= LIKE_THE_LAST)


def measure_drawing(pixels: NDArray[Any], facts: dict[str, Any]) -> int | None:
    """The bytes of a lossless WebP of a drawn picture ``[H, W, C]``; None of others.

    Drawn are pictures of 8 bits that have several colours; ``facts`` are those of the picture.
    """
    if pixels.dtype != np.uint8 or not looks_drawn(pixels) or (pixels == pixels[0, 0]).all():
        return None
    buffer = io.BytesIO()
    try:
        image: Image.Image = to_pillow(pixels, facts)
        image.convert("RGBA" if image.has_transparency_data else "RGB").save(
            buffer, "WEBP", lossless=True, method=3
        )
    except (OSError, ValueError, KeyError, MediaError):  # too large for the format, say
        return None
    size = len(buffer.getvalue())
    return size if 8 * size <= MOST_BITS * pixels.shape[0] * pixels.shape[1] else None
