"""Writing mesh files so that they keep the place of a surface, however far from the origin."""

import numpy as np
import trimesh

from ...errors import MediaError
from .polygons import Array, Indices

#: A coordinate may be off by this share of the surface's longest side before that is a loss.
TOLERANCE = 1e-6
#: Decimals that trimesh writes.
DECIMALS = {"obj": 8, "off": 10}


def write_surface(
    mesh: trimesh.Trimesh, name: str, *, centre: Array, unit: float
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a mesh file of format ``name``, and notes on what it cannot hold.

    ``centre`` and ``unit`` tell where the surface lies: ``(vertex - centre) / unit`` is in [-1, 1].
    Coordinates that the format's usual number of digits cannot hold are written with all digits
    (PLY, OBJ, OFF), or relative to a node in their place (GLB).

    Raises:
        MediaError: if the format has no numbers as large as the coordinates.
    """
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    span = float(np.ptp(vertices, axis=0).max())
    if name in DECIMALS:
        if 10.0 ** -DECIMALS[name] / 2 > TOLERANCE * span:
            write = _write_obj if name == "obj" else _write_off
            return write(vertices, faces), ()
        return _export(mesh, name), ()
    loss = measure_loss(vertices)
    if loss <= TOLERANCE:
        return _export(mesh, name), ()
    if name == "ply":
        return write_ply(vertices, faces), ()
    if name == "glb":
        matrix = np.diag([unit, unit, unit, 1.0])
        matrix[:3, 3] = centre
        scene = trimesh.Scene()
        around = trimesh.Trimesh((vertices - centre) / unit, faces, process=False)
        scene.add_geometry(around, transform=matrix)
        return _export(scene, name), ()
    if not np.isfinite(loss):
        raise MediaError(
            f".{name} has no numbers of this size (float32): try .ply, .obj, .off or .glb"
        )
    note = (
        f".{name} has 32-bit numbers: so far from the origin vertices are off by up to "
        f"{100 * loss:.2g} % of the longest side; .ply, .obj, .off and .glb keep them"
    )
    return _export(mesh, name), (note,)


def measure_loss(vertices: Array) -> float:
    """How far float32 moves vertices at the most, as a share of their box's longest side."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(vertices.astype(np.float32) - vertices).max(initial=0)
    span = np.ptp(vertices, axis=0).max() if len(vertices) else 0.0
    return float(moved / span) if span > 0 else 0.0


def write_ply(vertices: Array, faces: Indices | None = None) -> bytes:
    """A binary PLY file of vertices as doubles; of points alone where there are no ``faces``."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
    )
    body = np.ascontiguousarray(vertices, "<f8").tobytes()
    if faces is not None:
        header += f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
        rows = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
        rows["count"], rows["corners"] = 3, faces
        body += rows.tobytes()
    return f"{header}end_header\n".encode() + body


def _export(mesh: trimesh.Trimesh | trimesh.Scene, name: str) -> bytes:
    exported = mesh.export(file_type=name)
    return exported.encode() if isinstance(exported, str) else bytes(exported)


def _write_obj(vertices: Array, faces: Indices) -> bytes:
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return "\n".join([*lines, ""]).encode()


def _write_off(vertices: Array, faces: Indices) -> bytes:
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0"]
    lines += [f"{x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    return "\n".join([*lines, ""]).encode()
