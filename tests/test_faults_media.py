"""Faults of pictures and recordings that people found, each of them as a kind."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import photo, tone
from PIL import Image, ImageCms, ImageFile

from intfit import api, metrics
from intfit.codecs import codec_of
from intfit.codecs.mdct.config import LEAD, LONGEST, MdctConfig
from intfit.codecs.mdct.transform import analyse
from intfit.coding import container
from intfit.coding.facts import check_facts
from intfit.errors import FileFormatError, MediaError
from intfit.limits import Limits
from intfit.media import audio, image, sniff
from intfit.media import pixels as pixels_module
from intfit.media.pixels import open_image, read_pixels
from intfit.settings import Settings
from intfit.signals import Floats


def wav(samples: np.ndarray, rate: int = 8000, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


# --- positions -----------------------------------------------------------------------------------


def latents_of(samples: Floats) -> api.Evaluate:
    """The field of samples ``[N]`` whose latents are not rounded."""
    config = MdctConfig(1, len(samples), 0)
    padded = np.zeros((config.padded_frames(), 1), np.float32)
    padded[LEAD : LEAD + len(samples), 0] = samples
    sizes = [LONGEST] * (len(padded) // LONGEST)
    while (left := len(padded) - sum(sizes)) > 0:
        sizes.append(1 << (left.bit_length() - 1))
    tensors = {
        "channels": np.ones((1, 1), np.float32),
        "blocks": np.repeat(sizes, np.array(sizes) // 256).astype(np.float32),
        "latents": analyse(padded, sizes),
    }
    return codec_of("latent", "audio").decode(tensors, config, "cpu")


def test_ten_minutes_end_as_good_as_they_begin():
    rate, seconds = 44100, 600
    t = np.arange(rate * seconds, dtype=np.float64) / rate
    samples = (0.4 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 7777 * t)).astype("f4")
    field = latents_of(samples)
    facts = {"frames": len(samples), "channels": 1, "sample_rate": rate, "peak": 1.0}
    for start in (0, seconds / 2, seconds - 1):
        part = audio.render(field, facts, audio.Target(start=start, duration=1))
        first = round(start * rate)
        assert metrics.snr(samples[first : first + rate, None], part) > 100
    between = audio.render(
        field, facts, audio.Target(start=seconds - 1, duration=0.5, sample_rate=2 * rate)
    )[:, 0]
    # the centres of cells half as wide lie a quarter of a sample off
    t = seconds - 1 + (np.arange(rate) - 0.5) / (2 * rate)
    wanted = 0.4 * np.sin(2 * np.pi * 440 * t) + 0.3 * np.sin(2 * np.pi * 7777 * t)
    assert metrics.snr(wanted[100:], between[100:]) > 50


def test_a_field_of_a_recording_takes_float32_and_gives_the_samples_in_float64():
    found = api.load(api.encode(wav(tone(2))).data)
    count = found.facts["frames"]
    centres = ((2 * np.arange(count) + 1 - count) / count)[:, None]
    rendered = api.render(found, audio.Target())
    peak = np.float32(found.facts["peak"])
    np.testing.assert_array_equal(found(centres).clip(-1, 1) * peak, rendered)
    rough = found(centres.astype(np.float32)).clip(-1, 1) * peak
    np.testing.assert_allclose(rough, rendered, atol=1e-3)


def test_pixels_of_a_large_picture_are_told_apart_at_any_scale():
    """A row of 40,000 pixels: float32 cannot tell a twentieth of one from another at its end."""

    def where(coords: np.ndarray) -> np.ndarray:
        return coords[:, 1:]

    facts = {"mode": "F", "width": 40_000, "height": 1, "low": -1.0, "high": 1.0}
    seen = []
    image.render(
        lambda coords: (seen.append(coords), where(coords))[1],
        facts,
        image.Target(region=(39_990.0, 0.0, 10.0, 1.0), scale=16.0),
    )
    steps = np.diff(np.unique(np.concatenate(seen)[:, 1]))
    np.testing.assert_allclose(steps, 2 / 40_000 / 16, rtol=1e-6)


def test_the_snr_that_encode_reports_is_that_of_the_decoded_file():
    data = wav(tone(1.0, 44100, 2), 44100)
    found = api.encode(data, Settings(quality=80), suffix=".wav")
    decoded = api.decode(api.load(found.data), suffix=".wav").data
    samples = [soundfile.read(io.BytesIO(file), always_2d=True)[0] for file in (data, decoded)]
    assert metrics.snr(*samples) == pytest.approx(found.distortion, abs=0.05)


# --- pictures ------------------------------------------------------------------------------------


def file_of(im: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    im.save(buffer, name, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.copy()


def deep(low: int = 0, high: int = 65535, width: int = 48, height: int = 32) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.5 + 0.3 * np.sin(x / 5) + 0.2 * np.cos(y / 4)
    return (low + (high - low) * (wave - wave.min()) / np.ptp(wave)).round().astype(np.uint16)


def tiff(pixels: np.ndarray, *, sample_format: int = 1) -> bytes:
    """An uncompressed TIFF of grey ``[H, W]``, in the byte order of its dtype."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    height, width = pixels.shape
    bits, size = 8 * pixels.itemsize, pixels.nbytes
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 134, 277: 1, 278: height}
    tags |= {279: size, 339: sample_format}
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    table = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    return head + table + bytes(4) + pixels.tobytes()


