"""The Python API: files, arrays, fields, modules of torch, and formats of other programs."""

import importlib.util
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import soundfile
import torch
import trimesh
from conftest import photo, png, tone
from PIL import Image

import intfit as library
from intfit import Settings, api, decode, encode, export, info, load, verify
from intfit.codecs.protocol import Hooks
from intfit.errors import FileFormatError, IntfitError, MediaError, UsageError
from intfit.media import mesh, sampling
from intfit.targets import ASKED, Asked

SIREN = Settings(field="siren", width=8, depth=2, steps=200, device="cpu")
#: Enough for a field that has a surface.
SURFACE = replace(SIREN, width=16, steps=300, lr=1e-3)
LATENT = Settings(effort=2, quality=80)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """A file of each field and medium, by name."""
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mesh.read.__kwdefaults__, "pool", 1 << 14)
        patch.setattr(sampling, "EVALUATION_POINTS", 1 << 13)
        ball = encode((sphere.vertices + 5, sphere.faces), SURFACE).data
    return {
        "siren image": encode(png(photo()), SIREN).data,
        "siren audio": encode(tone(channels=2), replace(SIREN, profile="open"), rate=8000).data,
        "siren mesh": ball,
        "latent image": encode(png(photo()), LATENT).data,
        "latent audio": encode(tone(channels=2), LATENT, rate=8000).data,
    }


def points(field: library.Field, *shape: int) -> np.ndarray:
    """Coordinates inside the medium."""
    return np.random.default_rng(0).uniform(-0.6, 0.6, (*shape, field.in_features))


# --- what is imported ----------------------------------------------------------------------------


def test_importing_it_takes_neither_numpy_nor_torch():
    code = "import sys, intfit; intfit.info; intfit.Settings; intfit.Hooks; intfit.IntfitError"
    code += "; print({'numpy', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert run.stdout.decode().strip() == "set()"


def test_every_name_is_there_documented_and_typed():
    for name in library.__all__:
        assert getattr(library, name)
        function = getattr(library, name)
        if inspect.isfunction(function):
            assert function.__doc__
            empty = inspect.Parameter.empty
            parameters = inspect.signature(function).parameters.values()
            assert all(each.annotation is not empty for each in parameters)
    with pytest.raises(AttributeError, match="no_such"):
        library.no_such  # noqa: B018


# --- paths, bytes, arrays ------------------------------------------------------------------------


def test_paths_and_bytes_are_the_same(picture):
    by_path = encode(picture, SIREN, path="one.safetensors")
    assert encode(str(picture), SIREN).data == by_path.data == encode(png(photo()), SIREN).data
    file = Path("one.safetensors")
    assert file.read_bytes() == by_path.data
    fields = [load(file), load(str(file)), load(by_path.data)]
    values = [field(points(field, 5)) for field in fields]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])
    assert verify(file, picture) == verify(fields[0], png(photo()))
    assert verify(file, np.asarray(photo())) == verify(file, picture)
    with pytest.raises(FileNotFoundError):
        load("nothing.safetensors")
    with pytest.raises(FileFormatError):
        load(picture)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "F"])
def test_pixels_are_fitted_as_their_file_is(mode):
    rng = np.random.default_rng(1)
    types = {"I;16": (np.uint16, 65536), "F": (np.float32, 3)}
    kind, top = types.get(mode, (np.uint8, 256))
    channels = {"LA": (2,), "RGB": (3,), "RGBA": (4,)}.get(mode, ())
    pixels = (rng.random((9, 12, *channels)) * top).astype(kind)
    image = Image.fromarray(pixels)
    assert image.mode == mode
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    encoded = encode(pixels, SIREN)
    assert encoded.data == encode(buffer.getvalue(), SIREN).data
    assert not encoded.notes
    rendered = load(encoded.data).render()
    assert rendered.dtype == kind
    assert rendered.shape == (*pixels.shape[:2], *(channels or (1,)))
    if not channels:
        assert encode(pixels[..., None], SIREN).data == encoded.data


