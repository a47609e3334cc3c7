"""Bad input: one clear line, the right exit code, nothing written, and the rest still done."""

import errno
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import soundfile
import torch
import trimesh
from conftest import Run, photo, tone
from PIL import Image, features

from intfit import api as pipeline
from intfit.coding import container
from intfit.coding.header import VERSION
from intfit.settings import Settings

FIT = ("--field", "siren", "--steps", 2, "--width", 8, "--depth", 2, "--device", "cpu")
#: A line longer than this is no longer clear, whatever a hostile file puts into it.
LONGEST = 400
NOT_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")


def refused(run: Run, word: str, *, code: int = 1) -> None:
    """The command failed with ``code`` and one line, in which ``word`` (a pattern) is found."""
    assert run.code == code, run.err
    assert run.out == ""
    lines = run.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("intfit: ")
    assert re.search(word, lines[0]), lines[0]
    assert len(lines[0]) < LONGEST, lines[0]
    assert not re.search(r" object at 0x|__\w+__|unhashable", lines[0]), lines[0]


def contents() -> dict[str, bytes | None]:
    files = sorted(Path().rglob("*"))
    return {
        str(p): p.read_bytes() if p.is_file() and os.access(p, os.R_OK) else None for p in files
    }


@contextmanager
def nothing_written() -> Iterator[None]:
    before = contents()
    yield
    assert contents() == before


# Media ------------------------------------------------------------------------------------------


