"""Meshes made to go wrong: winding, place, thinness, odd files and hostile ones."""

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from intfit.errors import MediaError
from intfit.limits import Limits
from intfit.media import mesh
from intfit.media.formats.writing import write_ply
from intfit.media.isosurface import extract_surface
from intfit.media.mesh import Target
from intfit.media.sampling import CLAMP, measure_thin_part
from intfit.media.surface import grid
from intfit.media.surface.search import Surface
from intfit.media.triangles import read_triangles

BALL = trimesh.creation.icosphere(subdivisions=2)
BOX = trimesh.creation.box((2, 1, 0.6))


def ply(vertices: Any, faces: Any) -> bytes:
    return write_ply(np.asarray(vertices, float), np.asarray(faces))


def moved(body: trimesh.Trimesh, x: float, scale: float = 1.0) -> trimesh.Trimesh:
    return trimesh.Trimesh(body.vertices * scale + [x, 0, 0], body.faces, process=False)


def flipped(body: trimesh.Trimesh, which: Any = slice(None)) -> trimesh.Trimesh:
    faces = np.array(body.faces)
    faces[which] = faces[which][:, ::-1]
    return trimesh.Trimesh(body.vertices, faces, process=False)


def volume(data: bytes, suffix: str = ".ply") -> tuple[float, list[str]]:
    vertices, faces, notes = read_triangles(data, suffix)
    corners = (vertices - vertices.mean(axis=0))[faces]
    return float(np.linalg.det(corners).sum() / 6), notes


# Winding


def test_faces_wound_against_their_neighbours_are_turned():
    half = np.random.default_rng(0).random(len(BALL.faces)) < 0.4
    mixed = flipped(BALL, half)
    soup = mixed.vertices[mixed.faces].reshape(-1, 3)  # as STL has it: no vertex is shared
    for data in (
        ply(mixed.vertices, mixed.faces),
        ply(soup, np.arange(len(soup)).reshape(-1, 3)),
    ):
        found, notes = volume(data)
        assert found == pytest.approx(BALL.volume)
        assert notes == [f"{half.sum()} faces were wound against the others, and turned"]


def test_what_is_wound_alike_stays_as_it_is():
    cavity = trimesh.util.concatenate(BALL, flipped(moved(BALL, 0, 0.5)))
    for body in (BALL, flipped(BALL), cavity, flipped(cavity)):
        _, faces, notes = read_triangles(ply(body.vertices, body.faces), ".ply")
        assert notes == []
        np.testing.assert_array_equal(faces, body.faces)


def test_a_body_wound_against_another_that_it_overlaps_is_turned():
    both = trimesh.util.concatenate(BALL, flipped(moved(BALL, 1.2)))
    found, notes = volume(ply(both.vertices, both.faces))
    assert abs(found) == pytest.approx(2 * BALL.volume)
    assert len(notes) == 1


@pytest.mark.parametrize("turned", [(0,), (0, 1, 3)])
def test_sides_that_share_no_edges_are_turned_to_bound_a_body(turned):
    sides = []
    for side in range(6):  # each cut into triangles of its own size
        wanted = np.eye(3)[side % 3] * (1 if side < 3 else -1)
        part = trimesh.Trimesh(
            BOX.vertices, BOX.faces[BOX.face_normals @ wanted > 0.5], process=False
        )
        for _ in range(side % 3):
            part = part.subdivide()
        sides.append(flipped(part) if side in turned else part)
    body = trimesh.util.concatenate(sides)
    found, notes = volume(ply(body.vertices, body.faces))
    assert abs(found) == pytest.approx(BOX.volume)
    assert len(notes) == 1


def test_what_cannot_be_wound_alike_is_refused():
    """A Moebius strip, closed by a disc that its one border cannot bound in space: no inside."""
    around, count = np.linspace(0, 2 * np.pi, 60, endpoint=False), 60
    across = np.linspace(-0.8, 0.8, 5)
    u, v = np.meshgrid(around, across, indexing="ij")
    radius = 1 + v * np.cos(u / 2)
    points = np.stack([radius * np.cos(u), radius * np.sin(u), v * np.sin(u / 2)], -1)
    faces = []
    for i in range(count):
        for j in range(4):
            a, b = i * 5 + j, i * 5 + j + 1
            last = i == count - 1
            c, d = (4 - j, 3 - j) if last else (a + 5, b + 5)
            faces += [[a, b, c], [b, d, c]]
    with pytest.raises(MediaError, match="wound both ways"):
        read_triangles(ply(points.reshape(-1, 3), faces), ".ply")


