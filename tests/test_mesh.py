"""Surfaces: what is read, and how a signed distance becomes triangles in the original's place."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from conftest import on_arrays

from intfit import api as pipeline
from intfit.errors import MediaError
from intfit.media import mesh
from intfit.media.isosurface import sample_grid
from intfit.media.mesh import Target
from intfit.media.sampling import CLAMP, PADDING
from intfit.media.surface import grid as extraction_grid
from intfit.media.triangles import read_triangles
from intfit.networks.architecture import SirenConfig
from intfit.signals import DistanceSamples
from intfit.training.examples import examples_of

#: A padded cube of side 4.4 away from the origin.
CENTRE, UNIT = [10.0, -3.0, 5.0], 2.2
Distance = Callable[[torch.Tensor], torch.Tensor]


def facts_of(extent: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> dict:
    return {
        "centre": CENTRE,
        "unit": UNIT,
        "extent": list(extent),
        "vertices": 10**6,
        "faces": 10**6,
    }


def field(distance: Distance) -> Distance:
    """What a perfect fit to a signed distance ``[B]`` gives: clamped, and divided by the clamp."""
    return lambda points: (distance(points) / CLAMP).clamp(-1, 1)[:, None]


def sphere(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Distance:
    return lambda points: (points - torch.tensor(centre)).norm(dim=1) - radius


def torus(points: torch.Tensor) -> torch.Tensor:
    ring = points[:, :2].norm(dim=1) - 0.7
    return torch.stack([ring, points[:, 2]], dim=1).norm(dim=1) - 0.2


def slab(points: torch.Tensor) -> torch.Tensor:
    beyond = points.abs() - torch.tensor([0.93, 0.61, 0.03])
    return beyond.clamp(min=0).norm(dim=1) + beyond.amax(dim=1).clamp(max=0)


def rendered(evaluate: Distance, facts: dict | None = None, **target: Any) -> trimesh.Trimesh:
    return mesh.render(on_arrays(evaluate), facts or facts_of(), Target(**target))


# Reading


def box(extents: tuple[float, float, float], place: tuple[float, float, float]) -> trimesh.Trimesh:
    body = trimesh.creation.box(extents)
    body.apply_translation(place)
    return body


@pytest.mark.parametrize(
    "suffix", [".obj", ".ply", ".stl", ".off", ".glb", "ascii.ply", "ascii.stl"]
)
@pytest.mark.parametrize("named", [True, False])
def test_every_format_gives_the_same_surface_named_or_not(suffix, named):
    body = box((1, 2, 3), (10, -3, 5))
    kind = suffix.replace("ascii.stl", "stl_ascii").removeprefix("ascii").removeprefix(".")
    options = {"encoding": "ascii"} if suffix == "ascii.ply" else {}
    data = body.export(file_type=kind, **options)
    data = data.encode() if isinstance(data, str) else data
    assert mesh.accepts(data, Path(f"a{suffix}").suffix if named else "")
    vertices, faces, notes = read_triangles(data, Path(f"a{suffix}").suffix if named else "")
    assert notes == []
    assert len(faces) == 12
    np.testing.assert_allclose(np.unique(vertices, axis=0), np.unique(body.vertices, axis=0))
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(6)


def test_a_scene_is_merged_with_every_part_in_its_place():
    scene = trimesh.Scene()
    scene.add_geometry(box((1, 1, 1), (0, 0, 0)))
    scene.add_geometry(
        box((2, 2, 2), (0, 0, 0)),
        transform=trimesh.transformations.translation_matrix((10, 0, -4)),
    )
    vertices, faces, _ = read_triangles(scene.export(file_type="glb"), ".glb")
    np.testing.assert_allclose(vertices.min(axis=0), [-0.5, -1, -5])
    np.testing.assert_allclose(vertices.max(axis=0), [11, 1, 0.5])
    assert trimesh.Trimesh(vertices, faces, process=False).volume == pytest.approx(1 + 8)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".obj", b"# square\nv 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nv 99 0 0\nf 1 2 3 4\n"),
        (".off", b"OFF\n5 1 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n99 0 0\n4 0 1 2 3\n"),
    ],
    ids=[".obj", ".off"],
)
def test_polygons_become_triangles_and_unused_vertices_do_not_count(suffix, text):
    vertices, faces, _ = read_triangles(text, suffix)
    assert len(faces) == 2
    np.testing.assert_array_equal(vertices.max(axis=0), [2, 2, 0])
    assert trimesh.Trimesh(vertices, faces, process=False).area == pytest.approx(4)


def test_degenerate_and_repeated_triangles_are_dropped_and_counted():
    text = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 2 0 0\nf 1 2 3\nf 3 1 2\nf 1 2 4\n"
    _, faces, notes = read_triangles(text, ".obj")
    assert len(faces) == 1
    assert notes == ["2 degenerate or repeated faces dropped"]


@pytest.mark.parametrize("inside_out", [False, True])
def test_the_pool_holds_signed_distances_negative_inside(inside_out):
    body = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    body.apply_translation(CENTRE)
    if inside_out:
        body.invert()
        assert body.volume < 0
    signal = mesh.read(body.export(file_type="obj").encode(), suffix=".obj", pool=1 << 13)
    assert signal.n == 1 << 13
    assert signal.facts["unit"] == pytest.approx(2 * (1 + 2 * PADDING), rel=1e-3)
    np.testing.assert_allclose(signal.facts["centre"], CENTRE, atol=1e-6)
    unit = signal.facts["unit"]
    for points, targets in (
        (signal.points, signal.targets),
        (signal.evaluation_points, signal.evaluation_targets),
    ):
        assert np.abs(points).max() <= 1.5
        true = np.linalg.norm(points.astype(np.float64) * unit, axis=1) - 2
        away = np.abs(true) > 0.02  # facets lie up to 0.01 within the ball
        assert away.sum() > 1000
        np.testing.assert_array_equal(np.sign(targets[:, 0])[away], np.sign(true)[away])
    true = np.linalg.norm(signal.points.astype(np.float64) * unit, axis=1) - 2
    wanted = np.clip(true / unit / CLAMP, -1, 1)
    np.testing.assert_allclose(signal.targets[:, 0], wanted, atol=0.02 / unit / CLAMP)
    importance = examples_of(signal, torch.device("cpu")).importance
    nearest_first = importance[np.abs(signal.targets[:, 0]).argsort()]
    assert (nearest_first.diff() <= 0).all()
    assert nearest_first[0] > 6 * nearest_first[-1]
    assert importance.mean() == pytest.approx(1, rel=1e-5)


def test_the_longest_side_and_its_padding_span_the_unit_cube():
    data = box((4, 2, 1), (10, -3, 5)).export(file_type="ply")
    signal = mesh.read(data, suffix=".ply", pool=1 << 10)
    half = np.array([2, 1, 0.5])
    np.testing.assert_allclose(signal.facts["centre"], CENTRE)
    np.testing.assert_allclose(np.array(signal.facts["extent"]) * 2.2, half + 0.2, atol=2e-4)
    inside = signal.evaluation_targets[:, 0] < 0
    reach = np.abs(signal.evaluation_points[inside]).max(axis=0) * signal.facts["unit"]
    np.testing.assert_allclose(reach, half, atol=0.02)
    span = np.abs(signal.evaluation_points).max(axis=0) * signal.facts["unit"]
    np.testing.assert_allclose(span, half + 0.2, atol=0.02)


def beside_a_box(part: trimesh.Trimesh) -> DistanceSamples:
    """What is read of a box of side 1, and of a part that shares no edge with it."""
    box = trimesh.creation.box()
    both = trimesh.util.concatenate([box, part])
    return mesh.read(both.export(file_type="ply"), suffix=".ply", pool=1 << 12)


@pytest.mark.parametrize("place", [(2, 0, 0), (0, 0, 0)], ids=["beside", "within"])
def test_a_small_open_part_makes_no_sheet_of_a_body(place):
    """A narrow ring: what would close it has 16 % of the area."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = 0.4 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    low = np.arange(24)
    after = (low + 1) % 24
    faces = np.concatenate(
        [np.stack(f, axis=1) for f in ((low, after, low + 24), (after, after + 24, low + 24))]
    )
    vertices = np.concatenate([circle, circle + np.array([0, 0, 0.02])]) + place
    signal = beside_a_box(trimesh.Trimesh(vertices, faces, process=False))
    assert "48 of 60 faces, in parts that enclose nothing, left out" in signal.notes
    assert "thickness" not in signal.facts
    assert signal.facts["faces"] == 12
    np.testing.assert_allclose(signal.facts["centre"], 0, atol=1e-6)  # it widens no box
    assert signal.draw_trim is None


