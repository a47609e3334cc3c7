"""How far two surfaces are from each other."""

from typing import NamedTuple

import numpy as np

from ...metrics import psnr
from ..formats.paint import Paint
from .search import Array, Faces, Surface
from .texture import Colours

#: A point is right, for the F-score, within this share of the box diagonal of the other surface.
RIGHT = 1e-3


class Comparison(NamedTuple):
    """Distances in % of the diagonal of the original's bounding box, both ways.

    ``mean`` is the mean of the two means, ``greatest`` the larger of the two maxima.
    ``normal_error`` is the mean angle, in degrees, between the normals at a point and at the
    nearest one of the other surface. ``f_score`` is the harmonic mean of the shares of either
    surface that lie within :data:`RIGHT` of the other.
    """

    mean: float
    greatest: float
    normal_error: float
    f_score: float


def compare_surfaces(
    decoded: Surface, original: Surface, *, points: int, two_sided: bool = False
) -> Comparison:
    """How far a decoded surface is from the original, at ``points`` drawn on either of them.

    Of surfaces that are ``two_sided``, a normal and its opposite are the same.
    """
    rng = np.random.default_rng(1)
    diagonal = float(np.linalg.norm(np.ptp(original.vertices, axis=0)))
    ways = []
    for one, other in ((decoded, original), (original, decoded)):
        faces, places = one.draw_points(points, rng)
        distances, nearest, _ = other.find_nearest(places)
        ways.append((distances / diagonal, _unit(one, faces), _unit(other, nearest)))
    angles = [_measure_angles(here, there, two_sided) for _, here, there in ways]
    precision, recall = (float((distances <= RIGHT).mean()) for distances, _, _ in ways)
    both = precision + recall
    return Comparison(
        mean=50 * float(sum(distances.mean() for distances, _, _ in ways)),
        greatest=100 * float(max(distances.max() for distances, _, _ in ways)),
        normal_error=float(np.mean(angles)),
        f_score=2 * precision * recall / both if both else 0.0,
    )


def _unit(surface: Surface, faces: Faces) -> Array:
    """The unit normals ``[B, 3]`` of these faces ``[B]``."""
    normals = surface.normals[faces]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.maximum(lengths, 1e-300))


def _measure_angles(here: Array, there: Array, two_sided: bool) -> float:
    """The mean angle in degrees between unit normals ``[B, 3]``; one surface may be inside out."""
    cosines = (here * there).sum(axis=1)
    if two_sided:
        cosines = np.abs(cosines)
    elif cosines.mean() < 0:
        cosines = -cosines
    return float(np.degrees(np.arccos(cosines.clip(-1, 1))).mean())


def compare_colours(
    decoded: Surface, original: Surface, paint: Paint, colours: Colours, *, points: int
) -> float:
    """The PSNR in dB of a decoded surface's colours, over those at ``points`` of the original.

    Each is compared with that at the nearest place of the decoded surface, where ``colours``
    evaluates it.
    """
    faces, places = original.draw_points(points, np.random.default_rng(4))
    wanted = paint.sample(faces, original.find_weights(faces, places))
    return psnr(wanted, colours(decoded.find_nearest(places)[2]), peak=1)