def image(picture: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header, sound in itself, declares a size that its pixels do not have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def recorded(samples: np.ndarray, name: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8000, format=name, subtype=subtype)
    return buffer.getvalue()


def with_nan(samples: np.ndarray) -> np.ndarray:
    samples = samples.astype(np.float32)
    samples.flat[len(samples) // 2] = np.nan
    return samples


def obj(vertices: Any, faces: Any) -> bytes:
    lines = [f"v {x:g} {y:g} {z:g}" for x, y, z in np.asarray(vertices, float)]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    return "\n".join(lines).encode()


BOX = trimesh.creation.box()
PNG = image(photo())
WAV = recorded(tone())
AVIF = image(photo(), "AVIF") if features.check("avif") else b""

#: File name: its bytes, and what the message must say.
BAD_MEDIA: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "empty"),
    "one-byte.png": (b"R", "not an image"),
    "three-bytes.mp3": (b"ID3", "not a recording"),
    "text.png": (b"hello, this is no picture\n", "not an image"),
    "text.ply": (b"hello, this is no mesh\n", "damaged mesh"),
    "random.png": (np.random.default_rng(0).bytes(500), "not an image"),
    "encoded.png": (safetensors.numpy.save({}, {"intfit": "{}"}), "intfit decode"),
    "truncated.png": (PNG[: len(PNG) // 2], "damaged image|truncated"),
    "truncated-header.png": (PNG[:20], "damaged image|truncated"),
    "damaged.avif": (AVIF.replace(b"av01", b"av09"), "damaged image"),
    "bomb.png": (bomb(60_000, 60_000), "pixels are more than.*--limit"),
    "bomb-31-bits.png": (bomb(2**31 - 1, 2**31 - 1), "pixels are more than.*--limit"),
    "nan.tiff": (image(Image.fromarray(with_nan(np.eye(8))), "TIFF"), "pixels.*not numbers"),
    "animated.gif": (
        image(photo(), "GIF", save_all=True, append_images=[photo().rotate(90)]),
        "animated.*2 frames",
    ),
    "zero-length.wav": (recorded(np.zeros((0, 1))), "zero length"),
    "truncated.wav": (WAV[:30], "damaged recording"),
    "nan.wav": (recorded(with_nan(tone()), subtype="FLOAT"), "samples.*not numbers"),
    "no-faces.obj": (obj(BOX.vertices, []), "no triangles"),
    "degenerate.obj": (obj(BOX.vertices, [[0, 0, 1], [2, 2, 2]]), "no triangles"),
    "collinear.obj": (obj([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]), "no triangles"),
    "missing-vertex.obj": (obj(BOX.vertices, [[0, 1, 98]]), "damaged mesh"),
    "nan.obj": (obj(with_nan(BOX.vertices), BOX.faces), "vertices.*not numbers"),
}
if not AVIF:
    del BAD_MEDIA["damaged.avif"]


@pytest.mark.parametrize("name", BAD_MEDIA)
def test_a_bad_medium_is_refused_in_one_line(intfit, name):
    data, word = BAD_MEDIA[name]
    Path(name).write_bytes(data)
    with nothing_written():
        refused(intfit("encode", name, *FIT), f"{re.escape(name)}: .*({word})")


def test_empty_standard_input_is_refused(intfit):
    with nothing_written():
        refused(intfit("encode", "-", "-o", "x.safetensors", *FIT, stdin=b""), "empty")


def test_a_mesh_with_some_bad_faces_is_encoded_and_says_so(intfit):
    faces = [*BOX.faces, [0, 0, 1], BOX.faces[0], BOX.faces[3][::-1]]
    Path("box.obj").write_bytes(obj(BOX.vertices, faces))
    run = intfit("encode", "box.obj", *FIT)
    assert run.code == 0, run.err
    assert "note: 3 degenerate or repeated faces dropped" in run.err
    assert Path("box.obj.safetensors").exists()


def test_the_rest_of_a_batch_is_still_encoded(intfit, picture):
    for name in ("truncated.png", "zero-length.wav"):
        Path(name).write_bytes(BAD_MEDIA[name][0])
    before = contents()
    names = ["missing.png", "truncated.png", picture, "zero-length.wav"]
    run = intfit("encode", *names, "--quiet", "--json", *FIT)
    assert run.code == 1
    messages = run.err.splitlines()
    assert len(messages) == 3
    for message, name in zip(
        messages, ("missing.png", "truncated.png", "zero-length.wav"), strict=True
    ):
        assert message.startswith(f"intfit: {name}: ")
    records = [json.loads(line) for line in run.out.splitlines()]
    assert [record["ok"] for record in records] == [False, False, True, False]
    assert "zero length" in records[3]["error"]
    assert contents().keys() - before.keys() == {"photo.png.safetensors"}


# Paths, folders, disks --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify"])
def test_a_missing_file_is_named(intfit, picture, command):
    against = ("--against", picture) if command == "verify" else ()
    with nothing_written():
        refused(intfit(command, "nope.x", *against), "nope.x: .*No such file")


@pytest.mark.parametrize("command", ["encode", "decode", "info"])
def test_a_link_to_nothing_is_told_apart_from_a_missing_file(intfit, command):
    Path("photo.png").symlink_to("gone.png")
    with nothing_written():
        refused(intfit(command, "photo.png"), "photo.png: .*; a link to 'gone.png'$")


@pytest.mark.parametrize("command", [("encode", ""), ("encode", "photo.png", "-o", "")])
def test_an_empty_name_is_misuse(intfit, picture, command):
    with nothing_written():
        refused(intfit(*command), "without a name", code=2)


@pytest.mark.parametrize("folder", ["folder", "."])
@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify"])
def test_a_folder_is_not_taken_for_a_file(intfit, picture, command, folder):
    Path("folder").mkdir()
    against = ("--against", picture) if command == "verify" else ()
    with nothing_written():
        refused(intfit(command, folder, *against), "folder, not a file|[Ii]s a directory")


@NOT_ROOT
def test_a_file_without_read_permission_is_refused(intfit, picture):
    picture.chmod(0)
    with nothing_written():
        refused(intfit("encode", picture, *FIT), "cannot be read: Permission denied")


@NOT_ROOT
def test_a_folder_without_write_permission_is_refused_before_the_fit(intfit, picture):
    Path("locked").mkdir(mode=0o500)
    with nothing_written():
        run = intfit(
            "encode", picture, "--output-dir", "locked", "--field", "siren", "--steps", 10**9
        )
        refused(run, "cannot write .*Permission denied")


@pytest.mark.parametrize("folder", ["notes.txt", "notes.txt/sub"])
def test_a_file_where_the_output_folder_should_be_is_refused_before_the_fit(
    intfit, picture, folder
):
    Path("notes.txt").write_text("not a folder")
    with nothing_written():
        run = intfit(
            "encode", picture, "--output-dir", folder, "--field", "siren", "--steps", 10**9
        )
        refused(run, "cannot write .*(?i:not a folder|not a directory)")


class FullDisk(io.FileIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("name", "stand_in"), [("fdopen", FullDisk), ("fsync", no_space)])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_full_disk_leaves_the_old_output_and_nothing_else(
    intfit, encoded, picture, monkeypatch, command, name, stand_in
):
    old, new = Path("photo.png.safetensors"), Path("photo.decoded.png")
    old.write_bytes(encoded["image"])
    new.write_bytes(b"an older picture")
    args = ("encode", picture, *FIT) if command == "encode" else ("decode", old)
    with nothing_written(), monkeypatch.context() as patch:
        patch.setattr(os, name, stand_in)
        refused(intfit(*args, "-f"), "cannot write .*No space left")


def test_an_existing_output_is_kept_without_force(intfit, encoded, picture):
    Path("photo.png.safetensors").write_bytes(encoded["image"])
    Path("photo.decoded.png").write_bytes(b"an older picture")
    with nothing_written():
        refused(intfit("encode", picture, *FIT), "exists.*-f")
        refused(intfit("decode", "photo.png.safetensors"), "exists.*-f")


@pytest.mark.parametrize("target", ["photo", "./photo", "link"])
def test_the_input_is_never_overwritten_not_even_with_force(intfit, picture, target):
    source = picture.rename("photo")
    Path("link").symlink_to(source)
    with nothing_written():
        refused(intfit("encode", source, "-f", "-o", target, *FIT), "same file")


# Misuse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("encode photo.png other.png -o x.safetensors", "-o is for one input"),
        ("encode photo.png -o x --target-size 9 kB", "'kB' is missing; a size is one word"),
        ("encode photo.png -o x.safetensors --output-dir out", "-o and --output-dir"),
        ("encode photo.png -o - --json", "--json"),
        ("encode photo.png --steps 3 --max-time 3", "--steps and --max-time"),
        ("encode photo.png --teacher uniform --ratio 0.3", "--ratio is for --teacher int"),
        ("encode photo.png --device tpu -f", "--device 'tpu' is not"),
        ("encode photo.png in/../photo.png", "both be written"),
        ("encode --files-from nope.txt", "nope.txt.*No such file"),
        ("decode photo.png.safetensors chord.wav.safetensors -o x.png", "-o is for one input"),
        ("decode photo.png.safetensors -o - --json", "--json"),
        ("decode photo.png.safetensors --scale 2 --size 9x9", "--scale and --size"),
        ("decode photo.png.safetensors --size 9by9", "--size '9by9'"),
        ("decode photo.png.safetensors --device tpu", "--device 'tpu' is not"),
        ("decode chord.wav.safetensors --scale 2", "--scale is for image .*audio"),
    ],
)
def test_misuse_exits_with_2_and_names_the_option(intfit, encoded, picture, command, word):
    for name in ("photo.png.safetensors", "photo.jpg.safetensors"):
        Path(name).write_bytes(encoded["image"])
    Path("chord.wav.safetensors").write_bytes(encoded["audio"])
    with nothing_written():
        refused(intfit(*command.split()), word, code=2)


