"""PLY: ASCII, and binary of either byte order, with polygons and triangle strips."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...limits import Limits
from .paint import paint_vertices, scale_colours
from .polygons import Indices, Mesh, Rows, cut_polygons, cut_strip, damaged, to_indices

#: NumPy's names of the types that a header names.
TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
    "uint64": "u8",
    "float16": "f2",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
#: The properties of a vertex that are its colour.
COLOURS = ("red", "green", "blue")
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
#: What the elements that hold faces are called, and their lists of corners.
FACES, STRIPS, CORNERS = "face", "tristrips", ("vertex_indices", "vertex_index")


@dataclass
class Property:
    """A column of an element; a list where ``length`` names the type of its length."""

    name: str
    type: str
    length: str | None = None


@dataclass
class Element:
    """A table of the file: ``count`` rows of its properties."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def corners(self) -> str:
        """The name of the list of corners of a face; empty where there is none."""
        lists = [column.name for column in self.properties if column.length]
        named = [name for name in lists if name in CORNERS]
        return (named or [*lists, ""])[0]


#: A column, or the numbers of all lists and the length of each.
Column = NDArray[np.generic] | tuple[NDArray[np.generic], Indices]


def read(data: bytes, limits: Limits) -> Mesh:
    """The vertices and faces of a PLY file.

    Raises:
        MediaError: if it is damaged, or holds more than allowed.
    """
    order, elements, at = _parse_header(data)
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise damaged("its header declares no vertices")
    wanted = {"vertex", FACES, STRIPS}
    last = max(place for place, name in enumerate(names) if name in wanted)
    tables: dict[str, dict[str, Column]] = {}
    lines = _nonempty_lines(data[at:]) if not order else []
    row = 0
    for element in elements[: last + 1]:
        _check_count(element, len(data) - at if order else len(lines) - row, bool(order))
        if element.name in wanted:
            limits.check_cells(element.count, "vertices" if element.name == "vertex" else "faces")
        if order:
            table, at = _read_binary(data, at, element, order)
        else:
            table = _read_text(lines[row : row + element.count], element)
            row += element.count
        if element.name in wanted:
            tables.setdefault(element.name, table)
    vertex = tables["vertex"]
    if not {"x", "y", "z"} <= vertex.keys():
        raise damaged("its vertices have no x, y and z")
    with np.errstate(invalid="ignore"):  # NaN is refused later
        vertices = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
    by_name = {element.name: element for element in reversed(elements)}
    faces = [
        _triangles(by_name[name], tables[name], limits) for name in (FACES, STRIPS) if name in names
    ]
    triangles = np.concatenate([np.zeros((0, 3), np.int64), *faces])
    colours = _colours(by_name["vertex"], vertex)
    paint = None if colours is None else paint_vertices(colours, triangles)
    return Mesh(vertices, triangles, paint=paint)


def _colours(element: Element, table: dict[str, Column]) -> NDArray[np.float64] | None:
    """The colours of the vertices ``[V, 3]``, from 0 to 1; None where they have none."""
    types = {column.name: column.type for column in element.properties if not column.length}
    if not set(COLOURS) <= types.keys():
        return None
    values = np.stack([np.asarray(table[name], np.float64) for name in COLOURS], axis=1)
    if types[COLOURS[0]] in ("u1", "u2"):
        return np.asarray(values / (255 if types[COLOURS[0]] == "u1" else 65535))
    return scale_colours(values)


def _check_count(element: Element, held: int, binary: bool) -> None:
    """Raise MediaError unless ``held`` bytes or lines can hold an element's rows."""
    if binary:
        held //= sum(np.dtype(c.length or c.type).itemsize for c in element.properties) or 1
    if element.count > held:
        raise damaged(
            f"it declares {element.count} rows of {element.name!r:.40} and has room for {held}"
        )


def _nonempty_lines(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if line and not line.isspace()]


def _triangles(element: Element, table: dict[str, Column], limits: Limits) -> Indices:
    column = table.get(element.corners)
    if not isinstance(column, tuple):
        if not element.count:
            return np.zeros((0, 3), np.int64)
        raise damaged("its faces have no list of corners")
    corners, counts = to_indices(column[0]), column[1]
    if element.name == FACES:
        return cut_polygons(corners, counts, limits)
    # a strip ends where its list does, and at each negative index
    limits.check_cells(len(corners), "faces")
    ends = np.union1d(np.flatnonzero(corners < 0), np.cumsum(counts))
    strips = (strip[strip >= 0] for strip in np.split(corners, ends))
    return np.concatenate([np.zeros((0, 3), np.int64), *map(cut_strip, strips)])


