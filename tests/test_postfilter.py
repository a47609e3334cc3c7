"""The post-filters of a picture of quantised latents: the shared one, and its own, a SIREN."""

import hashlib
import importlib
import io
import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import digests, png
from PIL import Image, ImageDraw

from intfit import api, metrics
from intfit.codecs import read_config
from intfit.codecs.wavelet import codec, payload, postfilter
from intfit.codecs.wavelet.config import NEWEST_SHARED as NEWEST
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.coding import container, weights
from intfit.errors import FileFormatError
from intfit.media import image
from intfit.networks.postfilter import PostfilterSiren
from intfit.settings import Settings

GOLDEN = Path(__file__).parent / "golden" / "correction.safetensors"
SAMPLES = Path(__file__).parents[1] / "samples"
FAST = Settings(field="latent", effort=3, quality=40, device="cpu", tune="psnr")


def drawing(width: int = 200, height: int = 150) -> Image.Image:
    """A picture full of sharp edges, around which quantisation rings."""
    rng = np.random.default_rng(0)
    picture = Image.new("RGB", (width, height), (90, 120, 160))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, r = rng.integers(0, width), rng.integers(0, height), rng.integers(4, 25)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture


@pytest.fixture(scope="module")
def filtered() -> api.Encoded:
    return api.encode(png(drawing()), FAST)


def with_own_postfilter(neurons: int, width: int = 24, height: int = 17) -> bytes:
    """A small file with an own post-filter of random weights."""
    data = api.encode(png(drawing(width, height)), replace(FAST, effort=1)).data
    layout, stored = container.load(data)
    config = replace(read_config(layout.header), neurons=neurons)
    rng = np.random.default_rng(1)
    network = {
        name: weights.QuantisedTensor(40, rng.integers(-9, 10, shape).astype(np.int32))
        for name, shape in config.own_shapes().items()
    }
    joined = payload.join(stored["payload"].data, weights.pack(network))
    layout.header.network["neurons"] = neurons
    stored = {"payload": container.Stored("U8", (len(joined),), joined)}
    return container.dump(layout.header, stored)


def test_an_own_postfilter_makes_a_picture_smaller_at_equal_quality(filtered):
    assert filtered.steps > 0
    assert filtered.teacher == "int-proportional"
    goal = replace(FAST, quality=None, effort=2, target_psnr=filtered.distortion)
    plain = api.encode(png(drawing()), goal)
    assert plain.steps == 0
    assert len(filtered.data) < 0.97 * len(plain.data)


def test_an_own_postfilter_is_left_out_where_it_is_not_worth_its_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    settings = replace(FAST, steps=20)
    data = png(Image.fromarray(noise))
    assert api.encode(data, settings).data == api.encode(data, replace(FAST, effort=1)).data


def test_the_distortion_that_is_reported_is_that_of_what_is_decoded(filtered, intfit):
    drawing().save("in.png")
    Path("in.png.safetensors").write_bytes(filtered.data)
    run = intfit("verify", "in.png.safetensors", "--against", "in.png", "--json")
    # pixels are whole numbers once they are written
    assert json.loads(run.out)["psnr"] == pytest.approx(filtered.distortion, abs=0.1)


def test_info_says_what_the_postfilter_takes(filtered, intfit):
    Path("a.safetensors").write_bytes(filtered.data)
    run = intfit("info", "-v", "a.safetensors")
    assert re.search(r"latents \+ decoder network( \(adapted\))? \+ SIREN 8 x 2", run.out)
    assert "network" in run.out


def test_numpy_evaluates_the_network_that_torch_has_trained():
    config = WaveletConfig(3, 32, 48, 0, 8)
    shape = config.own_network()
    generator = torch.Generator().manual_seed(0)
    network = PostfilterSiren(shape, gain=config.step_size, generator=generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(1))
    features = np.random.default_rng(0).normal(size=(50, shape.in_features)).astype(np.float32)
    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    outputs = postfilter.evaluate_network(parameters, features, np.sin) * config.step_size
    expected = network(torch.from_numpy(features)).detach()
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_goals_and_sizes_are_kept_with_an_own_postfilter():
    data, short = png(drawing()), replace(FAST, quality=None, steps=500)
    plain = api.encode(data, replace(FAST, quality=None, effort=2, target_psnr=32))
    encoding = api.encode(data, replace(short, target_psnr=32))
    assert 32 <= encoding.distortion < 32.5
    assert len(encoding.data) < len(plain.data)
    size = len(plain.data)
    within = api.encode(data, replace(short, target_size=size))
    assert 0.9 * size < len(within.data) <= size
    assert within.distortion >= plain.distortion


def test_the_teacher_may_be_chosen(intfit):
    drawing().save("in.png")
    command = ("encode", "in.png", "--tune", "psnr", "--teacher", "uniform", "--steps", 1000)
    run = intfit(*command, "-q", 40, "--json")
    line = json.loads(run.out)
    assert (line["teacher"], line["steps"]) == ("uniform", 1000)


def test_the_open_profile_holds_the_postfilters_and_decodes_alike(filtered, intfit):
    Path("a.safetensors").write_bytes(filtered.data)
    assert intfit("export", "a.safetensors", "-o", "b.safetensors").code == 0
    for stem in "ab":
        assert (
            intfit("decode", f"{stem}.safetensors", "-o", f"{stem}.png", "--scale", 1.5).code == 0
        )
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    layout, _ = container.load(Path("b.safetensors").read_bytes())
    assert "correction.layers.0.weight" in layout.tensors
    assert "common.blocks.0.weight" in layout.tensors


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_every_number_of_channels_can_have_a_postfilter(mode):
    picture = drawing().convert(mode)
    encoding = api.encode(png(picture), replace(FAST, steps=200, quality=60))
    loaded = api.load(encoding.data, device="cpu")
    assert loaded.config.neurons
    assert api.render(loaded, image.Target()).shape == (150, 200, len(mode))