# Place and scale


@pytest.mark.parametrize(
    ("place", "scale"), [(0.0, 1.0), (500_000.0, 1.0), (0.0, 1e-6), (3.0, 1e-6), (5e12, 1e12)]
)
@pytest.mark.parametrize("suffix", [".ply", ".obj", ".off", ".glb", ".stl"])
def test_the_place_of_a_surface_is_kept_or_its_loss_is_told(suffix, place, scale):
    facts = {"centre": [place, 4.7 * place, 0.0], "unit": scale, "extent": [1.0, 1.0, 1.0]}
    body = trimesh.Trimesh(BALL.vertices * scale + facts["centre"], BALL.faces, process=False)
    data, notes = mesh.write(body, facts, Target(), suffix)
    lost = suffix == ".stl" and place / scale > 1e3
    assert len(notes) == lost
    if not lost:
        vertices, faces, _ = read_triangles(data, suffix)
        error = vertices[faces] - np.asarray(body.vertices)[body.faces]
        assert np.abs(error).max() < 2e-6 * scale


def test_what_float32_cannot_hold_is_not_written():
    facts = {"centre": [0.0] * 3, "unit": 1e50, "extent": [1.0] * 3}
    body = trimesh.Trimesh(BALL.vertices * 1e50, BALL.faces, process=False)
    with pytest.raises(MediaError, match="float32"):
        mesh.write(body, facts, Target(), ".stl")
    data, _ = mesh.write(body, facts, Target(), ".glb")
    assert np.ptp(read_triangles(data, ".glb")[0]) == pytest.approx(2e50)


@pytest.mark.parametrize(("place", "scale"), [(0.0, 1.0), (5e6, 1.0), (0.0, 1e-6), (0.0, 1e12)])
def test_surfaces_are_read_and_compared_alike_wherever_they_lie(place, scale):
    body = moved(BALL, place, scale)
    data = ply(body.vertices, body.faces)
    signal = mesh.read(data, suffix=".ply", pool=1 << 12)
    here = mesh.read(ply(BALL.vertices, BALL.faces), suffix=".ply", pool=1 << 12)
    np.testing.assert_allclose(signal.points, here.points, atol=1e-5)
    np.testing.assert_allclose(signal.targets, here.targets, atol=1e-4)
    smaller = moved(BALL, place, 0.9 * scale)
    found = mesh.compare_with(data, signal.facts, suffix=".ply")(smaller)
    assert found["iou"] == pytest.approx(0.9**3, abs=0.01)
    assert found["mean_distance"] == pytest.approx(100 * 0.1 / 12**0.5, rel=0.02)
    assert found["max_distance"] == pytest.approx(100 * 0.1 / 12**0.5, rel=0.05)


# Thin bodies


def slab(half: tuple[float, float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """A perfect fit to a box of these half sides."""

    def evaluate(points: np.ndarray) -> np.ndarray:
        beyond = np.abs(points) - np.array(half)
        distance = np.linalg.norm(beyond.clip(0), axis=1) + beyond.max(axis=1).clip(max=0)
        return (distance / CLAMP).clip(-1, 1).astype(np.float32)[:, None]

    return evaluate


def test_a_plate_thinner_than_a_cell_decodes_to_two_sides():
    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [0.2, 0.2, 1.0]}
    evaluate = slab((0.0025, 0.1, 0.9))
    decoded = mesh.render(evaluate, facts, Target())
    assert decoded.is_watertight
    assert decoded.volume == pytest.approx(8 * 0.0025 * 0.1 * 0.9, rel=0.1)
    with pytest.raises(MediaError, match="no surface"):
        mesh.render(evaluate, facts, Target(resolution=256))


def test_what_passes_between_the_cells_is_seen_and_told():
    def plate(points: np.ndarray) -> np.ndarray:
        turn = np.array([[0.8, 0.6, 0], [-0.48, 0.64, 0.6], [0.36, -0.48, 0.8]])
        return slab((0.7, 0.7, 0.004))(points @ turn.T)

    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [1.0] * 3}
    decoded = mesh.render(plate, facts, Target(resolution=64))
    assert any(
        "thinner than a cell" in note for note in mesh.write(decoded, facts, Target(), ".ply")[1]
    )
    counts, cell = grid.choose_grid(facts, 64)
    *_, unseen = extract_surface(slab((0.5, 0.4, 0.3)), counts, cell, [1.0] * 3)
    assert unseen < 0.001


