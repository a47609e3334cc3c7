"""Metadata: dropped with a note, or kept in the header and given back."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trimesh
from conftest import photo, tone
from PIL import Image

import intfit as library
import intfit.pillow
from intfit.coding import container
from intfit.errors import FileFormatError
from intfit.limits import USUAL
from intfit.media import image, metadata
from intfit.media.formats import labels, read_file

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/">één lake</x:xmpmeta>'
FAST = ("-e", "1")


@pytest.fixture
def described() -> Path:
    """``photo.jpg``, turned by its EXIF, with XMP, resolution, camera and place."""
    exif = Image.Exif()
    exif[274], exif[315] = 6, "A. Nonymous"
    exif.get_ifd(34665)[33434] = 0.01  # the time of the exposure
    exif.get_ifd(34853)[1] = "N"
    photo().save("photo.jpg", exif=exif, xmp=XMP.encode(), dpi=(300, 150), quality=95)
    return Path("photo.jpg")


def test_by_default_a_note_says_what_was_dropped(intfit, described, recording):
    run = intfit("encode", described, *FAST)
    assert "note: EXIF, XMP, DPI not kept: --metadata all keeps them" in run.err
    assert json.loads(intfit("info", "photo.jpg.safetensors", "--json").out)["metadata"] == {}
    assert "not kept" not in intfit("encode", recording, *FAST).err


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_of_a_picture_come_back(intfit, described, suffix):
    assert "not kept" not in intfit("encode", described, *FAST, "--metadata", "all").err
    target = f"out{suffix}"
    run = intfit("decode", "photo.jpg.safetensors", "-o", target)
    with Image.open(target) as image:
        exif, found = image.getexif(), metadata.of_picture(image)
        assert image.size == (32, 48)  # upright
    assert exif[315] == "A. Nonymous"
    assert exif.get(274, 1) == 1
    assert float(exif.get_ifd(34665)[33434]) == pytest.approx(0.01)
    assert exif.get_ifd(34853)[1] == "N"
    assert found.get("dpi") == (None if suffix == ".webp" else "300 150")
    assert ("does not keep DPI" in run.err) == (suffix == ".webp")
    assert found.get("xmp") == (None if suffix == ".tif" else XMP)
    assert ("does not keep XMP" in run.err) == (suffix == ".tif")


def test_formats_without_metadata_say_so_and_pillow_sees_them(intfit, described):
    intfit("encode", described, *FAST, "--metadata", "all")
    run = intfit("decode", "photo.jpg.safetensors", "-o", "out.ppm")
    assert ".ppm does not keep" in run.err
    assert "EXIF" in run.err
    with Image.open("photo.jpg.safetensors") as image:
        assert image.info["dpi"] == (300, 150)
        assert image.getexif()[315] == "A. Nonymous"
    assert "exif (" in intfit("info", "photo.jpg.safetensors").out


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_tags_of_a_recording_come_back(intfit, suffix):
    with soundfile.SoundFile("in.flac", "w", 8000, 1) as file:
        file.title, file.artist, file.comment = "Chord", "Nobody", "två toner"
        file.write(tone())
    run = intfit("encode", "in.flac", *FAST, "-o", "a.safetensors")
    assert "note: title, artist, comment not kept" in run.err
    intfit("encode", "in.flac", *FAST, "-f", "--metadata", "all", "-o", "a.safetensors")
    assert intfit("decode", "a.safetensors", "-o", f"out{suffix}").err.count("note") == 0
    with soundfile.SoundFile(f"out{suffix}") as file:
        assert (file.title, file.artist, file.comment) == ("Chord", "Nobody", "två toner")


def test_what_is_too_long_for_a_header_is_left_out_and_named(intfit):
    exif = Image.Exif()
    exif[315] = "A. Nonymous"
    photo().save("a.png", exif=exif, dpi=(300, 300))
    with Image.open("a.png") as image:
        image.load()
        texts = metadata.of_picture(image)
    kept, lost = metadata.bound(texts | {"xmp": "x" * (1 << 17)})
    assert (kept, list(lost)) == (texts, ["xmp"])
    size = 900
    for options in ((), ("--field", "siren")):
        run = intfit("encode", "a.png", "-f", "--metadata", "all", "--target-size", size,
                     "--max-time", "1", *options)  # fmt: skip
        assert run.code == 0, run.err
        assert Path("a.png.safetensors").stat().st_size <= size


def test_hostile_metadata_are_refused_or_ignored(described):
    library.encode(described, library.Settings(effort=1), path="photo.jpg.safetensors")
    layout, stored = container.load(Path("photo.jpg.safetensors").read_bytes())

    def with_metadata(found: object) -> bytes:
        return container.dump(
            container.Header(**(vars(layout.header) | {"metadata": found})), stored
        )

    for found in ({"exif": 3}, {"a": "x" * (1 << 18)}, {str(i): "" for i in range(65)}, ["x"]):
        with pytest.raises(FileFormatError, match="metadata"):
            library.load(with_metadata(found))
    with pytest.raises(FileFormatError, match="not valid JSON"):
        library.load(with_metadata({"title": "\ud800"}))  # half of a surrogate pair
    junk = {"exif": "no base64!", "dpi": "many", "xmp": "\x00", "title": "x", "unknown": "y"}
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        decoded = library.decode(with_metadata(junk), suffix=suffix)
        assert "does not keep" in decoded.notes[-1]
    with pytest.raises(FileFormatError, match="metadata"):
        library.load(with_metadata({"dpi": math.pi}))


def test_from_python(described):
    encoded = library.encode(described, library.Settings(effort=1, metadata="all"))
    assert library.load(encoded.data).metadata["dpi"] == "300 150"
    assert library.info(encoded.data)["metadata"]["xmp"] == XMP
    pixels = np.zeros((4, 4), np.uint8)
    assert library.load(library.encode(pixels, library.Settings(effort=1)).data).metadata == {}


def test_tags_too_long_for_a_format_are_left_out_and_said(intfit):
    with soundfile.SoundFile("long.flac", "w", 8000, 1, format="FLAC") as file:
        file.comment = "a" * 72_000
        file.write(np.zeros(800))
    assert intfit("encode", "long.flac", "--metadata", "all").code == 0
    for suffix in ("opus", "aiff", "flac"):
        run = intfit("decode", "long.flac.safetensors", "-o", f"out.{suffix}")
        assert run.code == 0, run.err
        assert soundfile.info(f"out.{suffix}").frames >= 800
        assert ("does not keep comment" in run.err) == (suffix != "flac")


@pytest.mark.parametrize(
    "kept",
    [
        {"dpi": "inf inf"},
        {"dpi": "-5 -5"},
        {"dpi": "1e300 1"},
        {"exif": "AAAA"},
        {"xmp": "x" * 80_000},
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".avif", ".bmp"])
def test_metadata_that_a_format_cannot_hold_never_cost_the_picture(kept, suffix):
    pixels = np.zeros((8, 8, 3), np.uint8)
    facts = {"width": 8, "height": 8, "mode": "RGB"}
    data, _ = image.write(pixels, facts, image.Target(), suffix, metadata=kept)
    assert Image.open(io.BytesIO(data)).size == (8, 8)


def make_car() -> trimesh.Scene:
    """A scene of two parts with names."""
    body = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
    roof = trimesh.creation.icosphere(subdivisions=2, radius=0.7)
    roof.apply_translation([0.3, 0.0, 0.8])
    return trimesh.Scene({"Body": body, "Dach ü": roof})


@pytest.mark.usefixtures("small_pools")
@pytest.mark.parametrize("suffix", ["glb", "obj", "ply", "stl"])
def test_names_and_copyright_of_a_mesh_come_back(intfit, suffix):
    make_car().export("car.glb")
    labelled, lost = labels.write_labels(Path("car.glb").read_bytes(), "glb", {"copyright": "Me"})
    Path("car.glb").write_bytes(labelled)
    assert lost == ()
    run = intfit("encode", "car.glb", "--steps", "100", "--width", "16", "--metadata", "none")
    assert "note: copyright, names not kept: --metadata all keeps them" in run.err
    run = intfit("encode", "car.glb", "--steps", "100", "--width", "16", "--metadata", "all", "-f")
    assert "--metadata" not in run.err
    assert "name 'Body, Dach ü'" in intfit("info", "car.glb.safetensors").out
    run = intfit("decode", "car.glb.safetensors", "--resolution", "32", "-o", f"out.{suffix}")
    assert run.code == 0, run.err
    assert ("note: .stl does not keep copyright, names" in run.err) == (suffix == "stl")
    data = Path(f"out.{suffix}").read_bytes()
    assert len(trimesh.load(f"out.{suffix}", force="mesh").faces) > 100
    given = {} if suffix == "stl" else {"name": "Body, Dach ü", "copyright": "Me"}
    assert labels.read_labels(data) == given
    assert len(read_file(data, suffix, USUAL).faces) > 100
    if suffix == "glb":
        assert set(trimesh.load("out.glb").geometry) == {"Body, Dach ü"}


def test_labels_of_odd_meshes_are_ignored_or_tidied():
    triangle = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    for head, found in (
        (b"o geometry_0\ng default\n", {}),
        (b"# Copyright 2012 A. Nonymous\ng wing\ng tail\ng wing\n",
         {"copyright": "2012 A. Nonymous", "name": "wing, tail"}),
        (b"o " + b"\xff\x1b[2J\x00" * 2000 + b"\n", None),
    ):  # fmt: skip
        got = labels.read_labels(head + triangle)
        assert found is None or got == found
        assert all(text.isprintable() and len(text) <= 1000 for text in got.values())
    for nodes in ("[3]", '{"mesh": 0}', '[{"mesh": 0, "name": 7}]', "7"):
        text = f'{{"asset": 3, "nodes": {nodes}, "meshes": [{{"name": ["x"]}}, 4]}}'
        assert labels.read_labels(text.encode()) == {}
    hostile = {"name": "a\nf 1 1 1\x1b", "copyright": "\ud800" + "x" * 9999, "title": "t"}
    data, lost = labels.write_labels(triangle, "obj", hostile)
    assert lost == (".obj does not keep title",)
    assert labels.read_labels(data)["name"] == "a f 1 1 1"
    assert len(read_file(data, "obj", USUAL).faces) == 1