@pytest.mark.parametrize("side", [1.3, 5])
def test_a_large_open_part_is_kept_in_a_sheet_and_told(side):
    corners = [(0.8, 0, 0), (0.8 + side, 0, 0), (0.8, side, 0)]
    signal = beside_a_box(trimesh.Trimesh(corners, [[0, 1, 2]], process=False))
    assert "kept as a sheet" in signal.notes[0]
    assert "Without 1 of 13 faces" in signal.notes[0]
    assert signal.facts["faces"] == 13


def test_a_lid_that_shares_no_edge_is_no_stray():
    ball = trimesh.creation.icosphere(subdivisions=3)
    lid = ball.triangles_center[:, 2] > 0.8
    triangles = np.where(lid[:, None, None], 1.001, 1) * ball.triangles
    data = trimesh.Trimesh(
        triangles.reshape(-1, 3), np.arange(3 * len(lid)).reshape(-1, 3), process=False
    ).export(file_type="ply")
    assert mesh.read(data, suffix=".ply", pool=1 << 12).facts["faces"] == len(lid)


def test_an_open_surface_is_given_a_thickness_and_a_hole_is_closed():
    text = b"v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nf 1 2 3 4\n"
    signal = mesh.read(text, suffix=".obj", pool=1 << 12)
    assert "kept as a sheet" in signal.notes[0]
    half = signal.facts["thickness"]
    beyond = np.maximum(np.abs(signal.points.astype(np.float64)) - 1 / 1.1, 0)
    beyond[:, 2] = np.abs(signal.points[:, 2])
    wanted = np.clip((np.linalg.norm(beyond, axis=1) - half) / CLAMP, None, 1)
    np.testing.assert_allclose(signal.targets[:, 0], wanted, atol=1e-4)
    assert (signal.targets < 0).mean() > 0.1
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.update_faces(ball.triangles_center[:, 2] < 0.95)
    signal = mesh.read(ball.export(file_type="ply"), suffix=".ply", pool=1 << 10)
    assert "thickness" not in signal.facts


