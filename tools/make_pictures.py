"""Make the pictures in the documentation from real runs: python tools/make_pictures.py [NAME...]

terminal: docs/terminal.svg, the README's quick start on a terminal of 80 columns, exported by Rich;
docs/how-to/terminal-50.svg, several files at once on one of 50.
sample: docs/sample.png, samples/photo.png, and what is left of it in equally many bytes of JPEG,
WebP and intfit.
pages: docs/how-to/page-1200.webp and page-360.webp, the page of `make demo` (to be run before) in
Chromium.
"""

import argparse
import io
import os
import pty
import re
import shlex
import shutil
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
#: The bytes of each file in sample.png; the height of a label, and the space between tiles.
BYTES, LABEL, GAP = 5500, 26, 8


def on_terminal(arguments: list[str], folder: Path, columns: int) -> list[str]:
    """What a command leaves on a terminal of so many columns, with a frame of its display first.

    The frame is one of a fit, from two thirds into it, if there is one. Lines are as they were
    printed, with the sequences that colour them.
    """
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns)}
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
    # each frame is drawn over the one before, from the first of its lines
    frames, printed = [], []
    for part in re.split(r"(?:\r?\x1b\[(?:1A|2K))+", seen.decode()):
        lines = [re.sub(r"\x1b\[\??[\d;]*[A-Zhl]", "", line) for line in part.splitlines()]
        lines = [line for line in lines if Text.from_ansi(line).plain.strip()]
        drawn = [line for line in lines if re.search(r"\S  (\S.* )?\d+:\d\d\b", line)]
        if drawn:
            frames.append(drawn)
        printed += [line for line in lines if line not in drawn]
    longest = max(map(len, frames), default=0)
    frames = [frame for frame in frames if len(frame) == longest]
    fits = [frame for frame in frames if any("fitting" in line for line in frame)]
    return [*(fits[len(fits) * 2 // 3] if fits else []), *printed]


def draw_terminal(path: Path, commands: list[str], folder: Path, columns: int) -> None:
    """Write what commands leave on a terminal as an SVG."""
    console = Console(record=True, width=columns, file=io.StringIO())
    for line in commands:
        console.print(Text(f"$ intfit {line}", style="bold"))
        for shown in on_terminal(shlex.split(line), folder, columns):
            console.print(Text.from_ansi(shown), overflow="fold")
    console.save_svg(str(path), title="intfit")


def terminal(folder: Path) -> None:
    """Write terminal.svg, the README's quick start as it stands, and terminal-50.svg."""
    shutil.copytree(SAMPLES, folder / "samples")
    quick_start = (DOCS.parent / "README.md").read_text().partition("## Quick start")[2]
    commands = re.findall(r"^    intfit (.+)$", quick_start, re.MULTILINE)
    draw_terminal(DOCS / "terminal.svg", commands, folder, 80)
    many = ["encode samples/photo.png out/photo.png --jobs 2 --field siren -e 1"]
    draw_terminal(DOCS / "how-to" / "terminal-50.svg", many, folder, 50)


def pages(folder: Path) -> None:
    """Write page-1200.webp and page-360.webp."""
    from playwright.sync_api import sync_playwright

    page = DOCS.parent / "demo" / "index.html"
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
        )
        for width, height in ((1200, 1280), (360, 1500)):
            view = browser.new_page(viewport={"width": width, "height": height})
            view.goto(page.as_uri())
            view.wait_for_timeout(5000)  # until all is drawn
            shot = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
            shot.save(DOCS / "how-to" / f"page-{width}.webp", quality=88, method=6)
        browser.close()


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


MAKERS = {"terminal": terminal, "sample": sample, "pages": pages}


def main() -> None:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MAKERS))
    names = parser.parse_args().names
    if unknown := set(names) - set(MAKERS):
        parser.error(f"no picture is called {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photo.png").write_bytes((SAMPLES / "photo.png").read_bytes())
        for wanted in names or MAKERS:
            MAKERS[wanted](folder)


if __name__ == "__main__":
    main()
