"""A surface in a page: triangles to turn, in as many bits as a screen shows."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..field import Field
from ..limits import Limits
from ..media.triangles import read_triangles

#: Cells along the longest side that a surface is extracted in for a page, the fewest, and the most
#: triangles of a surface there: 2 MB.
RESOLUTION, FEWEST, MOST_FACES = 128, 32, 150_000

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]


def describe(
    field: Field, found: dict[str, Any], original: bytes | None, suffix: str, limits: Limits
) -> tuple[dict[str, Any], list[str]]:
    """The values of a surface for the page, and notes on what the page lacks."""
    vertices, faces, resolution = _extract(field)
    notes = [f"extracted in {resolution} cells along the longest side; decode takes 256"]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    if not 0 < radius < float("inf"):
        raise MediaError("it is too small, too large or too far away to be shown")
    solids: dict[str, Any] = {
        "original": None,
        "decoded": _pack_solid((vertices - centre) / radius, faces, _find_colours(field, vertices)),
    }
    if original is not None:
        vertices, faces, _ = read_triangles(original, suffix, limits)
        count = len(faces)
        vertices, faces = reduce_faces(vertices, faces, MOST_FACES)
        if len(faces) < count:
            notes.append(
                f"the original is shown by {len(faces)} of its {count} triangles, its vertices "
                "merged in small cells: all would make a large page"
            )
        solids["original"] = _pack_solid((vertices - centre) / radius, faces)
    return solids, notes


def _find_colours(field: Field, vertices: Vertices) -> NDArray[np.uint8] | None:
    """The colours ``[V, 3]``, sRGB, of a field that has them after the distance; else None."""
    if field.out_features < 4:
        return None
    values = field((vertices - np.array(field.facts["centre"])) / field.facts["unit"])[:, 1:4]
    return ((values + 1) * 127.5).round().clip(0, 255).astype(np.uint8)


def _extract(field: Field) -> tuple[Vertices, Faces, int]:
    """A surface of at most :data:`MOST_FACES` triangles, and the cells it was extracted in.

    Raises:
        MediaError: if there is none, or only one of more triangles.
    """
    resolution = RESOLUTION
    while True:
        vertices, faces = field.render(resolution=resolution)
        if len(faces) <= MOST_FACES:
            return vertices, faces, resolution
        if resolution <= FEWEST:
            raise MediaError(f"a surface of {len(faces)} triangles is too large for a page")
        # a surface has about as many triangles as its resolution squared
        resolution = max(FEWEST, int(resolution * (MOST_FACES / len(faces)) ** 0.5 * 0.95))


def reduce_faces(vertices: Vertices, faces: Faces, most: int) -> tuple[Vertices, Faces]:
    """A mesh of at most ``most`` triangles: vertices that share a cell of a grid become one.

    (Rossignac and Borrel, 1993.) The finest grid of a few that is coarse enough is taken.
    """
    size = float((vertices.max(axis=0) - vertices.min(axis=0)).max()) or 1.0
    cells = 1024
    while len(faces) > most and cells > 1:
        places = np.floor((vertices - vertices.min(axis=0)) * (cells / size)).astype(np.int64)
        _, first, group = np.unique(places, axis=0, return_index=True, return_inverse=True)
        group = group.reshape(-1)
        total = np.zeros((len(first), 3))
        np.add.at(total, group, vertices)
        merged = group[faces]
        whole = (merged != np.roll(merged, 1, axis=1)).all(axis=1)
        if int(whole.sum()) <= most:
            return total / np.bincount(group)[:, None], merged[whole]
        cells = int(cells / 1.25)
    return vertices, faces


def _pack_solid(
    vertices: Vertices, faces: Faces, colours: NDArray[np.uint8] | None = None
) -> dict[str, Any]:
    """Vertices ``[V, 3]`` at 16 bits in their box, faces ``[F, 3]`` and colours, in base64."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = np.maximum(high - low, 1e-9)
    whole = ((vertices - low) / extent * 65535).round().astype("<u2")
    return {
        "low": low.tolist(),
        "extent": extent.tolist(),
        "vertices": base64.b64encode(whole.tobytes()).decode(),
        "faces": base64.b64encode(np.ascontiguousarray(faces, "<u4").tobytes()).decode(),
        "colours": None if colours is None else base64.b64encode(colours.tobytes()).decode(),
        "text": f"{len(faces)} triangles",
    }