@pytest.mark.parametrize("command", ["encode photo.png", "decode photo.png.safetensors -o x.png"])
def test_an_explicit_device_that_is_not_there_is_never_replaced(
    intfit, encoded, picture, monkeypatch, command
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("photo.png.safetensors").write_bytes(encoded["image"])
    with nothing_written():
        refused(intfit(*command.split(), "--device", "cuda", "-f"), "--device 'cuda'.*auto")


@pytest.mark.parametrize("device", ["cuda:", "cuda:²", "cpu:1"])
def test_a_device_number_that_is_none_is_misuse(intfit, picture, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with nothing_written():
        refused(intfit("encode", picture, "--device", device), "--device .* is not", code=2)


# Encoded files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoded() -> dict[str, bytes]:
    """A small encoded file of every medium."""
    settings = Settings(field="siren", steps=2, width=8, depth=2, device="cpu", profile="open")
    media = {"image": PNG, "audio": WAV, "mesh": obj(BOX.vertices, BOX.faces)}
    return {kind: pipeline.encode(data, settings).data for kind, data in media.items()}


@pytest.fixture(params=["decode", "info", "verify"])
def look(request, intfit, picture) -> Callable[[Path], Run]:
    """Each command that reads encoded files."""
    against = ("--against", picture) if request.param == "verify" else ()
    return lambda path: intfit(request.param, path, *against)


def safetensors_of(table: bytes, data: bytes = b"") -> bytes:
    return len(table).to_bytes(8, "little") + table + data


def retold(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """``data`` with its safetensors table changed, unchecked."""
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])
    change(table)
    return safetensors_of(json.dumps(table).encode(), data[start:])


def reworded(data: bytes, old: str, new: str) -> bytes:
    """``data`` with the text of its intfit header changed where the pattern ``old`` is found."""

    def change(table: dict[str, Any]) -> None:
        text, count = re.subn(old, new, table["__metadata__"]["intfit"])
        assert count == 1
        table["__metadata__"]["intfit"] = text

    return retold(data, change)


def entry(**keys: Any) -> Callable[[bytes], bytes]:
    """A file one of whose tensors is said to be as ``keys`` tell."""
    return lambda data: retold(data, lambda table: table["layers.0.weight"].update(keys))


DEEP = "[" * 200_000 + "]" * 200_000

#: What is no sound file of this version, from one that is, and what the message must say.
BAD_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "not an intfit file"),
    "random bytes": (lambda _: np.random.default_rng(1).bytes(2000), "not an intfit file"),
    "a picture": (lambda _: PNG, "not an intfit file"),
    "another safetensors file": (
        lambda _: safetensors.numpy.save({"weight": np.ones((2, 3), np.float32)}),
        "not one that intfit wrote",
    ),
    "header of 2^63 bytes": (lambda data: b"\0" * 7 + b"\x80" + data[8:], "not an intfit file"),
    "header past the end": (lambda data: struct.pack("<Q", 10**6) + data[8:], "cut short"),
    "data missing": (lambda data: data[:-1], "truncated"),
    "data appended": (lambda data: data + b"\0", "truncated or damaged"),
    "invalid JSON": (lambda _: safetensors_of(b'{"__metadata__": nonsense}'), "JSON"),
    "invalid UTF-8": (lambda _: safetensors_of(b'{"\xff\xfe": {}}'), "UTF-8"),
    "JSON without end": (lambda _: safetensors_of(b'{"a":' + DEEP.encode() + b"}"), "JSON"),
    "header no JSON": (lambda data: reworded(data, "^.*$", "nonsense"), "JSON"),
    "header nested too deep": (lambda data: reworded(data, '"crc":', f'"x":{DEEP},"crc":'), "JSON"),
    "header with NaN": (lambda data: reworded(data, '"crc":', '"x":NaN,"crc":'), "JSON|damaged"),
    "no checksum": (lambda data: reworded(data, '"crc":', '"cry":'), "checksum"),
    "version 99": (
        lambda data: reworded(data, f'"version":{VERSION}', '"version":99'),
        "version 99",
    ),
    "version endless": (
        lambda data: reworded(data, f'"version":{VERSION}', f'"version":"{"9" * 4000}"'),
        "version '9",
    ),
    "medium unknown": (lambda data: reworded(data, '"image"', '"smell"'), "medium is not one"),
    "network unknown": (lambda data: reworded(data, '"siren"', '"oracle"'), "network is not one"),
    "facts no list": (lambda data: reworded(data, r'"image":\[.*?\]', '"image":{}'), "damaged"),
    "too many facts": (lambda data: reworded(data, r'("image":)\[', r"\1[1,2,3,4,"), "damaged"),
    "shape too large": (entry(shape=[8, 3]), "lies about its size"),
    "shape absurd": (entry(shape=[2**62, 2**62]), "lies about its size"),
    "shape negative": (entry(shape=[-8, -2]), "lies about its size"),
    "shape of text": (entry(shape="8x2"), "damaged"),
    "type unknown": (entry(dtype="F8"), "damaged"),
    "type no text": (entry(dtype=["F32"]), "damaged"),
    "offsets past the end": (entry(data_offsets=[0, 2**60]), "lies about its size"),
    "offsets reversed": (entry(data_offsets=[64, 0]), "lies about its size"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line(look, encoded, name):
    make, word = BAD_FILES[name]
    Path("bad.safetensors").write_bytes(make(encoded["image"]))
    with nothing_written():
        refused(look("bad.safetensors"), f"bad.safetensors: .*({word})")


def test_a_truncated_file_is_refused_at_any_length(look, encoded):
    data = encoded["image"]
    start = 8 + int.from_bytes(data[:8], "little")
    for length in (1, 7, 8, 9, 10, 100, start - 1, start, start + 1, len(data) - 100):
        Path("cut.safetensors").write_bytes(data[:length])
        with nothing_written():
            refused(look("cut.safetensors"), "not an intfit file|truncated")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def facts(**keys: Any) -> Callable[[Any, Any], None]:
    return lambda header, tensors: header.facts.update(keys)


def field(**keys: Any) -> Callable[[Any, Any], None]:
    return lambda header, tensors: header.network.update(keys)


def weights(value: float) -> Callable[[Any, Any], None]:
    def change(header: Any, tensors: dict[str, container.Stored]) -> None:
        for name, tensor in tensors.items():
            data = np.full(tensor.shape, value, "<f4").tobytes()
            tensors[name] = container.Stored("F32", tensor.shape, data)

    return change


def bytes_for_weights(header: Any, tensors: dict[str, container.Stored]) -> None:
    for name, tensor in tensors.items():
        tensors[name] = container.Stored("U8", tensor.shape, tensor.data[::4])


def without_width(header: Any, tensors: Any) -> None:
    del header.network["width"]


#: What a well-formed file may say that makes no sense: medium, change, what the message must say.
LIES: dict[str, tuple[str, Callable[[Any, Any], None], str]] = {
    "width 10^9": ("image", field(width=10**9), "not a SIREN"),
    "largest network": ("image", field(width=8192, depth=64), "not those of the network"),
    "width of text": ("image", field(width="8"), "not a SIREN"),
    "width of much text": ("image", field(width="8" * 5000), "not a SIREN"),
    "width nested": ("image", field(width=nested(600)), "not a SIREN|damaged"),
    "creases no whole number": ("image", field(creases=0.0), "not a SIREN"),
    "steps of neurons true": ("image", field(neuron_steps=True), "not a SIREN"),
    "omega 10^12": ("image", field(omega=10**12), "not a SIREN"),
    "no width": ("image", without_width, "not a SIREN|damaged"),
    "height 10^9": ("image", facts(height=10**9), "not describe an image"),
    "2^48 pixels": ("image", facts(height=2**24 - 1, width=2**24 - 1), "pixels|not describe"),
    "height of text": ("image", facts(height="32"), "not describe an image"),
    "channels of another mode": ("image", facts(mode="L"), "not those of the network"),
    "mode a list": ("image", facts(mode=["RGB"]), "not describe an image|damaged"),
    "float without range": ("image", facts(mode="F"), "not describe an image|damaged"),
    "palette no hex": ("image", facts(mode="P", palette="zz"), "not describe an image|damaged"),
    "palette cut": ("image", facts(mode="P", palette="01"), "not describe an image|damaged"),
    "frames 10^12": ("audio", facts(frames=10**12), "not describe a recording"),
    "rate of text": ("audio", facts(sample_rate="8000"), "not describe a recording"),
    "peak negative": ("audio", facts(peak=-1.0), "not describe a recording"),
    "extent 10^9": ("mesh", facts(extent=[1e9, 1e9, 1e9]), "not describe a surface"),
    "extent next to nothing": ("mesh", facts(extent=[5e-324] * 3), "not describe a surface"),
    "centre of text": ("mesh", facts(centre="000"), "not describe a surface"),
    "weights not numbers": ("image", weights(np.nan), "not numbers"),
    "weights infinite": ("audio", weights(np.inf), "not numbers"),
    "weights bytes": ("image", bytes_for_weights, "type U8"),
}


def lie(encoded: dict[str, bytes], name: str) -> tuple[bytes, str]:
    kind, change, word = LIES[name]
    layout, tensors = container.load(encoded[kind])
    change(layout.header, tensors)
    return container.dump(layout.header, tensors), word


@pytest.mark.parametrize("command", ["decode", "verify"])
@pytest.mark.parametrize("name", LIES)
def test_a_lying_header_is_refused_before_anything_is_allocated(
    intfit, encoded, picture, name, command
):
    data, word = lie(encoded, name)
    Path("liar.safetensors").write_bytes(data)
    against = ("--against", picture) if command == "verify" else ()
    with nothing_written():
        refused(intfit(command, "liar.safetensors", *against), f"liar.safetensors: .*({word})")


def info_of(intfit: Callable[..., Run], data: bytes) -> None:
    """Info, plain and as JSON, shows the file or refuses it, and does not break."""
    Path("odd.safetensors").write_bytes(data)
    for options in ((), ("--json",)):
        run = intfit("info", "odd.safetensors", *options)
        assert (run.code, len(run.err.splitlines())) in ((0, 0), (1, 1))
        if options:
            assert json.loads(run.out)["ok"] is (run.code == 0)


@pytest.mark.parametrize("name", LIES)
def test_info_shows_or_refuses_a_lying_header(intfit, encoded, name):
    info_of(intfit, lie(encoded, name)[0])


HUGE = pytest.param("9" * 400, id="400 digits")


@pytest.mark.parametrize("number", ["1e400", HUGE, "NaN", "null", '"much"'])
def test_info_shows_or_refuses_any_number(intfit, encoded, number):
    info_of(intfit, reworded(encoded["image"], r'"fit":\[[^,]+', f'"fit":[{number}'))


@pytest.mark.parametrize("kind", ["image", "audio", "mesh"])
def test_a_network_that_overflows_is_refused(intfit, encoded, kind):
    layout, tensors = container.load(encoded[kind])
    weights(3e38)(layout.header, tensors)
    Path("huge.safetensors").write_bytes(container.dump(layout.header, tensors))
    with nothing_written():
        refused(intfit("decode", "huge.safetensors"), "not numbers|no surface|damaged")


@pytest.mark.parametrize("name", ["nope.png", "text.png", "."])
def test_verify_blames_the_original_where_that_is_bad(intfit, encoded, name):
    Path("good.safetensors").write_bytes(encoded["image"])
    Path("text.png").write_bytes(BAD_MEDIA["text.png"][0])
    with nothing_written():
        run = intfit("verify", "good.safetensors", "--against", name)
        word = {"nope.png": "No such file", "text.png": "not an image", ".": "folder"}[name]
        refused(run, f"^(?=.*{word}).*(original|{re.escape(name)}: )")


def test_the_rest_of_a_batch_is_still_decoded(intfit, encoded):
    Path("cut.safetensors").write_bytes(encoded["image"][:-100])
    Path("liar.safetensors").write_bytes(lie(encoded, "width 10^9")[0])
    Path("photo.png.safetensors").write_bytes(encoded["image"])
    before = contents()
    run = intfit("decode", "cut.safetensors", "photo.png.safetensors", "liar.safetensors")
    assert run.code == 1
    first, good, last = run.err.splitlines()
    assert first.startswith("intfit: cut.safetensors: ")
    assert good.startswith("photo.png.safetensors ")
    assert last.startswith("intfit: liar.safetensors: ")
    assert contents().keys() - before.keys() == {"photo.decoded.png"}


def test_info_shows_the_good_file_between_bad_ones(intfit, encoded):
    Path("empty.safetensors").touch()
    Path("photo.png.safetensors").write_bytes(encoded["image"])
    run = intfit("info", "empty.safetensors", "photo.png.safetensors", "nope.safetensors")
    assert run.code == 1
    assert "48 x 32" in run.out
    first, last = run.err.splitlines()
    assert "empty.safetensors: " in first
    assert "nope.safetensors: " in last
