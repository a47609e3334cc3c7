"""Make the test vectors of the file format: python tools/make_vectors.py

docs/reference/vectors/NAME.safetensors is a small file that the program makes, NAME.json what a
decoder must find in it: the integers of each tensor (their SHA-256 as little-endian int32, their
number and the first ones that are not zero) and decoded samples. Made anew only with a new version
of the format: decoders of others are tested on them. Files that exist are left alone; their JSON
is written again.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import soundfile
from PIL import Image, ImageDraw
from safetensors.numpy import load as load_tensors

import intfit
from intfit.codecs import read_config
from intfit.codecs.mdct.hearing import payload as hearing_payload
from intfit.codecs.siren import packing
from intfit.codecs.wavelet import payload
from intfit.coding import container, weights

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "docs" / "reference" / "vectors"


def photo(box: tuple[int, int, int, int], **options: Any) -> bytes:
    """A part of the sample photograph, as a PNG that is saved with these ``options``."""
    with Image.open(ROOT / "samples" / "photo.png") as image:
        part = image.convert("RGB").crop(box)
    buffer = io.BytesIO()
    part.save(buffer, "PNG", **options)
    return buffer.getvalue()


def described_photo() -> bytes:
    """A part of the sample photograph, with a resolution and who made it."""
    exif = Image.Exif()
    exif[315], exif[270] = "A. Nonymous", "A lake at dusk, \u00e0 l'eau"
    return photo((60, 40, 72, 52), exif=exif, dpi=(300, 300))


def drawing() -> bytes:
    """Discs, whose edges give a network something to correct, as a PNG."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:96, 0:112]
    pixels = np.full((96, 112, 3), 230, np.uint8)
    for _ in range(30):
        row, column, radius = rng.integers(0, 96), rng.integers(0, 112), rng.integers(6, 16)
        pixels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.integers(0, 256, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def window() -> bytes:
    """A tall window with a title and shapes that come again, smooth at the edges, as a PNG."""
    big = Image.new("RGB", (4 * 88, 4 * 116), (245, 245, 245))
    draw = ImageDraw.Draw(big)
    draw.rectangle((0, 0, 4 * 88, 4 * 14), fill=(50, 90, 160))
    for row in range(7):
        for column in range(6):
            x, y = 4 * (8 + 12 * column), 4 * (22 + 13 * row)
            shape = (draw.ellipse, draw.rectangle, draw.line)[(row * column + row) % 3]
            shape((x, y, x + 26, y + 30), fill=((20, 20, 20), (160, 30, 20))[column % 4 == 1])
    buffer = io.BytesIO()
    big.resize((88, 116), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()


def recording() -> bytes:
    """Two thirds of a second of stereo: two notes, of which one is struck in the middle."""
    t = np.arange(1 << 14) / 24000
    low = 0.5 * np.sin(2 * np.pi * 330 * t)
    high = 0.4 * np.sin(2 * np.pi * 2100 * t) * np.exp(-30 * np.maximum(t - 0.36, 0)) * (t > 0.36)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(len(t))
    buffer = io.BytesIO()
    samples = np.stack([low + high + hiss, 0.6 * low - 0.3 * high + hiss], axis=1)
    soundfile.write(buffer, samples, 24000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def ball() -> bytes:
    """A coarse sphere as an OFF file: 8 x 12 points on it, and two poles."""
    rows, columns = 8, 12
    points = [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0)]
    for i in range(1, rows + 1):
        for j in range(columns):
            a, b = np.pi * i / (rows + 1), 2 * np.pi * j / columns
            points.append((np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)))
    faces = []
    for j in range(columns):
        k = (j + 1) % columns
        faces += [
            (0, 2 + j, 2 + k),
            (1, 2 + (rows - 1) * columns + k, 2 + (rows - 1) * columns + j),
        ]
        for i in range(rows - 1):
            a, b = 2 + i * columns, 2 + (i + 1) * columns
            faces += [(a + j, b + j, b + k), (a + j, b + k, a + k)]
    lines = [f"OFF\n{len(points)} {len(faces)} 0"]
    lines += [" ".join(f"{value:.6f}" for value in point) for point in points]
    lines += [" ".join(map(str, (3, *face))) for face in faces]
    return "\n".join(lines).encode()


def painted_ball() -> bytes:
    """The same sphere as a PLY file, with a colour at each vertex."""
    _, counts, *rows = ball().decode().splitlines()
    vertices, faces, _ = map(int, counts.split())
    header = ["ply", "format ascii 1.0", f"element vertex {vertices}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    header += [f"element face {faces}", "property list uchar int vertex_indices", "end_header"]
    for index, row in enumerate(rows[:vertices]):
        colour = [round(127 + 120 * float(value)) for value in row.split()]
        rows[index] = " ".join([row, *map(str, colour)])
    return "\n".join([*header, *rows, ""]).encode()


def cube() -> bytes:
    """A cube as an OFF file."""
    corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = ["OFF", "8 6 0", *(" ".join(map(str, row)) for row in corners)]
    return "\n".join([*lines, *(" ".join(map(str, (4, *side))) for side in sides)]).encode()


def bowl() -> bytes:
    """A ball without its top, as an OFF file."""
    head, _, *lines = ball().decode().splitlines()
    points, faces = lines[:98], [line for line in lines[98:] if line]
    kept = [line for line in faces if "0" not in line.split()[1:]]
    return "\n".join([head, f"98 {len(kept)} 0", *points, *kept]).encode()


MEDIA = {
    "siren-image": (
        photo((100, 60, 120, 75)), ".png",
        intfit.Settings(field="siren", width=12, depth=3, steps=400, device="cpu"),
    ),
    "siren-open": (
        photo((100, 60, 112, 68)), ".png",
        intfit.Settings(
            field="siren", width=8, depth=2, steps=200, device="cpu", profile="open",
            precision="bfloat16",
        ),
    ),
    "siren-mesh": (
        ball(), ".off", intfit.Settings(width=10, depth=2, steps=400, device="cpu"),
    ),
    "siren-colours": (
        painted_ball(), ".ply", intfit.Settings(width=10, depth=2, steps=400, device="cpu"),
    ),
    "siren-neurons": (
        painted_ball(), ".ply", intfit.Settings(width=10, depth=3, steps=600, device="cpu"),
    ),
    "siren-creases": (
        cube(), ".off", intfit.Settings(width=10, depth=2, steps=400, device="cpu"),
    ),
    "siren-trim": (
        bowl(), ".off",
        intfit.Settings(field="siren", width=10, depth=2, steps=400, effort=2, device="cpu"),
    ),
    "latent-mesh": (
        ball(), ".off", intfit.Settings(field="latent", quality=20, device="cpu"),
    ),
    "latent-base": (
        bowl(), ".off", intfit.Settings(field="latent", quality=20, effort=2, device="cpu"),
    ),
    "latent-image": (
        photo((20, 70, 67, 109)), ".png",
        intfit.Settings(field="latent", effort=2, quality=55, device="cpu", tune="psnr"),
    ),
    "latent-postfilter": (
        drawing(), ".png",
        intfit.Settings(
            field="latent", steps=3000, quality=20, device="cpu", threads=1, tune="psnr",
        ),
    ),
    "latent-visual": (
        photo((10, 40, 97, 119)), ".png",
        intfit.Settings(field="latent", effort=3, quality=30, device="cpu", threads=1),
    ),
    "latent-decoder": (
        photo((20, 40, 117, 141)), ".png",
        intfit.Settings(field="latent", effort=2, quality=20, device="cpu"),
    ),
    "latent-modulated": (
        photo((20, 40, 117, 141)), ".png",
        intfit.Settings(field="latent", effort=2, quality=20, tune="psnr", device="cpu"),
    ),
    "latent-two-scales": (
        photo((20, 40, 117, 141)), ".png",
        intfit.Settings(field="latent", effort=2, quality=20, tune="psnr", device="cpu"),
    ),
    "latent-trellis": (
        photo((20, 40, 157, 151)), ".png",
        intfit.Settings(field="latent", effort=2, quality=38, tune="psnr", device="cpu"),
    ),
    "latent-visual-trellis": (
        photo((20, 40, 157, 151)), ".png",
        intfit.Settings(field="latent", effort=2, quality=38, tune="visual", device="cpu"),
    ),
    "siren-version-3": (
        photo((60, 40, 72, 52)), ".png",
        intfit.Settings(field="siren", width=8, depth=2, steps=200, device="cpu", seed=1),
    ),
    "siren-metadata": (
        described_photo(), ".png",
        intfit.Settings(
            field="siren", width=8, depth=2, steps=200, device="cpu", seed=1, metadata="all"
        ),
    ),
    "latent-envelope": (
        recording(), ".wav", intfit.Settings(quality=20, width=6, device="cpu", threads=1),
    ),
    "latent-bands": (
        recording(), ".wav", intfit.Settings(quality=20, width=6, device="cpu", threads=1),
    ),
    "latent-version-4": (
        photo((20, 70, 67, 109)), ".png",
        intfit.Settings(field="latent", effort=2, quality=55, tune="psnr", device="cpu"),
    ),
    "palette-image": (
        window(), ".png", intfit.Settings(field="palette", device="cpu"),
    ),
    "latent-audio": (
        recording(), ".wav",
        intfit.Settings(field="latent", quality=60, tune="snr", device="cpu"),
    ),
    "latent-waveform": (
        recording(), ".wav",
        intfit.Settings(field="latent", quality=60, tune="snr", device="cpu"),
    ),
}  # fmt: skip


#: The steps of bands tuned for the eye, in sixteenths, from the finest level on.
SHARES = (27, 18, 13, 11)


def level_of(key: str) -> int:
    """The level of a band called ``levels.2.across``; a large number for ``coarsest``."""
    return int(key.split(".")[1]) if key.startswith("levels.") else 99


def changed(data: bytes) -> bytes:
    """A file of latents whose decoder network has a change of its own, drawn at random."""
    layout, stored = container.load(data)
    layout.header.network["adapted"] = True
    config: Any = read_config(layout.header)
    shape = config.adaptation_shapes()["adaptation"]
    drawn = np.random.default_rng(7).integers(-40, 41, shape)
    change = weights.QuantisedTensor(96, np.where(drawn % 5, 0, drawn // 5).astype(np.int32))
    packed = payload.join(stored["payload"].data, weights.pack({"adaptation": change}))
    return container.dump(
        layout.header, {"payload": container.Stored("U8", (len(packed),), packed)}
    )


def opened(name: str) -> dict[str, np.ndarray]:
    """The tensors of a file in the open profile."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "open.safetensors"
        command = [sys.executable, "-m", "intfit", "export", "--quiet"]
        command += [str(VECTORS / f"{name}.safetensors"), "-o", str(target)]
        subprocess.run(command, check=True)
        return load_tensors(target.read_bytes())


def header_of(data: bytes) -> dict[str, Any]:
    """The intfit header of a file."""
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["intfit"])
    return header


def described(values: np.ndarray) -> dict[str, Any]:
    """Whole numbers, in short."""
    flat = np.rint(values).astype("<i4").ravel()
    return {
        "count": len(flat),
        "first": [[int(i), int(flat[i])] for i in np.flatnonzero(flat)[:12]],
        "sha256": hashlib.sha256(flat.tobytes()).hexdigest(),
    }


def integers(name: str, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The integers of the tensors, by what the open profile and the steps say."""
    if name in ("latent-envelope", "latent-bands"):
        return envelope_integers(name)
    data = (VECTORS / f"{name}.safetensors").read_bytes()
    layout, stored = container.load(data)
    config: Any = read_config(layout.header)
    if header.get("siren", [])[9:]:
        networks = packing.unpack_integers(stored["payload"].data, config)
        return {key: described(tensor.integers) for key, tensor in networks.items()}
    if "latent" in header and "mesh" in header:
        return {"coefficients": described(tensors["coefficients"] / config.unit)}
    if "latent" in header:
        step = 2.0 ** (-header["latent"][0] / 24)
        shares: tuple[float, ...] = SHARES if header["latent"][4:5] == [1] else (16,)
        if header["latent"][6:]:
            count = sum(key.endswith(".both") for key in tensors)
            both = [shares[min(level, len(shares) - 1)] * 10 / 16 for level in range(count)]
            shares = (*both, shares[-1])
        found = {
            key: described(tensor / (step * shares[min(level_of(key), len(shares) - 1)] / 16))
            for key, tensor in tensors.items()
            if key == "coarsest" or key.startswith("levels.")
        }
        if name == "latent-waveform":
            found["latents"] = described(tensors["latents"] / (step * 10 / 16))
            found["blocks"] = described(tensors["blocks"])
        elif "latents" in tensors:  # noise stands where latents are zero, and is below an eighth
            steps = tensors["latents"] / step
            found["latents"] = described(np.where(np.abs(steps) > 0.5, steps, 0))
            found["blocks"] = described(tensors["blocks"])
        return found
    if name == "siren-open":
        return {}
    if "palette" in header:
        colours = (tensors["colours"] + 1) * 127.5
        return {"colours": described(colours), "indices": described(tensors["indices"])}
    payload = data[8 + int.from_bytes(data[:8], "little") :]
    return {
        key: described(tensor / 2.0 ** (-payload[4 * index] / 12))
        for index, (key, tensor) in enumerate(tensors.items())
    }


def envelope_integers(name: str) -> dict[str, Any]:
    """The integers of a recording with an envelope, which the open profile does not have."""
    header, stored = container.load((VECTORS / f"{name}.safetensors").read_bytes())
    config: Any = read_config(header.header)
    contents = hearing_payload.read(stored["payload"].data, config)
    sizes = contents.shape.sizes
    return {
        "latents": described(np.concatenate(list(contents.latents))),
        "blocks": described(np.repeat(sizes, np.array(sizes) // 256)),
        "levels": described(np.concatenate(contents.shape.levels)),
    }


def in_order(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of a SIREN in the order of the network; others by their names."""
    if not name.startswith("siren"):
        return dict(sorted(tensors.items()))

    def place(item: tuple[str, np.ndarray]) -> tuple[bool, str, bool]:
        layer, kind = item[0].rsplit(".", 1)
        return layer.startswith("colours"), layer, kind == "bias"

    return dict(sorted(tensors.items(), key=place))


def expected(name: str, data: bytes) -> dict[str, Any]:
    """What a decoder must find."""
    header, field = header_of(data), intfit.load(data, device="cpu")
    found: dict[str, Any] = {
        "header": header,
        "integers": integers(name, header, in_order(name, opened(name))),
    }
    if "image" in header:
        decoded = Image.open(io.BytesIO(intfit.decode(field, suffix=".png").data))
        pixels = np.asarray(decoded)
        found["every"] = 8 if pixels.size > 6000 else 3 if pixels.size > 3000 else 1
        pixels = pixels[:: found["every"], :: found["every"]]
        found["pixels"] = {"shape": list(pixels.shape), "hex": pixels.tobytes().hex()}
        inside = np.array([[-0.31, 0.17], [0.05, -0.9], [0.4, 0.66], [-0.5, -0.2]], np.float32)
    elif "audio" in header:
        found["every"] = 128
        count = header["audio"][0]  # a power of two: its sample centres are exact in float32
        centres = ((2 * np.arange(count) + 1 - count) / count).astype(np.float32)[::128, None]
        found["samples"] = [round(float(v), 6) for v in field(centres).ravel()]
        inside = np.array([[-0.91], [-0.4], [0.001], [0.77]], np.float32)
    else:
        rng = np.random.default_rng(1)
        inside = rng.uniform(-0.9, 0.9, (24, 3)).astype(np.float32).round(3)
        if name == "siren-trim":  # half of them near its border
            inside[::2] = (inside[::2] * (0.5, 0.5, 0.1) + (0, 0, 0.9)).round(3)
    found["coordinates"] = [[round(float(v), 6) for v in row] for row in inside]
    found["values"] = [[round(float(v), 6) for v in row] for row in field(inside)]
    if (trim := field.part("trim")) is not None:
        found["trim"] = [[round(float(v), 6) for v in row] for row in trim(inside)]
    return found


def range_coder() -> dict[str, Any]:
    """Symbols under tables and uniform distributions, and what the coder makes of them."""
    rng = np.random.default_rng(5)
    encoder = constriction.stream.queue.RangeEncoder()
    parts: list[dict[str, Any]] = []
    for shares in ([1, 0], [3, 1], [1 << 40, 1, 1 << 20, 5], list(range(1, 200)), [1] * 301):
        table = np.array(shares, np.float64)
        symbols = rng.choice(len(table), 40, p=table / table.sum()).astype(np.int32)
        symbols[-1] = len(table) - 1
        encoder.encode(symbols, constriction.stream.model.Categorical(table, perfect=False))
        parts.append({"weights": shares, "symbols": symbols.tolist()})
    for bits in (1, 7, 24):
        symbols = rng.integers(0, 1 << bits, 12).astype(np.int32)
        encoder.encode(symbols, constriction.stream.model.Uniform(1 << bits))
        parts.append({"uniform": bits, "symbols": symbols.tolist()})
    data = encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
    return {"hex": data.hex(), "parts": parts}


def main() -> None:
    """Make what is missing, and all JSON."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    VECTORS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(range_coder(), separators=(",", ":"))
    (VECTORS / "range-coder.json").write_text(text.replace("},{", "},\n{") + "\n")
    for name, (medium, suffix, settings) in MEDIA.items():
        path = VECTORS / f"{name}.safetensors"
        if not path.exists():
            made = intfit.encode(medium, settings, suffix=suffix).data
            drawn = name in ("latent-decoder", "latent-modulated", "latent-two-scales")
            path.write_bytes(changed(made) if drawn else made)
        data = path.read_bytes()
        text = json.dumps(expected(name, data), separators=(",", ":"))
        text = text.replace('},"', '},\n"').replace('],"', '],\n"')
        path.with_suffix(".json").write_text(text + "\n")
        print(name, len(data), header_of(data))


if __name__ == "__main__":
    main()
