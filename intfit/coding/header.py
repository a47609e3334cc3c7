"""The header of a file: JSON under its ``intfit`` metadata key.

It is kept short, because some files are: the values of a medium, a field and a fit are in lists
without their names, in the order below. A list may end early: the values that it lacks are None.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

from ..errors import FileFormatError

#: The version of the file format that this program writes, and those that it reads. The checksum of
#: version 3 covers the table of tensors, too; version 4 adds what the file format's page lists.
VERSION, READABLE = 4, (2, 3, 4)
#: The most characters of metadata, names and texts together, and the most texts.
MAX_METADATA, MAX_TEXTS = 1 << 17, 64


@dataclass(frozen=True)
class MediumEntry:
    """A medium: the names of its facts, and the metric that its distortion is reported in."""

    facts: tuple[str, ...]
    metric: str


#: The media, in the order in which they are tried on an input. Each recognises its own formats by
#: content; meshes are last, because text formats are the hardest to recognise.
KINDS = {
    "image": MediumEntry(("width", "height", "mode", "low", "high", "palette"), "psnr"),
    "audio": MediumEntry(("frames", "channels", "sample_rate", "subtype", "peak"), "snr"),
    "mesh": MediumEntry(
        (
            "faces",
            "vertices",
            "centre",
            "unit",
            "extent",
            "mean_distance",
            "texture",
            "thickness",
            "trim",
        ),
        "iou",
    ),
}
#: The fields, and the names of the values that describe their architecture.
FIELDS = {
    "siren": (
        "width",
        "depth",
        "omega_first",
        "omega",
        "colour_width",
        "colour_depth",
        "colour_omega_first",
        "colour_omega",
        "creases",
        "neuron_steps",
    ),
    "latent": ("step", "neurons", "common", "adapted", "bands", "contexts", "trellis"),
    "palette": ("colours",),
}
#: Of the small SIRENs of a surface, its base and its trim, a header says the width alone: this is
#: their number of sine layers, and the frequencies (omega) of the first one and of the others.
SMALL_DEPTH, SMALL_OMEGA_FIRST, SMALL_OMEGA = 3, 15.0, 30.0
#: The names of the values that describe the fit, and the usual ones, which need not be there.
FIT = ("distortion", "steps", "teacher", "seed")
USUAL_STEPS, USUAL_TEACHER, USUAL_SEED = 0, "int-proportional", 0
#: The channels of an image of each mode (Pillow's names).
CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "PA": 4, "I;16": 1, "F": 1}


@dataclass(frozen=True)
class Header:
    """The medium, the field and the fit of a file.

    ``medium`` is a key of :data:`KINDS` and ``field`` one of :data:`FIELDS`; ``facts``,
    ``network`` and ``fit`` have the keys listed there. ``metadata`` are texts by name.
    """

    medium: str
    facts: dict[str, Any]
    field: str
    network: dict[str, Any]
    fit: dict[str, Any]
    metadata: dict[str, str] = dataclass_field(default_factory=dict)


def shorten_fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    """What a header says of a fit, without what is usual."""
    teacher = USUAL_TEACHER if fit["steps"] else "none"
    usual = {"steps": USUAL_STEPS, "teacher": teacher, "seed": USUAL_SEED}
    return {name: value for name, value in fit.items() if usual.get(name) != value}


def as_opened(header: Header) -> Header:
    """The header of the same field in the open profile, which has no quantisation steps."""
    network = {name: value for name, value in header.network.items() if name != "neuron_steps"}
    return replace(header, network=network)


def complete_fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    """What a header says of a fit, with what it leaves out."""
    steps = fit.get("steps", USUAL_STEPS)
    teacher = USUAL_TEACHER if steps else "none"
    return {"steps": steps, "teacher": teacher, "seed": USUAL_SEED} | dict(fit)


def count_features(kind: str, facts: Mapping[str, Any]) -> tuple[int, int]:
    """The numbers of coordinates and of values of an example of a medium with sound facts.

    A surface has a distance, and where it has a ``texture``, red, green and blue.
    """
    if kind == "image":
        return 2, CHANNELS[facts["mode"]]
    if kind == "audio":
        return 1, facts["channels"]
    return 3, 1 if facts.get("texture") is None else 4


def write_header(header: Header, checksum: int | None, *, version: int = VERSION) -> str:
    """The header as JSON with sorted keys, with this ``checksum`` unless it is None."""

    def values(names: tuple[str, ...], entries: Mapping[str, Any]) -> list[Any]:
        listed = [entries.get(name) for name in names]
        while listed and listed[-1] is None:
            listed.pop()
        return listed

    table = {
        header.medium: values(KINDS[header.medium].facts, header.facts),
        header.field: values(FIELDS[header.field], header.network),
        "fit": values(FIT, header.fit),
        "version": version,
    }
    if header.metadata:
        table["metadata"] = header.metadata
    if checksum is not None:
        table["crc"] = checksum
    return json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_header(entries: Mapping[str, Any]) -> Header:
    """The header in a JSON object. Its values are for the medium and the codec to check.

    Raises:
        FileFormatError: if it lacks a known medium or field, or an entry is no list.
    """

    def key_of(known: Iterable[str], what: str) -> str:
        keys = [name for name in known if name in entries]
        if len(keys) != 1:
            raise FileFormatError(f"its {what} is not one that this version reads")
        return keys[0]

    def named(key: str, names: tuple[str, ...]) -> dict[str, Any]:
        values = entries.get(key)
        if not isinstance(values, list) or len(values) > len(names):
            raise FileFormatError(f"damaged: what the header says of its {key} cannot be read")
        pairs = zip(names, values, strict=False)
        return {name: value for name, value in pairs if value is not None}

    kind, field = key_of(KINDS, "medium"), key_of(FIELDS, "network")
    facts, network = named(kind, KINDS[kind].facts), named(field, FIELDS[field])
    metadata = _read_metadata(entries.get("metadata", {}))
    return Header(kind, facts, field, network, named("fit", FIT), metadata)


def _read_metadata(metadata: Any) -> dict[str, str]:
    """The texts in a header, by name.

    Raises:
        FileFormatError: if they are none, or more than allowed.
    """
    damaged = FileFormatError("damaged: its metadata cannot be read")
    if not isinstance(metadata, dict) or len(metadata) > MAX_TEXTS:
        raise damaged
    if not all(isinstance(text, str) for text in metadata.values()):
        raise damaged
    if sum(len(name) + len(text) for name, text in metadata.items()) > MAX_METADATA:
        raise damaged
    return metadata


def parse_json(text: str, what: str) -> dict[str, Any]:
    """The JSON object in ``text``, whose numbers are finite; ``what`` names it in messages.

    Raises:
        FileFormatError: if it is none.
    """
    try:
        value = json.loads(text, parse_float=_finite, parse_int=_finite, parse_constant=_finite)
        # half of a character's surrogate pair, which an escape can give, is in no other text
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise FileFormatError(f"{what} is damaged: not valid JSON") from None
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} is damaged: not a JSON object")
    return value


def _finite(literal: str) -> int | float:
    """A JSON number, if a float can hold it; NaN and Infinity are no JSON."""
    if not math.isfinite(float(literal)):
        raise ValueError(literal)
    return int(literal) if literal.lstrip("-").isdigit() else float(literal)
