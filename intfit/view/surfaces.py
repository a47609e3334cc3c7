"""A surface in a page: triangles to turn, in as many bits as a screen shows."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..field import Field
from ..limits import Limits
from ..media.formats.paint import Paint
from ..media.triangles import read_painted

#: Cells along the longest side that a surface is extracted in for a page, the fewest, and the most
#: triangles of a surface there: 2 MB.
RESOLUTION, FEWEST, MOST_FACES = 128, 32, 150_000
#: The triangles that a textured original is cut into, and the most parts of a side of one.
TEXTURE_FACES, TEXTURE_PARTS = 100_000, 128

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
Colours = NDArray[np.float64]


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
        vertices, faces, _, paint = read_painted(original, suffix, limits)
        count, colours = len(faces), None
        if paint is not None:
            vertices, faces, colours = colour_corners(vertices, faces, paint)
        vertices, faces, colours = reduce_faces(vertices, faces, MOST_FACES, colours)
        if len(faces) < count:
            notes.append(
                f"the original is shown by {len(faces)} of its {count} triangles, its vertices "
                "merged in small cells: all would make a large page"
            )
        if colours is not None and paint is not None and paint.pictures:
            notes.append(f"the original's texture is shown at {len(colours)} points")
        levels = None if colours is None else (255 * colours).round().astype(np.uint8)
        solids["original"] = _pack_solid((vertices - centre) / radius, faces, levels)
        if paint is not None:
            solids["original"]["text"] = f"{count} triangles"
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


def colour_corners(
    vertices: Vertices, faces: Faces, paint: Paint
) -> tuple[Vertices, Faces, Colours]:
    """A mesh with a colour ``[V, 3]``, from 0 to 1, at each vertex.

    Triangles with a texture are cut into as many as show it, with :data:`TEXTURE_FACES` in all.
    """
    parts = int((TEXTURE_FACES / len(faces)) ** 0.5) if paint.pictures else 1
    parts = min(max(parts, 1), TEXTURE_PARTS)
    # the places of a triangle, in rows from its first corner, and the triangles between them
    rows = [(i, j) for i in range(parts + 1) for j in range(i + 1)]
    at = {place: number for number, place in enumerate(rows)}
    small = [(at[i, j], at[i + 1, j], at[i + 1, j + 1]) for i, j in rows if i < parts]
    small += [(at[i, j], at[i + 1, j + 1], at[i, j + 1]) for i, j in rows if j < i < parts]
    weights = np.array([(parts - i, i - j, j) for i, j in rows]) / parts
    places = np.einsum("pk,fkc->fpc", weights, vertices[faces]).reshape(-1, 3)
    numbers = np.repeat(np.arange(len(faces)), len(rows))
    colours = paint.sample(numbers, np.tile(weights, (len(faces), 1))).astype(np.float64)
    firsts = len(rows) * np.arange(len(faces))[:, None, None]
    return merge_cells(places, (np.array(small) + firsts).reshape(-1, 3), 1 << 16, colours)


def reduce_faces(
    vertices: Vertices, faces: Faces, most: int, colours: Colours | None = None
) -> tuple[Vertices, Faces, Colours | None]:
    """A mesh of at most ``most`` triangles: vertices that share a cell of a grid become one.

    (Rossignac and Borrel, 1993.) The finest grid of a few that is coarse enough is taken.
    """
    cells = 1024
    while len(faces) > most and cells > 1:
        found = merge_cells(
            vertices, faces, cells, np.zeros((len(vertices), 0)) if colours is None else colours
        )
        if len(found[1]) <= most:
            return found[0], found[1], None if colours is None else found[2]
        cells = int(cells / 1.25)
    return vertices, faces, colours


def merge_cells(
    vertices: Vertices, faces: Faces, cells: int, colours: Colours
) -> tuple[Vertices, Faces, Colours]:
    """A mesh whose vertices that share one of ``cells`` cells along its longest side are one.

    That has the mean of their places and of their ``colours`` ``[V, c]``.
    """
    low = vertices.min(axis=0)
    size = float((vertices.max(axis=0) - low).max()) or 1.0
    places = np.floor((vertices - low) * (cells / size)).astype(np.int64)
    key = (places[:, 0] * (cells + 1) + places[:, 1]) * (cells + 1) + places[:, 2]
    _, group = np.unique(key, return_inverse=True)
    counts = np.bincount(group)
    means = [np.bincount(group, column) / counts for column in np.hstack([vertices, colours]).T]
    merged = group[faces]
    whole = (merged != np.roll(merged, 1, axis=1)).all(axis=1)
    found = np.stack(means, axis=1)
    return found[:, :3], merged[whole], found[:, 3:]


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
