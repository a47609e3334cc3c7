"""What a decoded surface becomes: a file with its colours, and notes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import trimesh

from ...errors import UsageError
from ..formats.writing import COLOURED, write_surface, write_textured
from .decoded import Palette
from .search import Surface
from .texture import bake

#: The least and the largest texture that is painted where nobody says which.
TEXTURES = (64, 4096)


def write_decoded(
    mesh: trimesh.Trimesh, name: str, facts: dict[str, Any], *, texture: int | None
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a mesh file of format ``name`` with the surface's colours, and notes.

    In GLB they are a texture of ``texture`` pixels where that is given, or where the original had
    one; otherwise they are those of vertices.

    Raises:
        UsageError: if a texture is asked for that the surface or the format does not have.
        MediaError: as :func:`.write_surface`.
    """
    centre, unit = np.array(facts["centre"]), facts["unit"]
    palette: Palette | None = getattr(mesh, "palette", None)
    if texture is not None and (palette is None or name != "glb"):
        why = "this surface has no colours" if palette is None else f"a .{name} file holds none"
        raise UsageError(f"--texture is for the colours of a .glb file: {why}")
    if palette is None:
        return write_surface(mesh, name, centre=centre, unit=unit)
    if name == "glb" and (texture or facts["texture"]):
        surface = Surface((np.asarray(mesh.vertices) - centre) / unit, np.asarray(mesh.faces))
        size = texture or int(np.clip(facts["texture"], *TEXTURES))
        textured = bake(surface, lambda points: palette.at(points * unit + centre), size)
        return write_textured(mesh, textured, centre=centre, unit=unit), ()
    if name not in COLOURED:
        data, notes = write_surface(mesh, name, centre=centre, unit=unit)
        return data, (*notes, f".{name} holds no colours: .ply, .obj and .glb do")
    colours = np.rint(255 * palette.at(np.asarray(mesh.vertices))).astype(np.uint8)
    data, notes = write_surface(mesh, name, centre=centre, unit=unit, colours=colours)
    if facts["texture"]:
        notes = (*notes, f"colours at {len(colours)} vertices only: .glb has a texture")
    return data, notes


def note_faces(mesh: trimesh.Trimesh, facts: dict[str, Any], originally: int) -> Iterator[str]:
    """Notes where holes are open, and on more faces than in the original, or too few for it."""
    count = len(mesh.faces)
    if mesh.metadata.get("trimmed"):
        yield "open where the original was: --watertight closes it"
    if 0 < originally < count:
        yield f"{count} faces, the original had {originally}: --faces {originally} gives as many"
    moved, distance = mesh.metadata.get("deviation", 0.0), facts.get("mean_distance")
    if distance is not None and moved > distance:
        yield (
            f"so few faces lie {moved:.2g} % of the diagonal from the field's surface, which is "
            f"itself within {distance:.2g} % of the original"
        )
