"""Creases: found on a surface, part of a field, and kept by dual contouring."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import trimesh

import intfit as library
from intfit.media.isosurface import extract_surface
from intfit.media.surface import grid
from intfit.media.surface.comparison import compare_surfaces
from intfit.media.surface.contouring import contour, find_crossed_edges
from intfit.media.surface.creases import colour_faces, measure_sides
from intfit.media.surface.search import Surface
from intfit.networks.architecture import SirenConfig
from intfit.networks.siren import Siren
from intfit.training.gradients.autograd import AutogradGradient
from intfit.training.gradients.base import Batch
from intfit.training.gradients.by_hand import GradientByHand

HALF = np.array([0.61, 0.43, 0.27])


def as_surface(body: trimesh.Trimesh) -> Surface:
    return Surface(np.asarray(body.vertices), np.asarray(body.faces))


def box_field(points: np.ndarray) -> np.ndarray:
    """The distance of a box by its nearest side, and its gradient, ``[B, 4]``."""
    beyond = np.abs(points) - HALF
    side = beyond.argmax(axis=1)
    gradient = np.sign(points) * np.eye(3)[side]
    return np.concatenate([beyond.max(axis=1)[:, None], gradient], axis=1)


def test_patches_on_either_side_of_a_crease_have_different_colours():
    box = trimesh.creation.box()
    colours = colour_faces(as_surface(box.subdivide().subdivide()))
    normals = box.subdivide().subdivide().face_normals.round().astype(int)
    for one in np.unique(normals, axis=0):
        own = np.unique(colours[(normals == one).all(axis=1)])
        assert len(own) == 1
        for other in np.unique(normals, axis=0):
            if np.dot(one, other) == 0:
                assert own[0] not in colours[(normals == other).all(axis=1)]


@pytest.mark.parametrize("subdivisions", [2, 4])
def test_the_faces_of_a_round_body_are_no_patches(subdivisions):
    assert colour_faces(as_surface(trimesh.creation.icosphere(subdivisions=subdivisions))) is None


def test_the_side_of_a_crease_is_zero_where_both_patches_are_as_near():
    cylinder = as_surface(trimesh.creation.cylinder(0.5, 1, sections=64))
    points = np.array([[0.7, 0, 0.7], [0.6, 0, 0.49], [0.4, 0, 0.55], [0.45, 0, 0.45]])
    sides = measure_sides(cylinder, points, most=0.5)
    assert sides.shape == (4, 1)
    assert sides[[0, 3], 0] == pytest.approx(0, abs=1e-3)
    assert sides[1, 0] * sides[2, 0] < 0


def test_dual_contouring_keeps_edges_and_corners_that_marching_cubes_cuts_off():
    counts, cell = np.array([40, 32, 24]), 2 / 40
    box = as_surface(trimesh.creation.box(2 * HALF))
    found = {}
    for way, differentiate in (("cubes", None), ("dual", box_field)):
        vertices, faces, _ = extract_surface(
            lambda points: box_field(points)[:, :1].astype(np.float32),
            counts,
            cell,
            [1.0, 0.8, 0.6],
            differentiate=differentiate,
        )
        surface = Surface(vertices, faces)
        assert surface.closed
        found[way] = compare_surfaces(surface, box, points=4000)
    assert found["cubes"].normal_error > 2
    assert found["dual"].normal_error < 0.1
    assert found["dual"].greatest < 1e-4


def test_dual_contouring_looks_outwards_and_is_round_where_the_field_is():
    def ball(points):
        away = points - 15.3
        length = np.linalg.norm(away, axis=1)
        return length - 11, away / length[:, None]

    places = np.moveaxis(np.mgrid[:32, :32, :32], 0, -1).reshape(-1, 3).astype(float)
    values = ball(places)[0].reshape(32, 32, 32).astype(np.float32)
    body = trimesh.Trimesh(*contour(find_crossed_edges(values), values.shape, ball), process=False)
    assert body.is_watertight
    assert body.volume == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.01)
    assert np.abs(ball(body.vertices)[0]).max() < 0.04


def test_the_gradient_of_a_field_with_creases_by_hand_is_autograds():
    network = Siren(SirenConfig(3, 1, 16, 2, 30.0, 30.0, 2), generator=torch.Generator())
    rng = torch.Generator().manual_seed(3)
    coords, sides = (torch.rand(90, n, generator=rng) * 2 - 1 for n in (3, 2))
    batch = Batch(
        coords, coords[:, :1], "l1", 90, torch.rand(90, generator=rng), sides, torch.tensor(0.4)
    )
    found = []
    by_hand = GradientByHand(network)  # makes room for gradients
    for gradient in (AutogradGradient(network), by_hand):
        network.zero_grad(set_to_none=False)
        errors = gradient(batch)
        found.append([errors, *(p.grad.clone() for p in network.parameters())])
    for exact, by_hand in zip(*found, strict=True):
        torch.testing.assert_close(by_hand, exact, atol=2e-4, rtol=1e-3)


@pytest.mark.usefixtures("small_pools")
def test_a_box_comes_back_with_its_edges(intfit, monkeypatch):
    monkeypatch.setattr(grid, "RESOLUTION", 48)
    Path("box.off").write_bytes(trimesh.creation.box(2 * HALF).export(file_type="off").encode())
    assert intfit("encode", "box.off", "-o", "a.safetensors", "--width=20", "--steps=500").code == 0
    assert library.info("a.safetensors")["field"]["creases"] == 2
    told = json.loads(intfit("verify", "a.safetensors", "--against", "box.off", "--json").out)
    assert told["normal_error"] < 6

    # the network computes the same in whichever form it is handed on
    field = library.load("a.safetensors", device="cpu")
    coords = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    wanted = field(coords)
    module = field.module()(torch.from_numpy(coords)).detach().numpy()
    np.testing.assert_allclose(module, wanted, atol=1e-6)
    assert intfit("export", "a.safetensors", "-o", "a.onnx").code == 0
    session = onnxruntime.InferenceSession("a.onnx", providers=["CPUExecutionProvider"])
    (values,) = session.run(["values"], {"coordinates": coords})
    np.testing.assert_allclose(values, wanted, atol=2e-5)
