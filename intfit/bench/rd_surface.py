"""What surfaces are compared with, and by: Draco, and how far from the original it ends."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import trimesh

from ..media.surface.search import Surface
from ..media.surface.simplification import simplify
from ..media.triangles import measure_box, read_triangles

#: The rivals: Draco after quadric decimation, and of the mesh in all its faces.
RIVALS = ("draco", "draco-whole")
#: The shares of a mesh's faces that are kept before Draco, and the bits of its coordinates. All
#: pairs are run.
KEPT = (0.005, 0.01, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.25, 0.5)
BITS = (7, 8, 9, 10, 11)
#: The bits at which all faces are coded.
WHOLE_BITS = (7, 8, 9, 10, 11, 12, 14)
#: The fewest faces that a closed surface is worth coding with.
FEWEST = 20
#: What surfaces are compared by.
SCORES = ("mean_distance", "normal_error", "f_score")

#: The size in bytes, and the mesh decoded from them.
Coded = tuple[int, trimesh.Trimesh]


def to_quality(score: str, value: float) -> float:
    """One of :data:`SCORES` in decibels, of which more is better.

    -20 log10 of a distance or an angle, -10 log10 of what an F-score lacks.
    """
    if score == "f_score":
        return -10 * math.log10(max(1 - value, 1e-9))
    return -20 * math.log10(max(value, 1e-9))


def code_mesh(bits: int, kept: float, data: bytes, suffix: str) -> Coded:
    """Code a mesh by Draco, with so many ``bits`` a coordinate, at its highest compression level.

    Before that it is simplified to the share ``kept`` of its faces, in the way that `decode` does
    it, unless that is 1. Vertices at the same place become one.
    """
    import DracoPy

    vertices, faces, _ = read_triangles(data, suffix)
    centre, size = measure_box(vertices)
    places, numbers = np.unique(vertices, axis=0, return_inverse=True)
    surface = Surface((places - centre) / size, numbers.reshape(-1)[faces])
    if kept < 1:
        surface = simplify(surface, round(kept * len(faces)))
    coded = DracoPy.encode(
        surface.vertices.astype(np.float32),
        surface.faces.astype(np.uint32),
        quantization_bits=bits,
        compression_level=10,
    )
    back = DracoPy.decode(coded)
    decoded = np.asarray(back.points, np.float64) * size + centre
    return len(coded), trimesh.Trimesh(decoded, np.asarray(back.faces), process=False)


def list_settings(name: str, data: bytes, suffix: str) -> Iterator[tuple[str, Callable[[], Coded]]]:
    """The name of every setting of a rival, and a function that runs it."""
    if name == "draco-whole":
        for bits in WHOLE_BITS:
            yield f"all/{bits}", partial(code_mesh, bits, 1.0, data, suffix)
        return
    count = len(read_triangles(data, suffix)[1])
    for kept in KEPT:
        if kept * count >= FEWEST:
            for bits in BITS:
                yield f"{kept:g}/{bits}", partial(code_mesh, bits, kept, data, suffix)
