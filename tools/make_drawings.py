"""Make the drawn pictures that docs/results/images.md measures: a window, a chart, a terminal.

    python tools/make_drawings.py FOLDER

Every picture is drawn by Pillow with its own font, from nothing but this file.
"""

import argparse
import math
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TEXT = (
    "the field of a picture is what its file holds: values at places, and a rule for what lies "
    "between them; a small network learns from every pixel that has been decoded how likely the "
    "next one is, and both sides of the wire do the same sums in whole numbers. Letters return, "
    "and so do edges, frames and shadows; what has been seen once costs little the second time. "
    "Save, open, close, undo, print, search, replace, zoom, settings, help and about"
)
WORDS = TEXT.split()


def _sentence(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


def draw_window(width: int, height: int, *, smooth: bool, seed: int = 1) -> Image.Image:
    """A window with a title, buttons and lines of text; ``smooth`` letters have grey edges."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (width, height), (245, 245, 245))
    draw = ImageDraw.Draw(picture)
    draw.fontmode = "L" if smooth else "1"
    font = ImageFont.load_default(13)
    draw.rectangle((0, 0, width, 26), fill=(50, 90, 160))
    draw.text((10, 5), "Notes about drawn pictures", (255, 255, 255), font)
    for index in range(3):
        x = width - 26 * (index + 1)
        draw.rectangle((x, 5, x + 18, 20), outline=(255, 255, 255))
    for index, word in enumerate(("File", "Edit", "View", "Tools", "Help")):
        draw.text((12 + 60 * index, 32), word, (40, 40, 40), font)
    draw.line((0, 50, width, 50), fill=(200, 200, 200))
    draw.rectangle((0, 51, 119, height - 1), fill=(228, 232, 240))
    for index in range((height - 80) // 22):
        draw.text((10, 60 + 22 * index), _sentence(rng, 2)[:15], (60, 70, 90), font)
    for line in range((height - 75) // 17):
        text = _sentence(rng, 30)
        while draw.textlength(text, font) > width - 150:
            text = text.rsplit(" ", 1)[0]
        draw.text((130, 58 + 17 * line), text, (20, 20, 20), font)
    return picture


def draw_chart(width: int = 800, height: int = 500, seed: int = 2) -> Image.Image:
    """Two curves and bars between axes with numbers; lines have smooth edges."""
    rng = random.Random(seed)
    big = Image.new("RGB", (width * 3, height * 3), "white")
    draw = ImageDraw.Draw(big)
    left, right, top, bottom = 180, width * 3 - 60, 90, height * 3 - 150
    for index in range(6):
        y = bottom - (bottom - top) * index // 5
        draw.line((left, y, right, y), fill=(210, 210, 210), width=3)
    for index in range(12):
        x = left + 40 + (right - left - 60) * index // 12
        size = rng.randrange(100, 900)
        draw.rectangle((x, bottom - size, x + 90, bottom), fill=(120, 170, 220))
    for phase, colour in ((0.0, (200, 60, 50)), (1.3, (40, 140, 70))):
        points = [
            (x, bottom - 450 - 300 * math.sin(x / 260 + phase) - 0.08 * x)
            for x in range(left, right, 9)
        ]
        draw.line(points, fill=colour, width=7)
    draw.line((left, top, left, bottom, right, bottom), fill="black", width=4)
    picture = big.resize((width, height), Image.Resampling.BOX)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    for index in range(6):
        y = (bottom - (bottom - top) * index // 5) // 3
        draw.text((26, y - 8), f"{index * 200}", "black", font)
    for index in range(12):
        x = (left + 40 + (right - left - 60) * index // 12) // 3
        draw.text((x + 8, bottom // 3 + 8), f"{index + 1}", "black", font)
    draw.text((width // 3, 8), "Bytes a month, and what they should be", "black", font)
    return picture


def draw_terminal(width: int = 800, height: int = 480, seed: int = 3) -> Image.Image:
    """A terminal: lines of a listing on black, in four colours, with smooth letters."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (width, height), (16, 18, 24))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    colours = ((200, 204, 210), (120, 200, 120), (110, 160, 240), (230, 180, 90))
    for line in range(height // 16):
        y = 3 + 16 * line
        draw.text((8, y), "-rw-r--r--", colours[0], font)
        draw.text((90, y), f"{rng.randrange(1, 10**6):>8}", colours[3], font)
        draw.text(
            (170, y), f"{rng.randrange(1, 29):02} Nov {rng.randrange(24):02}:15", colours[0], font
        )
        draw.text(
            (280, y), "-".join(rng.choices(WORDS, k=rng.randrange(1, 5))), rng.choice(colours), font
        )
    return picture


def draw_diagram(width: int = 720, height: int = 540, seed: int = 4) -> Image.Image:
    """Boxes with names, rounded and shaded, and arrows between them; edges are smooth."""
    rng = random.Random(seed)
    big = Image.new("RGB", (width * 2, height * 2), (250, 250, 247))
    draw = ImageDraw.Draw(big)
    places = [(60 + 450 * (i % 3), 60 + 340 * (i // 3)) for i in range(9)]
    for _ in range(12):
        (x, y), (u, v) = rng.sample(places, 2)
        draw.line((x + 140, y + 70, u + 140, v + 70), fill=(90, 90, 90), width=4)
    fills = ((214, 232, 250), (222, 245, 214), (250, 232, 210))
    for index, (x, y) in enumerate(places):
        draw.rounded_rectangle((x + 8, y + 8, x + 298, y + 158), 30, fill=(205, 205, 200))
        draw.rounded_rectangle(
            (x, y, x + 290, y + 150), 30, fill=fills[index % 3], outline=(60, 60, 60), width=4
        )
    picture = big.resize((width, height), Image.Resampling.BOX)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    for x, y in places:
        draw.text((x // 2 + 14, y // 2 + 14), _sentence(rng, 2), (20, 20, 20), font)
        draw.text((x // 2 + 14, y // 2 + 36), _sentence(rng, 2), (90, 90, 90), font)
    return picture


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "window": lambda: draw_window(640, 400, smooth=True),
    "window-sharp": lambda: draw_window(640, 400, smooth=False),
    "window-large": lambda: draw_window(1920, 1080, smooth=True),
    "chart": draw_chart,
    "terminal": draw_terminal,
    "diagram": draw_diagram,
}


def main() -> None:
    """Draw them all into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        draw().save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