def test_deep_colours_are_kept_at_8_bits_and_it_is_said():
    pixels = np.asarray(photo())
    plain = encode(pixels, SIREN).data
    for deep in (pixels.astype(np.uint16) * 257, pixels / 255.0, (pixels / 255).astype("f4")):
        encoded = encode(deep, SIREN)
        assert encoded.data == plain
        assert "kept at 8 bits" in encoded.notes[0]


def test_samples_are_fitted_as_their_file_is():
    for samples, subtype in (
        (tone(channels=2).astype(np.float32), "FLOAT"),
        ((tone() * 32767).astype(np.int16), "PCM_16"),
    ):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 8000, subtype=subtype, format="WAV")
        encoded = encode(samples, SIREN, rate=8000)
        assert encoded.data == encode(buffer.getvalue(), SIREN).data
        field = load(encoded.data)
        assert field.facts["subtype"] == subtype
        assert field.render().shape == samples.shape
        assert verify(field, samples)["snr"] == pytest.approx(encoded.distortion, abs=0.01)
    flat = tone()[:, 0]
    assert encode(flat, SIREN, rate=8000).data == encode(tone(), SIREN, rate=8000).data


def test_a_mesh_is_fitted_as_its_file_is(small_pools):
    box = trimesh.creation.box((1, 2, 3))
    mesh = np.asarray(box.vertices), np.asarray(box.faces)
    data = bytes(box.export(file_type="obj").encode())
    assert encode(mesh, SURFACE).data == encode(data, SURFACE, suffix=".obj").data


