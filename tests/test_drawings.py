"""Drawn pictures are kept exactly, as a palette and its indices."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import photo, png
from PIL import Image, ImageDraw, ImageFont

from intfit import Settings, api, info
from intfit.codecs.palette import payload
from intfit.codecs.palette.config import PaletteConfig
from intfit.codecs.palette.histories import TRANSITIONS, Histories
from intfit.coding.mixing import Decisions
from intfit.errors import FileFormatError, UsageError
from intfit.media import image

SAMPLES = Path(__file__).parents[1] / "samples"


def window() -> Image.Image:
    """A window with a title and lines of text."""
    picture = Image.new("RGB", (320, 200), (245, 245, 245))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 320, 24), fill=(50, 90, 160))
    for line in range(9):
        words = f"Line {line} of a letter, {line**5} words that say much the same as the last"
        draw.text((12, 34 + 17 * line), words, (20, 20, 20), ImageFont.load_default())
    return picture


def opened(path: str) -> Image.Image:
    with Image.open(path) as picture:
        return picture.copy()


def lossless_webp(picture: Image.Image) -> int:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, method=6)
    return len(buffer.getvalue())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_a_window_with_text_comes_back_exactly_by_default(intfit, mode):
    part = window().crop((0, 10, 200, 110))
    picture = part.quantize(32) if mode == "P" else part.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda a: a & 192))
    picture.save("in.png")
    run = intfit("encode", "in.png")
    assert run.code == 0
    assert re.search(r"palette of \d+ colours, exact", run.err)
    assert intfit("decode", "in.png.safetensors", "-o", "out.png").code == 0
    decoded = opened("out.png")
    assert decoded.mode == opened("in.png").mode
    assert (np.asarray(decoded.convert("RGBA")) == np.asarray(picture.convert("RGBA"))).all()


def test_a_window_with_text_is_smaller_than_a_lossless_webp(intfit):
    window().save("in.png")
    run = intfit("encode", "in.png", "--json")
    line = json.loads(run.out)
    assert line["bytes_out"] < lossless_webp(window())
    assert line["distortion"] == 120  # JSON has no infinity
    verified = json.loads(intfit("verify", "in.png.safetensors", "in.png", "--json").out)
    assert verified["psnr"] == 120
    assert verified["ssim"] == pytest.approx(1)


def test_a_field_of_a_palette_is_used_like_any_other(intfit):
    window().save("in.png")
    assert intfit("encode", "in.png", "-o", "in.safetensors").code == 0
    assert intfit("decode", "in.safetensors", "-o", "3.png", "--scale", 3).code == 0
    assert opened("3.png").size == (960, 600)
    region = ("--region", "10,30,40,20")
    assert intfit("decode", "in.safetensors", "-o", "part.png", *region).code == 0
    part = window().crop((10, 30, 50, 50))
    assert (np.asarray(opened("part.png")) == np.asarray(part)).all()
    assert "palette of" in intfit("info", "-v", "in.safetensors").out
    assert intfit("export", "in.safetensors", "-o", "open.safetensors").code == 0
    field, other = api.load(Path("in.safetensors")), api.load(Path("open.safetensors"))
    points = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    assert (field(points) == other(points)).all()
    found = field.module()(__import__("torch").from_numpy(points)).numpy()
    assert np.abs(found - field(points)).max() < 0.01


def test_too_few_bytes_for_a_palette_become_latents(intfit):
    window().save("in.png")
    run = intfit("encode", "in.png", "--target-size", 600, "-e", 1)
    assert run.code == 0
    assert "too few bytes for an exact palette: latents" in run.err
    assert info(Path("in.png.safetensors"))["field"]["kind"] == "latent"
    assert Path("in.png.safetensors").stat().st_size <= 600
    refused = intfit("encode", "in.png", "--field", "palette", "--target-size", 600, "--force")
    assert refused.code != 0
    assert "600 bytes are too few" in refused.err


def test_few_bytes_of_few_letters_hold_no_weights_beyond_bounds(intfit):
    picture = Image.new("RGB", (160, 120), "white")
    for line in range(7):
        words, font = f"Hello drawn text {5 + 15 * line}", ImageFont.load_default()
        ImageDraw.Draw(picture).text((5, 5 + 15 * line), words, (20, 20, 60), font)
    picture.save("in.png")
    for size in (250, 700):
        run = intfit("encode", "in.png", "--target-size", size, "-e", 1, "-f")
        assert run.code == 0
        assert "too few bytes" in run.err
        assert "--field palette" not in run.err
        assert Path("in.png.safetensors").stat().st_size <= size
    forecast = intfit("encode", "in.png", "--target-size", 5000, "--dry-run", "--json", "-f")
    assert json.loads(forecast.out)["bytes_out"] < 2000


def test_a_picture_of_one_column_is_encoded_without_a_warning(intfit):
    Image.new("RGB", (1, 20000), "white").save("in.png")
    assert intfit("encode", "in.png", "-e", 1).code == 0


def test_latents_of_a_drawn_picture_say_that_a_palette_is_better(intfit):
    window().save("in.png")
    run = intfit("encode", "in.png", "--field", "latent", "-e", 1)
    assert "it looks drawn: --field palette is exact, and mostly smaller" in run.err


def test_a_palette_that_is_asked_for_refuses_what_has_too_many_colours_or_bits(intfit):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3)).astype(np.uint8)
    Image.fromarray(noise).save("noise.png")
    run = intfit("encode", "noise.png", "--field", "palette")
    assert run.code != 0
    assert "at most 4096 colours" in run.err
    deep = Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80))
    with pytest.raises(UsageError, match="for 8 bits"):
        api.encode(png(deep), Settings(field="palette"))
    with pytest.raises(UsageError, match="--steps is for --field siren"):
        api.encode(png(window()), Settings(field="palette", steps=5))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (40, 1), (7, 30)])
def test_palettes_of_small_pictures_and_of_any_pixels_are_exact(size):
    width, height = size
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    pixels[: height // 2] &= 192
    data = api.encode(pixels, Settings(field="palette")).data
    decoded = Image.open(io.BytesIO(api.decode(data).data))
    assert (np.asarray(decoded.convert("RGB")) == pixels).all()


def test_a_photograph_of_few_colours_is_exact_as_a_palette_too():
    picture = Image.fromarray(np.asarray(photo(90, 70)) & 224)
    data = api.encode(png(picture), Settings(field="palette")).data
    assert (np.asarray(Image.open(io.BytesIO(api.decode(data).data))) == picture).all()


def test_damaged_palettes_are_refused_or_decoded_in_bounds():
    config = PaletteConfig(3, 40, 60, 5)
    rng = np.random.default_rng(2)
    for _ in range(20):
        data = rng.bytes(int(rng.integers(0, 90)))
        try:
            colours, indices = payload.unpack(data, config)
        except FileFormatError:
            continue
        assert colours.shape == (5, 3)
        assert indices.shape == (40, 60)
        assert 0 <= indices.min() <= indices.max() < 5
    for colours in (0, 4097, 2.0, "5"):
        with pytest.raises(FileFormatError):
            PaletteConfig(3, 400, 600, colours)
    with pytest.raises(FileFormatError, match="too small"):  # a large picture of few bytes
        payload.unpack(b"\0" * 400, PaletteConfig(3, 3000, 4000, 5))


def test_a_palette_of_indices_that_nothing_foretells_is_bounded_in_memory_and_by_its_bytes():
    config = PaletteConfig(1, 40, 60, 256)
    indices = np.random.default_rng(3).integers(0, 256, (40, 60)).astype(np.int32)
    colours = np.arange(256, dtype=np.uint8)[:, None]
    data = payload.pack(colours, indices, config)
    assert (payload.unpack(data, config)[1] == indices).all()
    with pytest.raises(FileFormatError):  # 2400 indices in 200 bytes
        payload.unpack(data[:4] + b"\xff" * 196, config)
    decisions = Decisions(2, most=8)
    for context in range(100):
        decisions.predict([context, context % 5], 0)
        decisions.learn(1)
    assert [len(table) for table in decisions._tables] == [4, 5]


def test_of_equal_contexts_in_a_diagonal_the_last_counts():
    histories = Histories(2, 4)
    histories.read(np.array([[3, 3, 3], [5, 6, 5]]))
    histories.learn(np.array([0, 0, 1]))
    ones = TRANSITIONS[1, 0]
    assert histories.read(np.array([[3], [5]])).tolist() == [[ones], [ones]]


def test_photographs_noise_and_flat_pictures_are_not_drawn():
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    flat = Image.new("RGB", (200, 200), (10, 20, 30))
    photograph = opened(str(SAMPLES / "photo.png"))
    for picture in (photograph, Image.fromarray(noise), flat, window().resize((60, 40))):
        assert image.read(png(picture)).lossless_size is None
    lossless = image.read(png(window())).lossless_size
    assert lossless == pytest.approx(lossless_webp(window()), rel=0.3)
