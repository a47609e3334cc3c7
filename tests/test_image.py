"""Images: what is kept, where the samples lie, and how a field is rendered at any size."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import on_arrays, photo
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from intfit.coding.header import CHANNELS
from intfit.media import image
from intfit.media.image import Target
from intfit.media.pixels import read_pixels, value_range
from intfit.signals import Grid

#: The least that makes a file: what is kept does not depend on how well it is fitted.
TINY = ("--field", "siren", "--steps", 2, "--width", 8, "--depth", 2, "--batch", 64)


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20 * 30).reshape(20, 30)


def with_alpha(picture: Image.Image) -> Image.Image:
    picture.putalpha(Image.fromarray(ramp(0, 255).astype(np.uint8)))
    return picture


def palette_with_alpha() -> dict:
    picture = photo(30, 20).quantize(12)
    return {"im": picture, "transparency": bytes([0, 40, 255, 130])}


#: A picture of every mode that is kept, 30 x 20: how to make it, and a format that holds it.
PICTURES: dict[str, tuple[str, Callable[[], dict]]] = {
    "1": (".png", lambda: {"im": photo(30, 20).convert("1")}),
    "L": (".png", lambda: {"im": photo(30, 20).convert("L")}),
    "LA": (".png", lambda: {"im": with_alpha(photo(30, 20).convert("L"))}),
    "RGB": (".bmp", lambda: {"im": photo(30, 20)}),
    "RGBA": (".png", lambda: {"im": with_alpha(photo(30, 20))}),
    "P": (".png", lambda: {"im": photo(30, 20).quantize(12)}),
    "P with a transparent colour": (
        ".png",
        lambda: {"im": photo(30, 20).quantize(12), "transparency": 3},
    ),
    "P with alpha": (".png", palette_with_alpha),
    "I;16": (".png", lambda: {"im": Image.fromarray(ramp(0, 65535).astype(np.uint16))}),
    "I;16 of a TIFF": (".tif", lambda: {"im": Image.fromarray(ramp(9, 5000).astype(np.uint16))}),
    "F": (".tif", lambda: {"im": Image.fromarray(ramp(-2.5, 7).astype(np.float32))}),
    "F up to 255": (".tif", lambda: {"im": Image.fromarray(ramp(-9, 255).astype(np.float32))}),
}


def file_of(im: Image.Image, suffix: str = ".png", **options: object) -> bytes:
    buffer = io.BytesIO()
    im.save(buffer, Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.copy()


def perfect(signal: Grid) -> Callable[[torch.Tensor], torch.Tensor]:
    """A field that knows the targets by heart, at the pixel centres and nowhere else."""
    height, width = signal.shape
    targets = torch.from_numpy(signal.targets())

    def evaluate(coords: torch.Tensor) -> torch.Tensor:
        size = torch.tensor([height, width])
        position = (coords.double() * max(height, width) + size - 1) / 2
        index = position.round().long()
        assert (position - index).abs().max() < 1e-3, "not at the centre of a pixel"
        return targets[index[:, 0] * width + index[:, 1]]

    return evaluate


def facts_of(width: int, height: int, channels: int = 1) -> dict:
    mode = {1: "L", 3: "RGB"}[channels]
    return {"mode": mode, "width": width, "height": height}


def rendered(evaluate: Callable, facts: dict, **target: object) -> np.ndarray:
    return image.render(on_arrays(evaluate), facts, Target(**target))


def waves(coords: torch.Tensor) -> torch.Tensor:
    """A field of three channels without any symmetry."""
    y, x = coords[:, 0], coords[:, 1]
    channels = [torch.sin(9 * x + 4 * y), torch.cos(7 * y - 2 * x), torch.sin(20 * x * y + 1)]
    return torch.stack(channels, dim=1)


@pytest.mark.parametrize("name", PICTURES)
def test_a_perfect_field_restores_every_pixel_in_its_mode(name):
    suffix, make = PICTURES[name]
    data = file_of(suffix=suffix, **make())
    signal = image.read(data)
    assert signal.notes == ()
    pixels = rendered(perfect(signal), signal.facts)
    before, after = (
        opened(data),
        opened(image.write(pixels, signal.facts, image.Target(), suffix)[0]),
    )
    assert (after.mode, after.size) == (before.mode, before.size)
    if before.mode == "P":
        # palettes may list a colour twice
        before, after = (picture.convert("RGBA") for picture in (before, after))
    before, after = np.asarray(before), np.asarray(after)
    tolerance = 1e-6 * np.ptp(before) if before.dtype == np.float32 else 0
    np.testing.assert_allclose(after, before, rtol=0, atol=tolerance)


@given(
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA", "I;16", "F"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    seed=st.integers(0, 1 << 16),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_pixels_of_any_size_and_type_come_back_from_a_perfect_field(mode, width, height, seed):
    rng = np.random.default_rng(seed)
    shape = (height, width, CHANNELS[mode])
    if mode == "F":
        pixels = rng.normal(scale=10.0 ** rng.integers(-3, 4), size=shape).astype(np.float32)
    else:
        depth = np.uint16 if mode == "I;16" else np.uint8
        pixels = rng.integers(0, np.iinfo(depth).max, shape, dtype=depth, endpoint=True)
    assume((pixels != pixels[:1, :1]).any())
    picture = Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)
    signal = image.read(file_of(picture, ".tif"))
    assert (signal.shape, signal.facts["mode"]) == ((height, width), mode)
    decoded = rendered(perfect(signal), signal.facts)
    assert decoded.dtype == pixels.dtype
    tolerance = 1e-6 * np.ptp(pixels) if mode == "F" else 0
    np.testing.assert_allclose(decoded, pixels, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", PICTURES)
def test_mode_and_size_survive_encode_and_decode(intfit, name):
    suffix, make = PICTURES[name]
    Path(f"picture{suffix}").write_bytes(file_of(suffix=suffix, **make()))
    assert intfit("encode", f"picture{suffix}", *TINY).code == 0
    assert intfit("decode", f"picture{suffix}.safetensors").code == 0
    with Image.open(f"picture{suffix}") as before, Image.open(f"picture.decoded{suffix}") as after:
        assert (after.mode, after.size, after.format) == (before.mode, (30, 20), before.format)
        assert ("transparency" in after.info) == ("transparency" in before.info)


def test_alpha_is_fitted_as_a_channel_of_its_own():
    signal = image.read(file_of(with_alpha(photo(30, 20))))
    assert signal.out_features == 4
    targets = signal.targets()
    wanted = np.floor(np.linspace(0, 255, 600)) / 255 * 2 - 1
    np.testing.assert_allclose(targets[:, 3], wanted, atol=1e-6)


def test_a_colour_declared_transparent_becomes_alpha():
    picture = photo(30, 20)
    key = picture.getpixel((4, 5))
    pixels, facts, _ = read_pixels(file_of(picture, transparency=key))
    assert facts["mode"] == "RGBA"
    assert (pixels[5, 4, 3], pixels[0, 0, 3]) == (0, 255)


def test_cmyk_is_converted_and_a_note_says_so(intfit):
    picture = photo(30, 20).convert("CMYK")
    picture.save("press.tif")
    run = intfit("encode", "press.tif", *TINY)
    assert run.code == 0
    assert "colour mode CMYK converted to RGB" in run.err
    pixels, facts, _ = read_pixels(Path("press.tif").read_bytes())
    assert facts["mode"] == "RGB"
    np.testing.assert_array_equal(pixels, np.asarray(picture.convert("RGB")))


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """Pillow cannot write 16-bit colour; pixels ``[H, W, 3]``."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_colour_of_16_bits_is_read_as_8_and_a_note_says_so():
    deep = np.asarray(photo(6, 4)).astype(np.uint16) * 257
    pixels, facts, notes = read_pixels(png_of_16_bits(deep))
    assert notes == ("16-bit colour read as 8-bit",)
    assert value_range(facts) == (0, 255)
    np.testing.assert_array_equal(pixels, np.asarray(photo(6, 4)))