def test_a_field_that_rises_slowly_is_not_taken_for_a_thin_body():
    counts, cell = grid.choose_grid({"extent": [1.0] * 3}, 64)
    body = slab((0.5, 0.4, 0.3))
    *_, unseen = extract_surface(lambda points: body(points) / 10, counts, cell, [1.0] * 3)
    assert unseen < 0.01


def test_a_rough_fit_is_not_decoded_in_finer_cells():
    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [0.2, 0.2, 1.0], "mean_distance": 0.2}
    plates = slab((0.0025, 0.1, 0.9)), slab((0.05, 0.05, 0.1))

    def evaluate(points: np.ndarray) -> np.ndarray:
        return np.minimum(*(plate(points) for plate in plates))

    fine, rough = (
        mesh.render(evaluate, facts | {"mean_distance": distance}, Target(tolerance=0))
        for distance in (0.01, 0.2)
    )
    assert fine.metadata["unseen"] < 0.05 < rough.metadata["unseen"]
    assert len(rough.faces) < len(fine.faces) / 10


def test_foam_is_decoded_in_a_coarser_grid_and_told(monkeypatch):
    def foam(points: np.ndarray) -> np.ndarray:
        return np.sin(60 * points).prod(axis=1, keepdims=True).astype(np.float32) / 4

    monkeypatch.setattr(grid, "RESOLUTION", 64)
    monkeypatch.setattr(grid, "ROUGH_FACES", 1 << 14)
    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [1.0] * 3, "mean_distance": 1.0}
    decoded = mesh.render(foam, facts, Target(tolerance=0))
    cells = decoded.metadata["too_coarse"]
    assert 0 < cells < 64
    assert len(decoded.faces) < 1 << 14
    notes = mesh.write(decoded, facts, Target(), ".ply")[1]
    assert any(f"grid of {cells} cells" in note for note in notes)


def test_a_grid_that_would_have_too_many_faces_is_not_refined_and_told(monkeypatch):
    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [1.0] * 3, "mean_distance": 1e-6}

    def ball(points: np.ndarray) -> np.ndarray:
        return ((np.linalg.norm(points, axis=1) - 0.4) / CLAMP).clip(-1, 1)[:, None]

    monkeypatch.setattr(grid, "REFINED_FACES", 1 << 16)
    decoded = mesh.render(ball, facts, Target(tolerance=0))
    assert len(decoded.faces) < 1 << 18
    notes = mesh.write(decoded, facts, Target(), ".ply")[1]
    assert any("grid of 256 cells" in note and "--resolution 512" in note for note in notes)


def test_a_rod_of_two_cells_is_decoded_in_finer_ones_as_far_as_its_fit_deserves():
    def rod(points):
        away = np.hypot(points[:, 1], points[:, 2]) - 0.008
        distance = np.maximum(away, np.abs(points[:, 0]) - 0.9)
        return (distance / CLAMP).clip(-1, 1)[:, None].astype(np.float32)

    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [1.0, 0.1, 0.1]}
    coarse, fine = (
        mesh.render(rod, facts | {"mean_distance": distance}, Target())
        for distance in (0.05, 0.005)
    )
    volume = 1.8 * np.pi * 0.008**2
    assert coarse.volume < 0.92 * volume
    assert fine.volume == pytest.approx(volume, rel=0.05)


