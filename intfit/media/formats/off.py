"""OFF (Geomview's format): text, with or without colours, normals and texture coordinates."""

import re

import numpy as np

from ...errors import MediaError
from ...limits import Limits
from .polygons import Mesh, Rows, cut_polygons, damaged

#: The first word of a file. What comes before OFF says what a vertex has after its position.
HEADER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*((?:ST)?C?N?4?n?)OFF(\s+BINARY)?(?=[\s#]|\Z)")


def read(data: bytes, limits: Limits) -> Mesh:
    """The vertices and faces of an OFF file.

    Raises:
        MediaError: if it is damaged, of more than three dimensions, or holds more than allowed.
    """
    header = HEADER.match(data)
    if header is None:
        raise damaged("it does not begin with OFF")
    if header[2] or header[1][-1:] in (b"4", b"n"):
        raise MediaError("a binary OFF file, or one not of three dimensions, is not read")
    text = re.sub(rb"#[^\r\n]*", b"", data[header.end() :])
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    try:
        vertices, faces = (int(word) for word in lines[0].split()[:2])
        if vertices < 0 or faces < 0:
            raise ValueError
    except (ValueError, IndexError):
        raise damaged("its numbers of vertices and faces are missing") from None
    for name, declared, held in (
        ("vertices", vertices, len(lines) - 1),
        ("faces", faces, len(lines) - 1 - vertices),
    ):
        if declared > held:
            raise damaged(f"it declares {declared} {name} and holds {max(held, 0)}")
    limits.check_cells(vertices, "vertices")
    limits.check_cells(faces, "faces")
    rows = Rows(lines[1 : 1 + vertices], "vertices")
    positions = np.stack([rows.column() for _ in range(3)], axis=1)
    corners, counts = Rows(lines[1 + vertices : 1 + vertices + faces], "faces").lists()
    return Mesh(positions, cut_polygons(corners, counts, limits))
