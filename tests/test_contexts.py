"""The second context model: what it sees, that it is made of whole numbers, and what it saves."""

import hashlib
import importlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import digests, photo, png
from test_wavelet import LATENT, levels_of, scene

from intfit import api
from intfit.codecs.latent_steps import RD_LAMBDA
from intfit.codecs.wavelet import context_model, transform
from intfit.codecs.wavelet.config import WaveletConfig
from intfit.codecs.wavelet.contexts import (
    coding,
    influence,
    low_pass,
    network,
    symbols,
    windows,
)
from intfit.coding import container, trellis
from intfit.coding.magnitudes import Encoder
from intfit.errors import FileFormatError

#: Quantisation steps of levels, in sixteenths.
STEPS = (27, 18, 13, 11, 11, 11, 11)
GOLDEN = Path(__file__).parent / "golden" / "contexts.safetensors"


def coarsest_of(config: WaveletConfig, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 900, config.coarsest_shape())


def latents_of(pixels: np.ndarray, step: int) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """The exact latents of a picture, in steps, and its coarsest picture in whole ones."""
    values = (pixels / 127.5 - 1).astype(np.float32)
    config = WaveletConfig(3, *values.shape[:2], step)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    bands = [band / config.step_size for name, band in exact.items() if name.startswith("levels.")]
    coarsest = (exact["coarsest"] / config.step_size).round().astype(np.int64)
    return [bands[i : i + 3] for i in range(0, len(bands), 3)], coarsest


@pytest.mark.parametrize("spread", [0.0, 0.2, 3.0, 5000.0])
@pytest.mark.parametrize("size", [(3, 40, 56), (1, 33, 17), (5, 19, 50), (2, 77, 90)])
def test_latents_come_back_whatever_they_are(spread, size):
    config = WaveletConfig(*size, 0)
    levels, coarsest = levels_of(config, spread), coarsest_of(config)
    data = coding.encode([[band.copy() for band in level] for level in levels], coarsest)
    for before, after in zip(
        levels, coding.decode(data, config.band_shapes(), coarsest), strict=True
    ):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)


def test_latents_of_several_steps_come_back_and_are_seen_in_their_steps():
    levels, coarsest = latents_of(np.asarray(photo(240, 160)), 60)
    steps = STEPS[: len(levels) + 1]
    scaled = [
        [np.rint(16 * band / step).astype(np.int32) for band in level]
        for level, step in zip(levels, steps, strict=False)
    ]
    coarsest = np.rint(16 * coarsest / steps[-1]).astype(np.int32)
    blind = coding.encode([list(level) for level in scaled], coarsest)
    data = coding.encode([list(level) for level in scaled], coarsest, steps)
    assert data != blind
    shapes = [[band.shape for band in level] for level in scaled]
    for before, after in zip(scaled, coding.decode(data, shapes, coarsest, steps), strict=True):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bands", [None, 1])
