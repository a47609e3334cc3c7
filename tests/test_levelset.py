"""Surfaces on sparse latents: how close they come, what they take, and what is refused."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from conftest import use_few_points

from intfit import api
from intfit.codecs import choose_field, read_config
from intfit.codecs.levelset import base_fitting, codec, contexts, payload, pyramid
from intfit.codecs.levelset.config import COARSEST, FINEST, LevelSetConfig
from intfit.codecs.levelset.pyramid import Pyramid, subdivide
from intfit.coding import container
from intfit.coding.mixing import Decisions, Decoder, Encoder
from intfit.errors import FileFormatError
from intfit.settings import Settings

#: The bases that are tried by default. Without them tests are quicker.
LIST_BASES = codec._list_bases


@pytest.fixture(scope="module", autouse=True)
def _few_points():
    with pytest.MonkeyPatch.context() as patch:
        use_few_points(patch)
        patch.setattr(base_fitting, "BASE_STEPS", dict.fromkeys(range(1, 10), 1000))
        patch.setattr(codec, "_list_bases", lambda step, effort: (None,))
        yield


@pytest.fixture(scope="module")
def knot(tmp_path_factory) -> Path:
    """A bent tube, as a file."""
    path = tmp_path_factory.mktemp("knot") / "knot.obj"
    body = trimesh.creation.torus(0.7, 0.25, major_sections=60, minor_sections=30)
    body.vertices[:, 2] += 0.2 * np.sin(3 * body.vertices[:, 0])
    body.export(path)
    return path


@pytest.fixture(scope="module")
def file(knot) -> bytes:
    return api.encode(str(knot), Settings(field="latent", quality=24)).data


def test_a_surface_of_latents_is_small_close_and_as_the_command_line_says(
    intfit, knot, tmp_path, monkeypatch
):
    monkeypatch.setattr(codec, "_list_bases", LIST_BASES)
    coded, decoded = tmp_path / "knot.safetensors", tmp_path / "knot.ply"
    run = intfit("encode", knot, "-o", coded, "-q", 24, "-e", 2)
    assert run.code == 0, run.err
    assert "SIREN 12 x 3, corrected by latents on 1 level" in run.err
    assert coded.stat().st_size < 900
    shown = intfit("info", coded, "-v")
    assert "INT, examples drawn" in shown.out
    assert "base" in shown.out.split("parts")[1]
    assert intfit("decode", coded, "-o", decoded, "--resolution", 64).code == 0
    original = trimesh.load_mesh(knot)
    back = trimesh.load_mesh(decoded)
    assert abs(back.volume / original.volume - 1) < 0.01


def test_a_dry_run_promises_no_goal_where_none_was_given(intfit, knot):
    run = intfit("encode", knot, "--field", "latent", "--dry-run")
    assert run.code == 0, run.err
    assert "known once it is encoded" in run.err
    run = intfit("encode", knot, "--field", "latent", "--target-size", 900, "--dry-run")
    assert "about 900 B, in as long as a search takes" in run.err


def test_the_same_surface_gives_the_same_bytes(knot, file):
    assert api.encode(str(knot), Settings(field="latent", quality=24)).data == file


def test_a_file_is_as_small_as_asked(knot, file, monkeypatch):
    monkeypatch.setattr(codec, "MIDDLE_INDEX", 72)  # where the search begins
    size = len(file) - 60
    small = api.encode(str(knot), Settings(field="latent", target_size=size)).data
    assert 0.8 * size < len(small) <= size


@pytest.mark.parametrize("wanted", [-1000.0, 50.0, 71.4, 96.0, 120.2, 1000.0])
def test_the_search_finds_the_finest_step_that_is_not_too_much(wanted):
    tried = []

    def excess(step: int) -> float:
        tried.append(step)
        return 0.7 * (step - wanted)

    expected = min(max(int(np.floor(wanted)), COARSEST - 1), FINEST)
    assert codec._search(96, excess, FINEST) == expected
    assert len(tried) <= 8


def test_smooth_surfaces_are_latents_unless_the_training_of_one_siren_is_set():
    def chosen(*, smooth: bool = True, sheet: bool = False, **settings: object) -> str:
        return choose_field(Settings(**settings), "mesh", 1, smooth=smooth, sheet=sheet)

    assert chosen() == chosen(target_distance=0.05) == chosen(target_size=2000) == "latent"
    assert chosen(steps=100) == chosen(max_time=5.0) == chosen(target_size=500) == "siren"
    assert chosen(smooth=False) == chosen(sheet=True) == "siren"
    assert chosen(sheet=True, quality=60.0) == "latent"


def test_a_body_with_sharp_edges_is_a_siren_at_any_quality(intfit, tmp_path):
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "cube.obj")
    run = intfit("encode", tmp_path / "cube.obj", "-q", 70, "--dry-run")
    assert run.code == 0
    assert "SIREN" in run.err + run.out


def test_a_poor_fit_says_how_much_is_missing(intfit, tmp_path):
    """A sheet thinner than the cells of a low quality."""
    disc = trimesh.creation.icosphere(subdivisions=2)
    disc.update_faces(disc.triangles_center[:, 2] > 0.3)
    disc.export(tmp_path / "disc.ply")
    run = intfit("encode", tmp_path / "disc.ply", "--field", "latent", "-q", 5, "-e", 1)
    assert run.code == 0, run.err
    assert "near the surface is missing: a higher --quality may keep it" in run.err
    run = intfit("encode", tmp_path / "disc.ply", "--field", "latent", "-q", 70, "-e", 1, "-f")
    assert run.code == 0, run.err
    assert "missing" not in run.err


def test_settings_of_training_and_colours_are_refused(intfit, knot, tmp_path):
    run = intfit("encode", knot, "-o", tmp_path / "x", "--field", "latent", "--steps", 10)
    assert run.code == 2
    assert "--steps is for --field siren" in run.err
    body = trimesh.load_mesh(knot)
    body.visual.vertex_colors = np.rint(127 * body.vertices.clip(-1, 1) + 128).astype(np.uint8)
    painted = tmp_path / "painted.ply"
    painted.write_bytes(body.export(file_type="ply"))
    run = intfit("encode", painted, "-o", tmp_path / "x", "--field", "latent")
    assert run.code != 0
    assert "no colours" in run.err


def test_splines_are_the_same_in_torch_and_their_gradient_is_about_one(file):
    field = api.load(file)
    coords = np.random.default_rng(0).uniform(-0.9, 0.9, (3000, 3)).astype(np.float32)
    coords = coords[np.abs(field(coords)[:, 0]) < 0.3]
    module = field.module()
    points = torch.from_numpy(coords).requires_grad_()
    values = module(points)
    np.testing.assert_allclose(values.detach().numpy(), field(coords), atol=1e-4)
    (gradient,) = torch.autograd.grad(values.sum(), points)
    lengths = np.linalg.norm(gradient.numpy(), axis=1) / 10
    assert 0.85 < lengths.mean() < 1.15


def test_a_refined_level_is_the_same_spline():
    coarse = np.random.default_rng(0).integers(-4000, 4000, (7, 7, 7)).astype(np.int32)
    fine = subdivide(coarse)
    assert fine.shape == (11, 11, 11)
    corner = np.array([1, 4, 1]) / 6  # the weights of three nodes at the middle one

    def at_middle(grid: np.ndarray, node: int) -> float:
        part = grid[node - 1 : node + 2, node - 1 : node + 2, node - 1 : node + 2]
        return float(np.einsum("xyz,x,y,z", part, corner, corner, corner))

    assert abs(at_middle(coarse, 3) - at_middle(fine, 5)) < 2


def test_decisions_come_back_and_take_the_fewer_bits_the_more_certain_they_are():
    rng = np.random.default_rng(0)
    bits = (rng.random(4000) < 0.03).astype(int).tolist()
    encoder, model = Encoder(), Decisions(2)
    for index, bit in enumerate(bits):
        encoder.code(model, (index % 3, 0), 0, bit)
        encoder.code_evenly(index & 1)
    data = encoder.finish()
    assert len(data) < (4000 + 0.22 * 4000) / 8
    decoder, model = Decoder(data), Decisions(2)
    for index, bit in enumerate(bits):
        assert decoder.code(model, (index % 3, 0), 0, 1) == bit
        assert decoder.code_evenly(0) == index & 1


def test_any_whole_numbers_come_back():
    config = LevelSetConfig(16 * 3 + 5)
    found = Pyramid(config, 5)
    rng = np.random.default_rng(1)
    coefficients, levels = found.start(), []
    for level in range(1, config.levels + 1):
        coefficients = subdivide(coefficients) if level > 1 else coefficients
        core = found.find_core(level, coefficients)
        latents = np.rint(rng.laplace(size=len(core)) * 30).astype(np.int64)
        latents[::50] *= 900  # magnitudes beyond the usual ones
        active = found.find_active(level, coefficients, core)
        coefficients = found.correct(level, coefficients, active, latents)
        levels.append(latents)
    data = payload.pack(payload.Quantised(5, levels), config)
    np.testing.assert_array_equal(payload.unpack(data, config), coefficients)


def test_damaged_latents_are_refused_before_they_take_memory(file):
    layout, stored = container.load(file)
    data = stored["payload"].data
    config = read_config(layout.header)
    for bad in (b"", data[:1], b"\0" + data[1:], b"\xff" + data[1:]):
        with pytest.raises(FileFormatError):
            payload.unpack(bad, config)
    with pytest.raises(FileFormatError):  # the finest grid, from a few bytes
        payload.unpack(data[:600], replace(config, step=143))
    for step in (47, 144, 96.0, None, "96"):
        with pytest.raises((FileFormatError, TypeError)):
            LevelSetConfig(step)
    rng = np.random.default_rng(0)
    for _ in range(5):
        noise = bytes([5]) + rng.bytes(300)
        try:
            found = payload.unpack(noise, replace(config, step=64))
        except FileFormatError:
            continue
        assert found.shape == (19, 19, 19)


def _measure_memory(work) -> int:
    """The most bytes that ``work`` holds."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_whose_whole_grid_has_latents_takes_little_memory_for_each(monkeypatch):
    monkeypatch.setattr(contexts, "CHUNK", 1 << 8)
    config = LevelSetConfig(16 * 4)
    data = bytes([payload.FARTHEST]) + b"\xff" * 50  # zeros, so that the surface is everywhere
    assert _measure_memory(lambda: payload.unpack(data, config)) < 300 * config.count()


def test_a_band_that_fills_the_grid_takes_little_memory_for_each_node(monkeypatch):
    monkeypatch.setattr(pyramid, "CHUNK", 1 << 14)
    levels = Pyramid(LevelSetConfig(16 * 6), 1)
    predicted = np.full((67,) * 3, levels.threshold(6, 8), np.int32)
    core = levels.find_core(6, predicted)
    assert not len(core)
    assert _measure_memory(lambda: levels.find_active(6, predicted, core)) < 60 * predicted.size


def test_the_open_profile_holds_the_coefficients(file, tmp_path):
    opened = tmp_path / "open.safetensors"
    opened.write_bytes(api.export(file))
    coords = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    np.testing.assert_array_equal(api.load(str(opened))(coords), api.load(file)(coords))