def _parse_header(data: bytes) -> tuple[str, list[Element], int]:
    """The byte order (empty for ASCII), the elements, and where the first of them begins."""
    start = len(data) - len(data[3:].lstrip(b" \t"))
    newline = b"\r\n" if data[start : start + 2] == b"\r\n" else data[start : start + 1]
    if data[:3] != b"ply" or newline not in (b"\n", b"\r", b"\r\n"):
        raise damaged("it does not begin as PLY files do")
    at = start + len(newline)
    order: str | None = None
    elements: list[Element] = []
    while True:
        end = data.find(newline, at)
        if end < 0:
            raise damaged("its header does not end")
        words = data[at : min(end, at + 4096)].decode("latin-1").split()
        at = end + len(newline)
        match words:
            case ["end_header", *_]:
                break
            case ["format", name, *_]:
                if name not in ORDERS:
                    raise damaged(f"a format of PLY, {name[:40]!r}, that is not known")
                order = ORDERS[name]
            case ["element", name, count]:
                if not count.isdecimal() or len(count) > 18:
                    raise damaged(f"its header counts {count[:40]!r} rows")
                elements.append(Element(name, int(count)))
            case ["property", "list", length, type_, name] if elements:
                elements[-1].properties.append(Property(name, _type(type_), _type(length)))
            case ["property", type_, name] if elements:
                elements[-1].properties.append(Property(name, _type(type_)))
            case [("element" | "property"), *_]:
                raise damaged("a line of its header is not understood")
            case _:  # comments, obj_info
                pass
    if order is None:
        raise damaged("its header names no format")
    return order, elements, at


def _type(name: str) -> str:
    if name.lower() not in TYPES:
        raise damaged(f"a type, {name[:40]!r}, that is not known")
    return TYPES[name.lower()]


def _read_text(lines: list[bytes], element: Element) -> dict[str, Column]:
    rows = Rows(lines, element.name[:40])
    return {
        column.name: rows.lists() if column.length else rows.column()
        for column in element.properties
    }


def _read_binary(
    data: bytes, at: int, element: Element, order: str
) -> tuple[dict[str, Column], int]:
    """The columns of an element that begins at ``at``, and where it ends."""
    if not element.count or not element.properties:
        empty = np.zeros(0)
        return {
            c.name: (empty, np.zeros(0, np.int64)) if c.length else empty
            for c in element.properties
        }, at
    row = _uniform_row(data, at, element, order)
    if row is None:
        return _read_lists(data, at, element, order)
    table = np.frombuffer(data, row, element.count, at)
    columns: dict[str, Column] = {}
    for place, column in enumerate(element.properties):
        values = table[f"v{place}"]
        if column.length:
            counts = to_indices(table[f"n{place}"])
            columns[column.name] = values.reshape(-1), counts
        else:
            columns[column.name] = values
    return columns, at + element.count * row.itemsize


def _uniform_row(data: bytes, at: int, element: Element, order: str) -> "np.dtype[np.void] | None":
    """The type of a row if every list is as long as in the first row; else None."""
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    place = at
    for index, column in enumerate(element.properties):
        size = np.dtype(column.type).itemsize
        shape: tuple[int, ...] = ()
        if column.length:
            count = _length(data, place, order + column.length)
            if count * size * element.count > len(data):
                return None
            fields.append((f"n{index}", order + column.length, ()))
            shape = (count,)
            place += np.dtype(column.length).itemsize + count * size
        else:
            place += size
        fields.append((f"v{index}", order + column.type, shape))
    row = np.dtype(fields)
    if element.count * row.itemsize > len(data) - at:
        return None
    table = np.frombuffer(data, row, element.count, at)
    for index, column in enumerate(element.properties):
        if column.length and not (table[f"n{index}"] == table[f"n{index}"][0]).all():
            return None
    return row


def _length(data: bytes, at: int, type_: str) -> int:
    """The length of a list, which stands before it."""
    end = at + np.dtype(type_).itemsize
    if end > len(data):
        raise damaged("it ends within a list")
    count = float(np.frombuffer(data[at:end], type_)[0])
    if not (count >= 0 and count == int(count)):
        raise damaged("a list of negative length")
    return int(count)


def _read_lists(
    data: bytes, at: int, element: Element, order: str
) -> tuple[dict[str, Column], int]:
    """Like :func:`_read_binary`, of rows that differ in length; only the corners of faces."""
    columns = [
        (c.name, order + c.length if c.length else None, np.dtype(c.type).itemsize)
        for c in element.properties
    ]
    found: list[bytes] = []
    counts: list[int] = []
    for _ in range(element.count):
        for name, length, size in columns:
            count = 1
            if length:
                count = _length(data, at, length)
                at += np.dtype(length).itemsize
            if at + count * size > len(data):
                raise damaged(
                    f"it declares {element.count} rows of {element.name!r:.40} and ends within "
                    f"row {len(counts) + 1}"
                )
            if name == element.corners:
                found.append(data[at : at + count * size])
                counts.append(count)
            at += count * size
    kind = next(c.type for c in element.properties if c.name == element.corners)
    values = np.frombuffer(b"".join(found), order + kind)
    return {element.corners: (values, np.array(counts, np.int64))}, at