def test_any_damage_to_a_postfilter_is_noticed_or_decodes_to_the_declared_size():
    layout, stored = container.load(with_own_postfilter(4))
    original = stored["payload"].data
    damaged = [original[:length] for length in range(0, len(original), 3)]
    for index in range(len(original)):
        hurt = bytearray(original)
        hurt[index] ^= 1 << index % 8
        damaged.append(bytes(hurt))
    for data in damaged:
        stored = {"payload": container.Stored("U8", (len(data),), data)}
        try:
            loaded = api.load(container.dump(layout.header, stored), device="cpu")
            decoded = api.render(loaded, image.Target())
        except FileFormatError:
            continue
        assert decoded.shape == (17, 24, 3)


@pytest.mark.parametrize("neurons", [0, -1, 65, 1.5, "8", True])
def test_a_header_with_an_own_postfilter_of_another_width_is_refused(neurons):
    layout, stored = container.load(with_own_postfilter(4))
    layout.header.network["neurons"] = neurons
    with pytest.raises(FileFormatError):
        api.load(container.dump(layout.header, stored), device="cpu")


@pytest.mark.parametrize("version", [0, NEWEST + 1, 2.0, "2", True])
def test_a_header_with_an_unknown_shared_postfilter_is_refused(version):
    layout, stored = container.load(with_own_postfilter(4))
    layout.header.network["common"] = version
    with pytest.raises(FileFormatError, match="a network this version does not have"):
        api.load(container.dump(layout.header, stored), device="cpu")


def test_the_shared_network_and_its_modulation_gain_on_a_photograph():
    data = (SAMPLES / "photo.png").read_bytes()
    encoding = api.encode(data, replace(FAST, effort=1, quality=30))
    layout, stored = container.load(encoding.data)
    assert layout.header.network["common"] == NEWEST
    original = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    config = read_config(layout.header)
    tensors = codec.unpack(stored, config)
    plain = tensors | {"modulation": np.zeros_like(tensors["modulation"])}
    reached = []
    for kept, common in ((tensors, None), (plain, NEWEST), (tensors, NEWEST)):
        less = replace(config, common=common, adapted=config.adapted if common else None)
        decoded = ((codec.reconstruct(kept, less) + 1) * 127.5).round().clip(0, 255)
        reached.append(metrics.psnr(original, decoded, peak=255.0))
    assert reached[1] > reached[0] + 0.02
    assert reached[2] > reached[1] + 0.05
    assert reached[2] == pytest.approx(encoding.distortion, abs=0.1)


def test_a_shared_postfilter_for_a_picture_that_it_is_not_for_is_refused():
    layout, stored = container.load(with_own_postfilter(4))  # 24 x 17 pixels
    layout.header.network["common"] = NEWEST
    with pytest.raises(FileFormatError, match="for other pictures"):
        api.load(container.dump(layout.header, stored), device="cpu")


def test_the_shared_postfilter_is_left_out_at_a_goal_at_which_it_does_harm():
    fine = replace(FAST, quality=None, effort=1, target_psnr=60)
    encoding = api.encode(png(drawing(96, 72)), fine)
    layout, _ = container.load(encoding.data)
    assert "common" not in layout.header.network


def test_huge_latents_of_an_open_file_are_no_reason_to_warn():
    data = api.encode(png(drawing()), replace(FAST, effort=1, profile="open")).data
    layout, stored = container.load(data)
    coarsest = stored["coarsest"]
    huge = np.full(coarsest.shape, 3e6, "<f4").tobytes()
    stored["coarsest"] = container.Stored("F32", coarsest.shape, huge)
    loaded = api.load(container.dump(layout.header, stored), device="cpu")
    assert api.render(loaded, image.Target()).shape == (150, 200, 3)


def test_the_shared_postfilter_is_left_out_on_noise():
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    encoding = api.encode(png(Image.fromarray(noise)), replace(FAST, effort=1))
    layout, _ = container.load(encoding.data)
    assert "common" not in layout.header.network


def test_the_tool_that_trains_the_shared_one_sees_what_quantisation_leaves(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    tool = importlib.import_module("train_postfilter")
    path = tmp_path / "drawing.png"
    path.write_bytes(png(drawing()))
    features, errors = tool.examples(path, 60, np.random.default_rng(0))
    assert features.shape == (tool.PIXELS, 24)
    assert errors.shape == (tool.PIXELS, 3)
    assert 0.1 < errors.std() < 1  # steps


@pytest.mark.parametrize(
    "name", ["correction", "decoder", "modulated", "two-scales", "trellis", "trellis-visual"]
)
def test_the_golden_files_decode_to_the_same_for_ever(name):
    known = json.loads(GOLDEN.with_name(f"{name}.json").read_text())
    assert digests(GOLDEN.with_name(f"{name}.safetensors")) == known


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("codecs/wavelet/postfilter-1", "8e39746b65c2ef21660a75ecec824b30"),
        ("codecs/wavelet/decoder-2", "bfabf12c7a57ce5f09cb93336917bc76"),
        ("codecs/wavelet/decoder-3", "456c467dbf1e852753d2505c7f404f53"),
        ("codecs/wavelet/decoder-4", "58a66061b8a389116d4bab2419a68478"),
        ("codecs/wavelet/context_model-1", "43c7763c75ac57f41b21a1cdafeb01eb"),
    ],
)
def test_networks_that_files_depend_on_stay_as_they_are_for_ever(name, known):
    data = resources.files("intfit").joinpath(f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith(known)
