"""glTF 2.0: binary (.glb), or as JSON with its buffers within (.gltf)."""

import base64
import binascii
import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MediaError
from ...limits import Limits
from .paint import Paint, Part, Pixels, join_parts, read_picture
from .polygons import Array, Indices, Mesh, cut_strip, damaged, to_indices

JSON, BINARY = 0x4E4F534A, 0x004E4942
COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
TRIANGLES, STRIP, FAN = 4, 5, 6
#: Extensions that hold or repeat the geometry in ways that are not read.
NOT_READ = {
    "KHR_draco_mesh_compression",
    "EXT_meshopt_compression",
    "KHR_meshopt_compression",
    "EXT_mesh_gpu_instancing",
}

Table = dict[str, Any]


def read(data: bytes, limits: Limits) -> Mesh:
    """The triangles of the default scene of a glTF file, each node's in its place.

    Raises:
        MediaError: if it is damaged, refers to another file, or holds more than allowed.
    """
    header, binary = unpack(data)
    return _Reader(header, binary, limits).read()


def unpack(data: bytes) -> tuple[Table, bytes]:
    """The JSON of a file, and its binary chunk."""
    text, binary = data, b""
    if data[:4] == b"glTF":
        if data[4:8] != b"\2\0\0\0":
            raise MediaError("a glTF file of another version than 2 is not read")
        at = 12
        chunks: dict[int, bytes] = {}
        while at + 8 <= len(data) and len(chunks) < 2:
            length, kind = (
                int.from_bytes(data[at + skip : at + skip + 4], "little") for skip in (0, 4)
            )
            if length > len(data) - at - 8:
                raise damaged(f"a chunk of {length} bytes is longer than the file")
            chunks.setdefault(kind, data[at + 8 : at + 8 + length])
            at += 8 + length
        text, binary = chunks.get(JSON, b""), chunks.get(BINARY, b"")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged("its JSON cannot be read") from None
    if not isinstance(header, dict):
        raise damaged("its JSON is no table")
    return header, binary


def _whole(table: Table, key: str, default: int | None = None) -> int:
    """The whole number, 0 or more, under ``key``."""
    value = table.get(key, default)
    if type(value) is not int or value < 0:
        raise damaged(f"{key} is not a whole number")
    return value


