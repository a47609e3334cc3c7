"""Small media, and the command line as a person would run it."""

import os

# Before anything imports NumPy or PyTorch, here or in a process that a test starts: networks of
# test size are no faster on two threads, which then take the core of another test.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import trimesh
from PIL import Image
from typer.testing import CliRunner

from intfit.cli import app
from intfit.codecs import read_config
from intfit.codecs.levelset import codec as levelset_codec
from intfit.codecs.wavelet import payload
from intfit.coding import container
from intfit.media import mesh, sampling
from intfit.metrics import perceptual

#: Real media to measure on, beside the checkout; tests that use them skip where they are missing.
MEDIA = Path(__file__).resolve().parents[2] / "shared" / "media"


@pytest.fixture(autouse=True)
def _without_visqol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """ViSQOL, which takes seconds, is not there but for tests that use the fixture ``visqol``."""
    if "visqol" not in request.fixturenames:
        monkeypatch.setitem(perceptual.PACKAGES, "visqol", "no_such_package")


@pytest.fixture
def visqol() -> None:
    """Skip where ViSQOL is not installed."""
    pytest.importorskip("visqol", reason=perceptual.REMEDIES["visqol"])


def use_few_points(patch: pytest.MonkeyPatch) -> None:
    """Have latents of surfaces learn from few points, and be measured on few."""
    patch.setitem(mesh.read.__kwdefaults__, "pool", 1 << 13)
    patch.setattr(mesh, "COMPARED_POINTS", 1 << 13)
    patch.setattr(sampling, "EVALUATION_POINTS", 1 << 12)
    patch.setattr(levelset_codec, "ON", 1 << 14)
    patch.setattr(levelset_codec, "AROUND", 1 << 12)


@dataclass(frozen=True)
class Run:
    """What a command did."""

    code: int
    out: str
    err: str
    data: bytes = b""


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of the whole numbers that each tensor of a picture's latents holds."""
    layout, stored = container.load(path.read_bytes())
    config = read_config(layout.header)
    return {
        name: hashlib.sha256(
            (tensor / config.step_size).round().astype("<i4").tobytes()
        ).hexdigest()
        for name, tensor in payload.unpack(stored["payload"].data, config).items()
        if name != "colours"
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A cluster takes long to start, and little of the processor: its tests come first."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, as a person would."""
    monkeypatch.chdir(tmp_path)
    for name in ("INTFIT_DEVICE", "INTFIT_THREADS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are of the CPU, on a machine with a GPU too, but for those marked ``gpu``."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that sets PyTorch's threads does so for itself alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def intfit() -> Callable[..., Run]:
    """Run the command line in this process: importing torch anew takes seconds."""

    def run(*args: object, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Run:
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        out = result.stdout_bytes
        return Run(result.exit_code, out.decode(errors="replace"), result.stderr, out)

    return run


@pytest.fixture
def process() -> Callable[..., Run]:
    """Run the command line in a process of its own, where start-up, signals or pipes matter."""

    def run(*args: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Run:
        command = [sys.executable, "-m", "intfit", *(str(arg) for arg in args)]
        environment = os.environ | (env or {})
        result = subprocess.run(
            command, input=stdin, capture_output=True, env=environment, timeout=120, check=False
        )
        out, err = result.stdout, result.stderr.decode()
        return Run(result.returncode, out.decode(errors="replace"), err, out)

    return run


def photo(width: int = 48, height: int = 32) -> Image.Image:
    """A small picture with edges and gradients."""
    y, x = np.mgrid[0:height, 0:width]
    disc = np.hypot(x - 0.6 * width, y - 0.4 * height) < 0.25 * height
    pixels = np.stack([4 * x + 40, 200 - 4 * y, 60 + 120 * disc], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """The bytes of a picture as a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def tone(seconds: float = 0.25, rate: int = 8000, channels: int = 1) -> np.ndarray:
    """A decaying chord, samples ``[N, C]``."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * 220 * t) + 0.5 * np.sin(2 * np.pi * 330 * t + 1)
    wave = 0.4 * wave * np.exp(-3 * t)
    return np.stack([wave * (1 - 0.3 * c) for c in range(channels)], axis=1)


def on_arrays(evaluate: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., np.ndarray]:
    """A field written with torch, as media know one: arrays to arrays."""
    return lambda coords: evaluate(torch.from_numpy(coords)).numpy()


@pytest.fixture
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Surfaces are sampled, measured and compared at fewer points, in a fraction of the time."""
    monkeypatch.setitem(mesh.read.__kwdefaults__, "pool", 1 << 14)
    monkeypatch.setattr(sampling, "EVALUATION_POINTS", 1 << 13)
    monkeypatch.setattr(mesh, "COMPARED_POINTS", 1 << 13)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """``photo.png`` in the working folder."""
    photo().save(tmp_path / "photo.png")
    return Path("photo.png")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """``chord.wav``, 16 bit, in the working folder."""
    soundfile.write(tmp_path / "chord.wav", tone(), 8000, subtype="PCM_16")
    return Path("chord.wav")


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    """``ball.obj``, away from the origin, in the working folder."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
    sphere.apply_translation([10.0, -3.0, 5.0])
    sphere.export(tmp_path / "ball.obj")
    return Path("ball.obj")
