"""Drawn pictures are told that lossless formats are better for them."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import png
from PIL import Image, ImageDraw, ImageFont

from intfit.media import image

SAMPLES = Path(__file__).parents[1] / "samples"


def window() -> Image.Image:
    """A window with a title and lines of text."""
    picture = Image.new("RGB", (320, 200), (245, 245, 245))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 320, 24), fill=(50, 90, 160))
    for line in range(9):
        draw.text(
            (12, 34 + 17 * line), f"Line {line} of a letter", (20, 20, 20), ImageFont.load_default()
        )
    return picture


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_window_with_text_is_drawn_and_its_lossless_size_is_said(intfit, mode):
    picture = window().quantize(32) if mode == "P" else window().convert(mode)
    picture.save("in.png")
    run = intfit("encode", "in.png", "-e", 1)
    assert run.code == 0
    size = int(re.search(r"it looks drawn: a lossless WebP of it takes (\d+) bytes", run.err)[1])
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", lossless=True, method=3)
    assert size == pytest.approx(len(buffer.getvalue()), rel=0.3)


def test_photographs_noise_and_flat_pictures_are_not_drawn():
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    flat = Image.new("RGB", (200, 200), (10, 20, 30))
    photograph = Image.open(SAMPLES / "photo.png")
    for picture in (photograph, Image.fromarray(noise), flat, window().resize((60, 40))):
        assert image.read(png(picture)).notes == ()
