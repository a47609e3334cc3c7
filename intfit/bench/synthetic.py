"""Synthetic media, for benches without files: a picture, a recording, a surface."""

import io

import numpy as np
import soundfile
import trimesh
from PIL import Image

#: The seed of all media.
SEED = 20240607
#: The sample rate of recordings, in Hz.
RATE = 16_000


def make_picture(width: int, height: int) -> bytes:
    """A PNG: clouds whose amplitude falls with frequency, behind discs with hard edges."""
    rng = np.random.default_rng(SEED)
    y, x = (
        np.fft.fftfreq(height)[:, None] * height,
        np.fft.rfftfreq(width)[None] * width,
    )
    falling = 1 / np.maximum(np.hypot(y, x), 1) ** 1.4
    layers = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * rng.uniform(size=falling.shape))
        layer = np.fft.irfft2(falling * phases, s=(height, width))
        layers.append(layer / layer.std())
    pixels = 128 + 34 * (np.stack(layers, axis=-1) + layers[0][..., None]) / np.sqrt(2)
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(24):
        radius = height * rng.uniform(0.02, 0.12)
        disc = np.hypot(rows - height * rng.uniform(), columns - width * rng.uniform()) < radius
        pixels[disc] = rng.uniform(20, 235, 3) + 0.3 * (pixels[disc] - 128)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def make_recording(seconds: float = 2.0) -> bytes:
    """A mono WAV of so many ``seconds``: plucked notes with overtones, and a little hiss."""
    rng = np.random.default_rng(SEED)
    t = np.arange(round(seconds * RATE)) / RATE
    wave = 0.003 * rng.normal(size=len(t))
    for start in np.arange(0, seconds, 0.25):
        pitch = 110 * 2 ** (rng.integers(0, 25) / 12)
        since = np.maximum(t - start, 0)
        for overtone in range(1, 9):
            decay = np.exp(-since * (2 + 1.5 * overtone)) * (t >= start)
            wave += 0.2 / overtone**1.3 * decay * np.sin(2 * np.pi * pitch * overtone * since)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave / np.abs(wave).max() * 0.9, RATE, "PCM_16", format="WAV")
    return buffer.getvalue()


def make_surface() -> bytes:
    """A PLY: a sphere with bumps of three sizes."""
    ball = trimesh.creation.icosphere(subdivisions=5)
    x, y, z = ball.vertices.T
    bumps = 0.14 * np.sin(4 * x + 1) * np.sin(5 * y) + 0.06 * np.sin(9 * z) * np.sin(11 * x)
    bumps += 0.02 * np.sin(23 * y) * np.sin(19 * z + 2)
    shape = trimesh.Trimesh(ball.vertices * (1 + bumps)[:, None], ball.faces, process=False)
    exported = shape.export(file_type="ply")
    assert isinstance(exported, bytes)
    return exported
