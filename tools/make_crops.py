"""Draw docs/results/crops.webp: parts of photographs beside the same in as many bytes of AVIF.

    python tools/make_crops.py docs/results/crops.webp kodim04.png:300,420 kodim08.png:120,180

Each part is 192 x 160 pixels from that place, x and y, on: the original, intfit at -q 20, and AVIF
(Pillow, speed 4) at the highest quality that takes no more bytes. The picture is written as WebP at
quality 95.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

import intfit

WIDTH, HEIGHT, GAP = 192, 160, 4
SETTINGS = intfit.Settings(quality=20)


def code_as_avif(picture: Image.Image, most: int) -> bytes:
    """AVIF of at most so many bytes."""
    best = b""
    for quality in range(1, 90):
        buffer = io.BytesIO()
        picture.save(buffer, "AVIF", quality=quality, speed=4)
        if buffer.tell() > most:
            break
        best = buffer.getvalue()
    return best


def draw_row(path: Path, x: int, y: int) -> np.ndarray:
    """A part of the original, of intfit's and of AVIF's picture, side by side."""
    original = Image.open(path).convert("RGB")
    ours = intfit.encode(path, SETTINGS).data
    theirs = code_as_avif(original, len(ours))
    print(f"{path.name}: intfit {len(ours)} B, AVIF {len(theirs)} B")
    pictures = (
        original,
        Image.open(io.BytesIO(intfit.decode(ours).data)),
        Image.open(io.BytesIO(theirs)),
    )
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    parts = [np.asarray(p.convert("RGB").crop((x, y, x + WIDTH, y + HEIGHT))) for p in pictures]
    return np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)


def main() -> None:
    """Draw the rows and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("parts", nargs="+", metavar="FILE:X,Y")
    options = parser.parse_args()
    rows: list[np.ndarray] = []
    for part in options.parts:
        name, _, place = part.rpartition(":")
        x, y = map(int, place.split(","))
        row = draw_row(Path(name), x, y)
        rows += [np.full((GAP, row.shape[1], 3), 255, np.uint8), row]
    picture = np.concatenate(rows[1:])
    Image.fromarray(picture).save(options.output, quality=95, method=6)


if __name__ == "__main__":
    main()