# Rendering


@pytest.mark.parametrize("resolution", [16, 64, 160])
def test_a_sphere_comes_back_in_its_place_and_scale(resolution):
    decoded = rendered(field(sphere(2 / UNIT)), resolution=resolution)
    cell = 2 * UNIT / resolution
    radius = np.linalg.norm(decoded.vertices - CENTRE, axis=1)
    # what is left is the curvature that marching cubes cannot see within a cell
    np.testing.assert_allclose(radius, 2, rtol=0, atol=0.05 * cell)
    np.testing.assert_allclose(
        decoded.bounds, [np.array(CENTRE) - 2, np.array(CENTRE) + 2], atol=cell
    )


@pytest.mark.parametrize(
    ("distance", "extent", "volume"),
    [
        (sphere(0.9), (1.0, 1.0, 1.0), 4 / 3 * np.pi * 0.9**3),
        (torus, (1.0, 1.0, 0.3), 2 * np.pi**2 * 0.7 * 0.2**2),
        (slab, (1.0, 0.7, 0.13), 8 * 0.93 * 0.61 * 0.03),
        # reaches out of the box, and is closed where it leaves
        (sphere(1.0), (1.0, 1.0, 0.5), 2 * np.pi * (0.5 - 0.5**3 / 3)),
    ],
    ids=["ball", "torus", "slab", "ball cut by the box"],
)
def test_a_decoded_surface_is_closed_and_faces_outward(distance, extent, volume):
    decoded = rendered(field(distance), facts_of(extent), resolution=160)
    assert decoded.is_watertight
    assert decoded.is_winding_consistent
    assert decoded.volume == pytest.approx(volume * UNIT**3, rel=0.02)


@pytest.mark.parametrize("resolution", [8, 24, 64, 100, 160])
@pytest.mark.parametrize(
    ("distance", "extent"),
    [(sphere(0.9), (1.0, 1.0, 1.0)), (torus, (1.0, 1.0, 0.3)), (slab, (1.0, 0.7, 0.13))],
    ids=["ball", "torus", "slab"],
)
def test_decoding_coarse_to_fine_misses_nothing(distance, extent, resolution):
    counts, cell = extraction_grid.choose_grid(facts_of(extent), resolution)
    evaluated = 0

    def evaluate(points: torch.Tensor) -> torch.Tensor:
        nonlocal evaluated
        evaluated += len(points)
        return field(distance)(points)

    values = np.empty(counts, np.float32)
    sample_grid(on_arrays(evaluate), counts, cell).fill(values, 0)
    axes = [(torch.arange(count) + 0.5 - count / 2) * cell for count in counts.tolist()]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    dense = field(distance)(grid).numpy().reshape(counts)
    wrong = int(np.count_nonzero((values < 0) != (dense < 0)))
    assert wrong == 0
    if cell < CLAMP:
        # marching cubes interpolates between neighbours on either side
        near = np.abs(dense) < cell / CLAMP
        np.testing.assert_allclose(values[near], dense[near], atol=1e-4)
    if resolution == 160 and distance is not slab:
        assert evaluated < values.size / 2


