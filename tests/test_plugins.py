"""Files opened by other libraries, and as other libraries give them."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trimesh
from conftest import photo, tone
from PIL import Image, UnidentifiedImageError

import intfit as library
import intfit.pillow
import intfit.trimesh

GOLDEN = Path(__file__).parent / "golden"
PICTURE, SOUND, SURFACE = (
    GOLDEN / f"{name}.safetensors" for name in ("latent", "audio", "mesh")
)  # fmt: skip


def written(file: Path | str, **asked: object) -> Image.Image:
    """What decode writes."""
    data = library.decode(str(file), suffix=".tif", **asked).data
    return Image.open(io.BytesIO(data))


# --- Pillow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "F"])
def test_pillow_opens_a_picture_in_its_mode(mode):
    image = photo().convert({"I;16": "L", "F": "L"}.get(mode, mode))
    if mode == "RGBA":
        image.putalpha(photo().convert("L"))
    if mode in ("I;16", "F"):
        array = np.asarray(image, np.float32) * 250 + 3
        image = Image.fromarray(array.astype(np.uint16) if mode == "I;16" else array)
    image.save("photo.tif")
    library.encode("photo.tif", library.Settings(effort=1), path="a.safetensors")
    with Image.open("a.safetensors") as opened:
        assert (opened.format, opened.mode, opened.size) == ("INTFIT", mode, (48, 32))
        assert (np.asarray(opened) == np.asarray(written("a.safetensors"))).all()
        opened.copy().convert("RGB").resize((5, 5)).save("small.jpg")


def test_a_thumbnail_is_decoded_at_its_own_size(monkeypatch):
    asked = []
    render = intfit.pillow.render
    monkeypatch.setattr(
        intfit.pillow, "render", lambda field, at: (asked.append(at.size), render(field, at))[1]
    )
    with Image.open(PICTURE) as image:
        image.thumbnail((16, 16))
        assert image.size == (16, 11)
    assert asked == [(48, 32)]  # Pillow asks for twice the size, of either side, and reduces that
    with Image.open(PICTURE) as image:
        image.draft(None, (20, 10))
        assert image.size == (20, 14)
        whole = np.asarray(written(PICTURE, size=(20, 14)))
        assert (np.asarray(image) == whole).all()
        assert image.draft(None, (2, 2)) is None  # it is decoded
    with Image.open(PICTURE) as image:
        assert image.draft("L", (500, 500)) is None
        assert image.size == (67, 45)


def test_pillow_opens_streams_and_refuses_what_is_no_picture():
    data = PICTURE.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        assert image.convert("L").size == (67, 45)
    for other in (SOUND.read_bytes(), data[:300], b"\x10" + bytes(7) + b'{"__meta'):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(other))
    damaged = Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1])))
    with pytest.raises(OSError, match="checksum"):
        damaged.load()


# --- imageio, trimesh, soundfile -----------------------------------------------------------------


def test_imageio_reads_a_picture_at_any_size():
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    import intfit.imageio  # noqa: F401

    assert (iio.imread(PICTURE) == np.asarray(written(PICTURE))).all()
    assert iio.imread(PICTURE, scale=2).shape == (90, 134, 3)
    part = {"size": (4, 3), "region": (0, 0, 30, 30)}
    assert iio.imread(PICTURE.read_bytes(), extension=".safetensors", **part).shape == (3, 4, 3)
    assert iio.improps(PICTURE).shape == (45, 67, 3)
    assert iio.immeta(PICTURE)["width"] == 67
    assert len(list(iio.imiter(PICTURE))) == 1
    with pytest.raises(OSError, match="does not lie within"):
        iio.imread(PICTURE, region=(0, 0, 999, 9))
    for other in (SOUND.read_bytes(), b"no picture at all, but long enough"):
        with pytest.raises(OSError, match="can not handle"):
            iio.imread(other, plugin="intfit")


def test_trimesh_loads_a_surface_at_any_resolution():
    shutil.copy(SURFACE, "ball.obj.safetensors")
    mesh = trimesh.load_mesh("ball.obj.safetensors", resolution=24)
    vertices, faces = library.load(SURFACE).render(resolution=24)
    assert np.allclose(mesh.vertices, vertices)
    assert (mesh.faces == faces).all()
    assert mesh.is_watertight
    with pytest.raises(library.IntfitError, match="is for mesh files"):
        trimesh.load_mesh(str(SOUND), resolution=24)


def test_recordings_are_opened_as_soundfile_gives_them():
    samples, rate = library.open_audio(SOUND)
    library.decode(str(SOUND), suffix=".wav", path="a.wav")
    wanted, wanted_rate = soundfile.read("a.wav", dtype="float32")
    assert rate == wanted_rate
    assert samples.dtype == np.float32
    assert samples.shape == wanted.shape == (2000, 2)
    assert np.abs(samples - wanted).max() < 1e-4
    library.encode(tone(), library.Settings(effort=1), rate=8000, path="b.safetensors")
    samples, rate = library.open_audio("b.safetensors", sample_rate=4000, duration=0.1)
    assert (samples.shape, rate) == ((400,), 4000)
    with pytest.raises(library.IntfitError, match="holds image, not a recording"):
        library.open_audio(PICTURE)


def test_importing_a_plug_in_takes_no_torch():
    code = "import intfit.pillow, intfit.trimesh, sys; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