@pytest.mark.usefixtures("small_pools")
def test_a_fit_that_loses_thin_parts_says_so(intfit):
    Path("plate.off").write_bytes(
        trimesh.creation.box((1, 1, 0.01)).export(file_type="off").encode()
    )
    run = intfit("encode", "plate.off", "--width=6", "--steps=150")
    assert "near the surface is missing" in run.err or "found no surface" in run.err


@pytest.mark.parametrize("sides", [(10, 10, 1e-3), (10, 1e-3, 1e-3)], ids=["plate", "rod"])
def test_what_is_too_thin_to_come_back_is_refused(sides):
    body = trimesh.creation.box(sides)
    with pytest.raises(MediaError, match="too thin"):
        mesh.read(ply(body.vertices, body.faces), suffix=".ply", pool=1 << 12)


def test_a_plate_thinner_than_a_usual_cell_is_told():
    body = trimesh.creation.box((10, 10, 0.02))
    signal = mesh.read(ply(body.vertices, body.faces), suffix=".ply", pool=1 << 12)
    assert "100 % of its surface belongs to parts thinner than 1/256" in signal.notes[0]


def test_ordinary_bodies_are_not_thin():
    for body in (BALL, BOX, trimesh.creation.torus(1, 0.2), trimesh.creation.cone(1, 1)):
        vertices = body.vertices / np.abs(body.vertices).max()
        assert measure_thin_part(Surface(vertices, np.asarray(body.faces)), 2 / 256) < 0.02


# Odd files that are sound

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
MIXED = [*QUADS[:5], [1, 5, 7], [1, 7, 3]]
PLY = "ply\nformat {}\n{}element vertex 8\nproperty float x\nproperty float y\nproperty float z\n"


def text_rows(rows: Any, first: int = 0) -> str:
    return "".join(" ".join(f"{v + first:g}" for v in row) + "\n" for row in rows)


def polygons(faces: Any) -> str:
    return "".join(f"{len(face)} {' '.join(map(str, face))}\n" for face in faces)


def ply_text(faces: Any = QUADS, comment: str = "", tail: str = "") -> bytes:
    head = PLY.format("ascii 1.0", comment) + f"element face {len(faces)}\n"
    head += "property list uchar int vertex_indices\nend_header\n"
    return (head + text_rows(CUBE) + polygons(faces) + tail).encode()


def ply_binary(
    faces: Any = QUADS, order: str = "<", before: bytes = b"", tail: bytes = b""
) -> bytes:
    name = "binary_little_endian 1.0" if order == "<" else "binary_big_endian 1.0"
    head = PLY.format(name, "comment made\nobj_info by hand\n") + f"element face {len(faces)}\n"
    extra = "property uchar flags\n" if before else ""
    head += extra + "property list uchar int vertex_indices\nend_header\n"
    body = CUBE.astype(order + "f4").tobytes()
    for face in faces:
        body += before + bytes([len(face)]) + np.array(face, order + "i4").tobytes()
    return head.encode() + body + tail


def stl(count: int | None = None, tail: bytes = b"", head: bytes = b"solid but binary") -> bytes:
    facets = b"".join(
        np.zeros(3, "<f4").tobytes() + BOX.vertices[face].astype("<f4").tobytes() + b"\0\0"
        for face in BOX.faces
    )
    return head.ljust(80) + struct.pack("<I", 12 if count is None else count) + facets + tail


def stl_text(ends: str = "endsolid box\n") -> bytes:
    facets = "".join(
        "facet normal 0 0 0\n  outer loop\n"
        + "".join(f"    vertex {x:g} {y:g} {z:g}\n" for x, y, z in CUBE[face])
        + "  endloop\nendfacet\n"
        for face in QUADS
    )
    return f"solid box\n{facets}{ends}".encode()


OBJ_ROWS = "".join(f"v {x:g} {y:g} {z:g}\n" for x, y, z in CUBE)
OBJ_FACES = "".join("f " + " ".join(str(i + 1) for i in face) + "\n" for face in QUADS)
STRIP = [0, 1, 2, 3, 6, 7, 4, 5, 0, 1]  # four sides of the cube
STRIPS = [STRIP, [0, 2, 4, 6], [1, 5, 3, 7]]

