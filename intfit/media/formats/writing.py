"""Writing mesh files so that they keep the place of a surface, however far from the origin."""

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from ...errors import MediaError
from ..surface.texture import Textured
from .polygons import Array, Indices

Bytes = NDArray[np.uint8]

#: A coordinate may be off by this share of the surface's longest side before that is a loss.
TOLERANCE = 1e-6
#: The formats that hold the colours of vertices.
COLOURED = frozenset({"ply", "obj", "glb"})
#: Decimals that trimesh writes.
DECIMALS = {"obj": 8, "off": 10}


def write_surface(
    mesh: trimesh.Trimesh,
    name: str,
    *,
    centre: Array,
    unit: float,
    colours: Bytes | None = None,
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a mesh file of format ``name``, and notes on what it cannot hold.

    ``centre`` and ``unit`` tell where the surface lies: ``(vertex - centre) / unit`` is in [-1, 1].
    ``colours`` ``[V, 3]``, of 0 to 255, are for the formats in :data:`COLOURED`. Coordinates that
    the format's usual number of digits cannot hold are written with all digits (PLY, OBJ, OFF), or
    relative to a node in their place (GLB).

    Raises:
        MediaError: if the format has no numbers as large as the coordinates.
    """
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    plain = trimesh.Trimesh(vertices, faces, vertex_colors=colours, process=False)
    span = float(np.ptp(vertices, axis=0).max())
    if name in DECIMALS:
        if 10.0 ** -DECIMALS[name] / 2 > TOLERANCE * span:
            if name == "obj":
                return _write_obj(vertices, faces, colours), ()
            return _write_off(vertices, faces), ()
        return _export(plain, name), ()
    loss = measure_loss(vertices)
    if loss <= TOLERANCE:
        return _export(plain, name), ()
    if name == "ply":
        return write_ply(vertices, faces, colours), ()
    if name == "glb":
        around = trimesh.Trimesh(
            (vertices - centre) / unit, faces, vertex_colors=colours, process=False
        )
        return _export(_place(around, centre, unit), name), ()
    if not np.isfinite(loss):
        raise MediaError(
            f".{name} has no numbers of this size (float32): try .ply, .obj, .off or .glb"
        )
    note = (
        f".{name} has 32-bit numbers: so far from the origin vertices are off by up to "
        f"{100 * loss:.2g} % of the longest side; .ply, .obj, .off and .glb keep them"
    )
    return _export(plain, name), (note,)


def write_textured(
    mesh: trimesh.Trimesh, textured: Textured, *, centre: Array, unit: float
) -> bytes:
    """A GLB file of a mesh with its texture, which is within as a PNG."""
    vertices = np.asarray(mesh.vertices)[textured.sources]
    upwards = np.stack([textured.places[:, 0], 1 - textured.places[:, 1]], axis=1)
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=Image.fromarray(textured.pixels), metallicFactor=0.0, roughnessFactor=1.0
    )
    visual = trimesh.visual.TextureVisuals(uv=upwards, material=material)
    if measure_loss(vertices) <= TOLERANCE:
        plain = trimesh.Trimesh(vertices, textured.faces, visual=visual, process=False)
        return _export(plain, "glb")
    around = (vertices - centre) / unit
    plain = trimesh.Trimesh(around, textured.faces, visual=visual, process=False)
    return _export(_place(plain, centre, unit), "glb")


def _place(around: trimesh.Trimesh, centre: Array, unit: float) -> trimesh.Scene:
    """A scene in which a mesh around the origin stands in its place."""
    matrix = np.diag([unit, unit, unit, 1.0])
    matrix[:3, 3] = centre
    scene = trimesh.Scene()
    scene.add_geometry(around, transform=matrix)
    return scene


def measure_loss(vertices: Array) -> float:
    """How far float32 moves vertices at the most, as a share of their box's longest side."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(vertices.astype(np.float32) - vertices).max(initial=0)
    span = np.ptp(vertices, axis=0).max() if len(vertices) else 0.0
    return float(moved / span) if span > 0 else 0.0


def write_ply(vertices: Array, faces: Indices | None = None, colours: Bytes | None = None) -> bytes:
    """A binary PLY file of vertices as doubles; of points alone where there are no ``faces``.

    ``colours`` ``[V, 3]`` are of 0 to 255.
    """
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
    )
    body = np.ascontiguousarray(vertices, "<f8").tobytes()
    if colours is not None:
        header += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
        table = np.empty(len(vertices), [("place", "<f8", 3), ("colour", "u1", 3)])
        table["place"], table["colour"] = vertices, colours
        body = table.tobytes()
    if faces is not None:
        header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
        rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        rows["count"], rows["corners"] = 3, faces
        body += rows.tobytes()
    return f"{header}end_header\n".encode() + body


def _export(mesh: trimesh.Trimesh | trimesh.Scene, name: str) -> bytes:
    exported = mesh.export(file_type=name)
    return exported.encode() if isinstance(exported, str) else bytes(exported)


def _write_obj(vertices: Array, faces: Indices, colours: Bytes | None) -> bytes:
    rows = vertices if colours is None else np.hstack([vertices, np.round(colours / 255, 4)])
    lines = [f"v {' '.join(map(repr, row))}" for row in rows.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return "\n".join([*lines, ""]).encode()


def _write_off(vertices: Array, faces: Indices) -> bytes:
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0"]
    lines += [f"{x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    return "\n".join([*lines, ""]).encode()