@pytest.mark.parametrize("size", [(3, 40, 56), (1, 33, 17), (2, 177, 90)])
def test_latents_of_a_trellis_come_back_and_are_near_the_exact_ones(size, bands):
    """Spread out as noise, of which every lane has many that are not zero."""
    config = WaveletConfig(*size, 0, bands=bands)
    steps = config.band_sixteenths()
    levels = [[3 * band for band in level] for level in levels_of(config, 3.0)]
    coarsest = coarsest_of(config)
    latents, data, _ = coding.quantise_by_trellis(levels, coarsest, 0.11, steps)
    decoded = coding.decode(data, config.band_shapes(), coarsest, steps, trellis=True)
    for exact, before, after in zip(levels, latents, decoded, strict=True):
        for wanted, one, other in zip(exact, before, after, strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.abs(wanted - one).max(initial=0) <= 4


def test_dependent_quantisation_of_a_photograph_costs_less_at_the_same_slope():
    levels, coarsest = latents_of(np.asarray(photo(240, 160)), 70)
    costs = []
    for unit, quantise in ((1, coding.quantise_and_encode), (10 / 16, coding.quantise_by_trellis)):
        exact = [[band / unit for band in level] for level in levels]
        latents, data, *_ = quantise(exact, coarsest, RD_LAMBDA)
        error = sum(
            np.square(one - other).sum()
            for before, after in zip(exact, latents, strict=True)
            for one, other in zip(before, after, strict=True)
        )
        costs.append(error * unit**2 / RD_LAMBDA + 8 * len(data))
    assert costs[1] < 0.98 * costs[0]


def test_heeding_what_latents_mean_for_the_bits_of_others_costs_less():
    levels, coarsest = latents_of(np.asarray(photo(240, 160)), 70)
    exact = [[band * 1.6 for band in level] for level in levels]
    mean, costs = influence.MeanInfluence(), []
    for observed in (True, False):
        latents, data, found = coding.quantise_by_trellis(
            exact, coarsest, RD_LAMBDA, (), mean.weighed(), observed=observed
        )
        mean.add(found)
        error = sum(
            np.square(one - other).sum()
            for before, after in zip(exact, latents, strict=True)
            for one, other in zip(before, after, strict=True)
        )
        costs.append(error / 1.6**2 / RD_LAMBDA + 8 * len(data))
    assert costs[1] < 0.998 * costs[0]


def test_the_slopes_of_bits_are_those_of_the_bits():
    levels = np.array([0, 0, 1, 1, 2, 3, 7])
    rng = np.random.default_rng(2)
    outputs = rng.integers(-2500, 2500, (3, len(levels))).astype(np.int32)

    def bits(outputs):
        zero, one, scale = outputs / 1024
        others, above = ((1 / (1 + np.exp(logit))) ** 1.25 for logit in (zero, one))
        ratio = np.exp(-np.exp(-scale))
        flag = np.where(levels > 1, above, 1 - above)
        size = np.where(levels > 1, (1 - ratio) * ratio ** (levels - 2), 1)
        return -np.log2(np.where(levels > 0, others * flag * size, 1 - others))

    found = symbols.slopes_of_bits(outputs, levels, (levels - 2).clip(0), 1.25, 1.25)
    for row in range(3):
        step = np.zeros((3, 1))
        step[row] = 8
        slope = (bits(outputs + step) - bits(outputs - step)) / 16
        np.testing.assert_allclose(found[row], slope, rtol=1e-3, atol=1e-6)


def test_the_path_of_least_cost_is_found():
    """Against all paths of seven numbers."""
    costs = np.random.default_rng(5).random((4, 7)).astype(np.float32)
    totals = []
    for parities in itertools.product((0, 1), repeat=7):
        state, total = trellis.FIRST_STATE, 0.0
        for i, parity in enumerate(parities):
            total += costs[2 * (state & 1) + parity, i]
            state = trellis.NEXT[state, parity]
        totals.append(total)
    found = costs[trellis.find_path(costs), np.arange(7)].sum()
    assert found == pytest.approx(min(totals))


def test_rounding_and_encoding_at_once_is_rounding_then_encoding():
    levels, coarsest = latents_of(np.asarray(scene(180, 120)), 70)
    latents, data = coding.quantise_and_encode(levels, coarsest, RD_LAMBDA)
    assert coding.encode(latents, coarsest) == data
    for exact, rounded in zip(levels, latents, strict=True):
        for one, other in zip(exact, rounded, strict=True):
            assert np.abs(one - other).max() < 1.5
    sizes = [len(coding.quantise_and_encode(levels, coarsest, price)[1]) for price in (0, 0.1, 0.5)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_probabilities_follow_what_was_coded():
    """A thousand flags that are nothing like what their class says cost little in the end."""
    flags, classes = np.ones(1000, np.int32), np.full(1000, 60, np.int32)
    sizes = []
    for passes in (1, 20):
        encoder, model = Encoder(), symbols.Flags([1 << 39] * 64)
        for _ in range(passes):
            model.code(encoder, flags, classes)
        sizes.append(len(encoder.finish()))
    assert sizes[1] < 2 * sizes[0]


def test_a_photograph_takes_fewer_bytes_than_by_the_first_context_model():
    levels, coarsest = latents_of(np.asarray(photo(240, 160)), 60)
    first = context_model.encode(context_model.quantise(levels, RD_LAMBDA)[0])
    _, second = coding.quantise_and_encode(levels, coarsest, RD_LAMBDA)
    assert len(second) < 0.97 * len(first)


def test_signs_at_edges_are_guessed_and_signs_of_noise_are_not():
    """Of signs that are likely, at sharp edges of discs most are right, in noise a half."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:128, 0:128]
    edges = np.full((128, 128, 3), 40.0)
    for _ in range(12):
        row, column, radius = rng.integers(0, 128), rng.integers(0, 128), rng.integers(12, 40)
        edges[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.integers(0, 256)
    noise = rng.normal(128, 40, (128, 128, 3))

    class Signs(symbols.EntropyCoding):
        """Counts signs that are as they were guessed, where there was a guess."""

        right = count = 0

        def code_signs(self, logits, values):
            sure = np.abs(logits) > 512
            self.right += int((np.sign(values) == np.sign(logits))[sure].sum())
            self.count += int(sure.sum())
            return super().code_signs(logits, values)

    shares = []
    for pixels in (edges, noise):
        levels, coarsest = latents_of(pixels, 60)
        latents, _ = coding.quantise_and_encode(levels, coarsest, RD_LAMBDA)
        signs = Signs(Encoder())
        coding.code_latents(latents, coarsest, signs)
        shares.append(signs.right / signs.count)
    assert shares[0] > 0.75
    assert 0.4 < shares[1] < 0.6


def test_sums_in_the_networks_stay_below_what_float32_holds_exactly():
    """So they give the same outputs in whatever order a machine adds up its products."""
    networks = network.load_networks()
    most = max(network.latent_inputs(27, 11).max(), network.DIFFERENCE_INPUTS.max())
    for net, bias in (
        (networks.magnitudes, networks.magnitudes.last_bias),
        (networks.signs, networks.signs.own * most),
    ):
        for name in ("position", "first", "second", "second_bias", "last"):
            weights = getattr(net, name)
            assert (weights == np.rint(weights)).all()
        first = np.abs(net.first).sum(axis=-1).max() * most + np.abs(net.position).max()
        second = np.abs(net.second).sum(axis=1) * network.MAX_HIDDEN + np.abs(net.second_bias)
        last = np.abs(net.last).sum(axis=1) * network.MAX_HIDDEN
        # what signs are told by is the difference of two outputs
        assert first + np.abs(bias).max() < 2**24
        assert second.max() < 2**24
        assert 2 * last.max() + np.abs(bias).max() < 2**24


def test_the_inputs_of_the_networks_are_the_same_on_every_machine():
    """No logarithm lies so near a half that another library could round it the other way."""
    cases = [(network.MAX_DIFFERENCE, 1.0)]
    cases += [(network.MAX_LATENT, 2 * a / b) for a in STEPS for b in STEPS]
    for count, factor in cases:
        exact = network.INPUT_UNIT * np.log2(1 + factor * np.arange(count + 1.0))
        assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-9


def test_the_low_pass_picture_is_that_of_the_transform():
    config = WaveletConfig(1, 61, 90, 0)
    levels, coarsest = levels_of(config, 20.0), coarsest_of(config)
    picture = low_pass.start(coarsest[0], 16)
    wanted = coarsest[0].astype(np.float32)
    for level in reversed(range(1, config.levels())):
        bands = [band[0] for band in levels[level]]
        picture = low_pass.merge_level(picture, bands, level, 256)
        scaled = tuple(
            band / np.float32(transform.NORMS[min(level, 4)][orientation == 2])
            for orientation, band in enumerate(bands)
        )
        wanted = transform.transform_back(wanted, [scaled])
    np.testing.assert_allclose(picture / 16, wanted, rtol=2e-3, atol=1)


def test_windows_see_zeros_beyond_a_band_and_nothing_of_what_lies_elsewhere():
    band = np.arange(1, 31).reshape(5, 6)
    view = windows.View(windows.frame(band))
    inside = view.gather(np.array([2]), np.array([3]), windows.NEAR)[:, 0]
    np.testing.assert_array_equal(inside, network.latent_inputs(16, 16)[band[1:4, 2:5].ravel()])
    corner = view.gather(np.array([4]), np.array([0]), windows.OWN)[:, 0]
    expected = np.zeros((5, 5), int)
    expected[:3, 2:] = network.latent_inputs(16, 16)[band[2:, :3]]
    np.testing.assert_array_equal(corner, np.delete(expected.ravel(), 12))


def test_a_new_picture_has_the_second_model_and_one_of_the_first_is_still_read():
    data = api.encode(png(photo(64, 48)), LATENT).data
    layout, _ = container.load(data)
    assert layout.header.network["contexts"] == 2
    for version in (1, 3, "2", True):
        with pytest.raises(FileFormatError):
            WaveletConfig(3, 48, 64, 60, contexts=version)


def test_a_picture_that_is_not_refined_has_a_trellis_if_not_tiny_and_other_trellises_are_refused():
    for size, tune, effort, version in (
        ((80, 80), "psnr", 2, 1),
        ((79, 79), "psnr", 2, None),
        ((15, 500), "psnr", 2, None),  # all of it is in the coarsest picture
        ((80, 80), "visual", 2, 1),
        ((79, 79), "visual", 2, None),
        ((80, 80), "visual", 3, None),
    ):
        settings = replace(LATENT, tune=tune, effort=effort)
        layout, _ = container.load(api.encode(png(photo(*size)), settings).data)
        assert layout.header.network.get("trellis") == version
    for entries in ({"trellis": 2}, {"trellis": True}, {"contexts": None}):
        with pytest.raises(FileFormatError):
            WaveletConfig(3, 48, 64, 60, **{"contexts": 2, "trellis": 1} | entries)


def test_the_tool_that_trains_the_networks_finds_examples_in_a_picture(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    tool = importlib.import_module("train_context_model")
    monkeypatch.setattr(tool, "STEP_INDICES", (48,))
    path = tmp_path / "photo.png"
    path.write_bytes(png(photo(80, 64)))
    tool.collect([path], tmp_path)
    with np.load(tmp_path / "photo-48.npz") as found:
        for name, inputs in (("magnitude", 84), ("sign", 160 + 1)):
            count = len(found[f"{name}.places"])
            assert count > 100
            assert found[f"{name}.inputs"].shape == (count, inputs)
            assert found[f"{name}.weights"].shape == found[f"{name}.values"].shape == (count,)


def test_the_golden_file_decodes_to_the_same_latents_for_ever():
    known = json.loads(GOLDEN.with_suffix(".json").read_text())
    assert digests(GOLDEN) == known


def test_the_networks_stay_as_they_are_for_ever():
    data = (Path(context_model.__file__).parent / "context_model-2.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith("cfdfd66872e6a70dc21ecb923cb15064")
