"""The check of a medium's facts in a file's header, which comes before any use of them."""

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import FileFormatError
from .header import CHANNELS

#: The most pixels of an image, and samples of a recording over all channels, that a file can have:
#: 1 GiB of 8-bit RGB, and 4 GiB of float32. The usual bounds of :mod:`.limits` are lower.
MAX_PIXELS, MAX_SAMPLES = (1 << 30) // 3, 1 << 30
#: The most pixels along a side of a texture.
MAX_TEXTURE = 1 << 16
#: The most that half of the thickness of a sheet can be.
MAX_THICKNESS = 0.2
#: The widest network that says where a surface is open.
MAX_TRIM = 64
#: The largest float32.
LARGEST = (2 - 2**-23) * 2.0**127
#: The most characters of the name of a sample type.
MAX_NAME = 32


def check_facts(kind: str, facts: Mapping[str, Any]) -> None:
    """Raise FileFormatError unless ``facts`` are those of a medium of this kind."""
    what, is_sound = _CHECKS[kind]
    if not is_sound(facts):
        raise FileFormatError(f"damaged: the header does not describe {what}")


def _is_image(facts: Mapping[str, Any]) -> bool:
    sizes = [facts.get(key) for key in ("height", "width")]
    low, high = facts.get("low"), facts.get("high")
    palette, mode = facts.get("palette", ""), facts.get("mode")
    bounded = (
        isinstance(low, float) and isinstance(high, float) and -LARGEST <= low < high <= LARGEST
    )
    unbounded = mode != "F" and low is None and high is None
    return (
        isinstance(mode, str)
        and mode in CHANNELS
        and all(_is_whole(size, (1 << 24) - 1) for size in sizes)
        and isinstance(palette, str)
        and ((mode not in ("P", "PA") and not palette) or _is_palette(palette, CHANNELS[mode]))
        and (mode not in ("F", "I;16") or bounded or unbounded)
        and facts["height"] * facts["width"] <= MAX_PIXELS
    )


def _is_palette(palette: str, channels: int) -> bool:
    """Whether ``palette`` is the hex of 1 to 256 colours of so many ``channels``."""
    try:
        size = len(bytes.fromhex(palette))
    except ValueError:
        return False
    return 0 < size <= 256 * channels and size % channels == 0


def _is_recording(facts: Mapping[str, Any]) -> bool:
    limits = {"frames": MAX_SAMPLES, "channels": 1024, "sample_rate": 1 << 24}
    peak, subtype = facts.get("peak"), facts.get("subtype")
    return (
        all(_is_whole(facts.get(key), most) for key, most in limits.items())
        and facts["frames"] * facts["channels"] <= MAX_SAMPLES
        and isinstance(subtype, str)
        and len(subtype) <= MAX_NAME
        and isinstance(peak, float)
        and 0 <= peak <= LARGEST
    )


def _is_surface(facts: Mapping[str, Any]) -> bool:
    def has_vector(key: str, low: float, high: float) -> bool:
        values = facts.get(key)
        return (
            isinstance(values, list)
            and len(values) == 3
            and all(isinstance(value, float) and low < value < high for value in values)
        )

    unit, distance = facts.get("unit"), facts.get("mean_distance", 0.0)
    thickness = facts.get("thickness", MAX_THICKNESS)
    return (
        has_vector("centre", -1e300, 1e300)
        and has_vector("extent", 0.05, 1.001)
        and isinstance(unit, float)
        and 0 < unit < 1e300
        and isinstance(distance, float)
        and 0 <= distance <= 100
        and isinstance(thickness, float)
        and 0 < thickness <= MAX_THICKNESS
        # 0 where the original had colours at its vertices
        and (facts.get("texture", 0) == 0 or _is_whole(facts["texture"], MAX_TEXTURE))
        and type(facts.get("texture", 0)) is int
        # neurons of a layer of the network that says where it is open
        and _is_whole(facts.get("trim", 1), MAX_TRIM)
        # for information only; the first version of the format could leave them out
        and all(_is_whole(facts.get(key, 1), 1 << 40) for key in ("faces", "vertices"))
    )


def _is_whole(value: Any, most: int) -> bool:
    """Whether a value is a whole number from 1 to ``most``."""
    return type(value) is int and 1 <= value <= most


_CHECKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
    "image": ("an image", _is_image),
    "audio": ("a recording", _is_recording),
    "mesh": ("a surface", _is_surface),
}