@pytest.mark.parametrize(
    ("source", "more", "told"),
    [
        (np.zeros(5, np.uint8), {}, "rate="),
        (np.zeros((4, 4, 5), np.uint8), {}, "1 to 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), {}, "no picture"),
        (np.zeros((4, 4), np.int32), {}, "int32"),
        (np.full((4, 4, 3), 1.5, np.float32), {}, "outside 0 to 1"),
        (np.full((4, 4, 3), np.nan, np.float32), {}, "not numbers"),
        (np.zeros((2, 4000), np.float32), {"rate": 8000}, "at most 1024 channels"),
        (np.zeros((9, 2), np.uint8), {"rate": 8000}, "uint8"),
        (np.zeros(9, np.float32), {"rate": 0}, "rate of 0"),
        ((np.zeros((3, 2)), np.zeros((1, 3), int)), {}, "vertices"),
        ((np.zeros((3, 3)), np.zeros((1, 3))), {}, "whole numbers"),
        ((np.zeros((3, 3)),), {}, "vertices"),
    ],
)
def test_arrays_that_are_no_medium_are_refused(source, more, told):
    with pytest.raises(ValueError, match=told):
        encode(source, SIREN, **more)


def test_arrays_of_no_use_are_refused_as_their_file_would_be():
    with pytest.raises(MediaError, match="not numbers"):
        encode(np.full((4, 4), np.inf), SIREN)
    with pytest.raises(MediaError, match="zero length"):
        encode(np.zeros((0, 1), np.float32), SIREN, rate=8000)
    with pytest.raises(MediaError, match="not there"):
        encode((np.zeros((3, 3)), np.array([[0, 1, 3]])), SIREN)


def test_progress_is_told_through_hooks():
    told = []
    encode(png(photo()), SIREN, hooks=Hooks(progress=told.append))
    assert told[-1].fraction == 1
    assert library.Hooks is Hooks


# --- fields --------------------------------------------------------------------------------------

NAMES = ("siren image", "siren audio", "siren mesh", "latent image", "latent audio")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_takes_coordinates_of_any_shape(files, name):
    field = load(files[name], device="cpu")
    coords = points(field, 2, 3, 4)
    values = field(coords)
    assert values.shape == (2, 3, 4, field.out_features)
    assert values.dtype == np.float32
    flat = field(coords.reshape(-1, field.in_features))
    np.testing.assert_allclose(values.reshape(flat.shape), flat, atol=1e-6)
    np.testing.assert_allclose(field(coords[0, 0, 0]), values[0, 0, 0], atol=1e-6)
    assert field(np.zeros((0, field.in_features))).shape == (0, field.out_features)
    assert field(np.zeros(field.in_features, int).tolist()).shape == (field.out_features,)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_coordinates_are_refused(files, name):
    field = load(files[name], device="cpu")
    axes = {1: r"\(t\)", 2: r"\(y, x\)", 3: r"\(x, y, z\)"}[field.in_features]
    for shape in ((4, field.in_features + 1), (), (field.in_features, 7)):
        with pytest.raises(ValueError, match=f"this field takes .*{axes}"):
            field(np.zeros(shape))
        with pytest.raises(ValueError, match=f"this field takes .*{axes}"):
            field.module()(torch.zeros(shape))
    with pytest.raises(ValueError, match="not numbers"):
        field(np.full((2, field.in_features), np.nan))


@pytest.mark.parametrize("name", NAMES)
def test_a_module_gives_the_fields_values_and_their_gradients(files, name):
    field = load(files[name], device="cpu")
    module = field.module()
    coords = points(field, 4, 5)
    with torch.no_grad():
        values = module(torch.from_numpy(coords)).numpy()
    assert values.dtype == np.float32
    # between samples of latents, whose position a call rounds to 1/1024 of a pixel
    np.testing.assert_allclose(values, field(coords), atol=3e-3)
    # in float64, differences are as exact as gradients
    module = module.double()
    given = torch.from_numpy(coords).requires_grad_()
    weights = torch.linspace(1, 2, field.out_features, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((module(given) @ weights).sum(), given)
    assert gradient.abs().max() > 1e-3
    step = 1e-7
    with torch.no_grad():
        for axis in range(field.in_features):
            aside = torch.zeros(field.in_features, dtype=torch.float64)
            aside[axis] = step
            change = (module(given + aside) - module(given - aside)) @ weights / (2 * step)
            torch.testing.assert_close(gradient[..., axis], change, rtol=1e-4, atol=1e-4)


def test_the_module_of_a_siren_is_the_network_itself_and_a_copy(files):
    data = export(files["siren image"])
    field = load(data, device="cpu")
    state = torch.get_rng_state()
    module = field.module()
    assert torch.equal(state, torch.get_rng_state())
    weights = safetensors.numpy.load(data)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        name: tensor.shape for name, tensor in weights.items()
    }
    for name, parameter in module.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), weights[name])
        assert parameter.requires_grad
    before = field(np.zeros((1, 2)))
    loss = module(torch.zeros(3, 2)).square().sum()
    loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    np.testing.assert_array_equal(field(np.zeros((1, 2))), before)
    assert np.abs(module(torch.zeros(1, 2)).detach().numpy() - before).max() > 1e-4


@pytest.mark.parametrize("name", ["latent image", "latent audio"])
def test_the_module_of_latents_is_exact_at_samples_and_has_no_parameters(files, name):
    field = load(files[name], device="cpu")
    module = field.module()
    assert not list(module.parameters())
    samples = field.module().get_buffer("samples").numpy()
    longest = max(samples.shape[:-1])
    axes = [(2 * np.arange(size) + 1 - size) / longest for size in samples.shape[:-1]]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_allclose(field(grid), samples, atol=1e-6)
    found = module(torch.from_numpy(grid)).numpy()
    np.testing.assert_allclose(found, samples, atol=1e-5)


# --- decoding ------------------------------------------------------------------------------------


