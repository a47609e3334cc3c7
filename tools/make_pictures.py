"""Make the README's pictures from real runs: python tools/make_pictures.py

docs/terminal.svg: the commands of the quick start on a terminal of 80 columns, exported by Rich.
docs/sample.png: samples/photo.png, and what is left of it in equally many bytes of JPEG, WebP and
intfit.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.text import Text

import intfit
from intfit import metrics

DOCS = Path(__file__).resolve().parents[1] / "docs"
SAMPLES = DOCS.parent / "samples"
COLUMNS = 88
#: The bytes of each file in sample.png; the height of a label, and the space between tiles.
BYTES, LABEL, GAP = 5500, 26, 8


def on_terminal(arguments: list[str], folder: Path) -> list[str]:
    """The lines that a command leaves on a terminal, one frame of its progress display first."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    command = [sys.executable, "-m", "intfit", *arguments]
    child = subprocess.Popen(command, stdout=follower, stderr=follower, cwd=folder, env=environment)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    child.wait()
    os.close(leader)
    text = seen.decode()
    frames = [part for part in re.split(r"[\r\n]+|\x1b\[2K", text) if part.strip()]
    progress = [frame for frame in frames if "steps/s" in frame]
    others = [frame for frame in frames if "steps/s" not in frame and "photo.png \x1b" not in frame]
    kept = [re.sub(r"\x1b\[\??[\d;]*[A-Zhl]", "", line) for line in others]
    kept = [line for line in kept if Text.from_ansi(line).plain.strip()]
    stage = "(reading|transform|fitting|rounding|coding|decoding|rendering) [0-9]+:"
    kept = [line for line in kept if not re.search(stage, line)]
    return progress[len(progress) * 2 // 3 :][:1] + kept


def terminal(folder: Path) -> None:
    """Write terminal.svg."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in (
        "encode photo.png --field siren --effort 2 -o siren.safetensors",
        "encode photo.png",
        "info photo.png.safetensors",
        "decode photo.png.safetensors --scale 4 -o big.png",
        "verify photo.png.safetensors --against photo.png",
    ):
        console.print(Text(f"$ intfit {line}", style="bold"))
        for shown in on_terminal(line.split(), folder):
            console.print(Text.from_ansi(shown), overflow="fold")
    console.save_svg(str(DOCS / "terminal.svg"), title="intfit")


def within(image: Image.Image, name: str, most: int, **options: object) -> bytes:
    """The file of the best quality of a format of Pillow's that has ``most`` bytes at most."""
    best = b""
    low, high = 0, 100
    while low <= high:
        quality = (low + high) // 2
        buffer = io.BytesIO()
        image.save(buffer, name, quality=quality, **options)
        if len(buffer.getvalue()) <= most:
            best, low = buffer.getvalue(), quality + 1
        else:
            high = quality - 1
    return best


def labelled(image: Image.Image, text: str) -> Image.Image:
    """An image above a line of text."""
    tile = Image.new("RGB", (image.width, image.height + LABEL), "white")
    tile.paste(image)
    ImageDraw.Draw(tile).text((2, image.height + 4), text, "black", ImageFont.load_default(15))
    return tile


def sample(folder: Path) -> None:
    """Write sample.png."""
    with Image.open(SAMPLES / "photo.png") as image:
        original = image.convert("RGB")
    command = [sys.executable, "-m", "intfit", "encode", "photo.png", "--target-size", str(BYTES)]
    subprocess.run([*command, "-o", "small.safetensors", "--quiet"], cwd=folder, check=True)
    ours = (folder / "small.safetensors").read_bytes()
    files = {
        "JPEG": within(original, "JPEG", len(ours), optimize=True, progressive=True),
        "WebP": within(original, "WEBP", len(ours), method=6),
        "intfit": ours,
    }
    size = (SAMPLES / "photo.png").stat().st_size
    tiles = [labelled(original, f"original: PNG, {size / 1000:.0f} kB")]
    for name, data in files.items():
        png = intfit.decode(data, suffix=".png").data if name == "intfit" else data
        with Image.open(io.BytesIO(png)) as image:
            decoded = image.convert("RGB")
        psnr = metrics.psnr(np.asarray(original), np.asarray(decoded), peak=255)
        tiles.append(labelled(decoded, f"{name}: {len(data) / 1000:.1f} kB, {psnr:.1f} dB"))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % 2 * (width + GAP), number // 2 * (height + GAP)))
    sheet.save(DOCS / "sample.png", optimize=True)


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.png").write_bytes((SAMPLES / "photo.png").read_bytes())
        terminal(folder)
        sample(folder)


if __name__ == "__main__":
    main()