def test_big_endian_grey_is_read_as_it_is_and_verified_by_another_way(monkeypatch):
    pixels = deep(0, 37920)
    data = tiff(pixels.astype(">u2"))
    read, facts, notes = read_pixels(data)
    np.testing.assert_array_equal(read[..., 0], pixels)
    assert (facts["mode"], facts["low"], facts["high"], notes) == ("I;16", 0, 37920, ())
    found = api.encode(data, Settings(effort=1))
    assert api.verify(api.load(found.data), data)["psnr"] == pytest.approx(
        found.distortion, abs=0.1
    )
    # a reader that is wrong is found out
    wrong = np.minimum(read, 255), facts | {"low": 0.0, "high": 255.0}, ()
    monkeypatch.setattr(image, "read_pixels", lambda data, limits: wrong)
    fooled = api.encode(data, Settings(effort=1))
    assert api.verify(api.load(fooled.data), data)["psnr"] < 10


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".jpg", ".bmp", ".tga", ".png"])
def test_deep_grey_becomes_grey_in_formats_of_8_bits_and_a_note_says_so(suffix):
    pixels = deep()
    facts = {"mode": "I;16", "width": 48, "height": 32}
    data, notes = image.write(pixels[..., None], facts, image.Target(), suffix)
    written = opened(data)
    if suffix == ".png":
        np.testing.assert_array_equal(np.asarray(written), pixels)
        assert notes == ()
        return
    grey = np.asarray(written.convert("L"), float)
    np.testing.assert_allclose(grey, pixels / 257, atol=6)
    assert notes == (f"{suffix} does not keep depth beyond 8 bits",)


def test_the_quality_of_deep_grey_is_relative_to_the_range_in_use():
    narrow, wide = deep(171, 1700), (deep(171, 1700) - 171) / 1529 * 255
    low, shallow = (
        file_of(Image.fromarray(pixels)) for pixels in (narrow, wide.round().astype(np.uint8))
    )
    found = [api.encode(data, Settings(effort=1)) for data in (low, shallow)]
    assert found[0].distortion == pytest.approx(found[1].distortion, abs=0.5)
    field = api.load(found[0].data)
    assert api.verify(field, low)["psnr"] == pytest.approx(found[0].distortion, abs=0.1)
    decoded = np.asarray(opened(api.decode(field).data), float)
    assert 20 * np.log10(1529 / np.sqrt(np.mean((decoded - narrow) ** 2))) > 30


def test_files_of_deep_grey_without_a_range_have_all_of_it():
    facts = {"mode": "I;16", "width": 2, "height": 1}
    check_facts("image", facts)
    assert image.value_range(facts) == (0, 65535)
    for wrong in ({"low": 1.0}, {"low": 3.0, "high": 2.0}, {"low": 0, "high": 9}):
        with pytest.raises(FileFormatError):
            check_facts("image", facts | wrong)