def test_decode_takes_fields_paths_and_keywords(files):
    Path("a.safetensors").write_bytes(files["latent image"])
    made = decode("a.safetensors", scale=2, path="large.png")
    with Image.open("large.png") as image:
        assert image.size == (96, 64)
        assert image.format == "PNG"
    assert made.data == Path("large.png").read_bytes()
    field = load("a.safetensors")
    assert decode(field, scale=2).data == made.data
    assert decode(field, api.medium("image").Target(scale=2), suffix=".png").data == made.data
    rendered = field.render(scale=2)
    with Image.open("large.png") as image:
        np.testing.assert_array_equal(np.asarray(image), rendered)
    assert field.render(size=(20, 10), region=(0, 0, 24, 16)).shape == (10, 20, 3)
    assert decode(field, suffix=".webp").data[8:12] == b"WEBP"


def test_a_recording_and_a_surface_render_to_arrays(files):
    recording = load(files["latent audio"])
    assert recording.render(start=0.1, duration=0.1).shape == (800, 2)
    assert recording.render(sample_rate=4000).shape == (1000, 2)
    with soundfile.SoundFile(io.BytesIO(decode(recording, sample_rate=4000).data)) as file:
        assert file.samplerate == 4000
    vertices, faces = load(files["siren mesh"], device="cpu").render(resolution=24)
    assert vertices.shape[1] == faces.shape[1] == 3
    np.testing.assert_allclose(vertices.mean(axis=0), [5, 5, 5], atol=0.5)


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("latent image", {"scale": 0}, "--scale 0"),
        ("latent image", {"scale": 2, "size": (3, 3)}, "give one"),
        ("latent image", {"size": (3.5, 3)}, "whole pixels"),
        ("latent image", {"size": 3}, "whole pixels"),
        ("latent image", {"size": (0, 3)}, "whole pixels"),
        ("latent image", {"region": (1, 2)}, "x, y, width and height"),
        ("latent image", {"region": (0, 0, 1000, 2)}, "does not lie within"),
        ("latent image", {"resolution": 64}, "for mesh files"),
        ("latent audio", {"scale": 2}, "for image files"),
        ("latent audio", {"start": -1}, "--start -1"),
        ("latent audio", {"duration": 0}, "--duration 0"),
        ("siren mesh", {"resolution": 64, "voxel": 1}, "give one"),
        ("siren mesh", {"resolution": 2}, "outside 8"),
    ],
)
def test_what_cannot_be_decoded_is_refused(files, name, asked, told):
    field = load(files[name], device="cpu")
    for attempt in (field.render, lambda **given: decode(field, **given)):
        with pytest.raises(UsageError, match=told):
            attempt(**asked)


def test_keywords_that_are_none_are_refused(files):
    field = load(files["latent image"])
    with pytest.raises(TypeError, match="scal"):
        decode(field, scal=2)
    with pytest.raises(ValueError, match="give one"):
        decode(field, api.medium("image").Target(), scale=2)
    names = {name for names in ASKED.values() for name in names}
    assert names == set(Asked.__annotations__)
    rendered = set(inspect.signature(library.Field.render).parameters) - {"self"}
    assert names - {"texture"} == rendered  # that is of a file, not of vertices and faces


# --- what is in a file ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_info_is_what_the_command_says(files, name, intfit):
    Path("a.safetensors").write_bytes(files[name])
    line = json.loads(intfit("info", "a.safetensors", "--json").out)
    sized = json.loads(intfit("info", "a.safetensors", "--json", "-v").out)
    found = info("a.safetensors")
    assert found == info(files[name])
    assert found == {key: line[key] for key in found}
    assert set(line) - set(found) == {"input", "ok", "error", "sizes"}
    assert info(files[name], sizes=True) == {key: sized[key] for key in (*found, "sizes")}
    with pytest.raises(FileFormatError):
        info(b"nothing")


# --- export --------------------------------------------------------------------------------------


