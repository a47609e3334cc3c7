"""The file: one safetensors file, whose ``intfit`` metadata key holds a JSON header.

It knows safetensors and the header, and nothing of torch or NumPy. Reading trusts nothing: every
declared size is checked against the bytes that are there before any of them is used.
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
from .header import READABLE, VERSION, Header, parse_json, read_header, write_header

#: The suffix of a file.
SUFFIX = ".safetensors"
#: The suffix of the other format that a network is exported to.
ONNX_SUFFIX = ".onnx"
#: The one tensor of the packed profile.
PAYLOAD = "payload"
#: Bytes of an element of each tensor type. No file of ours has any other type.
ITEM_SIZES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}
#: The most bytes of a safetensors header that are read. Ours have a few kB.
MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: its type, a key of :data:`ITEM_SIZES`, its shape and its bytes.

    The bytes are little-endian, in C order.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes


#: Where a tensor lies: its type, shape, first byte and end.
Placed = tuple[str, tuple[int, ...], int, int]


@dataclass(frozen=True)
class Layout:
    """A file's header, and where its tensors are, without the tensors.

    ``tensors`` maps names to (type, shape, first byte, end) in the data, which begins at byte
    ``start`` of the file; ``checksum`` is the one stored in the file, whose ``size`` is in bytes.
    """

    version: int
    header: Header
    tensors: dict[str, Placed]
    checksum: int
    start: int
    size: int

    @property
    def packed(self) -> bool:
        """Whether this is the packed profile: one tensor of bytes, named :data:`PAYLOAD`."""
        return list(self.tensors) == [PAYLOAD] and self.tensors[PAYLOAD][0] == "U8"


def _compute_checksum(
    version: int, header: Header, tensors: Mapping[str, Placed], data: Iterable[bytes]
) -> int:
    """CRC-32 of the header without its checksum, of the table of tensors, and of the data.

    Version 2 left out the table.
    """
    checksum = zlib.crc32(write_header(header, None, version=version).encode())
    if version > 2:
        checksum = zlib.crc32(_dump_json(_make_table(tensors)), checksum)
    for part in data:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _make_table(tensors: Mapping[str, Placed]) -> dict[str, Any]:
    """The table of tensors as safetensors has it, by sorted names."""
    return {
        name: {"dtype": dtype, "shape": list(shape), "data_offsets": [first, end]}
        for name, (dtype, shape, first, end) in sorted(tensors.items())
    }


def _dump_json(table: dict[str, Any]) -> bytes:
    """JSON as safetensors has it: without spaces."""
    return json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()


def dump(header: Header, tensors: Mapping[str, Stored]) -> bytes:
    """The bytes of a file. Equal contents give equal bytes, because all keys are sorted."""
    data = [tensor.data for _, tensor in sorted(tensors.items())]
    placed: dict[str, Placed] = {}
    position = 0
    for name, tensor in sorted(tensors.items()):
        end = position + len(tensor.data)
        placed[name] = tensor.dtype, tensor.shape, position, end
        position = end
    text = write_header(header, _compute_checksum(VERSION, header, placed, data))
    encoded = _dump_json({"__metadata__": {"intfit": text}} | _make_table(placed))
    encoded += b" " * (-len(encoded) % 8)  # safetensors aligns its data to 8 bytes
    return b"".join([len(encoded).to_bytes(8, "little"), encoded, *data])


def _read_entry(name: str, entry: Any) -> Placed:
    """Type, shape, first byte and end of a tensor, from its ``entry`` in the safetensors header.

    Raises:
        FileFormatError: if it is not one of a sound file.
    """
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
    """The layout of a file of ``size`` bytes from ``head``, which has its header at least.

    Raises:
        FileFormatError: if the bytes are not a sound intfit file of a version known here.
    """
    length = int.from_bytes(head[:8], "little") if len(head) >= 8 else 0
    if size < 10 or head[8:9] != b"{" or length < 2:
        raise FileFormatError("not an intfit file: 'intfit encode' makes them")
    if length > MAX_HEADER or 8 + length > size:
        raise FileFormatError("not an intfit file, or a truncated one: its header is cut short")
    try:
        table = parse_json(head[8 : 8 + length].decode(), "the safetensors header")
    except UnicodeDecodeError:
        raise FileFormatError("the safetensors header is damaged: not UTF-8") from None
    metadata = table.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("intfit"), str):
        raise FileFormatError("a safetensors file, but not one that intfit wrote")
    described = parse_json(metadata["intfit"], "the intfit header")
    version = described.get("version")
    if type(version) is not int or version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise FileFormatError(
            f"file format version {reprlib.repr(version)}; this program reads versions {known}: "
            "another intfit may read it"
        )
    room = size - 8 - length
    tensors = {name: _read_entry(name, entry) for name, entry in table.items()}
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
    return Layout(version, read_header(described), tensors, checksum, 8 + length, size)


def read_layout(path: Path) -> Layout:
    """The layout of the file at ``path``, of which only the header is read.

    Raises:
        FileFormatError: as :func:`parse`.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        length = int.from_bytes(head, "little")
        return parse(head + file.read(min(length, MAX_HEADER)), size)


def load(data: bytes) -> tuple[Layout, dict[str, Stored]]:
    """The layout and the tensors of a whole file's bytes.

    Raises:
        FileFormatError: as :func:`parse`, and if the checksum is not that of header and data.
    """
    layout = parse(data, len(data))
    if layout.checksum != checksum_of(layout, data):
        raise FileFormatError("damaged: its checksum does not fit its contents")
    return layout, {
        name: Stored(dtype, shape, data[layout.start + first : layout.start + end])
        for name, (dtype, shape, first, end) in layout.tensors.items()
    }


def checksum_of(layout: Layout, data: bytes) -> int:
    """The checksum that a file should have, given its layout and its bytes ``data``."""
    return _compute_checksum(layout.version, layout.header, layout.tensors, [data[layout.start :]])
