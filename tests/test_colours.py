"""Surfaces' colours: read from vertices and textures, fitted beside the shape, and written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from intfit import api
from intfit.codecs import read_config
from intfit.coding import container
from intfit.errors import FileFormatError
from intfit.media import mesh
from intfit.media.surface import grid
from intfit.media.surface.search import Surface
from intfit.media.surface.texture import bake
from intfit.media.triangles import read_painted

pytestmark = pytest.mark.usefixtures("small_pools")

NETWORK = ("--width", 32, "--depth", 3, "--omega-first", 10, "--omega", 10, "--batch", 1024)


def colour_at(points: np.ndarray) -> np.ndarray:
    """Colours ``[n, 3]`` from 0 to 1 of places ``[n, 3]``: one that changes along each axis."""
    return 0.5 + 0.4 * np.sin(1.5 * points)


def ball(subdivisions: int = 4) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=subdivisions)


def as_bytes(exported: str | bytes) -> bytes:
    return exported.encode() if isinstance(exported, str) else bytes(exported)


def painted_ball(suffix: str) -> bytes:
    body = ball()
    colours = np.rint(255 * colour_at(body.vertices)).astype(np.uint8)
    if suffix == ".float.ply":
        header = f"ply\nformat ascii 1.0\nelement vertex {len(body.vertices)}\n"
        names = ("x", "y", "z", "red", "green", "blue")
        header += "".join(f"property float {name}\n" for name in names)
        header += f"element face {len(body.faces)}\nproperty list uchar int vertex_indices\n"
        rows = np.hstack([body.vertices, colours / 255]).tolist()
        lines = [" ".join(map(repr, row)) for row in rows]
        lines += [f"3 {a} {b} {c}" for a, b, c in body.faces.tolist()]
        return "\n".join([header + "end_header", *lines, ""]).encode()
    body.visual.vertex_colors = colours
    return as_bytes(body.export(file_type=suffix[1:]))


def textured_patches() -> bytes:
    """A box as GLB whose texture has a red and a green half; it has UVs that repeat once over."""
    body = trimesh.creation.box((1, 1, 1))
    body.unmerge_vertices()
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = (250, 10, 10), (10, 200, 10)
    uv = np.stack([np.where(body.vertices[:, 2] > 0, 1.25, 1.75), np.full(36, 0.5)], axis=1)
    # flat colours: the faces that join the halves are left out of comparisons
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels))
    body.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return as_bytes(body.export(file_type="glb"))


def sample(data: bytes, suffix: str, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Places on a mesh file's surface, and its colours there."""
    vertices, faces, _, paint = read_painted(data, suffix)
    surface = Surface(vertices, faces)
    chosen, points = surface.draw_points(count, np.random.default_rng(0))
    assert paint is not None
    return points, paint.sample(chosen, surface.find_weights(chosen, points))


@pytest.mark.parametrize("suffix", [".ply", ".float.ply", ".obj", ".glb"])
def test_colours_of_vertices_are_read_from_every_format_that_has_them(suffix):
    points, colours = sample(painted_ball(suffix), Path(suffix).suffix)
    np.testing.assert_allclose(colours, colour_at(points), atol=0.02)


def test_a_texture_within_the_file_is_read_through_its_coordinates():
    points, colours = sample(textured_patches(), ".glb")
    top, bottom = points[:, 2] > 0.499, points[:, 2] < -0.499
    np.testing.assert_allclose(
        colours[top], np.tile([250, 10, 10], (top.sum(), 1)) / 255, atol=1e-6
    )
    np.testing.assert_allclose(
        colours[bottom], np.tile([10, 200, 10], (bottom.sum(), 1)) / 255, atol=1e-6
    )