SOUND = {
    "quads.ply": ply_text(),
    "mixed.ply": ply_text(MIXED),
    "trailing.ply": ply_text(tail="0 0 0\nand some words\n"),
    "texture.ply": ply_text(comment="comment TextureFile ../nothing.png\n"),
    "crlf.ply": ply_text().replace(b"\n", b"\r\n"),
    "quads-binary.ply": ply_binary(),
    "mixed-binary.ply": ply_binary(MIXED),
    "mixed-big-endian.ply": ply_binary(MIXED, ">"),
    "flags.ply": ply_binary(MIXED, before=b"\7"),
    "trailing-binary.ply": ply_binary(MIXED, tail=b"\0\1\2\3"),
    "strips.ply": (
        PLY.format("ascii 1.0", "")
        + "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
        + text_rows(CUBE)
        + " ".join([str(sum(map(len, STRIPS)) + 2), *map(str, STRIPS[0]), "-1"])
        + " "
        + " ".join([*map(str, STRIPS[1]), "-1", *map(str, STRIPS[2])])
        + "\n"
    ).encode(),
    "quads.off": ("OFF\n8 6 12\n" + text_rows(CUBE) + polygons(QUADS)).encode(),
    "comments.off": (
        "# made\nCOFF # by hand\n\n8 7 0\n"
        + "".join(f"{x:g} {y:g} {z:g} 1 0 0 1 # red\n" for x, y, z in CUBE)
        + polygons(MIXED).replace("\n", " 255 0 0\n")
        + "\nafter the end\n"
    ).encode(),
    "one-line.off": ("OFF 8 6 12\n" + text_rows(CUBE) + polygons(QUADS)).encode(),
    "quads.obj": (OBJ_ROWS + OBJ_FACES).encode(),
    "negative.obj": (
        OBJ_ROWS
        + "".join("f " + " ".join(str(i - 8) for i in face) + "\n" for face in QUADS)
        + "v 9 9 9\n"
    ).encode(),
    "slashes.obj": (
        "mtllib ../nothing.mtl\n"
        + OBJ_ROWS.replace("v ", "\tv\t")
        + "vt 0 0\nvn 0 0 1\nusemtl none\n"
        + OBJ_FACES.replace(" 1 ", " 1//1 ").replace(" 2 ", " 2/1 ").replace("\n", " # face\n")
    ).encode(),
    "continued.obj": (OBJ_ROWS + OBJ_FACES.replace(" 2", " \\\n2")).encode(),
    "colours.obj": (OBJ_ROWS.replace("\n", " 1 0 0\n") + OBJ_FACES).encode(),
    "solid.stl": stl(),
    "trailing.stl": stl(tail=b"made by hand"),
    "no-count.stl": stl(count=0),
    "wrong-count.stl": stl(count=13),
    "low-count.stl": stl(count=5),
    "padding.stl": stl(tail=bytes(100)),
    "byte-order-mark.stl": b"\xef\xbb\xbf" + stl_text(),
    "byte-order-mark.obj": ("\ufeff" + OBJ_ROWS + OBJ_FACES).encode(),
    "byte-order-mark.ply": b"\xef\xbb\xbf" + ply_text(),
    "quads.stl": stl_text(),
    "no-end.stl": stl_text(ends=""),
    "upper.stl": stl_text().upper(),
}


@pytest.mark.parametrize("name", SOUND)
def test_odd_but_sound_files_are_read(name):
    suffix = name[name.rfind(".") :]
    data = SOUND[name]
    assert mesh.accepts(data, suffix)
    found, notes = volume(data, suffix)
    cube = suffix != ".stl" or b"solid box" in data.lower()[:12]
    assert abs(found) == pytest.approx(1 if cube else BOX.volume)
    told = {"no-count.stl": 1, "wrong-count.stl": 1, "low-count.stl": 1, "no-end.stl": 1}
    assert len(notes) == told.get(name, 0)


# Refused, with the true reason

