"""The file: one safetensors file, whose ``intfit`` metadata key holds a JSON header.

Knows safetensors, the header and its version, and nothing of torch or NumPy. Reading trusts
nothing: every declared size is checked against the bytes that are there before any is used.
"""

import json
import math
import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from .header import FIELDS, FIT, KINDS

#: The version this program writes and reads. A later one is refused by its number.
VERSION = 2
SUFFIX = ".safetensors"
#: The one tensor of the packed profile.
PAYLOAD = "payload"
#: Bytes an element of each tensor type takes; a file with any other type is not ours.
ITEM_SIZES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}
#: Our headers are a few kB; a safetensors file whose header is larger is somebody else's.
MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class Stored:
    """One tensor as it stands in the file: type, shape and little-endian bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    ``medium`` and ``field`` are of :data:`~intfit.schema.KINDS` and :data:`~intfit.schema.FIELDS`;
    ``facts``, ``network`` and ``fit`` have the keys listed there.
    """

    medium: str
    facts: dict[str, Any]
    field: str
    network: dict[str, Any]
    fit: dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """A file's header and where its tensors lie, without the tensors.

    ``tensors`` maps names to (type, shape, first byte, end); ``start`` is where the first byte of
    their data lies in the file; ``checksum`` is that of header and data.
    """

    header: Header
    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    checksum: int
    start: int
    size: int

    @property
    def packed(self) -> bool:
        """Whether this is the packed profile: one tensor of bytes, called payload."""
        return list(self.tensors) == [PAYLOAD] and self.tensors[PAYLOAD][0] == "U8"


def _text(header: Header, checksum: int | None) -> str:
    """The header as JSON, with sorted keys."""

    def values(names: tuple[str, ...], found: Mapping[str, Any]) -> list[Any]:
        listed = [found.get(name) for name in names]
        while listed and listed[-1] is None:
            listed.pop()
        return listed

    table = {
        header.medium: values(KINDS[header.medium].facts, header.facts),
        header.field: values(FIELDS[header.field], header.network),
        "fit": values(FIT, header.fit),
        "version": VERSION,
    }
    if checksum is not None:
        table["crc"] = checksum
    return json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(header: Header, data: Iterable[bytes]) -> int:
    """CRC-32 of the header without its checksum, and of the data."""
    found = zlib.crc32(_text(header, None).encode())
    for part in data:
        found = zlib.crc32(part, found)
    return found


def dump(header: Header, tensors: Mapping[str, Stored]) -> bytes:
    """The bytes of a file. Equal contents give equal bytes: every key is sorted."""
    data = [tensor.data for _, tensor in sorted(tensors.items())]
    text = _text(header, _checksum(header, data))
    table: dict[str, Any] = {"__metadata__": {"intfit": text}}
    position = 0
    for name, tensor in sorted(tensors.items()):
        end = position + len(tensor.data)
        table[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    encoded = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)  # safetensors aligns its data to 8 bytes
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *data])


def _finite(literal: str) -> int | float:
    """A JSON number, if a float can hold it; NaN and Infinity are no JSON."""
    if not math.isfinite(float(literal)):
        raise ValueError(literal)
    return int(literal) if literal.lstrip("-").isdigit() else float(literal)


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_float=_finite, parse_int=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise FileFormatError(f"{what} is damaged: not valid JSON") from None
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} is damaged: not a JSON object")
    return value


def _placed(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """One checked line of the safetensors table."""
    damaged = FileFormatError(
        f"the entry of tensor {name[:80]!r} is damaged or lies about its size"
    )
    if not isinstance(entry, dict):
        raise damaged
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if (
        not isinstance(dtype, str)
        or dtype not in ITEM_SIZES
        or not isinstance(shape, list)
        or not isinstance(offsets, list)
    ):
        raise damaged
    if len(shape) > 4 or len(offsets) != 2:
        raise damaged
    if not all(type(value) is int and value >= 0 for value in [*shape, *offsets]):
        raise damaged
    start, end = offsets
    if start > end or end - start != math.prod(shape) * ITEM_SIZES[dtype]:
        raise damaged
    return dtype, tuple(shape), start, end


def parse(head: bytes, size: int) -> Layout:
    """The layout of a file of ``size`` bytes from its first bytes, the header at least.

    Raises:
        FileFormatError: if the bytes are not a sound intfit file of a version known here.
    """
    length = int.from_bytes(head[:8], "little") if len(head) >= 8 else 0
    if size < 10 or head[8:9] != b"{" or length < 2:
        raise FileFormatError("not an intfit file: 'intfit encode' makes them")
    if length > MAX_HEADER or 8 + length > size:
        raise FileFormatError("not an intfit file, or a truncated one: its header is cut short")
    try:
        table = _json_object(head[8 : 8 + length].decode(), "the safetensors header")
    except UnicodeDecodeError:
        raise FileFormatError("the safetensors header is damaged: not UTF-8") from None
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("intfit"), str):
        raise FileFormatError("a safetensors file, but not one that intfit wrote")
    described = _json_object(metadata["intfit"], "the intfit header")
    version = described.get("version")
    if version != VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"file format version {reprlib.repr(version)}; this program reads version {VERSION}: "
            "another intfit may read it"
        )
    room = size - 8 - length
    tensors = {name: _placed(name, entry) for name, entry in table.items()}
    spans = sorted((start, end) for _, _, start, end in tensors.values())
    ends = [0, *(end for _, end in spans)]
    if any(start != end for (start, _), end in zip(spans, ends, strict=False)) or ends[-1] != room:
        raise FileFormatError(
            f"truncated or damaged: the header declares {ends[-1]} bytes of data, "
            f"the file holds {room}"
        )
    checksum = described.get("crc")
    if type(checksum) is not int:
        raise FileFormatError("damaged: the header lacks its checksum")
    return Layout(_header(described), tensors, checksum, 8 + length, size)


def _header(described: Mapping[str, Any]) -> Header:
    """The header in its JSON, whose values are still to be checked by who knows them."""

    def entry(known: Iterable[str], what: str) -> str:
        found = [name for name in known if name in described]
        if len(found) != 1:
            raise FileFormatError(f"its {what} is not one that this version reads")
        return found[0]

    def named(key: str, names: tuple[str, ...]) -> dict[str, Any]:
        values = described.get(key)
        if not isinstance(values, list) or len(values) > len(names):
            raise FileFormatError(f"damaged: what the header says of its {key} cannot be read")
        found = zip(names, values, strict=False)
        return {name: value for name, value in found if value is not None}

    kind, field = entry(KINDS, "medium"), entry(FIELDS, "network")
    facts, network = named(kind, KINDS[kind].facts), named(field, FIELDS[field])
    return Header(kind, facts, field, network, named("fit", FIT))


def read_layout(path: Path) -> Layout:
    """The layout of the file at ``path``; reads its header and nothing else."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        length = int.from_bytes(head, "little")
        return parse(head + file.read(min(length, MAX_HEADER)), size)


def load(data: bytes) -> tuple[Layout, dict[str, Stored]]:
    """Header and tensors of a whole file's bytes.

    Raises:
        FileFormatError: as :func:`parse`, and if the checksum is not that of header and data.
    """
    layout = parse(data, len(data))
    if _checksum(layout.header, [data[layout.start :]]) != layout.checksum:
        raise FileFormatError("damaged: its checksum does not fit its contents")
    return layout, {
        name: Stored(dtype, shape, data[layout.start + first : layout.start + end])
        for name, (dtype, shape, first, end) in layout.tensors.items()
    }
