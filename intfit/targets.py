"""What to decode, as a caller asks for it: checked, and sorted by medium."""

import operator
from collections.abc import Mapping
from typing import Any, TypedDict

from .errors import UsageError
from .settings import flag


class Asked(TypedDict, total=False):
    """What can be asked of a decode, by keyword; None is as good as nothing."""

    scale: float | None
    size: tuple[int, int] | None
    region: tuple[float, float, float, float] | None
    sample_rate: int | None
    start: float | None
    duration: float | None
    resolution: int | None
    voxel: float | None
    faces: int | None
    tolerance: float | None
    texture: int | None
    watertight: bool | None


#: What can be asked of each medium: the keywords of its ``Target``.
ASKED: dict[str, tuple[str, ...]] = {
    "image": ("scale", "size", "region"),
    "audio": ("sample_rate", "start", "duration"),
    "mesh": ("resolution", "voxel", "faces", "tolerance", "texture", "watertight"),
}
#: Pairs of which one at most is given.
_EITHER = (("scale", "size"), ("resolution", "voxel"), ("faces", "tolerance"))
_POSITIVE = ("scale", "sample_rate", "voxel", "duration", "resolution", "faces")


def check_asked(asked: Mapping[str, Any]) -> None:
    """Raise UsageError where two of what was asked contradict, or one is out of its range.

    A name that is none of :class:`Asked` raises TypeError, as a wrong keyword does anywhere.
    """
    if unknown := sorted(asked.keys() - Asked.__annotations__.keys()):
        raise TypeError(f"{unknown[0]!r} is nothing that can be asked of a decode")
    for one, other in _EITHER:
        if asked.get(one) is not None and asked.get(other) is not None:
            what = "the number of faces" if one == "faces" else "the resolution"
            raise UsageError(f"{flag(one)} and {flag(other)} both set {what}: give one")
    for name in _POSITIVE:
        given = asked.get(name)
        if given is not None and not 0 < given < 1e9:
            raise UsageError(f"{flag(name)} {given:g} is not above 0 and below 1e9")
    tolerance = asked.get("tolerance")
    if tolerance is not None and not 0 <= tolerance <= 100:
        raise UsageError(f"--tolerance {tolerance!r} is not a share of the diagonal in per cent")
    texture = asked.get("texture")
    if texture is not None and not 16 <= texture <= 16384:
        raise UsageError(f"--texture {texture!r} is not a size in pixels from 16 to 16384")
    start = asked.get("start")
    if start is not None and not 0 <= start < 1e9:
        raise UsageError(f"--start {start!r} is not a time in seconds")


def keywords_for(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords for the ``Target`` of a medium, of all that was asked and checked.

    Raises:
        UsageError: if one for another medium was given, or a size or a region is none.
    """
    for other, names in ASKED.items():
        for name in names:
            if other != kind and asked.get(name) is not None:
                raise UsageError(f"{flag(name)} is for {other} files; this one holds {kind}")
    keywords = {name: asked.get(name) for name in ASKED[kind]}
    if (size := keywords.get("size")) is not None:
        try:
            across, down = map(operator.index, size)
        except (TypeError, ValueError):
            across = down = 0
        if min(across, down) < 1:
            raise UsageError(f"--size {size!r} is not a width and a height in whole pixels")
        keywords["size"] = (across, down)
    if (region := keywords.get("region")) is not None:
        try:
            x, y, width, height = map(float, region)
        except (TypeError, ValueError):
            raise UsageError(f"--region {region!r} is not x, y, width and height") from None
        keywords["region"] = (x, y, width, height)
    return keywords
