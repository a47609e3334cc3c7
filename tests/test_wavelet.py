"""Pictures as quantised wavelet coefficients under a context model."""

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import MEDIA, digests, photo, png
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from intfit import api, metrics
from intfit.codecs.wavelet import codec, context_model, payload, transform
from intfit.codecs.wavelet.config import ORIENTATIONS, WaveletConfig
from intfit.codecs.wavelet.interpolation import CubicInterpolation
from intfit.coding import container
from intfit.errors import FileFormatError, UsageError
from intfit.settings import Settings

GOLDEN = Path(__file__).parent / "golden" / "latent.safetensors"
#: Without an own post-filter: see test_postfilter.py.
LATENT = Settings(field="latent", effort=2)


def scene(width: int = 90, height: int = 60) -> Image.Image:
    """A picture with texture as well."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(photo(width, height)).astype(float)
    return Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def levels_of(config: WaveletConfig, spread: float, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        [np.rint(rng.laplace(0, spread, shape)).astype(np.int32) for shape in bands]
        for bands in config.band_shapes()
    ]


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (64, 48), (101, 35), (1, 40), (2, 2)])
def test_a_picture_of_any_size_comes_back_from_its_exact_latents(size):
    values = np.random.default_rng(0).uniform(-1, 1, (*size, 3)).astype(np.float32)
    config = WaveletConfig(3, *size, 0)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    assert {name: tensor.shape for name, tensor in exact.items()} == config.shapes()
    assert sum(tensor.size for tensor in exact.values()) - 9 == config.count()
    np.testing.assert_allclose(transform.synthesise(exact, config), values, atol=1e-4, rtol=0)


def test_a_latent_of_one_step_is_an_error_of_one_step():
    """What the norms are for: the squared error of the picture is that of the latents."""
    config = WaveletConfig(1, 128, 128, 0)
    blank = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    blank["colours"] = np.ones((1, 1), np.float32)
    for name, shape in list(config.shapes().items())[2:]:
        tensor = np.zeros(shape, np.float32)
        tensor[0, shape[1] // 2, shape[2] // 2] = 1.0
        picture = transform.synthesise(blank | {name: tensor}, config)
        assert float(np.linalg.norm(picture)) == pytest.approx(1, abs=0.02), name


@pytest.mark.parametrize("spread", [0.0, 0.2, 3.0, 5000.0])
@pytest.mark.parametrize("size", [(3, 40, 56), (1, 33, 17), (4, 19, 50)])
def test_latents_come_back_whatever_they_are(spread, size):
    config = WaveletConfig(*size, 0)
    levels = levels_of(config, spread)
    data = context_model.encode([[band.copy() for band in level] for level in levels])
    for before, after in zip(levels, context_model.decode(data, config.band_shapes()), strict=True):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_bits_that_rounding_reckons_with_are_those_that_are_written():
    config = WaveletConfig(3, 64, 96, 0)
    exact = [[band + 0.3 for band in level] for level in levels_of(config, 0.8)]
    latents, bits = context_model.quantise(exact, 0.11)
    assert 8 * len(context_model.encode(latents)) == pytest.approx(bits, rel=0.01, abs=64)


def test_rounding_takes_fewer_bits_the_larger_the_lambda():
    rng = np.random.default_rng(1)
    shapes = WaveletConfig(3, 64, 96, 0).band_shapes()
    exact = [[rng.laplace(0, 0.8, shape) for shape in bands] for bands in shapes]
    sizes = [
        len(context_model.encode(context_model.quantise(exact, rd_lambda)[0]))
        for rd_lambda in (0.0, 0.1, 0.5)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_sums_in_the_context_network_stay_far_below_what_float32_holds_exactly():
    """So it gives the same classes in whatever order a machine adds up its products."""
    network = context_model.load_network()
    layers = (
        (network.first, network.position.reshape(-1, len(network.first))),
        (network.second, network.second_bias[None]),
        (network.last, network.last_bias[None]),
    )
    inputs, largest = np.full(context_model.FEATURES, context_model.INPUTS.max()), 0.0
    for weights, biases in layers:
        for array in (weights, biases):
            assert (array == np.rint(array)).all()
        # of any part of a sum of products, in any order, then of the sum itself
        largest = max(largest, float((np.abs(weights) @ inputs + np.abs(biases).max(axis=0)).max()))
        sums = np.maximum(weights, 0) @ inputs + biases.max(axis=0)
        inputs = np.floor(np.maximum(sums, 0) / context_model.WEIGHT_UNIT)
    assert largest == 232_100
    assert largest < 2**24


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 45), st.integers(1, 45)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    step=st.integers(20, 150),
    contrast=st.floats(0, 1),
    seed=st.integers(0, 99),
    bands=st.sampled_from([None, 1]),
    contexts=st.sampled_from([None, 2]),
)
def test_pictures_of_any_shape_and_type_come_back(
    shape, dtype, step, contrast, seed, bands, contexts
):
    channels, height, width = shape
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 16
    values = np.sin(y + 2 * x)[..., None] * rng.uniform(-1, 1, channels)
    values = contrast * (values + rng.normal(0, 0.1, (height, width, channels))).clip(-1, 1)
    if dtype != np.float32:
        peak = np.iinfo(dtype).max
        values = ((values + 1) / 2 * peak).round().astype(dtype) / (peak / 2) - 1
    values = values.astype(np.float32)
    config = WaveletConfig(channels, height, width, step, bands=bands, contexts=contexts)
    if config.can_share_network():
        config = replace(config, common=1)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    latents = payload.quantise(exact, config)
    tensors = payload.unpack(payload.pack(exact["colours"], latents), config)
    assert {name: tensor.shape for name, tensor in tensors.items()} == config.shapes()
    # the same integers
    coarsest = np.rint(tensors["coarsest"] / config.coarsest_step())
    np.testing.assert_array_equal(coarsest, latents.coarsest)
    for level, own in enumerate(latents.levels):
        for name, integers in zip(ORIENTATIONS, own, strict=True):
            found = tensors[f"levels.{level}.{name}"] / config.band_step(level)
            np.testing.assert_array_equal(np.rint(found), integers)
    # near the original: rounding takes half a step at most, a latent that becomes 0 little more
    decoded = codec.reconstruct(tensors, replace(config, common=None))
    largest = max(config.band_step(level) for level in range(config.levels() + 1))
    assert np.sqrt(np.square(decoded - values).mean()) < largest
    assert codec.reconstruct(tensors, config).shape == values.shape


def test_the_golden_file_decodes_to_the_same_latents_for_ever():
    known = json.loads(GOLDEN.with_suffix(".json").read_text())
    assert digests(GOLDEN) == known


def test_the_inputs_of_the_context_network_are_the_same_on_every_machine():
    """No logarithm lies so near a half that another library could round it the other way."""
    exact = context_model.INPUT_UNIT * np.log2(1 + 2 * np.arange(context_model.MAX_INPUT + 1.0))
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-9


def test_a_higher_quality_is_bigger_and_closer():
    data = png(scene())
    files = [api.encode(data, replace(LATENT, quality=q)) for q in range(0, 101, 10)]
    assert all(a.distortion < b.distortion for a, b in itertools.pairwise(files))
    assert all(len(a.data) <= len(b.data) for a, b in itertools.pairwise(files))
    assert len(files[0].data) < len(files[-1].data) / 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "F"])
def test_every_mode_comes_back(intfit, mode):
    picture = scene(50, 34)
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        picture = Image.fromarray(grey)
    else:
        picture = picture.convert(mode)
        if mode in ("LA", "RGBA"):
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    suffix = "tif" if mode == "F" else "png"
    picture.save(f"in.{suffix}")
    assert intfit("encode", f"in.{suffix}", "--field", "latent", "-e", 2, "-q", 80).code == 0
    run = intfit("decode", f"in.{suffix}.safetensors", "-o", f"out.{suffix}")
    assert run.code == 0, run.err
    with Image.open(f"out.{suffix}") as back:
        assert (back.mode, back.size) == (picture.mode, picture.size)
    least = 12 if mode in ("1", "P") else 36
    against = ("--against", f"in.{suffix}", "--min-psnr", least)
    assert intfit("verify", f"in.{suffix}.safetensors", *against).code == 0


@pytest.mark.parametrize("size", [(1, 2), (3, 1), (7, 90), (33, 31)])
def test_a_picture_of_any_size_is_encoded(intfit, size):
    scene(*size).save("in.png")
    assert intfit("encode", "in.png", "--field", "latent", "-e", 2, "-q", 90).code == 0
    assert intfit("verify", "in.png.safetensors", "--against", "in.png", "--min-psnr", 35).code == 0


@pytest.mark.parametrize("scale", ["2", "3", "0.5", "1.7"])
def test_other_resolutions_are_as_smooth_as_the_picture(scale):
    """A smooth picture decoded at another size is that picture resampled, without a grid."""
    y, x = np.mgrid[0:64, 0:96] / 96
    smooth = (128 + 90 * np.sin(5 * x + 1) * np.cos(4 * y)).astype(np.uint8)
    encoded = api.encode(png(Image.fromarray(smooth)), replace(LATENT, quality=90))
    loaded = api.load(encoded.data, device="cpu")
    target = api.medium("image").Target(scale=float(scale))
    decoded = api.render(loaded, target)
    height, width = decoded.shape[:2]
    v, u = np.mgrid[0:height, 0:width]
    u, v = (u + 0.5) / width * 96 - 0.5, (v + 0.5) / height * 64 - 0.5
    expected = 128 + 90 * np.sin(5 * u / 96 + 1) * np.cos(4 * v / 96)
    inside = (slice(4, -4), slice(4, -4))
    assert metrics.psnr(expected[..., None][inside], decoded[inside], peak=255.0) > 40


def test_a_grid_of_points_has_the_values_of_each_of_its_points():
    samples = np.random.default_rng(0).normal(size=(7, 11, 3)).astype(np.float32)
    field = CubicInterpolation(samples)
    ys, xs = np.linspace(-0.7, 0.7, 23), np.linspace(-1, 1, 31)
    grid = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    order = np.random.default_rng(1).permutation(len(grid))
    assert np.array_equal(field(grid)[order], field(grid[order]))


@pytest.mark.parametrize("size", [600, 1500, 5000])
def test_a_target_size_is_kept_and_nearly_used(size):
    encoding = api.encode(png(scene()), replace(LATENT, target_size=size))
    assert 0.9 * size <= len(encoding.data) <= size


def test_a_target_psnr_is_met_with_the_coarsest_step(intfit):
    scene().save("in.png")
    run = intfit("encode", "in.png", "--field", "latent", "-e", 2, "--target-psnr", 33, "--json")
    line = json.loads(run.out)
    assert 33 <= line["distortion"] < 33.6
    assert line["steps"] == 0


def test_a_goal_with_a_size_or_a_quality_takes_no_more_than_either_asks():
    data = png(scene())
    sizes = {
        (psnr, size): len(
            api.encode(data, replace(LATENT, target_psnr=psnr, target_size=size)).data
        )
        for psnr in (26, 40)
        for size in (1500, None)
    }
    assert sizes[26, 1500] == sizes[26, None] < sizes[40, 1500] <= 1500 < sizes[40, None]
    plain = api.encode(data, replace(LATENT, quality=40, tune="psnr"))
    asked = api.encode(data, replace(LATENT, quality=40, target_psnr=60))
    assert len(asked.data) == len(plain.data)
    assert "not the 60 asked for" in asked.notes[-1]


def test_a_size_too_small_is_said_with_the_smallest_possible():
    with pytest.raises(UsageError, match=r"--target-size \d\d\d is the smallest possible here$"):
        api.encode(png(scene()), replace(LATENT, target_size=150))


def test_what_only_a_fit_has_is_refused(intfit, picture, recording):
    for name, flag in ((picture, "--depth"), (picture, "--omega"), (recording, "--steps")):
        run = intfit("encode", name, "--field", "latent", flag, 9)
        assert run.code == 2
        assert flag in run.err


@pytest.mark.parametrize(
    ("name", "part"), [("photo.png", "levels"), ("chord.wav", "B, latents")], ids=["image", "audio"]
)
@pytest.mark.usefixtures("picture", "recording")
def test_the_open_profile_decodes_alike(intfit, name, part):
    suffix = Path(name).suffix
    assert intfit("encode", name, "--field", "latent", "-o", "a.safetensors").code == 0
    assert intfit("export", "a.safetensors", "-o", "b.safetensors").code == 0
    for stem in ("a", "b"):
        assert intfit("decode", f"{stem}.safetensors", "-o", f"{stem}{suffix}").code == 0
    assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()
    shown = intfit("info", "-v", "a.safetensors").out
    assert "field    latents" in shown
    assert part in shown


def test_any_damage_is_noticed_or_decodes_to_the_declared_size():
    """Past the checksum, as a hostile file would be."""
    encoded = api.encode(png(photo(24, 17)), LATENT).data
    layout, stored = container.load(encoded)
    payload = stored[container.PAYLOAD].data
    for index in range(len(payload)):
        hurt = bytearray(payload)
        hurt[index] ^= 1 << index % 8
        file = container.dump(
            layout.header, {"payload": container.Stored("U8", (len(hurt),), bytes(hurt))}
        )
        try:
            loaded = api.load(file, device="cpu")
            decoded = api.render(loaded, api.medium("image").Target())
        except FileFormatError:
            continue
        assert decoded.shape == (17, 24, 3)
    for length in range(len(payload)):
        cut = {"payload": container.Stored("U8", (length,), payload[:length])}
        try:
            api.load(container.dump(layout.header, cut), device="cpu")
        except FileFormatError:
            continue


def test_a_header_that_lies_about_its_size_is_refused_before_any_memory_is_taken():
    layout, stored = container.load(api.encode(png(photo()), LATENT).data)
    layout.header.facts.update(width=6000, height=6000)
    with pytest.raises(FileFormatError, match="damaged"):
        api.load(container.dump(layout.header, stored), device="cpu")


@pytest.mark.skipif(not MEDIA.exists(), reason="the shared media are not here")
def test_a_photograph_takes_two_thirds_of_what_jpeg_does_at_equal_quality():
    path = MEDIA / "image" / "kodim20.png"
    with Image.open(path) as opened:
        picture = opened.convert("RGB").crop((192, 128, 576, 384))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=50, optimize=True)
    with Image.open(buffer) as opened:
        reached = metrics.psnr(np.asarray(picture), np.asarray(opened), peak=255.0)
    encoding = api.encode(png(picture), replace(LATENT, target_psnr=reached))
    assert encoding.distortion >= reached
    assert len(encoding.data) < len(buffer.getvalue()) * 2 / 3


def test_the_wavelets_are_their_own_inverse_on_lines_of_every_length():
    for length in range(2, 20):
        values = np.random.default_rng(length).normal(size=(length, 5, 1)).astype(np.float32)
        coarsest, levels = transform.transform_forward(values, 1)
        np.testing.assert_allclose(
            transform.transform_back(coarsest, levels[::-1]), values, atol=1e-5, rtol=1e-5
        )