def test_a_field_that_grows_faster_than_distance_is_followed_where_it_goes():
    def slope(points):  # on one side of the origin a distance, on the other many times that
        steep = torch.where(points[:, :1] > 0, 20.0, 1.0)
        distance = points.norm(dim=1, keepdim=True) - 0.6
        return (steep * distance / CLAMP).clamp(-1, 1)

    counts = np.array([64, 64, 64])
    values = np.empty(counts, np.float32)
    sample_grid(on_arrays(slope), counts, 2 / 64).fill(values, 0)
    centres = (np.stack(np.indices(counts), axis=-1).reshape(-1, 3) + 0.5 - 32) / 32
    exact = slope(torch.from_numpy(centres.astype(np.float32))).numpy().reshape(counts)
    assert np.array_equal(values < 0, exact < 0)


@pytest.mark.parametrize("resolution", [170, 250])
def test_nothing_is_made_up_outside_the_box(resolution):
    """The grid is a multiple of the coarsest block, and a field means nothing outside its box."""

    def distance(points: torch.Tensor) -> torch.Tensor:
        beyond = 1.01 - points.abs().amax(dim=1)  # as if the body began again out there
        return torch.minimum(sphere(0.5)(points), beyond)

    decoded = rendered(field(distance), resolution=resolution)
    reach = np.full(3, 0.5 * UNIT)
    np.testing.assert_allclose(decoded.bounds - CENTRE, [-reach, reach], atol=0.01)


def test_the_voxel_is_a_side_in_the_units_of_the_mesh():
    evaluate = field(sphere(0.9))
    by_voxel, by_count = rendered(evaluate, voxel=4.4 / 160), rendered(evaluate, resolution=160)
    np.testing.assert_array_equal(by_voxel.vertices, by_count.vertices)
    np.testing.assert_array_equal(by_voxel.faces, by_count.faces)


def test_fragments_are_removed_and_counted_but_not_small_bodies():
    far = 0.85625  # the centre of a cell
    bodies = [
        sphere(0.75),
        sphere(0.1, (-0.8, -0.8, -0.8)),
        sphere(0.01, (far, far, far)),
        sphere(0.01, (-far, far, far)),
    ]
    evaluate = field(lambda points: torch.stack([d(points) for d in bodies]).amin(dim=0))
    config = SirenConfig(3, 1, 8, 2, omega_first=1.0, omega=1.0)  # of no network: unused
    exact = pipeline.Field("mesh", on_arrays(evaluate), config, facts_of(), "cpu")
    decoded = pipeline.decode(exact, Target(resolution=160), suffix=".ply")
    assert decoded.notes == ("2 floating fragments removed",)
    written = trimesh.load_mesh(io.BytesIO(decoded.data), file_type="ply")
    assert written.body_count == 2
    low, high = ((written.bounds - CENTRE) / UNIT).tolist()
    np.testing.assert_allclose(low, [-0.9] * 3, atol=0.005)
    np.testing.assert_allclose(high, [0.75] * 3, atol=0.005)


def test_as_many_faces_as_asked_for_or_as_a_tolerance_needs():
    evaluate, facts = field(torus), facts_of((1.0, 1.0, 0.3))
    grid = rendered(evaluate, facts, resolution=96)
    assert len(rendered(evaluate, facts, resolution=96, faces=900).faces) == 900
    few = rendered(evaluate, facts, resolution=96, tolerance=0.05)
    assert few.is_watertight
    assert len(few.faces) < len(grid.faces) / 8
    assert 0.03 < few.metadata["deviation"] <= 0.05
    # by default, as near as the field is to the original; a file that does not say keeps the grid's
    default = mesh.render(on_arrays(evaluate), facts | {"mean_distance": 0.2}, Target())
    assert 0.03 < default.metadata["deviation"] <= 0.05
    assert len(default.faces) < default.metadata["grid_faces"] / 8
    whole = mesh.render(on_arrays(evaluate), facts, Target())
    assert len(whole.faces) == default.metadata["grid_faces"]