DAMAGED = {
    "short.ply": (ply_text()[:-12], "declares 6 rows of 'face'"),
    "short-binary.ply": (ply_binary()[:-5], "declares 6 rows of 'face' and"),
    "short-mixed.ply": (ply_binary(MIXED)[:-5], "'face' and ends within row 7"),
    "no-header-end.ply": (ply_text()[:90], "header does not end"),
    "many.ply": (ply_binary().replace(b"vertex 8", b"vertex 4000000000"), "4000000000 rows"),
    "words.ply": (ply_text().replace(b"0 0 0", b"0 zero 0"), "words where numbers"),
    "short.stl": (stl()[:-20], "declares 12 triangles and holds 11"),
    "short-text.stl": (stl_text()[:-60], "ends within a facet"),
    "short.off": (b"OFF\n8 6 12\n0 0 0\n", "declares 8 vertices and holds 1"),
    "four.off": (b"4OFF\n1 1 0\n0 0 0 1\n", "three dimensions"),
    "zero.obj": (b"v 0 0 0\nf 0 1 2\n", "vertex 0"),
    "points.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\np 1 2 3\n", "no triangles"),
    "archive.zip": (b"PK\3\4" + bytes(99), "not a mesh"),
    "archive.bz2": (b"BZh9" + bytes(99), "not a mesh"),
    "drawing.dxf": (b"0\nSECTION\n", "not a mesh"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_refused_is_refused_with_the_true_reason(name):
    data, reason = DAMAGED[name]
    with pytest.raises(MediaError, match=reason):
        read_triangles(data, name[name.rfind(".") :])


def test_no_other_file_is_read_and_nothing_is_logged(intfit, caplog):
    run = intfit(
        "encode",
        "-o",
        "-",
        "--field",
        "siren",
        "--steps",
        1,
        "--kind",
        "mesh",
        "-",
        stdin=SOUND["texture.ply"],
    )
    # whether one step finds a surface is not what this is about
    assert run.code == 0 or "no surface" in run.err
    assert "Traceback" not in run.err
    assert not caplog.records


# glTF


def glb(header: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


VERTICES, CORNERS = BOX.vertices.astype("<f4").tobytes(), BOX.faces.astype("<u2").tobytes()


def box_glb(**changes: Any) -> bytes:
    header = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(VERTICES + CORNERS)}],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(VERTICES)},
            {"buffer": 0, "byteOffset": len(VERTICES), "byteLength": len(CORNERS)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return glb(header | changes, VERTICES + CORNERS)


def test_a_long_chain_of_nodes_is_followed():
    nodes = [{"children": [i + 1], "translation": [0, 0, 1]} for i in range(3000)] + [{"mesh": 0}]
    vertices, faces, _ = read_triangles(box_glb(nodes=nodes), ".glb")
    assert len(faces) == 12
    assert vertices[:, 2].mean() == pytest.approx(3000)


def test_nodes_stand_where_their_matrices_say():
    turn = {"rotation": [0, 0, 0.5**0.5, 0.5**0.5], "scale": [1, -2, 1], "translation": [5, 0, 0]}
    vertices, faces, _ = read_triangles(box_glb(nodes=[{"mesh": 0, **turn}]), ".glb")
    np.testing.assert_allclose(np.ptp(vertices, axis=0), [2, 2, 0.6], atol=1e-6)
    assert vertices[:, 0].mean() == pytest.approx(5)
    assert np.linalg.det((vertices - [5, 0, 0])[faces]).sum() / 6 == pytest.approx(2.4, rel=1e-5)


def test_one_mesh_in_many_places_is_bounded_by_what_it_makes():
    nodes = [{"mesh": 0, "translation": [3 * i, 0, 0]} for i in range(200)]
    data = box_glb(nodes=nodes, scenes=[{"nodes": list(range(200))}])
    assert len(read_triangles(data, ".glb")[1]) == 2400
    with pytest.raises(MediaError, match="vertices are more than"):
        read_triangles(data, ".glb", Limits(1e-5))


NO_BUFFER = [
    {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
    {"componentType": 5125, "count": 300_000_000, "type": "SCALAR"},
]
HOSTILE_GLB = {
    "no buffer": (box_glb(accessors=NO_BUFFER), "300000000 items has no buffer"),
    "beyond its buffer": (
        box_glb(accessors=[NO_BUFFER[0], {**NO_BUFFER[1], "bufferView": 1}]),
        "larger than its buffer",
    ),
    "sparse": (
        box_glb(accessors=[NO_BUFFER[0], {**NO_BUFFER[1], "sparse": {"count": 0}}]),
        "faces are more than",
    ),
    "negative": (box_glb(accessors=[{**NO_BUFFER[0], "count": -8}]), "count is not a whole"),
    "cycle": (box_glb(nodes=[{"mesh": 0, "children": [0]}]), "below itself"),
    "another file": (box_glb(buffers=[{"uri": "/etc/passwd", "byteLength": 99}]), "another file"),
    "compressed": (
        box_glb(extensionsRequired=["KHR_draco_mesh_compression"]),
        "draco.*is not read",
    ),
    "deep": (
        struct.pack("<4sIIII", b"glTF", 2, 100_020, 100_000, 0x4E4F534A) + b"[" * 100_000,
        "JSON cannot be read",
    ),
    "cut": (box_glb()[:-20], "longer than the file"),
}


@pytest.mark.parametrize("name", HOSTILE_GLB)
def test_hostile_scenes_are_refused_before_anything_is_made(name):
    data, reason = HOSTILE_GLB[name]
    tracemalloc.start()
    with pytest.raises(MediaError, match=reason):
        read_triangles(data, ".glb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


# Bounds


def test_faces_of_text_are_counted_before_they_are_read():
    data = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 1 1\n" * 100_000
    with pytest.raises(MediaError, match="no triangles of any area"):
        read_triangles(data, ".obj")
    tracemalloc.start()
    with pytest.raises(MediaError, match="faces are more than"):
        read_triangles(data, ".obj", Limits(1e-3))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    one_line = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1" * 100_000
    with pytest.raises(MediaError, match="faces are more than"):
        read_triangles(one_line, ".obj", Limits(1e-3))


def test_a_surface_is_bounded_before_it_is_made():
    def noise(points: np.ndarray) -> np.ndarray:
        return np.sin(points @ np.array([[1e5], [2e5], [3e5]])).astype(np.float32) / 20

    facts = {"centre": [0.0] * 3, "unit": 1.0, "extent": [1.0] * 3}
    for factor, what in ((0.004, "cells near the surface"), (0.02, "faces")):
        with pytest.raises(MediaError, match=f"{what} are more than"):
            mesh.render(noise, facts, Target(resolution=64), limits=Limits(factor))
    with pytest.raises(MediaError, match="bytes of memory are more than"):
        mesh.render(noise, facts, Target(resolution=1000), limits=Limits(0.05))


SEEDS = [(data, name[name.rfind(".") :]) for name, data in SOUND.items()] + [(box_glb(), ".glb")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_mutated_files_raise_nothing_foreign(seed, draw):
    data, suffix = bytearray(seed[0]), seed[1]
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        kind = draw.draw(st.sampled_from(["byte", "number", "cut", "repeat"]))
        if kind == "byte":
            data[at] = draw.draw(st.integers(0, 255))
        elif kind == "number":
            data[at : at + 4] = draw.draw(
                st.sampled_from([b"\xff" * 4, b"9999", b" -1 ", b"\0" * 4])
            )
        elif kind == "cut":
            del data[at + 1 :]
        else:
            data[at:at] = data[at : at + 64]
    reason = ""
    try:
        vertices, faces, _ = read_triangles(bytes(data), suffix)
        assert faces.max() < len(vertices)
    except MediaError as error:
        reason = str(error)
    assert len(reason) < 300
    assert reason.isprintable()


def test_a_fit_that_finds_no_surface_says_so(intfit):
    plate = trimesh.creation.box((1, 1, 0.004))
    Path("plate.stl").write_bytes(plate.export(file_type="stl"))
    run = intfit("encode", "plate.stl", "--steps", 1, "--width", 4, "--depth", 1, "--lr", 1e-6)
    assert run.code == 1
    assert "no surface" in run.err
    assert not Path("plate.stl.safetensors").exists()