def evaluate_onnx(data: bytes, coords: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (values,) = session.run(["values"], {"coordinates": coords.astype(np.float32)})
    return values


@pytest.mark.parametrize("name", ["siren image", "siren audio", "siren mesh"])
def test_an_onnx_model_computes_what_the_field_does(files, name, intfit):
    Path("a.safetensors").write_bytes(files[name])
    assert intfit("export", "a.safetensors", "-o", "a.onnx").code == 0
    data = Path("a.onnx").read_bytes()
    assert data == export("a.safetensors", suffix=".onnx")
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    field = load(files[name], device="cpu")
    for count in (1, 50):
        coords = points(field, count)
        np.testing.assert_allclose(evaluate_onnx(data, coords), field(coords), atol=2e-5)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["medium"] == field.kind
    assert json.loads(properties["facts"]) == field.facts
    weights = safetensors.numpy.load(export("a.safetensors"))
    assert [entry.name for entry in model.graph.initializer] == list(field.config.shapes())
    for entry in model.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(entry), weights[entry.name])


def test_latents_are_no_onnx_model_and_the_others_are_written(files, intfit):
    Path("latent.safetensors").write_bytes(files["latent image"])
    Path("siren.safetensors").write_bytes(files["siren image"])
    run = intfit("export", "latent.safetensors", "siren.safetensors", "--format", "onnx")
    assert run.code == 2
    assert "ONNX is for SIRENs" in run.err
    assert Path("siren.onnx").exists()
    assert not Path("latent.onnx").exists()
    unknown = intfit("export", "siren.safetensors", "--format", "pt")
    assert unknown.code == 2
    assert "not safetensors or onnx" in unknown.err
    with pytest.raises(IntfitError):
        export(files["latent audio"], suffix=".onnx")


def test_without_onnx_it_is_said_how_to_get_it(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"intfit\[onnx\]"):
        export(files["siren image"], suffix=".onnx")


# --- documentation -------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    """The Python code of a how-to."""
    text = (ROOT / "docs" / "how-to" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_code_in_the_how_to_for_python_works(capsys):
    shutil.copytree(ROOT / "samples", "samples")
    for name, file in (("shape", "mesh"), ("music", "audio")):
        shutil.copy(ROOT / "tests" / "golden" / f"{file}.safetensors", f"{name}.safetensors")
    names: dict[str, object] = {}
    has_imageio = importlib.util.find_spec("imageio") is not None
    for block in blocks("python.md"):
        if has_imageio or "imageio" not in block:
            exec(block, names)
    assert names["pixels"].shape == (240, 320, 3)
    assert not has_imageio or names["corner"].shape == (256, 256, 3)
    with Image.open("small.png") as small:
        assert small.size == (128, 85)
    assert names["mesh"].is_watertight
    assert (names["wave"].shape, names["rate"]) == ((4000, 2), 16000)
    assert names["samples"].shape == (4000, 1)
    assert names["flac"][:4] == b"fLaC"
    assert "100%" in capsys.readouterr().out


def test_the_code_in_the_how_to_on_networks_works():
    shutil.copytree(ROOT / "samples", "samples")
    in_torch, _, matrix = blocks("networks.md")
    names: dict[str, object] = {}
    exec(in_torch, names)
    assert names["slope"].shape == (2, 2)
    Path("w").mkdir()
    for name in ("a", "b"):
        shutil.copy("photo.safetensors", f"w/{name}.safetensors")
    exec(matrix, names)
    assert names["matrix"].shape == (2, info("photo.safetensors")["parameters"])


@pytest.mark.parametrize("name", ["siren image", "siren audio", "siren mesh"])
def test_the_ten_lines_that_need_no_intfit_read_an_exported_file(files, name):
    Path("photo.safetensors").write_bytes(export(files[name]))
    (loader,) = [block for block in blocks("networks.md") if "def siren" in block]
    assert "intfit" not in re.sub(r'"intfit"', "", loader)
    names: dict[str, object] = {}
    exec(loader, names)
    field = load(files[name], device="cpu")
    coords = points(field, 50).astype(np.float32)
    values = names["siren"](torch.from_numpy(coords)).numpy()
    np.testing.assert_allclose(values, field(coords), atol=2e-5)
