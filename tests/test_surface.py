"""Triangles as a surface: searched, simplified, compared."""

import numpy as np
import pytest
import trimesh

from intfit.media.surface.comparison import compare_surfaces
from intfit.media.surface.search import Surface
from intfit.media.surface.simplification import measure_deviation, simplify, simplify_within
from intfit.media.surface.winding import find_winding


def as_surface(*bodies: trimesh.Trimesh) -> Surface:
    mesh = trimesh.util.concatenate(bodies)
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def test_inside_is_exact_for_thin_triangles_overlapping_bodies_and_cavities():
    # a disc's faces are thin triangles around its axis
    disc = trimesh.creation.cylinder(0.7, 0.2, sections=2000)
    box = trimesh.creation.box((0.5, 0.5, 0.9))
    cavity = trimesh.creation.box((0.2, 0.2, 0.2))
    cavity.invert()
    surface = as_surface(disc, box, cavity)
    assert surface.closed
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    x, y, z = points.T
    in_disc = (np.hypot(x, y) < 0.7) & (np.abs(z) < 0.1)
    in_box = (np.abs(points) < [0.25, 0.25, 0.45]).all(axis=1)
    hollow = (np.abs(points) < 0.1).all(axis=1)
    expected = in_disc.astype(int) + in_box - hollow
    clear = np.abs(np.hypot(x, y) - 0.7) > 1e-5  # facets lie a little within the round disc
    np.testing.assert_array_equal(surface.find_inside(points)[clear], expected[clear] > 0)


def test_what_is_inside_a_surface_with_a_hole_is_decided_by_the_fast_winding_number():
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.8)
    surface = Surface(np.asarray(ball.vertices), np.asarray(ball.faces)[10:])
    assert not surface.closed
    points = np.random.default_rng(0).uniform(-1, 1, (2000, 3))
    expected = np.abs(find_winding(points, surface.vertices, surface.faces)) > 0.5
    np.testing.assert_array_equal(surface.find_inside(points), expected)
    true = np.linalg.norm(points, axis=1)
    clear = np.abs(true - 0.8) > 0.1
    np.testing.assert_array_equal(expected[clear], true[clear] < 0.8)


@pytest.mark.parametrize("subdivisions", [0, 4])  # edges longer, and shorter than the bound
def test_distances_beyond_a_bound_are_the_bound_and_the_others_exact(subdivisions):
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    surface = as_surface(ball)
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    exact = surface.measure_distances(points)
    assert (exact > 0.1).any()
    assert (exact < 0.1).any()
    np.testing.assert_array_equal(surface.measure_distances(points, most=0.1), exact.clip(max=0.1))


def torus() -> Surface:
    return as_surface(trimesh.creation.torus(0.7, 0.25, major_sections=200, minor_sections=100))


def test_a_surface_is_simplified_to_a_count_and_stays_closed():
    found = simplify(torus(), 1000)
    assert len(found.faces) == 1000
    assert found.closed
    assert trimesh.Trimesh(found.vertices, found.faces).volume == pytest.approx(
        2 * np.pi**2 * 0.7 * 0.25**2, rel=0.02
    )
    assert simplify(torus(), 40_000).faces.shape == torus().faces.shape


def test_something_is_left_however_few_faces_are_asked_for():
    bodies = [trimesh.creation.icosphere(subdivisions=3, radius=0.3) for _ in range(2)]
    bodies[1].apply_translation([0.6, 0, 0])
    assert len(simplify(as_surface(*bodies), 1).faces) >= 4


@pytest.mark.parametrize("tolerance", [3e-3, 3e-4])
def test_a_tolerance_gives_few_faces_that_keep_it(tolerance):
    surface = torus()
    found, deviation = simplify_within(surface, tolerance)
    assert 0.7 * tolerance < deviation <= tolerance
    assert measure_deviation(found, surface) == pytest.approx(deviation)
    assert measure_deviation(simplify(surface, len(found.faces) * 2 // 3), surface) > tolerance


def test_a_tolerance_finer_than_its_own_faces_keeps_a_surface_as_it_is():
    ball = as_surface(trimesh.creation.icosphere(subdivisions=2, radius=0.8))
    assert simplify_within(ball, 1e-9) == (ball, 0.0)


def test_surfaces_are_compared_by_distance_normals_and_share_within_a_bound():
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
    larger = ball.copy()
    larger.apply_scale(1.004)
    larger.invert()  # normals are compared whichever way both face
    diagonal = 3**0.5
    found = compare_surfaces(as_surface(larger), as_surface(ball), points=4000)
    assert found.mean == pytest.approx(100 * 0.002 / diagonal, rel=0.02)
    assert found.greatest == pytest.approx(found.mean, rel=0.05)
    assert found.normal_error < 1
    assert found.f_score == 0.0  # 0.12 % of the diagonal
    larger.apply_scale(1.002 / 1.004)
    assert compare_surfaces(as_surface(larger), as_surface(ball), points=4000).f_score == 1.0
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    tilt = trimesh.transformations.rotation_matrix(np.radians(3), (1, 0, 0))[:3, :3]
    found = compare_surfaces(Surface(corners @ tilt, faces), Surface(corners, faces), points=4000)
    assert found.normal_error == pytest.approx(3)