class _Reader:
    """The tables of a file, and what was read from them."""

    def __init__(self, header: Table, binary: bytes, limits: Limits) -> None:
        self._header, self._binary, self._limits = header, binary, limits
        self._buffers: dict[int, bytes] = {}
        self._meshes: dict[int, Part] = {}
        self._pictures: dict[int, int] = {}  # the place of each image among those read
        self._pixels: list[Pixels] = []
        self._painted = False
        self._notes: list[str] = []
        self._made = dict.fromkeys(WIDTHS, 0)

    def read(self) -> Mesh:
        """All triangles of the scene."""
        found = self._header.get("extensionsRequired") or []
        hidden = [name for name in found if name in NOT_READ] if isinstance(found, list) else []
        if hidden:
            raise MediaError(f"its geometry is in {hidden[0]}, which is not read")
        placed = self._place_meshes()
        parts = [self._mesh(index) for index, _ in placed]
        self._limits.check_cells(sum(len(part.vertices) for part in parts), "vertices")
        self._limits.check_cells(sum(len(part.faces) for part in parts), "faces")
        moved = []
        for (_, matrix), part in zip(placed, parts, strict=True):
            if not np.array_equal(matrix, np.eye(4)):
                stacked = np.column_stack([part.vertices, np.ones(len(part.vertices))])
                vertices = np.ascontiguousarray(np.dot(matrix, stacked.T).T[:, :3])
                # a mirror turns faces inside out
                mirrors = np.linalg.det(matrix[:3, :3]) < 0
                faces = part.faces[:, ::-1] if mirrors else part.faces
                part = replace(part, vertices=vertices, faces=faces)
            moved.append(part)
        whole = join_parts(moved)
        paint = None
        if self._painted:
            paint = Paint(
                whole.faces, whole.colours, whole.places, whole.textures, tuple(self._pixels)
            )
        return Mesh(whole.vertices, whole.faces, self._notes, paint)

    def _entry(self, name: str, index: Any) -> Table:
        table = self._header.get(name)
        if not isinstance(table, list) or type(index) is not int or not 0 <= index < len(table):
            raise damaged(f"it names one of its {name} that is not there")
        entry = table[index]
        if not isinstance(entry, dict):
            raise damaged(f"one of its {name} is no table")
        return entry

    def _list(self, table: Table, key: str) -> list[Any]:
        found = table.get(key) or []
        if not isinstance(found, list):
            raise damaged(f"{key} is no list")
        return found

    def _place_meshes(self) -> list[tuple[int, Array]]:
        """The meshes of the scene and where each stands, a matrix ``[4, 4]``."""
        nodes = self._list(self._header, "nodes")
        if not nodes:
            meshes = self._list(self._header, "meshes")
            return [(index, np.eye(4)) for index in range(len(meshes))]
        if self._list(self._header, "scenes"):
            roots = self._list(self._entry("scenes", self._header.get("scene", 0)), "nodes")
        else:
            inner = {
                child
                for index in range(len(nodes))
                for child in self._list(self._entry("nodes", index), "children")
                if type(child) is int
            }
            roots = [index for index in range(len(nodes)) if index not in inner]
        placed = []
        waiting = [(index, np.eye(4)) for index in roots]
        visited = set()
        while waiting:  # no recursion: chains of nodes may be long
            index, above = waiting.pop()
            node = self._entry("nodes", index)
            if index in visited:
                raise damaged("a node is below itself, or below two others")
            visited.add(index)
            matrix = above @ _matrix(node)
            if node.get("mesh") is not None:
                placed.append((_whole(node, "mesh"), matrix))
            waiting += [(child, matrix) for child in self._list(node, "children")]
        return placed

    def _mesh(self, index: int) -> Part:
        """The triangles of a mesh, read once however many nodes show it."""
        if index not in self._meshes:
            parts = []
            for primitive in self._list(self._entry("meshes", index), "primitives"):
                if not isinstance(primitive, dict):
                    raise damaged("a primitive is no table")
                if primitive.get("mode", TRIANGLES) not in (TRIANGLES, STRIP, FAN):
                    continue  # points and lines
                if NOT_READ & (primitive.get("extensions") or {}).keys():
                    raise MediaError("its geometry is compressed in a way that is not read")
                parts.append(self._primitive(primitive))
            self._meshes[index] = join_parts(parts)
        return self._meshes[index]

    def _primitive(self, primitive: Table) -> Part:
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict) or "POSITION" not in attributes:
            raise damaged("a primitive has no positions")
        with np.errstate(invalid="ignore"):  # NaN is refused later
            positions = self._accessor(attributes["POSITION"], "VEC3").astype(np.float64)
        corners = np.arange(len(positions))
        if "indices" in primitive:
            corners = to_indices(self._accessor(primitive["indices"], "SCALAR").reshape(-1))
        faces = _cut(corners, primitive.get("mode", TRIANGLES))
        factor, texture, primitive_texture = self._material(primitive)
        uv = _whole(primitive_texture, "texCoord", 0)
        colours = np.tile(factor, (len(positions), 1))
        places = np.zeros((len(positions), 2))
        if "COLOR_0" in attributes:
            colours *= self._colours(attributes["COLOR_0"], len(positions))
            self._painted = True
        if texture >= 0 and f"TEXCOORD_{uv}" in attributes:
            found = self._accessor(attributes[f"TEXCOORD_{uv}"], "VEC2").astype(np.float64)
            if found.shape != places.shape:
                raise damaged("it has not one place in its texture for each vertex")
            places, self._painted = _transform(found, primitive_texture), True
        else:
            texture = -1
        if (factor != 1).any():
            self._painted = True
        return Part(positions, faces, colours, places, np.full(len(faces), texture))

    def _colours(self, accessor: Any, count: int) -> Array:
        """The colours of vertices ``[count, 3]``."""
        kind = self._entry("accessors", accessor).get("type")
        found = self._accessor(accessor, "VEC4" if kind == "VEC4" else "VEC3")
        if len(found) != count:
            raise damaged("it has not one colour for each vertex")
        return np.nan_to_num(found[:, :3].astype(np.float64)).clip(0, 1)

    def _material(self, primitive: Table) -> tuple[Array, int, Table]:
        """The colour of a primitive ``[3]``, its texture (-1: none), and how that is placed."""
        white = np.ones(3)
        if primitive.get("material") is None:
            return white, -1, {}
        surface = self._entry("materials", primitive["material"]).get("pbrMetallicRoughness")
        if not isinstance(surface, dict):
            return white, -1, {}
        factor = _numbers(surface, "baseColorFactor", [1, 1, 1, 1])[:3].clip(0, 1)
        texture = surface.get("baseColorTexture")
        if not isinstance(texture, dict):
            return factor, -1, {}
        entry = self._entry("textures", texture.get("index"))
        source = entry.get("source", _extension(entry, "EXT_texture_webp").get("source"))
        placed = texture | _extension(texture, "KHR_texture_transform")
        return factor, -1 if source is None else self._picture(source), placed

    def _picture(self, index: Any) -> int:
        """The place of an image among the pictures read; -1 where it is in another file."""
        image = self._entry("images", index)
        if index not in self._pictures:
            if image.get("bufferView") is not None:
                view = self._entry("bufferViews", image["bufferView"])
                data = self._view(image["bufferView"], 0, "u1", _whole(view, "byteLength"), 1)
                encoded: bytes | None = data.tobytes()
            else:
                encoded = _decode_uri(image.get("uri"))
            self._pictures[index] = -1
            pixels = None if encoded is None else read_picture(encoded, self._limits)
            if pixels is None:
                self._notes.append(
                    "a texture that is not in the file, or not readable, is left out"
                )
            else:
                self._pixels.append(pixels)
                self._pictures[index] = len(self._pixels) - 1
        return self._pictures[index]

    def _accessor(self, index: Any, kind: str) -> NDArray[np.generic]:
        """The items of an accessor ``[n, width]``."""
        accessor = self._entry("accessors", index)
        component = COMPONENTS.get(_whole(accessor, "componentType"))
        if component is None or accessor.get("type") != kind:
            raise damaged("an accessor is not of the type that it should be")
        count, width = _whole(accessor, "count"), WIDTHS[kind]
        sparse = accessor.get("sparse")
        if accessor.get("bufferView") is None and not isinstance(sparse, dict):
            raise damaged(f"an accessor of {count} items has no buffer")
        items: NDArray[np.generic] | None = None
        if accessor.get("bufferView") is not None:
            start = _whole(accessor, "byteOffset", 0)
            items = self._view(accessor["bufferView"], start, component, count, width)
        # every primitive may name the same accessor: what they make counts together
        self._made[kind] += count
        what, each = ("faces", 3) if kind == "SCALAR" else ("vertices", 1)
        self._limits.check_cells(self._made[kind] // each, what)
        if items is None:
            items = np.zeros((count, width), component)
        if isinstance(sparse, dict):
            items = self._overwrite(items, sparse, component)
        if accessor.get("normalized") and component != "<f4":
            largest = np.iinfo(np.dtype(component)).max
            return np.maximum(items.astype(np.float64) / largest, -1)
        return items

    def _overwrite(
        self, items: NDArray[np.generic], sparse: Table, component: str
    ) -> NDArray[np.generic]:
        """A copy of items with those replaced that a sparse accessor stores."""
        count = _whole(sparse, "count")
        places, values = sparse.get("indices"), sparse.get("values")
        if not isinstance(places, dict) or not isinstance(values, dict):
            raise damaged("a sparse accessor has no indices or no values")
        kind = COMPONENTS.get(_whole(places, "componentType"), "<u4")
        at = self._view(
            places.get("bufferView"), _whole(places, "byteOffset", 0), kind, count, 1
        ).reshape(-1)
        new = self._view(
            values.get("bufferView"),
            _whole(values, "byteOffset", 0),
            component,
            count,
            items.shape[1],
        )
        at = to_indices(at)
        if count and at.max() >= len(items):
            raise damaged("a sparse accessor names an item that is not there")
        items = items.copy()
        items[at] = new
        return items

    def _view(
        self, index: Any, start: int, component: str, count: int, width: int
    ) -> NDArray[np.generic]:
        """``count`` items ``[count, width]`` of a view of a buffer, from byte ``start`` of it."""
        view = self._entry("bufferViews", index)
        buffer = self._buffer(_whole(view, "buffer"))
        size = np.dtype(component).itemsize
        stride = _whole(view, "byteStride", 0) or size * width
        first, length = _whole(view, "byteOffset", 0), _whole(view, "byteLength")
        needed = start + (count - 1) * stride + size * width if count else 0
        if first + length > len(buffer) or needed > length or stride < size * width:
            raise damaged(f"an accessor of {count} items is larger than its buffer")
        return np.ndarray((count, width), component, buffer, first + start, (stride, size))

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            uri = self._entry("buffers", index).get("uri")
            if uri is None:
                self._buffers[index] = self._binary if index == 0 else b""
            elif (held := _decode_uri(uri)) is not None:
                self._buffers[index] = held
            else:
                raise MediaError("its geometry is in another file: convert it to .glb")
        return self._buffers[index]


def _extension(table: Table, name: str) -> Table:
    """The table of an extension; empty where there is none."""
    extensions = table.get("extensions")
    found = extensions.get(name) if isinstance(extensions, dict) else None
    return found if isinstance(found, dict) else {}


def _transform(places: Array, placed: Table) -> Array:
    """Texture coordinates ``[V, 2]`` where KHR_texture_transform puts them, within one picture."""
    angle = float(_numbers({"rotation": [placed.get("rotation", 0.0)]}, "rotation", [0.0])[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    with np.errstate(invalid="ignore", over="ignore"):
        moved = places * _numbers(placed, "scale", [1, 1]) @ turn
        moved += _numbers(placed, "offset", [0, 0])
    return np.asarray(np.nan_to_num(moved, posinf=0, neginf=0).clip(-1e6, 1e6))


def _decode_uri(uri: Any) -> bytes | None:
    """The bytes that a URI itself holds; None where it names another file."""
    if not (isinstance(uri, str) and uri.startswith("data:") and ";base64," in uri[:200]):
        return None
    try:
        return base64.b64decode(uri.split(",", 1)[1])
    except binascii.Error:
        raise damaged("a buffer is not in base64") from None


def _cut(corners: Indices, mode: int) -> Indices:
    if mode == STRIP:
        return cut_strip(corners)
    if mode == FAN:
        if len(corners) < 3:
            return np.zeros((0, 3), np.int64)
        first = np.full(len(corners) - 2, corners[0])
        return np.stack([first, corners[1:-1], corners[2:]], axis=1)
    if len(corners) % 3:
        raise damaged("a mesh has corners left over from its triangles")
    return corners.reshape(-1, 3)


def _numbers(node: Table, key: str, default: list[float]) -> Array:
    values = node.get(key, default)
    try:
        numbers = np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (len(default),) or not np.isfinite(numbers).all():
        raise damaged(f"the {key} of a node is not {len(default)} numbers")
    return numbers


def _matrix(node: Table) -> Array:
    """Where a node stands in the one above it ``[4, 4]``."""
    if "matrix" in node:
        return _numbers(node, "matrix", list(np.eye(4).reshape(-1))).reshape(4, 4).T
    turn = _numbers(node, "rotation", [0, 0, 0, 1])
    x, y, z, w = turn / (np.linalg.norm(turn) or 1.0)  # not all writers keep it of length 1
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= _numbers(node, "scale", [1, 1, 1])
    matrix[:3, 3] = _numbers(node, "translation", [0, 0, 0])
    return matrix
