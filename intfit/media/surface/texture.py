"""A texture for a surface: an atlas of it, and the colours of each of its pixels."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xatlas
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from .search import Array, Faces, Surface

#: Colours ``[B, 3]`` from 0 to 1 at places ``[B, 3]`` of a surface.
Colours = Callable[[Array], NDArray[np.floating]]
#: Pixels between two charts, and beyond the edge of a chart that are interpolated with it.
PADDING = 2
#: Pixels of triangles, and of the texture, that are worked on at once.
CHUNK = 1 << 20


class Textured(NamedTuple):
    """A surface with a texture.

    ``places`` ``[V, 2]`` are texture coordinates, to the right and downwards, of vertices that are
    there once for each chart they belong to; ``pixels`` are ``[H, W, 3]``, uint8, and each of the
    ``sources`` ``[V]`` is the vertex of the surface that it was.
    """

    sources: Faces
    faces: Faces
    places: Array
    pixels: NDArray[np.uint8]


def bake(surface: Surface, colours: Colours, size: int) -> Textured:
    """Unwrap a surface, and paint its texture, of ``size`` pixels along its longer side."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(surface.vertices.astype(np.float32), surface.faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.resolution, options.padding, options.bilinear = size, PADDING, True
    atlas.generate(pack_options=options)
    sources, faces, places = (np.asarray(part) for part in atlas[0])
    sources, faces = sources.astype(np.int64), faces.astype(np.int64)
    longest = max(atlas.width, atlas.height)
    width, height = (max(1, round(size * side / longest)) for side in (atlas.width, atlas.height))
    places = places.astype(np.float64)
    pixels = np.zeros((height, width, 3), np.uint8)
    face, weights = _rasterise(places[faces] * [width, height], width, height)
    painted = np.flatnonzero(face >= 0)
    for first in range(0, len(painted), CHUNK):
        part = painted[first : first + CHUNK]
        corners = surface.vertices[sources[faces[face[part]]]]
        points = np.einsum("bk,bkd->bd", weights[part], corners)
        pixels.reshape(-1, 3)[part] = np.rint(255 * colours(points).clip(0, 1))
    # what lies between charts is interpolated with their edges
    empty = (face < 0).reshape(height, width)
    if empty.any() and len(painted):
        nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
        pixels = pixels[tuple(nearest)]
    return Textured(sources, faces, places, pixels)


def _rasterise(triangles: Array, width: int, height: int) -> tuple[Faces, Array]:
    """The triangle (-1: none) at the centre of each pixel, row by row, and the weights there.

    ``triangles`` ``[F, 3, 2]`` are in pixels. Triangles that overlap hide each other in any order.
    """
    face = np.full(width * height, -1)
    weights = np.zeros((width * height, 3))
    low = np.floor(triangles.min(axis=1) - 0.5).astype(np.int64).clip(0)
    high = np.ceil(triangles.max(axis=1) - 0.5).astype(np.int64)
    high = np.minimum(high, [width - 1, height - 1])
    across, down = (high - low + 1).clip(0).T
    counts = across * down
    batches = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum() + 1, CHUNK)[1:])
    for chosen in np.split(np.arange(len(triangles)), np.unique(batches)):
        index = np.repeat(chosen, counts[chosen])
        offset = np.arange(len(index)) - np.repeat(
            np.cumsum(counts[chosen]) - counts[chosen], counts[chosen]
        )
        x = low[index, 0] + offset % across[index]
        y = low[index, 1] + offset // across[index]
        first, second, third = np.moveaxis(triangles[index], 1, 0)
        point = np.stack([x, y], axis=1) + 0.5 - first
        one, other = second - first, third - first
        area = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
        area = np.where(area == 0, np.inf, area)
        second_share = (point[:, 0] * other[:, 1] - point[:, 1] * other[:, 0]) / area
        third_share = (one[:, 0] * point[:, 1] - one[:, 1] * point[:, 0]) / area
        shares = np.stack([1 - second_share - third_share, second_share, third_share], axis=1)
        within = shares.min(axis=1) >= -1e-9
        pixel = (y * width + x)[within]
        face[pixel], weights[pixel] = index[within], shares[within].clip(0, 1)
    return face, weights