@pytest.mark.parametrize("sample_format", [1, 2])
def test_32_bit_integers_keep_their_sign(sample_format):
    values = np.array([[1, 1 << 31], [7, (1 << 32) - 256]], np.uint32)
    pixels, facts, _ = read_pixels(tiff(values, sample_format=sample_format))
    wanted = values if sample_format == 1 else values.view(np.int32)
    np.testing.assert_array_equal(pixels[..., 0], wanted.astype(np.float32))
    assert facts["mode"] == "F"


def test_a_transparent_value_is_kept_or_noted():
    grey = Image.fromarray((deep() >> 8).astype(np.uint8))
    pixels, facts, notes = read_pixels(file_of(grey.convert("1"), transparency=1))
    assert (facts["mode"], notes) == ("LA", ())
    np.testing.assert_array_equal(pixels[..., 1], 255 - pixels[..., 0])
    _, facts, notes = read_pixels(file_of(Image.fromarray(deep()), transparency=500))
    assert (facts["mode"], notes) == ("I;16", ("the transparent value of mode I;16 is not kept",))


def test_alpha_beside_a_palette_is_kept():
    picture = photo(30, 20).quantize(12).convert("PA")
    alpha = Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8))
    picture.putalpha(alpha)
    notes: list[str] = []
    upright = pixels_module._normalise(picture, notes)
    assert (upright.mode, notes) == ("RGBA", ["colour mode PA converted to RGBA"])
    np.testing.assert_array_equal(np.asarray(upright)[..., 3], np.asarray(alpha))