def change_header(data: bytes, change: Callable[[dict], None]) -> bytes:
    """A GLB file whose JSON was changed."""
    size = int.from_bytes(data[12:16], "little")
    header = json.loads(data[20 : 20 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    made = data[:8] + (20 + len(text) + len(rest)).to_bytes(4, "little")
    return made + len(text).to_bytes(4, "little") + data[16:20] + text + rest


def test_a_texture_is_moved_as_its_transform_says():
    def swap_halves(header: dict) -> None:
        texture = header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        texture["extensions"] = {"KHR_texture_transform": {"offset": [0.5, 0]}}

    points, colours = sample(change_header(textured_patches(), swap_halves), ".glb")
    top = points[:, 2] > 0.499
    np.testing.assert_allclose(
        colours[top], np.tile([10, 200, 10], (top.sum(), 1)) / 255, atol=1e-6
    )


def test_a_texture_in_another_file_is_not_opened():
    Image.new("RGB", (4, 4), "red").save("secret.png")
    made = change_header(
        textured_patches(), lambda header: header.update(images=[{"uri": "secret.png"}])
    )
    _, _, notes, paint = read_painted(made, ".glb")
    assert paint is None
    assert notes == ["a texture that is not in the file, or not readable, is left out"]


def test_faces_that_are_dropped_or_turned_keep_their_colours():
    body = ball(2)
    body.visual.vertex_colors = np.rint(255 * colour_at(body.vertices)).astype(np.uint8)
    faces = np.array(body.faces)
    faces[5] = faces[5, ::-1]
    faces = np.concatenate([faces[:1, [0, 0, 1]], faces])
    wrong = trimesh.Trimesh(
        body.vertices, faces, vertex_colors=body.visual.vertex_colors, process=False
    )
    data = as_bytes(wrong.export(file_type="ply"))
    assert len(read_painted(data, ".ply")[2]) == 2  # one dropped, one turned
    points, colours = sample(data, ".ply")
    np.testing.assert_allclose(colours, colour_at(points), atol=0.05)


def test_a_surface_of_one_colour_has_no_network_for_it():
    body = ball()
    body.visual.vertex_colors = np.tile([200, 30, 30], (len(body.vertices), 1)).astype(np.uint8)
    signal = mesh.read(as_bytes(body.export(file_type="ply")), suffix=".ply", pool=1 << 10)
    assert signal.colours is None
    assert signal.notes[-1] == mesh.NOT_KEPT


def test_a_baked_texture_shows_the_colours_everywhere_also_at_seams():
    body = trimesh.creation.torus(0.7, 0.25, major_sections=48, minor_sections=24)
    surface = Surface(np.asarray(body.vertices), np.asarray(body.faces))
    textured = bake(surface, colour_at, 512)
    assert max(textured.pixels.shape[:2]) == 512
    uv = np.stack([textured.places[:, 0], 1 - textured.places[:, 1]], axis=1)
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(textured.pixels)
    )
    written = trimesh.Trimesh(
        surface.vertices[textured.sources],
        textured.faces,
        visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        process=False,
    )
    points, colours = sample(as_bytes(written.export(file_type="glb")), ".glb")
    np.testing.assert_allclose(colours, colour_at(points), atol=0.02)


def test_colours_come_back_in_every_format_that_holds_them(intfit, monkeypatch):
    monkeypatch.setattr(grid, "RESOLUTION", 64)
    Path("ball.ply").write_bytes(painted_ball(".ply"))
    run = intfit("encode", "ball.ply", "--steps", 400, *NETWORK)
    assert run.code == 0, run.err
    assert mesh.COLOURS_KEPT in run.err
    line = json.loads(
        intfit("verify", "ball.ply.safetensors", "--against", "ball.ply", "--json").out
    )
    assert line["colour_psnr"] > 25
    assert line["faces"] >= 5120  # no fewer than the original has, for its colours
    for suffix in ("ply", "obj", "glb"):
        run = intfit("decode", "ball.ply.safetensors", "-o", f"back.{suffix}")
        assert run.code == 0, run.err
        points, colours = sample(Path(f"back.{suffix}").read_bytes(), f".{suffix}")
        assert np.abs(colours - colour_at(points)).mean() < 0.06
    run = intfit("decode", "ball.ply.safetensors", "--format", "stl")
    assert ".stl holds no colours" in run.err
    run = intfit("decode", "ball.ply.safetensors", "--format", "ply", "--texture", 64, "--force")
    assert run.code == 2
    assert "--texture is for the colours of a .glb file" in run.err
    run = intfit("decode", "ball.ply.safetensors", "-o", "baked.glb", "--texture", 128)
    assert run.code == 0, run.err
    paint = read_painted(Path("baked.glb").read_bytes(), ".glb")[3]
    assert paint.texture_size == 128
    points, colours = sample(Path("baked.glb").read_bytes(), ".glb")
    assert np.abs(colours - colour_at(points)).mean() < 0.06
    described = intfit("info", "-v", "ball.ply.safetensors").out
    assert "colours: SIREN" in described
    assert "colours.layers.0.weight" in described


def test_a_textured_original_decodes_to_a_texture_of_its_size_and_the_field_has_four_values(
    intfit, monkeypatch
):
    monkeypatch.setattr(grid, "RESOLUTION", 48)
    Path("box.glb").write_bytes(textured_patches())
    run = intfit("encode", "box.glb", "--target-size", "2500", "--steps", 200)
    assert run.code == 0, run.err
    assert 1500 < Path("box.glb.safetensors").stat().st_size <= 2500
    run = intfit("decode", "box.glb.safetensors", "--faces", 500)
    assert run.code == 0, run.err
    paint = read_painted(Path("box.decoded.glb").read_bytes(), ".glb")[3]
    assert paint.texture_size == 64  # of 16, but no less
    picture = Image.fromarray(paint.pictures[0])
    assert picture.size[0] <= 64
    field = api.load("box.glb.safetensors")
    coords = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3)).astype(np.float32)
    values = field(coords)
    assert values.shape == (2, 5, 4)
    assert field.out_features == 4
    np.testing.assert_array_equal(field.part("distance")(coords), values[..., :1])
    np.testing.assert_array_equal(field.part("colours")(coords), values[..., 1:])
    found = field.module()(torch.from_numpy(coords)).detach().numpy()
    np.testing.assert_allclose(found, values, atol=1e-5)
    onnxruntime = pytest.importorskip("onnxruntime")
    model = api.export("box.glb.safetensors", suffix=".onnx")
    session = onnxruntime.InferenceSession(model)
    (given,) = session.run(None, {"coordinates": coords.reshape(-1, 3)})
    np.testing.assert_allclose(given, values.reshape(-1, 4), atol=1e-4)
    opened = api.export("box.glb.safetensors")
    np.testing.assert_allclose(api.load(opened)(coords), values, atol=1e-6)


def test_colours_without_their_network_are_refused():
    body = painted_ball(".ply")
    settings = api.Settings(width=16, depth=2, omega=10, omega_first=10, steps=200)
    made = api.encode(body, settings, suffix=".ply")
    layout, _ = container.load(made.data)
    header = layout.header
    read_config(header)
    without = {n: v for n, v in header.network.items() if not n.startswith("colour")}
    for damaged in (
        {"facts": {n: v for n, v in header.facts.items() if n != "texture"}},
        {"facts": header.facts | {"texture": 1 << 20}},
        {"facts": header.facts | {"texture": True}},
        {"network": without},
    ):
        with pytest.raises(FileFormatError):
            read_config(type(header)(**{**vars(header), **damaged}))


def test_a_damaged_texture_is_left_out_with_a_note():
    data = bytearray(textured_patches())
    start = data.index(b"\x89PNG")
    data[start : start + 8] = b"notapngx"
    _, _, notes, paint = read_painted(bytes(data), ".glb")
    assert paint is None
    assert len(notes) == 1
