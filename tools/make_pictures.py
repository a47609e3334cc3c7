"""Make the README's pictures from real runs: python tools/make_pictures.py

docs/terminal.svg: the commands of the quick start on a terminal of 80 columns, exported by Rich.
docs/sample.png: samples/photo.png, the same decoded at native size, and a part of it at 4x beside
the same part enlarged by bicubic interpolation.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parents[1] / "docs"
SAMPLES = DOCS.parent / "samples"
COLUMNS = 88


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
    kept = [line for line in kept if not re.search("reading|fitting", line)]
    return progress[len(progress) * 2 // 3 :][:1] + kept


def terminal(folder: Path) -> None:
    """Write terminal.svg."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in (
        "encode photo.png --field siren --effort 4 -o siren.safetensors",
        "encode photo.png",
        "info photo.png.safetensors",
        "decode photo.png.safetensors --scale 4 -o big.png",
        "verify photo.png.safetensors --against photo.png",
    ):
        console.print(Text(f"$ intfit {line}", style="bold"))
        for shown in on_terminal(line.split(), folder):
            console.print(Text.from_ansi(shown), soft_wrap=True)
    console.save_svg(str(DOCS / "terminal.svg"), title="intfit")


def sample(folder: Path) -> None:
    """Write sample.png."""
    with Image.open(SAMPLES / "photo.png") as image:
        original = image.convert("RGB")
    subprocess.run(
        [sys.executable, "-m", "intfit", "decode", "photo.png.safetensors", "--quiet"],
        cwd=folder,
        check=True,
    )
    with Image.open(folder / "photo.decoded.png") as image:
        decoded = image.convert("RGB")
    with Image.open(folder / "big.png") as image:
        large = image.convert("RGB")
    width, height = original.size
    box = (width // 4, 0, width // 2, height // 4)
    part = original.crop(box).resize((width, height), Image.Resampling.BICUBIC)
    ours = large.crop(tuple(4 * edge for edge in box))
    sheet = Image.new("RGB", (2 * width + 8, 2 * height + 8), "white")
    places = [(0, 0), (width + 8, 0), (0, height + 8), (width + 8, height + 8)]
    for tile, place in zip((original, decoded, part, ours), places, strict=True):
        sheet.paste(tile, place)
    sheet.save(DOCS / "sample.png")


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.png").write_bytes((SAMPLES / "photo.png").read_bytes())
        terminal(folder)
        sample(folder)


if __name__ == "__main__":
    main()
