"""The file: one safetensors file, whose ``intfit`` metadata key holds a JSON header.

Knows safetensors, the header and its version, and nothing of torch or NumPy. Reading trusts
nothing: every declared size is checked against the bytes that are there before any is used.
"""

import json
import math
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..media import KINDS

#: The version this program writes and reads. A later one is refused by its number.
VERSION = 1
SUFFIX = ".safetensors"
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
class Layout:
    """A file's header and where its tensors lie, without the tensors.

    ``header`` is the ``intfit`` JSON; ``tensors`` maps names to (type, shape, first byte, end).
    """

    header: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    size: int

    @property
    def parameters(self) -> int:
        """Number of stored elements."""
        return sum(math.prod(shape) for _, shape, _, _ in self.tensors.values())


def dump(header: Mapping[str, Any], tensors: Mapping[str, Stored]) -> bytes:
    """The bytes of a file. Equal contents give equal bytes: every key is sorted."""
    text = json.dumps(
        {"version": VERSION, **header}, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
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
    parts = [len(encoded).to_bytes(8, "little"), encoded]
    parts += [tensor.data for _, tensor in sorted(tensors.items())]
    return b"".join(parts)


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
    header = _json_object(metadata["intfit"], "the intfit header")
    version = header.get("version")
    if version != VERSION or isinstance(version, bool):
        raise FileFormatError(
            f"file format version {reprlib.repr(version)}; this program reads version {VERSION}: "
            "a newer intfit may read it"
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
    return Layout(header, tensors, size)


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
        FileFormatError: as :func:`parse`.
    """
    layout = parse(data, len(data))
    start = 8 + int.from_bytes(data[:8], "little")
    return layout, {
        name: Stored(dtype, shape, data[start + first : start + end])
        for name, (dtype, shape, first, end) in layout.tensors.items()
    }


def identify(layout: Layout) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Medium, network architecture and facts of a header that has them.

    Raises:
        FileFormatError: if one is missing, or of a kind unknown to this version.
    """
    profile, kind, field, facts = (
        layout.header.get(key) for key in ("profile", "medium", "field", "facts")
    )
    if profile != "open":
        raise FileFormatError(f"profile {profile!r} is not one this version reads")
    if kind not in KINDS:
        raise FileFormatError(f"medium {kind!r} is not one this version reads")
    if not isinstance(field, dict) or not isinstance(facts, dict):
        raise FileFormatError("damaged: the header lacks its field or its facts")
    if field.get("kind") != "siren":
        raise FileFormatError(f"field {field.get('kind')!r} is not one this version reads")
    return kind, {key: value for key, value in field.items() if key != "kind"}, facts
