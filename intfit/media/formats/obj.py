"""OBJ (Wavefront's format): its vertices and faces."""

import re
from collections.abc import Iterator

import numpy as np

from ...limits import Limits
from .paint import paint_vertices, scale_colours
from .polygons import Array, Indices, Mesh, cut_polygons, damaged, parse_numbers, to_indices

#: Bytes of text that are taken apart at once.
CHUNK = 1 << 22


def read(data: bytes, limits: Limits) -> Mesh:
    """The vertices and faces of an OBJ file.

    Raises:
        MediaError: if it is damaged, or holds more than allowed.
    """
    for letter, what in ((b"v", "vertices"), (b"f", "faces")):
        limits.check_cells(sum(data.count(b"\n" + letter + end) for end in (b" ", b"\t")), what)
    vertices: list[Array] = []
    corners: list[Indices] = []
    counts: list[Indices] = []
    seen = total = 0
    for lines in _split(data):
        rows = []
        faces = []
        before = []  # vertices before each face: negative indices count from there
        for line in lines:
            letter = line[:2]
            if letter in (b"v ", b"v\t"):
                rows.append(line[2:])
            elif letter in (b"f ", b"f\t"):
                faces.append(line[2:])
                before.append(seen + len(rows))
        if rows:
            vertices.append(_positions(rows))
            seen += len(rows)
            limits.check_cells(seen, "vertices")
        if faces:
            named, counted = _corners(faces, np.array(before))
            corners.append(named)
            counts.append(counted)
            total += int(np.maximum(counted - 2, 0).sum())
            limits.check_cells(total, "faces")
    none = np.zeros(0, np.int64)
    faces_found = cut_polygons(
        np.concatenate([none, *corners]), np.concatenate([none, *counts]), limits
    )
    if not vertices or any(part.shape[1] < 6 for part in vertices):
        return Mesh(
            np.concatenate([np.zeros((0, 3)), *(part[:, :3] for part in vertices)]), faces_found
        )
    found = np.concatenate(vertices)
    paint = paint_vertices(scale_colours(found[:, 3:]), faces_found)
    return Mesh(np.ascontiguousarray(found[:, :3]), faces_found, paint=paint)


def _split(data: bytes) -> Iterator[list[bytes]]:
    """The lines of a text, some megabytes at a time, those that a backslash continues joined."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at + CHUNK)
        while end > 0 and data[at:end].rstrip(b"\r").endswith(b"\\"):
            end = data.find(b"\n", end + 1)
        end = len(data) if end < 0 else end
        chunk = re.sub(rb"\\\r?\n", b" ", data[at:end])
        if b"#" in chunk:
            chunk = re.sub(rb"#[^\r\n]*", b"", chunk)
        yield [line.lstrip() for line in chunk.splitlines()]
        at = end + 1


def _positions(rows: list[bytes]) -> Array:
    """The position in each row ``[n, 3]``, or position and colour ``[n, 6]``, without a weight."""
    values = parse_numbers(b" ".join(rows))
    width = len(rows[0].split())
    if width < 3 or any(len(row.split()) != width for row in rows):
        firsts = [row.split()[:3] for row in rows]
        if min(map(len, firsts)) < 3:
            raise damaged("a vertex has fewer than three coordinates")
        width, values = 3, parse_numbers(b" ".join(b" ".join(first) for first in firsts))
    if len(values) != width * len(rows):
        raise damaged("it holds words where numbers should be")
    return values.reshape(-1, width)[:, : 6 if width == 6 else 3]


def _corners(faces: list[bytes], before: Indices) -> tuple[Indices, Indices]:
    """The vertices of faces, all in one row and counted from 0, and how many each has."""
    text = b" ".join(faces)
    if b"/" in text:
        # a corner is vertex/texture/normal
        text = re.sub(rb"/[^\s]*", b"", text)
    counts = np.fromiter((len(face.split()) for face in faces), np.int64, len(faces))
    corners = to_indices(parse_numbers(text))
    if len(corners) != counts.sum():
        raise damaged("a face is not a row of indices")
    if (corners == 0).any():
        raise damaged("a face names vertex 0, and the first is 1")
    relative = corners < 0
    if relative.any():
        corners[relative] += np.repeat(before, counts)[relative]
    corners[~relative] -= 1
    return corners, counts
