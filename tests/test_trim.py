"""Open surfaces: what a field closes is cut away where the original had holes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from conftest import use_few_points

from intfit import api
from intfit.codecs import trim
from intfit.codecs.levelset import base_fitting
from intfit.coding import container
from intfit.coding.header import Header
from intfit.errors import FileFormatError
from intfit.inspection import info
from intfit.media import mesh
from intfit.media.surface import trimming
from intfit.media.surface.trimming import trim as cut
from intfit.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def _few_points():
    with pytest.MonkeyPatch.context() as patch:
        use_few_points(patch)
        patch.setattr(base_fitting, "BASE_STEPS", dict.fromkeys(range(1, 10), 100))
        patch.setattr(trim, "TRIM_STEPS", dict.fromkeys(range(1, 10), 300))
        patch.setattr(trimming, "LEARNT", 1 << 13)
        patch.setattr(trimming, "MEASURED", 1 << 12)
        patch.setattr(trimming, "DRAWN", 1 << 14)
        patch.setattr(trimming, "RESOLUTION", 48)
        yield


@pytest.fixture(scope="module")
def bowl(tmp_path_factory) -> Path:
    """A ball without its top, as a file."""
    path = tmp_path_factory.mktemp("bowl") / "bowl.ply"
    ball = trimesh.creation.icosphere(subdivisions=4)
    low = ball.vertices[ball.faces][:, :, 2].max(axis=1) < 0.85
    ball.update_faces(low)
    ball.export(path)
    return path


@pytest.fixture(scope="module")
def latents(bowl) -> bytes:
    return api.encode(str(bowl), Settings(field="latent", quality=24, effort=1)).data


@pytest.mark.parametrize(
    "settings", [("--field", "latent", "-q", 24), ("--steps", 500, "--width", 16)]
)
def test_holes_come_back_and_closed_where_that_is_asked_for(intfit, bowl, tmp_path, settings):
    coded, decoded = tmp_path / "bowl.safetensors", tmp_path / "bowl.ply"
    run = intfit("encode", bowl, "-o", coded, "-e", 1, *settings)
    assert run.code == 0, run.err
    assert "its holes stay open" in run.err
    assert "trim" in intfit("info", coded, "-v").out.split("parts")[1]
    run = intfit("decode", coded, "-o", decoded, "--resolution", 48)
    assert run.code == 0, run.err
    assert "open where the original was" in run.err
    back = trimesh.load_mesh(decoded)
    border = back.edges_unique[np.bincount(back.edges_unique_inverse) == 1]
    top = back.vertices[border.ravel()][:, 2]
    assert (np.abs(top - 0.82) < 0.1).sum() > 40  # around the hole
    run = intfit("decode", coded, "-f", "-o", decoded, "--resolution", 48, "--watertight")
    assert run.code == 0, run.err
    assert trimesh.load_mesh(decoded).is_watertight


def test_an_open_file_is_nearer_to_its_original_and_says_the_same_in_every_profile(bowl, latents):
    field = api.load(latents)
    opened = api.load(api.export(latents))
    place = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    for name in ("", "trim"):
        one, other = (each.part(name) if name else each for each in (field, opened))
        np.testing.assert_allclose(one(place), other(place), atol=1e-6)
    measure = mesh.compare_with(bowl.read_bytes(), field.facts, suffix=".ply")
    near, closed = (
        measure(api.render(field, mesh.Target(resolution=48, watertight=watertight)))
        for watertight in (False, True)
    )
    assert near["mean_distance"] < 0.5 * closed["mean_distance"]


def test_a_closed_surface_has_no_trim(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=3)
    encoded = api.encode(
        (ball.vertices, ball.faces), Settings(field="latent", quality=10, effort=1)
    )
    assert "trim" not in info(encoded.data)["facts"]


def test_triangles_are_cut_along_the_border():
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices, faces = cut(
        np.asarray(ball.vertices), np.asarray(ball.faces), lambda points: points[:, :1] - 0.3
    )
    left = trimesh.Trimesh(vertices, faces, process=False)
    border = left.edges_unique[np.bincount(left.edges_unique_inverse) == 1]
    assert np.abs(left.vertices[border.ravel()][:, 0] - 0.3).max() < 1e-3
    assert left.area == pytest.approx(2 * np.pi * 1.3, rel=0.01)
    assert np.abs(left.face_normals - left.triangles_center).max() < 0.1  # none turned round


def test_a_trim_that_costs_more_than_it_saves_is_left_out():
    def made(size: int, saved: float) -> trim.Trim:
        return trim.Trim(8, {}, size, 1, saved)

    assert trim.choose_trim((made(300, 0.0001),), 2000, 0.02) is None
    one, other = made(200, 0.01), made(400, 0.0101)
    assert trim.choose_trim((one, other), 2000, 0.02) is one


def test_a_damaged_trim_is_refused(latents):
    layout, stored = container.load(latents)
    header = layout.header

    def altered(width: object, payload: bytes | None = None) -> bytes:
        facts = header.facts | {"trim": width}
        new = Header(header.medium, facts, header.field, header.network, header.fit)
        data = stored["payload"].data if payload is None else payload
        return container.dump(new, {"payload": container.Stored("U8", (len(data),), data)})

    for bad in (0, 65, 8.0, "8"):
        with pytest.raises(FileFormatError):
            api.load(altered(bad))
    for bad in (b"", b"\0", b"\xff\xff" + stored["payload"].data[2:], b"\0\0" + bytes(50)):
        with pytest.raises(FileFormatError):
            api.load(altered(8, bad))


@pytest.mark.parametrize("size", [600, 1000, 3000])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_surfaces_of_a_given_size_have_it(bowl, closed, size):
    ball = trimesh.creation.icosphere(subdivisions=3)
    source = (ball.vertices, ball.faces) if closed else str(bowl)
    encoded = api.encode(source, Settings(target_size=size, effort=1))
    assert len(encoded.data) <= size