UPRIGHT = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels.swapaxes(0, 1), 2),
    8: np.rot90,
}


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_upright_by_its_exif_orientation(orientation):
    picture = photo(30, 20)
    pixels, facts, _ = read_pixels(file_of(picture, exif=oriented(orientation)))
    upright = UPRIGHT[orientation](np.asarray(picture))
    assert (facts["height"], facts["width"]) == upright.shape[:2]
    np.testing.assert_array_equal(pixels, upright)


def test_a_decoded_picture_is_not_turned_again(intfit):
    photo(30, 20).save("camera.jpg", exif=oriented(6))
    assert intfit("encode", "camera.jpg", *TINY).code == 0
    assert intfit("decode", "camera.jpg.safetensors", "-o", "out.jpg").code == 0
    with Image.open("out.jpg") as decoded:
        assert decoded.size == (20, 30)
        assert 0x0112 not in decoded.getexif()


def swapped_profile() -> bytes:
    """An ICC profile that is sRGB but for its red and green primaries, which change places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    data[84:100] = bytes(16)  # the profile's own checksum
    return bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


def exchanged(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture).copy()
    pixels[..., :2] = pixels[..., 1::-1]
    return pixels


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_converted_to_srgb_by_the_profile_and_a_note_says_so(alpha):
    picture = with_alpha(photo(30, 20)) if alpha else photo(30, 20)
    pixels, facts, notes = read_pixels(file_of(picture, icc_profile=swapped_profile()))
    assert notes == ("colours converted from 'Swap built-in' to sRGB",)
    assert facts["mode"] == picture.mode
    # lcms rounds in between
    np.testing.assert_allclose(pixels.astype(int), exchanged(picture), atol=2)


def test_an_srgb_picture_is_taken_as_it_is():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels, _, notes = read_pixels(file_of(photo(30, 20), icc_profile=srgb))
    assert notes == ()
    np.testing.assert_array_equal(pixels, np.asarray(photo(30, 20)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_converting_colours_does_not_lose_the_orientation(suffix):
    picture = Image.new("RGB", (30, 20), (200, 40, 90))
    picture.paste((60, 220, 90), (0, 0, 30, 10))
    data = file_of(picture, suffix, icc_profile=swapped_profile(), exif=oriented(6))
    pixels, facts, _ = read_pixels(data)
    assert (facts["width"], facts["height"]) == (20, 30)
    # the top of the stored picture is the right of the upright one
    np.testing.assert_allclose(pixels[15, [5, 15]], [[40, 200, 90], [220, 60, 90]], atol=8)


def test_converting_colours_does_not_lose_the_transparent_colour():
    picture = photo(30, 20)
    key = picture.getpixel((4, 5))
    data = file_of(picture, transparency=key, icc_profile=swapped_profile())
    pixels, facts, _ = read_pixels(data)
    assert facts["mode"] == "RGBA"
    assert (pixels[5, 4, 3], pixels[0, 0, 3]) == (0, 255)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (60, 24), (24, 60), (40, 1)])
def test_an_analytic_field_is_reproduced_at_the_pixel_centres(width, height):
    def grey(coords: torch.Tensor) -> torch.Tensor:
        longest = max(width, height)
        row = (coords[:, :1] * longest + height - 1) / 2
        column = (coords[:, 1:] * longest + width - 1) / 2
        return (1 + 3 * column + row) / 255 * 2 - 1

    pixels = rendered(grey, facts_of(width, height))
    rows, columns = np.mgrid[0:height, 0:width]
    np.testing.assert_array_equal(pixels[..., 0], 1 + 3 * columns + rows)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("width", "height"), [(60, 24), (24, 60)])
def test_coordinates_have_one_scale_in_both_directions(width, height, scale):
    seen = []

    def evaluate(coords: torch.Tensor) -> torch.Tensor:
        seen.append(coords.double())
        return coords[:, :1]

    rendered(evaluate, facts_of(width, height), scale=scale)
    y, x = (axis.unique() for axis in torch.cat(seen).T)
    assert (len(y), len(x)) == (scale * height, scale * width)
    step = 2 / 60 / scale
    for axis, length in ((y, height), (x, width)):
        torch.testing.assert_close(axis.diff(), torch.full_like(axis[1:], step), rtol=0, atol=1e-6)
        assert axis[-1].item() == pytest.approx(length / 60 - step / 2, abs=1e-6)
        assert axis[0].item() == pytest.approx(step / 2 - length / 60, abs=1e-6)


@pytest.mark.parametrize("region", [(0, 0, 37, 23), (5, 7, 20, 11), (36, 22, 1, 1), (0, 3, 37, 1)])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_region_is_the_crop_of_the_whole_bit_for_bit(region, scale):
    facts = facts_of(37, 23, channels=3)
    whole = rendered(waves, facts, scale=scale)
    x, y, w, h = (int(scale * number) for number in region)
    part = rendered(waves, facts, scale=scale, region=region)
    np.testing.assert_array_equal(part, whole[y : y + h, x : x + w])


def test_region_size_and_scale_on_the_command_line(intfit, picture):
    assert intfit("encode", picture, "--field", "siren", "--steps", 40, "--batch", 512).code == 0

    def decoded(*options: object) -> np.ndarray:
        run = intfit("decode", "photo.png.safetensors", "-f", "-o", "out.png", *options)
        assert run.code == 0, run.err
        with Image.open("out.png") as out:
            return np.asarray(out)

    whole = decoded()
    assert whole.shape == (32, 48, 3)
    np.testing.assert_array_equal(decoded("--scale", 1), whole)
    part = decoded("--scale", 1, "--region", "5,7,20,11")
    np.testing.assert_array_equal(part, whole[7:18, 5:25])
    assert decoded("--scale", 2).shape == (64, 96, 3)
    assert decoded("--scale", 0.5).shape == (16, 24, 3)
    assert decoded("--size", "70x10").shape == (10, 70, 3)
    assert decoded("--size", "9x8", "--region", "0,0,3,4").shape == (8, 9, 3)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 4])
def test_a_smaller_picture_averages_instead_of_aliasing(scale):
    """A chessboard of single pixels: point sampling would keep one of its colours, or a moiré."""

    def chessboard(coords: torch.Tensor) -> torch.Tensor:
        squares = torch.floor((coords + 1) * 32).sum(dim=1, keepdim=True)
        return 1 - 2 * (squares % 2)

    facts = facts_of(64, 64)
    assert set(np.unique(rendered(chessboard, facts))) == {0, 255}
    small = rendered(chessboard, facts, scale=scale)
    assert small.shape == (64 * scale, 64 * scale, 1)
    assert set(np.unique(small)) <= {127, 128}


def test_a_smaller_picture_of_any_size_keeps_every_mean_in_its_place():
    def slope(coords: torch.Tensor) -> torch.Tensor:
        return coords[:, 1:]

    small = rendered(slope, facts_of(100, 50), size=(7, 3))
    centres = (2 * np.arange(7) + 1) / 7 - 1
    np.testing.assert_allclose(small[..., 0], np.tile(127.5 * (centres + 1), (3, 1)), atol=0.501)


def test_a_picture_with_alpha_can_be_written_as_jpeg(intfit):
    with_alpha(photo(30, 20)).save("cut.png")
    assert intfit("encode", "cut.png", *TINY).code == 0
    assert intfit("decode", "cut.png.safetensors", "-o", "out.jpg").code == 0
    with Image.open("out.jpg") as decoded:
        assert (decoded.format, decoded.mode, decoded.size) == ("JPEG", "RGB", (30, 20))


def test_deep_grey_is_scaled_not_clipped_where_a_format_holds_8_bits():
    values = ramp(0, 65535).astype(np.uint16)
    facts = facts_of(30, 20) | {"mode": "I;16"}
    decoded = opened(image.write(values[..., None], facts, image.Target(), ".bmp")[0])
    assert decoded.mode == "L"
    np.testing.assert_allclose(np.asarray(decoded, float), values / 257, atol=0.501)


@pytest.mark.parametrize("options", [("-o", "out.xyz"), ("-o", "out.png", "--format", "xyz")])
def test_a_format_nobody_knows_is_refused(intfit, picture, options):
    assert intfit("encode", picture, *TINY).code == 0
    run = intfit("decode", "photo.png.safetensors", *options)
    assert run.code == 1
    assert "cannot write images as '.xyz': try .png" in run.err
    assert not Path(options[1]).exists()


def test_large_pictures_are_written_quickly_without_loss(monkeypatch):
    pixels = np.asarray(photo(90, 60))
    usual, _ = image.write(pixels, {"mode": "RGB"}, Target(), ".png")
    monkeypatch.setattr(image, "QUICK_PNG", 1)
    quick, _ = image.write(pixels, {"mode": "RGB"}, Target(), ".png")
    assert quick != usual
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(quick))), pixels)