def profile(*, linear: bool, name: str = "sRGB built-in") -> bytes:
    """An ICC profile of sRGB's colours, its curves straight or sRGB's."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if linear:  # each curve becomes one of no points
        for tag in (b"rTRC", b"gTRC", b"bTRC"):
            place = data.index(tag)
            start = int.from_bytes(data[place + 4 : place + 8], "big")
            data[start : start + 12] = b"curv" + bytes(8)
            data[place + 8 : place + 12] = (12).to_bytes(4, "big")
    data[84:100] = bytes(16)  # its checksum
    return bytes(data).replace(
        "sRGB built-in".encode("utf-16-be"), name.ljust(13)[:13].encode("utf-16-be")
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_what_a_profile_does_counts_and_not_its_name(mode):
    picture = photo(30, 20).convert(mode)
    plain = np.asarray(picture)
    pixels, _, notes = read_pixels(file_of(picture, icc_profile=profile(linear=True)))
    assert notes == ("colours converted from 'sRGB built-in' to sRGB",)
    light = plain[..., :3] / 255 if mode != "L" else plain[..., None] / 255
    bright = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light) * 255
    np.testing.assert_allclose(pixels[..., : light.shape[2]], bright, atol=2)
    data = file_of(picture, icc_profile=profile(linear=False, name="Camera 7"))
    pixels, _, notes = read_pixels(data)
    assert notes == ()
    np.testing.assert_array_equal(pixels.squeeze(), plain)


def one_colour(mode: str) -> bytes:
    size = (70, 50)
    if mode == "I;16":
        return file_of(Image.fromarray(np.full(size[::-1], 777, np.uint16)))
    colours = {"1": 1, "L": 77, "LA": (9, 200), "RGB": (13, 200, 255), "RGBA": (1, 2, 3, 77)}
    if mode == "F":
        return file_of(Image.new("F", size, 3.25), "TIFF")
    if mode == "P":
        return file_of(Image.new("RGB", size, (1, 2, 3)).quantize(3))
    return file_of(Image.new(mode, size, colours[mode]))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "F"])
def test_one_colour_takes_few_bytes_and_is_kept_exactly(mode):
    data = one_colour(mode)
    found = api.encode(data)
    assert len(found.data) < 300
    assert found.distortion == metrics.IDENTICAL_DB
    field = api.load(found.data)
    assert api.verify(field, data)["psnr"] == metrics.IDENTICAL_DB
    again = api.decode(field, suffix=".tif" if mode == "F" else ".png").data
    assert opened(again).mode == opened(data).mode
    np.testing.assert_array_equal(
        np.asarray(opened(again).convert("RGBA")), np.asarray(opened(data).convert("RGBA"))
    )
    half = api.render(field, image.Target(scale=0.5))
    assert half.shape[:2] == (25, 35)


@pytest.mark.parametrize("mode", ["L", "RGB", "F", "I;16"])
def test_one_pixel_is_a_picture(mode):
    data = file_of(opened(one_colour(mode)).crop((0, 0, 1, 1)), "TIFF")
    found = api.encode(data)
    assert len(found.data) < 300
    scores = api.verify(api.load(found.data), data)
    assert scores.pop("psnr") == metrics.IDENTICAL_DB
    assert set(scores.values()) == {None}


@pytest.mark.parametrize("reach", [1e-39, 1e-44, 1.5e38])
def test_ranges_at_the_ends_of_float32_are_fitted(reach):
    values = (deep() / 65535 * reach).astype(np.float32)
    data = file_of(Image.fromarray(values), "TIFF")
    found = api.encode(data, Settings(effort=1))
    assert found.distortion > 20
    assert api.verify(api.load(found.data), data)["psnr"] > 20


@pytest.mark.parametrize(
    "head", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"SIMPLE  ="]
)
def test_formats_that_run_programs_or_unpack_without_bound_are_not_read(intfit, head, monkeypatch):
    Path("picture.png").write_bytes(head.ljust(3000, b" "))
    monkeypatch.setattr("subprocess.Popen", lambda *args, **options: pytest.fail("runs a program"))
    for options in ((), ("--kind", "image")):
        run = intfit("encode", "picture.png", *options)
        assert run.code == 1
        assert len(run.err.splitlines()) == 1
    assert ("PostScript" in run.err) == head.startswith(b"%!")


def test_pixels_are_counted_before_they_are_decoded_and_the_limit_can_be_lifted(monkeypatch):
    data = file_of(Image.new("1", (15000, 13500)))
    assert len(data) < 50_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decodes pixels"))
    with pytest.raises(MediaError, match="more than the 2e"):
        read_pixels(data)
    for name in ("PNG", "GIF", "BMP"):
        large = file_of(Image.new("1", (15000, 13500)), name)
        assert open_image(large, limits=Limits(3)).size == (15000, 13500)


def test_an_icon_keeps_its_size_or_the_summary_says_which_it_has(intfit):
    photo(48, 32).save("small.png")
    photo(320, 200).save("large.png")
    for name, size in (("small", (48, 32)), ("large", (256, 160))):
        assert intfit("encode", f"{name}.png", "--effort", 1).code == 0
        run = intfit("decode", f"{name}.png.safetensors", "-o", f"{name}.ico")
        assert run.code == 0, run.err
        assert opened(Path(f"{name}.ico").read_bytes()).size == size
        assert f"{size[0]} x {size[1]}  " in run.err
        assert ("reduces it to 256 x 160" in run.err) == (name == "large")


# --- the distortion of the file one gets ---------------------------------------------------------


def noisy_photo(mode: str) -> bytes:
    picture = photo(96, 64)
    grain = np.random.default_rng(0).normal(0, 12, (64, 96, 3))
    rough = Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))
    if mode == "P":
        return file_of(rough.quantize(12))
    if mode == "P with alpha":
        return file_of(rough.quantize(12), transparency=bytes([0, 40, 255, 130]))
    if mode == "I;16":
        return file_of(Image.fromarray((np.asarray(rough.convert("L")) // 40).astype(np.uint16)))
    return file_of(rough.convert(mode))


def psnr_of_decoded(data: bytes, encoded: api.Encoded, suffix: str = ".png") -> float:
    """The PSNR of a decoded picture, by Pillow alone."""
    decoded = api.decode(api.load(encoded.data), suffix=suffix).data
    before, after = (
        np.asarray(p if p.mode == "I;16" else p.convert("RGBA" if "A" in mode else "RGB"))
        for p in (opened(data), opened(decoded))
        for mode in ["RGBA" if opened(data).has_transparency_data else "RGB"]
    )
    peak = 255.0 if before.dtype == np.uint8 else float(np.ptp(before))
    return metrics.psnr(before, after, peak=peak)


@pytest.mark.parametrize("mode", ["1", "P", "P with alpha", "I;16", "L", "RGB"])
@pytest.mark.parametrize("quality", [50, 100])
def test_the_psnr_reported_is_that_of_the_decoded_file(mode, quality):
    data = noisy_photo(mode)
    found = api.encode(data, Settings(quality=quality, effort=1))
    field = api.load(found.data)
    assert psnr_of_decoded(data, found) == pytest.approx(found.distortion, abs=0.1)
    assert api.verify(field, data)["psnr"] == pytest.approx(found.distortion, abs=0.1)
    told = container.load(found.data)[0].header.fit["distortion"]
    assert told == pytest.approx(found.distortion, abs=1e-3)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_a_goal_is_reached_by_the_file_one_gets(mode):
    data = noisy_photo(mode)
    found = api.encode(data, Settings(target_psnr=24, effort=1))
    assert psnr_of_decoded(data, found) >= 24


@pytest.mark.parametrize("mode", ["1", "P"])
def test_the_psnr_reported_of_a_siren_is_that_of_the_decoded_file(mode):
    data = noisy_photo(mode)
    found = api.encode(data, Settings(field="siren", steps=60, width=16, batch=512))
    assert psnr_of_decoded(data, found) == pytest.approx(found.distortion, abs=0.1)


SAMPLE_TYPES = ["MS_ADPCM", "IMA_ADPCM", "PCM_U8", "ULAW", "GSM610", "PCM_16", "FLOAT"]


@pytest.mark.parametrize("subtype", SAMPLE_TYPES)
@pytest.mark.parametrize("quality", [50, 100])
def test_the_snr_reported_is_that_of_the_decoded_file(subtype, quality):
    hiss = np.random.default_rng(0).normal(0, 0.01, (8000, 1))
    for level in (1.0, 0.01):
        data = wav(level * (tone(1.0) + hiss), subtype=subtype)
        found = api.encode(data, Settings(quality=quality), suffix=".wav")
        field = api.load(found.data)
        decoded = api.decode(field, suffix=".wav").data
        before, after = (
            soundfile.SoundFile(io.BytesIO(file)).read(9000, always_2d=True)
            for file in (data, decoded)
        )
        after = np.pad(after, ((0, len(before)), (0, 0)))[: len(before)]  # codecs have frames
        assert metrics.snr(before, after) == pytest.approx(found.distortion, abs=0.15)
        measured = api.verify(field, data, suffix=".wav")["snr"]
        assert measured == pytest.approx(found.distortion, abs=0.15)


# --- recordings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 800, 200_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_takes_few_bytes_and_is_kept_exactly(frames, channels):
    data = wav(np.zeros((frames, channels)))
    found = api.encode(data)
    assert len(found.data) < 300
    assert found.distortion == metrics.IDENTICAL_DB
    field = api.load(found.data)
    scores = api.verify(field, data)
    assert (scores["snr"], scores["log_spectral_distance"]) == (metrics.IDENTICAL_DB, 0.0)
    assert scores["zimtohrli"] in (5.0, None)
    assert not soundfile.read(io.BytesIO(api.decode(field).data))[0].any()


def test_one_sample_is_a_recording():
    data = wav(np.array([[0.5, -0.25]]))
    found = api.encode(data)
    assert len(found.data) < 300
    assert api.verify(api.load(found.data), data)["snr"] > 40


@pytest.mark.parametrize("options", [(), ("--field", "siren", "--steps", 20, "--width", 8)])
def test_nothing_to_fit_does_not_end_a_batch(intfit, options):
    photo(8, 8).resize((1, 1)).save("pixel.png")
    Image.new("RGB", (20, 10), (1, 2, 3)).save("colour.png")
    Path("silence.wav").write_bytes(wav(np.zeros((80, 1))))
    Path("click.wav").write_bytes(wav(np.ones((1, 1)) / 2))
    names = ["pixel.png", "colour.png", "silence.wav", "click.wav"]
    run = intfit("encode", *names, *options)
    assert run.code == 0, run.err
    run = intfit("decode", *(name + ".safetensors" for name in names))
    assert run.code == 0, run.err


@pytest.mark.parametrize("peak", [1e-39, 1e-44, 1e38])
def test_peaks_at_the_ends_of_float32_are_fitted(peak):
    values = (tone() / np.abs(tone()).max() * peak).astype(np.float32)
    data = wav(values, subtype="FLOAT")
    found = api.encode(data, suffix=".wav")
    assert found.distortion > 15
    assert api.verify(api.load(found.data), data, suffix=".wav")["snr"] > 10


@pytest.mark.parametrize(
    ("rate", "suffix", "held"),
    [
        (44100, ".opus", 48000),
        (11025, ".opus", 12000),
        (96000, ".opus", 48000),
        (48000, ".opus", 48000),
        (7999, ".mp3", 8000),
        (96000, ".mp3", 48000),
    ],
)
def test_a_rate_that_a_format_does_not_hold_is_resampled_and_said(rate, suffix, held):
    found = api.load(api.encode(wav(tone(0.5, rate), rate)).data)
    decoded = api.decode(found, suffix=suffix)
    Path(f"out{suffix}").write_bytes(decoded.data)
    written = soundfile.info(f"out{suffix}")
    assert written.subtype == {".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}[suffix]
    assert written.samplerate == held
    assert written.duration == pytest.approx(0.5, abs=0.1)
    noted = f"resampled from {rate} Hz to {held} Hz, which {suffix} holds"
    assert (noted in decoded.notes) == (rate != held)
    assert decoded.size == f"{written.duration:.1f} s at {held} Hz"


def chunk(name: bytes, body: bytes, order: str = "<I") -> bytes:
    return name + struct.pack(order, len(body)) + body


def odd_recordings() -> dict[str, bytes]:
    """Sound files that players play; all but one hold 2000 samples."""

    def made(name: str, subtype: str = "PCM_16") -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, tone(), 8000, format=name, subtype=subtype)
        return buffer.getvalue()

    plain, aiff, caf, au, flac = (made(name) for name in ("WAV", "AIFF", "CAF", "AU", "FLAC"))
    text = chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"a" * 300_000))
    info = caf.index(b"data")
    counted = flac.index(b"fLaC") + 18
    declared = int.from_bytes(flac[counted : counted + 8], "big") >> 36 << 36

    def flac_of(frames: int) -> bytes:
        return flac[:counted] + (declared | frames).to_bytes(8, "big") + flac[counted + 8 :]

    return {
        "wav with bytes after it": plain + b"x" * 37,
        "wav of no size, from a pipe": plain[:4] + bytes(4) + plain[8:40] + bytes(4) + plain[44:],
        "wav of the greatest size": plain[:40] + b"\xff" * 4 + plain[44:],
        "wav with large text before": plain[:36] + text + plain[36:],
        "wav behind a tag": b"ID3\x03\0\0\0\0\x07\x68" + bytes(1000) + plain,
        "aiff with large text": aiff[:12] + chunk(b"ANNO", b"a" * 300_000, ">I") + aiff[12:],
        "aiff with bytes after it": aiff + b"zzz",
        "caf of unknown size": caf[: info + 4] + b"\xff" * 8 + caf[info + 12 :],
        "caf with large text": caf[:info] + chunk(b"info", b"a" * 300_000, ">Q") + caf[info:],
        "au of no size": au[:8] + bytes(4) + au[12:],
        "flac with a tag after it": flac + b"TAG" + bytes(125),
        "flac that says more": flac_of(9000),
        "flac that says nothing": flac_of(0),
        "flac without end": flac_of((1 << 36) - 1),
        "a codec that cannot seek": made("AIFF", "GSM610"),
        "another": made("XI", "DPCM_16"),
        "one whose seek fails": made("AIFF", "DWVW_16"),
    }


@pytest.mark.parametrize("name", odd_recordings())
def test_what_libsndfile_can_read_is_read(name):
    data = odd_recordings()[name]
    assert sniff(data, "") == "audio"
    values, facts = audio.read_samples(data)
    assert facts["frames"] == 2000
    bound = 0.02 if "seek" in name or name == "another" else 1e-4
    if "GSM610" not in facts["subtype"]:
        np.testing.assert_allclose(values[:, 0], tone()[:, 0], atol=bound)


def test_an_empty_recording_is_refused_for_what_it_is(intfit):
    plain = wav(np.zeros((0, 1)))
    Path("empty.wav").write_bytes(plain + chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"abcd")))
    run = intfit("encode", "empty.wav")
    assert run.code == 1
    assert "zero length" in run.err


def test_frames_are_counted_while_they_are_read():
    flac = odd_recordings()["flac without end"]
    with pytest.raises(MediaError, match="frames are more than"):
        audio.read_samples(flac, limits=Limits(1e-6))


# --- memory --------------------------------------------------------------------------------------


def with_facts(data: bytes, **facts: object) -> bytes:
    """A file whose header says otherwise, its checksum right."""
    layout, stored = container.load(data)
    layout.header.facts.update(facts)
    return container.dump(layout.header, stored)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decoding_takes_no_more_memory_than_is_counted_on(mode):
    found = api.encode(file_of(photo(500, 400).convert(mode)), Settings(effort=1, quality=30))
    tracemalloc.start()
    field = api.load(found.data)
    api.render(field, image.Target())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    samples = 500 * 400 * len(mode)
    assert peak < image.BYTES_DECODING * samples + (32 << 20)  # and a block


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"width": 15_000, "height": 15_000}, "pixels"),
        ({"width": 13_000, "height": 13_000}, "bytes of memory"),
    ],
)
def test_a_small_file_that_declares_a_large_picture_is_refused_unless_allowed(facts, what):
    hostile = with_facts(api.encode(file_of(photo(64, 64))).data, **facts)
    tracemalloc.start()
    with pytest.raises(MediaError, match=f"{what} are more than .* --limit"):
        api.load(hostile)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_picture_that_encoding_has_no_memory_for_is_refused_before_it_is_decoded():
    with pytest.raises(MediaError, match=r"bytes of memory are more than .* --limit"):
        read_pixels(file_of(Image.new("1", (13_300, 13_300))))


def test_transparency_is_kept_where_a_format_can_and_otherwise_noted():
    levels = np.arange(16, dtype=np.uint8)
    palette = np.stack([levels * 16, 255 - levels * 16, levels * 7, levels * 17], axis=1)
    pixels = palette[np.add.outer(np.arange(12), np.arange(16)) % 16]
    facts = {"mode": "PA", "height": 12, "width": 16, "palette": palette.tobytes().hex()}
    for suffix in (".png", ".tif", ".tga", ".ico"):
        written, notes = image.write(pixels, facts, image.Target(), suffix)
        assert notes == ()
        np.testing.assert_array_equal(opened(written).convert("RGBA"), pixels)
    for suffix, wanted in {
        ".gif": "keeps only part of the transparency",
        ".bmp": "does not keep transparency",
        ".eps": "does not keep transparency",  # that is written, and not read again
        ".palm": "does not keep transparency",
    }.items():
        _, notes = image.write(pixels, facts, image.Target(), suffix)
        assert notes == (f"{suffix} {wanted}",)
    deep = {"mode": "I;16", "height": 12, "width": 16}
    _, notes = image.write(pixels[..., :1].astype("u2") * 257, deep, image.Target(), ".pdf")
    assert notes == (".pdf does not keep depth beyond 8 bits",)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("1", 1), ("I;16", 1)])
def test_grey_is_written_in_colour_where_a_format_holds_no_grey(mode, channels):
    pixels = np.random.default_rng(0).integers(0, 2, (12, 16, channels)).astype(np.uint8) * 255
    given = pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels
    facts = {"mode": mode, "height": 12, "width": 16}
    written, _ = image.write(given, facts, image.Target(), ".qoi")
    found = np.asarray(opened(written))
    np.testing.assert_array_equal(found[..., :1], pixels[..., :1])
    np.testing.assert_array_equal(found[..., 3:], pixels[..., 1:])


def test_what_is_no_picture_or_sound_in_a_file_does_not_keep_it_from_being_read():
    """Text of a PNG that Pillow refuses to unpack, and blocks of FLAC that lie about their size."""
    picture = file_of(photo(16, 12))
    text = b"zTXt" + b"k\0\0" + zlib.compress(bytes(3 << 20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    for place in (33, len(picture) - 12):  # before the pixels, and after them
        found, _, notes = read_pixels(picture[:place] + chunk + picture[place:])
        np.testing.assert_array_equal(found, read_pixels(picture)[0])
        assert notes == ()
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(0.2), 8000, format="FLAC")
    sound = buffer.getvalue()
    comments = bytes([4, 0, 0, 12]) + struct.pack("<III", 0, 0xFFFFFFFF, 0)
    found, _ = audio.read_samples(sound[:42] + comments + sound[42:])
    np.testing.assert_array_equal(found, audio.read_samples(sound)[0])
