"""What mesh files say in words, as texts by name: ``name`` of the parts, and ``copyright``.

The parts of a scene come back as one surface, whose name is those of all of them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import MediaError
from ..protocol import note_lost
from . import detect_format, gltf

#: The most characters of a text, and of all names together.
LONGEST = 1000
#: Names that programs give where nobody gave one.
UNNAMED = re.compile(r"((geometry|mesh|node|world|scene|default|off)[ _.]?\d*)?", re.IGNORECASE)
#: How far comments at the beginning of a file are looked for.
HEAD = 1 << 16
#: A comment that is one of the texts: ``# name: TEXT``, ``comment Copyright TEXT``.
COMMENT = re.compile(
    rb"^[ \t]*(?:#|comment|obj_info)[ \t]*(?:(name)[ \t]*:|(copyright)\b[ \t]*:?)([^\r\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
#: The name of an object, and of a group, in an OBJ file.
OBJECT, GROUP = (
    re.compile(rb"^[ \t]*" + letter + rb"[ \t]+([^\r\n]*)", re.MULTILINE) for letter in (b"o", b"g")
)


def read_labels(data: bytes) -> dict[str, str]:
    """The texts of a mesh file; none of a damaged one, or where a format holds none."""
    reader = READERS.get(detect_format(data, "") or "")
    if reader is None:
        return {}
    try:
        found = {name: tidy(text) for name, text in reader(data)}
    except (MediaError, ValueError, TypeError, AttributeError, KeyError):
        return {}
    return {name: text for name, text in found.items() if text}


def write_labels(
    data: bytes, format_: str, metadata: Mapping[str, str]
) -> tuple[bytes, tuple[str, ...]]:
    """A mesh file that intfit wrote, with its texts; and a note on those that its format lacks."""
    writer = WRITERS.get(format_)
    texts = {name: tidy(metadata[name]) for name in ("name", "copyright") if name in metadata}
    kept = {name: text for name, text in texts.items() if text and writer is not None}
    if writer is not None and kept:
        data = writer(data, kept)
    return data, note_lost(metadata.keys() - kept.keys(), f".{format_}")


def tidy(text: str) -> str:
    """A text on one line, without what does not print, and cut off where it is too long."""
    printed = "".join(each if each.isprintable() else " " for each in text[: 4 * LONGEST])
    return " ".join(printed.split())[:LONGEST].strip()


def _join(names: Iterator[str]) -> str:
    """Names in order, each once, without those that stand for none."""
    tidied = (tidy(name) for name in names)
    return ", ".join(dict.fromkeys(name for name in tidied if not UNNAMED.fullmatch(name)))


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")


def _read_comments(head: bytes) -> Iterator[tuple[str, str]]:
    for match in COMMENT.finditer(head):
        yield ("name" if match[1] else "copyright"), _decode(match[3])


def _read_obj(data: bytes) -> Iterator[tuple[str, str]]:
    yield from _read_comments(data[:HEAD])
    found = (_join(map(_decode, pattern.findall(data))) for pattern in (OBJECT, GROUP))
    if name := next(filter(None, found), ""):
        yield "name", name


def _read_ply(data: bytes) -> Iterator[tuple[str, str]]:
    return _read_comments(data[:HEAD].partition(b"end_header")[0])


def _read_gltf(data: bytes) -> Iterator[tuple[str, str]]:
    header, _ = gltf.unpack(data)
    yield "copyright", _text(header.get("asset") or {}, "copyright")
    holders = [node for node in header.get("nodes") or [] if node.get("mesh") is not None]
    tables = [*(header.get("meshes") or []), *holders]
    yield "name", _join(_text(table, "name") for table in tables)


def _text(table: Any, key: str) -> str:
    """The text under ``key``; empty where there is none."""
    found = table.get(key)
    return found if isinstance(found, str) else ""


def _write_obj(data: bytes, texts: Mapping[str, str]) -> bytes:
    lines = [f"# copyright: {texts['copyright']}"] if "copyright" in texts else []
    lines += [f"o {texts['name']}"] if "name" in texts else []
    return "\n".join([*lines, ""]).encode() + data


def _write_ply(data: bytes, texts: Mapping[str, str]) -> bytes:
    start = data.index(b"\n", data.index(b"format ")) + 1
    lines = "".join(f"comment {name}: {text}\n" for name, text in texts.items())
    return data[:start] + lines.encode() + data[start:]


def _write_glb(data: bytes, texts: Mapping[str, str]) -> bytes:
    header, _ = gltf.unpack(data)
    end = 20 + int.from_bytes(data[12:16], "little")
    if "copyright" in texts:
        header["asset"]["copyright"] = texts["copyright"]
    if "name" in texts:
        for table in [*header["meshes"], *header["nodes"]]:
            if "primitives" in table or "mesh" in table:
                table["name"] = texts["name"]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)  # chunks begin at multiples of four
    size = 20 + len(text) + len(data) - end
    head = data[:8] + size.to_bytes(4, "little") + len(text).to_bytes(4, "little") + data[16:20]
    return head + text + data[end:]


#: How the texts of each format are read, pairs of name and text, and how they are written.
READERS: dict[str, Callable[[bytes], Iterator[tuple[str, str]]]] = {
    "obj": _read_obj, "ply": _read_ply, "glb": _read_gltf, "gltf": _read_gltf,
}  # fmt: skip
WRITERS: dict[str, Callable[[bytes, Mapping[str, str]], bytes]] = {
    "obj": _write_obj, "ply": _write_ply, "glb": _write_glb,
}  # fmt: skip
