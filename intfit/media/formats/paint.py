"""The colours of a mesh file: of its vertices, and of textures that lie within it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError
from ...limits import Limits

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Paint:
    """The colour at every place of the triangles of a mesh, in sRGB from 0 to 1.

    ``corners`` ``[F, 3]`` are indices into ``colours`` ``[V, 3]`` and into the texture coordinates
    ``places`` ``[V, 2]``, to the right and downwards, 1 being a whole picture, which repeats.
    ``textures`` ``[F]`` are indices into ``pictures`` (pixels ``[H, W, 3]``), or -1: none. A
    texture's colour is multiplied by that between the corners.
    """

    corners: Indices
    colours: Array
    places: Array
    textures: Indices
    pictures: tuple[Pixels, ...] = field(default=())

    @property
    def texture_size(self) -> int:
        """The longer side of the largest texture in pixels; 0 where there is none."""
        return max((max(picture.shape[:2]) for picture in self.pictures), default=0)

    def select(self, kept: Indices, turned: NDArray[np.bool_]) -> "Paint":
        """That of the faces at ``kept``, of which those ``turned`` have their corners reversed."""
        corners = self.corners[kept]
        corners = np.where(turned[:, None], corners[:, ::-1], corners)
        return replace(self, corners=corners, textures=self.textures[kept])

    def sample(self, faces: Indices, weights: Array) -> NDArray[np.float32]:
        """Colours ``[B, 3]`` in these ``faces`` ``[B]``, at barycentric ``weights`` ``[B, 3]``."""
        corners = self.corners[faces]
        found = np.einsum("bk,bkc->bc", weights, self.colours[corners])
        places = np.einsum("bk,bkc->bc", weights, self.places[corners])
        for index, picture in enumerate(self.pictures):
            chosen = np.flatnonzero(self.textures[faces] == index)
            found[chosen] *= _look_up(picture, places[chosen])
        return np.asarray(found.clip(0, 1), np.float32)


@dataclass(frozen=True)
class Part:
    """Triangles of a scene, their ``faces`` counted from the first of their own vertices.

    ``colours``, ``places`` and ``textures`` as in :class:`Paint`.
    """

    vertices: Array
    faces: Indices
    colours: Array
    places: Array
    textures: Indices


def join_parts(parts: Sequence[Part]) -> Part:
    """Parts as one, the faces of each with their vertices."""
    firsts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + first for part, first in zip(parts, firsts, strict=False)]
    return Part(
        np.concatenate([np.zeros((0, 3)), *(part.vertices for part in parts)]),
        np.concatenate([np.zeros((0, 3), np.int64), *faces]),
        np.concatenate([np.zeros((0, 3)), *(part.colours for part in parts)]),
        np.concatenate([np.zeros((0, 2)), *(part.places for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.textures for part in parts)]),
    )


def paint_vertices(colours: Array, faces: Indices) -> Paint:
    """Paint by a colour ``[V, 3]`` for each vertex."""
    none = np.zeros((len(colours), 2))
    return Paint(faces, colours, none, np.full(len(faces), -1))


def scale_colours(values: Array) -> Array:
    """Colours written as numbers of no known range: from 0 to 1, or as some programs do, to 255."""
    values = np.nan_to_num(values, posinf=0, neginf=0)
    return (values / 255 if values.max(initial=0) > 1 else values).clip(0, 1)


def _look_up(picture: Pixels, places: Array) -> Array:
    """Colours ``[B, 3]`` of a picture that repeats, linear between the centres of its pixels."""
    height, width = picture.shape[:2]
    x, y = places[:, 0] * width - 0.5, places[:, 1] * height - 0.5
    left, top = np.floor(x), np.floor(y)
    right_share, lower_share = (x - left)[:, None], (y - top)[:, None]
    columns = [(left.astype(np.int64) + step) % width for step in (0, 1)]
    rows = [(top.astype(np.int64) + step) % height for step in (0, 1)]
    upper, lower = (
        picture[row, columns[0]] * (1 - right_share) + picture[row, columns[1]] * right_share
        for row in rows
    )
    mixed: Array = (upper * (1 - lower_share) + lower * lower_share) / 255
    return mixed


def read_picture(data: bytes, limits: Limits) -> Pixels | None:
    """The pixels ``[H, W, 3]`` of a texture (PNG, JPEG or WebP); None if it cannot be read.

    Raises:
        MediaError: if it is larger than allowed.
    """
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        limits.check_pixels(picture.width * picture.height)
        return np.asarray(picture.convert("RGB"))
    except MediaError:
        raise
    except Exception:  # whatever a damaged picture makes Pillow raise
        return None
