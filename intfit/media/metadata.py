"""What files hold besides their samples, as texts by name; and that of pictures: read and written.

``exif`` (base64), ``xmp`` and ``dpi`` (two numbers) of a picture; of a recording, tags such as
``title`` and ``artist``; ``name`` and ``copyright`` of a surface.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from PIL import Image, PngImagePlugin

from ..coding.header import MAX_METADATA
from .protocol import note_lost

#: The tags of EXIF's first directory that describe a picture; with those of the camera and of the
#: place, which it points to. The others describe how the file holds its pixels.
DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 33432, 34665, 34853)
#: What each of Pillow's formats holds.
HELD = {
    "PNG": {"exif", "xmp", "dpi"}, "JPEG": {"exif", "xmp", "dpi"}, "WEBP": {"exif", "xmp"},
    "AVIF": {"exif", "xmp"}, "TIFF": {"exif", "dpi"}, "BMP": {"dpi"},
}  # fmt: skip
#: The resolutions that programs write where none is known.
SCREENS = ((72, 72), (96, 96), (1, 1))
_XMP = "XML:com.adobe.xmp"


def bound(metadata: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """As many of the shortest texts as a header has room for, and the others."""
    kept: dict[str, str] = {}
    room = MAX_METADATA
    for name in sorted(metadata, key=lambda each: (len(metadata[each]), each)):
        room -= len(name) + len(metadata[name])
        if room >= 0:
            kept[name] = metadata[name]
    return kept, {name: text for name, text in metadata.items() if name not in kept}


def of_picture(image: Image.Image) -> dict[str, str]:
    """EXIF, XMP and resolution of an opened picture; a damaged one has none."""
    found: dict[str, str] = {}
    try:
        # Pillow would decode all of a PNG to see whether one follows the pixels
        exif = Image.Exif() if _lacks_exif(image) else image.getexif()
        for tag in [tag for tag in exif if tag not in DESCRIPTIVE]:
            del exif[tag]
        if len(exif):
            found["exif"] = base64.b64encode(exif.tobytes()).decode()
        xmp = image.info.get("xmp", image.info.get(_XMP))
        text = xmp.decode() if isinstance(xmp, bytes) else xmp
        if isinstance(text, str) and text.strip("\0 \n"):
            found["xmp"] = text.rstrip("\0")
        across, down = map(float, image.info.get("dpi", (0, 0)))
        if across > 0 and down > 0 and (round(across), round(down)) not in SCREENS:
            found["dpi"] = f"{round(across, 1):g} {round(down, 1):g}"
    except Exception:  # whatever Pillow raises of what is damaged
        return found
    return found


def _lacks_exif(image: Image.Image) -> bool:
    """Whether a picture is a PNG without EXIF, as far as was read."""
    return image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys()


#: Pixels an inch that no picture has.
MAX_DPI = 1e6


def options_for(name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Pillow's options to save ``metadata`` with, as far as the format called ``name`` holds it.

    What cannot be read is left out.
    """
    held = {key: text for key, text in metadata.items() if key in HELD.get(name, ())}
    found: dict[str, Any] = {}
    if "exif" in held:
        try:
            found["exif"] = base64.b64decode(held["exif"], validate=True)
        except (binascii.Error, ValueError):
            del held["exif"]
    if "dpi" in held:
        try:
            across, down = map(float, held["dpi"].split())
            if not (0 < across < MAX_DPI and 0 < down < MAX_DPI):
                raise ValueError(held["dpi"])
            found["dpi"] = (across, down)
        except ValueError:
            del held["dpi"]
    packet = held.get("xmp", "").encode(errors="ignore")
    if packet and name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(_XMP, packet.decode())
        found["pnginfo"] = info
    elif packet:
        found["xmp"] = packet
    return found


def describe_lost(
    written: Image.Image | None, metadata: Mapping[str, str], suffix: str
) -> tuple[str, ...]:
    """A note on the metadata that a ``written`` picture lacks."""
    held = {} if written is None else of_picture(written)
    return note_lost(metadata.keys() - held.keys(), suffix)