def test_more_faces_than_the_original_and_too_few_are_noted():
    config = SirenConfig(3, 1, 8, 2, omega_first=1.0, omega=1.0)  # of no network: unused
    facts = facts_of() | {"mean_distance": 0.1, "faces": 800}
    exact = pipeline.Field("mesh", on_arrays(field(sphere(0.9))), config, facts, "cpu")
    assert "the original had 800: --faces 800 gives as many" in pipeline.decode(exact).notes[0]
    assert pipeline.decode(exact, faces=800).notes == ()
    assert "% of the diagonal from the field's surface" in pipeline.decode(exact, faces=40).notes[0]


def test_a_sheet_comes_back_at_its_middle():
    half = 0.016

    def rectangle(points: torch.Tensor) -> torch.Tensor:
        beyond = (points.abs() - torch.tensor([0.9, 0.5, 0.0])).clamp(min=0)
        return beyond.norm(dim=1) - half

    facts = facts_of((1.0, 0.6, 0.1)) | {"thickness": half}
    decoded = rendered(field(rectangle), facts, resolution=192)
    placed = (decoded.vertices - CENTRE) / UNIT
    assert np.abs(placed[:, 2]).max() < 1e-3
    np.testing.assert_allclose(np.abs(placed).max(axis=0)[:2], [0.9, 0.5], atol=3e-3)
    assert decoded.area == pytest.approx(2 * 4 * 0.9 * 0.5 * UNIT**2, rel=0.01)  # two layers


def test_a_field_without_a_surface_is_refused():
    with pytest.raises(MediaError, match="no surface"):
        rendered(lambda points: torch.ones(len(points), 1), resolution=16)


# The whole way


@pytest.mark.usefixtures("small_pools")
def test_a_fitted_ball_overlays_the_original(intfit, ball, monkeypatch):
    monkeypatch.setattr(extraction_grid, "RESOLUTION", 64)
    network = ("--width", 32, "--depth", 3, "--omega-first", 10, "--omega", 10, "--batch", 1024)
    run = intfit("encode", ball, "--steps", 300, *network)
    assert run.code == 0, run.err
    assert mesh.NOT_KEPT in run.err
    run = intfit("verify", "ball.obj.safetensors", "--against", ball, "--json")
    found = json.loads(run.out)
    assert found["iou"] > 0.97
    assert found["mean_distance"] < 0.5
    assert found["normal_error"] < 12
    about = json.loads(intfit("info", "ball.obj.safetensors", "--json").out)["facts"]
    assert about["mean_distance"] == pytest.approx(found["mean_distance"], rel=0.5)
    assert 100 < found["faces"] < 12_000  # the grid of 64 cells has 31,716
    run = intfit("decode", "ball.obj.safetensors", "--faces", 300, "-o", "few.stl")
    assert "300 faces, within" in run.err
    assert len(trimesh.load_mesh("few.stl").faces) == 300
    run = intfit("decode", "ball.obj.safetensors", "--faces", 300, "--tolerance", 1, "-o", "a.stl")
    assert run.code == 2
    assert intfit("decode", "ball.obj.safetensors", "--resolution", 50).code == 0
    decoded, original = (trimesh.load_mesh(name) for name in ("ball.decoded.obj", ball))
    np.testing.assert_allclose(decoded.bounds, original.bounds, atol=0.1)
    assert decoded.volume == pytest.approx(original.volume, rel=0.05)


@pytest.mark.usefixtures("small_pools")
def test_a_fitted_sheet_lies_where_the_original_does(intfit, monkeypatch):
    monkeypatch.setattr(extraction_grid, "RESOLUTION", 128)
    grid = trimesh.creation.icosphere(subdivisions=3)
    grid.update_faces(grid.triangles_center[:, 2] > 0.3)
    grid.export("bowl.obj")
    network = ("--width", 32, "--depth", 3, "--batch", 1024, "--omega-first", 20)
    run = intfit("encode", "bowl.obj", "--steps", 400, *network)
    assert run.code == 0, run.err
    assert "kept as a sheet" in run.err
    run = intfit("verify", "bowl.obj.safetensors", "--against", "bowl.obj", "--json")
    found = json.loads(run.out)
    assert found["iou"] is None
    assert found["mean_distance"] < 0.3
    assert found["normal_error"] < 15  # the layers face opposite ways
    assert found["f_score"] > 0.3
