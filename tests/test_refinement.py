"""Pictures tuned for the eye: what --tune does, and latents refined by gradients."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photo, png
from PIL import Image

from intfit import Settings, api, defaults
from intfit.codecs.wavelet import payload, transform
from intfit.codecs.wavelet.config import ORIENTATIONS, WaveletConfig
from intfit.codecs.wavelet.encoding import refinement, tiles
from intfit.coding import container
from intfit.defaults import REFINEMENT_PIXELS, refinement_steps
from intfit.errors import FileFormatError
from intfit.training.visual_distance import VisualDistance, score_of

LATENT = Settings(field="latent", quality=40, device="cpu")


def textured(height: int = 96, width: int = 120) -> Image.Image:
    """A picture with flat parts, an edge, and texture of several sizes and strengths."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    values = 110 + 40 * np.sin(x / 31)[..., None] + np.zeros((height, width, 3))
    values[: height // 2] += rng.normal(0, 9, (height // 2, width, 1))
    coarse = rng.normal(0, 14, (height // 4 + 1, width // 8 + 1, 3))
    values[:, width // 2 :] += coarse.repeat(4, 0).repeat(4, 1)[:height, : width - width // 2]
    values[(x + 2 * y) % 97 < 20] -= 50
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def score(original: Image.Image, data: bytes) -> float:
    """SSIMULACRA2 of a file."""
    decoded = api.decode(api.load(data, device="cpu"), suffix=".png").data
    Path("decoded.png").write_bytes(decoded)
    pictures = (
        np.asarray(p.convert("RGB"), np.float32) for p in (original, Image.open("decoded.png"))
    )
    one, two = (torch.from_numpy(p / 255).permute(2, 0, 1)[None] for p in pictures)
    return score_of(VisualDistance(one)(two)).item()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_refined_latents_look_better_in_as_many_bytes(in_empty_folder, mode):
    picture = textured().convert(mode)
    plain = api.encode(png(picture), replace(LATENT, effort=2))
    refined = api.encode(png(picture), replace(LATENT, effort=5))
    assert "refined in 24 steps" in refined.network
    assert len(refined.data) < 1.1 * len(plain.data)
    assert score(picture, refined.data) > 5 + score(picture, plain.data)
    assert refined.distortion > plain.distortion - 2


@pytest.mark.parametrize("size", [(96, 120), (33, 47), (64, 17)])
def test_the_differentiable_synthesis_is_that_of_the_decoder(size):
    pixels = np.asarray(textured(*size), np.float32) / 127.5 - 1
    config = WaveletConfig(3, *size, 60, bands=1)
    exact = transform.analyse(pixels, config, transform.principal_colours(pixels))
    levels = [
        [torch.from_numpy(exact[f"levels.{level}.{name}"]) for name in ORIENTATIONS]
        for level in range(config.levels())
    ]
    coarsest = torch.from_numpy(exact["coarsest"])
    found = refinement.synthesise_differentiably(coarsest, levels).permute(1, 2, 0)
    np.testing.assert_allclose(found, transform.synthesise_decorrelated(exact, config), atol=1e-5)


def test_the_bits_that_refinement_lowers_are_those_that_are_written():
    pixels = np.asarray(textured(), np.float32) / 127.5 - 1
    config = WaveletConfig(3, 96, 120, 60, bands=1, contexts=2)
    exact = transform.analyse(pixels, config, transform.principal_colours(pixels))
    quantised = payload.quantise(exact, config)
    levels, steps = quantised.levels, config.band_sixteenths()
    bits = refinement.RateModel(levels, quantised.coarsest, steps)(
        [[torch.from_numpy(band.astype(np.float32)) for band in level] for level in levels]
    )
    written = 8 * len(quantised.coded)
    assert bits.item() == pytest.approx(
        written, rel=0.04, abs=64
    )  # a sign may take less than a bit


def test_what_is_tuned_for_follows_the_goal_unless_it_is_given(intfit):
    textured().save("in.png")
    tuned = {}
    for options in ("", "--tune psnr", "--target-psnr 30", "--target-psnr 30 --tune visual"):
        run = intfit("encode", "in.png", "-e", 2, *options.split(), "-f")
        assert run.code == 0, run.err
        header = container.load(Path("in.png.safetensors").read_bytes())[0].header
        tuned[options] = header.network.get("bands")
    assert list(tuned.values()) == [1, None, None, 1]


def test_a_tune_is_refused_for_a_medium_that_has_none(intfit, picture, recording):
    run = intfit("encode", picture, "--field", "siren", "--tune", "visual")
    assert run.code == 2
    assert "--tune visual" in run.err
    for name, tune in ((recording, "visual"), (recording, "psnr")):
        run = intfit("encode", name, "--tune", tune)
        assert run.code == 2
        assert f"--tune {tune} is not for " in run.err


@pytest.mark.parametrize("mode", ["1", "I;16", "F"])
def test_pictures_that_no_eye_sees_are_tuned_for_psnr(mode):
    picture = np.asarray(photo().convert("L"))
    deep = {"1": picture > 99, "I;16": picture.astype(np.uint16) * 200, "F": picture / 7}
    array = deep[mode].astype(np.float32) if mode == "F" else deep[mode]
    buffer = png(Image.fromarray(array)) if mode != "F" else array
    encoding = api.encode(buffer, replace(LATENT, effort=3))
    assert container.load(encoding.data)[0].header.network.get("bands") is None


def test_large_pictures_get_fewer_steps_but_all_that_the_default_effort_can_do():
    assert refinement_steps(5, REFINEMENT_PIXELS) == 2 * refinement_steps(5, 2 * REFINEMENT_PIXELS)
    assert refinement_steps(5, 100 * REFINEMENT_PIXELS) >= 6
    assert refinement_steps(3, 5 * REFINEMENT_PIXELS) == refinement_steps(2, 1000) == 0


@pytest.mark.parametrize("bands", [0, 2, True, 1.0, "1"])
def test_a_header_with_unknown_steps_of_bands_is_refused(bands):
    layout, stored = container.load(api.encode(png(photo()), replace(LATENT, effort=1)).data)
    layout.header.network["bands"] = bands
    with pytest.raises(FileFormatError, match="steps that this version does not know"):
        api.load(container.dump(layout.header, stored), device="cpu")


def test_the_open_profile_decodes_alike_with_steps_of_bands():
    data = png(textured())
    packed = api.encode(data, replace(LATENT, effort=2))
    opened = api.encode(data, replace(LATENT, effort=2, profile="open"))
    decoded = [api.decode(api.load(d.data, device="cpu")).data for d in (packed, opened)]
    assert decoded[0] == decoded[1]


def test_json_says_that_latents_were_refined(intfit):
    textured().save("in.png")
    run = intfit("encode", "in.png", "--steps", 6, "--json")
    line = json.loads(run.out)
    assert line["network"].endswith("refined in 6 steps")
    assert line["notes"] == []


def test_a_target_size_is_filled_up_with_refined_latents():
    size = 1500
    encoding = api.encode(png(textured()), replace(LATENT, quality=None, target_size=size))
    assert "refined" in encoding.network
    assert 0.97 * size < len(encoding.data) <= size


def test_a_target_psnr_is_reached_with_refined_latents():
    settings = replace(LATENT, quality=None, effort=4, tune="visual", target_psnr=30.0)
    encoding = api.encode(png(textured()), settings)
    assert "refined" in encoding.network
    assert 30 <= encoding.distortion < 30.6


def test_colours_are_refined_and_opacity_stays_as_it_is():
    picture = textured()
    picture.putalpha(Image.linear_gradient("L").resize((120, 96)))
    files = [api.encode(png(picture), replace(LATENT, effort=effort)).data for effort in (2, 5)]
    original, plain, refined = (
        np.asarray(Image.open(io.BytesIO(data)), np.float32)
        for data in (png(picture), *(api.decode(data, suffix=".png").data for data in files))
    )
    one, two, three = (
        torch.from_numpy(pixels[..., :3] * pixels[..., 3:] / 255**2).permute(2, 0, 1)[None]
        for pixels in (original, plain, refined)  # as they are seen before black
    )
    distance = VisualDistance(one)
    assert distance(three) < distance(two)
    assert len(files[1]) < len(files[0])
    lost = [np.abs(pixels - original)[..., 3].mean() for pixels in (plain, refined)]
    assert lost[1] < 1.1 * lost[0]


def test_a_picture_is_refined_in_tiles_without_seams(monkeypatch):
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", 100)
    monkeypatch.setattr(tiles, "TILE", 96)
    picture = textured(200, 230)
    plain, tiled = (api.encode(png(picture), replace(LATENT, effort=e)) for e in (2, 5))
    assert "refined in 24 steps" in tiled.network
    assert score(picture, tiled.data) > score(picture, plain.data) + 2
    assert len(tiled.data) < len(plain.data)


def test_a_note_says_where_refinement_is_left_out(intfit, monkeypatch):
    monkeypatch.setattr(defaults, "REFINEMENT_PIXELS", 2000)
    textured().save("in.png")
    notes = {}
    for options in ("-e 2", "-e 3", "-e 5", "--max-time 0.1"):
        run = intfit("encode", "in.png", *options.split(), "--json", "-f")
        notes[options] = " ".join(json.loads(run.out)["notes"])
    assert notes["-e 2"] == notes["-e 5"] == ""
    assert "refined for the eye from -e 5 on" in notes["-e 3"]
    assert "--max-time left no time to refine" in notes["--max-time 0.1"]
