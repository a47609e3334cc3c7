"""What is refined of a picture, and where: its colours, and a large one in tiles with a frame."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ....coding.tensors import Tensors
from ....signals import Floats
from ....training.loop import Progress
from ..config import ORIENTATIONS, WaveletConfig
from ..payload import Quantised
from ..transform import synthesise_low_band
from .refined import COLOURS, Refined
from .refinement import Part, refine

#: Pictures of more pixels are refined in tiles, of about so many pixels a side. Latents of the
#: coarser levels of a tile stay as they are.
WHOLE_PIXELS, TILE, TILE_LEVELS = 1 << 21, 768, 5
#: Pixels around a tile that are compared, too, and whose latents stay as they are.
FRAME = 1 << TILE_LEVELS
#: The fewest seconds in which anything is refined.
FEWEST_SECONDS = 0.3


@dataclass(frozen=True)
class _Side:
    """What a tile takes of a side: pixels ``first`` to ``last``, of which some are its frame."""

    first: int
    last: int
    before: int
    after: int


def refine_picture(
    exact: Mapping[str, Floats],
    quantised: Quantised,
    tensors: Tensors,
    config: WaveletConfig,
    pixels: Floats,
    decoded: Floats,
    *,
    steps: int,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Refined:
    """Latents of a picture that look better than those that are ``quantised``, at equal bits.

    ``exact`` are the latents before quantisation, in the unit of ``pixels`` ``[H, W, C]``,
    ``tensors`` those that a file has, which decodes to ``decoded`` ``[H, W, C]``. Every tile is
    refined in as many ``steps``; where ``seconds`` are short, in fewer or not at all.
    """
    start = time.monotonic()
    latents = Refined.unchanged(quantised.levels).latents
    tiles = list(_split(config))
    refined, most = 0, 0
    for number, sides in enumerate(tiles):
        left = None
        if seconds is not None:
            left = (seconds - (time.monotonic() - start)) / (len(tiles) - number)
            if left < FEWEST_SECONDS:
                break
        part = _cut(exact, quantised, tensors, config, pixels, decoded, sides)
        report = None if on_progress is None else _report_of(on_progress, number, len(tiles), start)
        found = refine(part, steps=steps, seconds=left, on_progress=report)
        _put(latents, found, part, sides)
        refined += bool(found.steps)
        most = max(most, found.steps)
    return Refined(latents, most, refined / len(tiles))


def _report_of(
    on_progress: Callable[[Progress], None], number: int, count: int, start: float
) -> Callable[[Progress], None]:
    """Progress of a tile as that of the whole picture."""

    def report(progress: Progress) -> None:
        fraction = (number + progress.fraction) / count
        elapsed = time.monotonic() - start
        step = round(progress.step * fraction / max(progress.fraction, 1e-9))
        on_progress(Progress(step, fraction, elapsed, progress.distortion, progress.ratio))

    return report


def _split(config: WaveletConfig) -> Iterator[tuple[_Side, _Side]]:
    """The tiles of a picture, row by row: one where it is no larger than a tile."""
    if config.height * config.width <= WHOLE_PIXELS or config.levels() < TILE_LEVELS:
        yield _Side(0, config.height, 0, 0), _Side(0, config.width, 0, 0)
        return
    for down in _split_side(config.height):
        for across in _split_side(config.width):
            yield down, across


def _split_side(length: int) -> list[_Side]:
    """About equal parts of a side, of whole multiples of what a latent of a tile stands for."""
    count = max(1, round(length / TILE))
    unit = 1 << TILE_LEVELS
    edges = [round(k * length / count / unit) * unit for k in range(count)] + [length]
    return [
        _Side(
            max(first - FRAME, 0),
            min(last + FRAME, length),
            min(FRAME, first),
            0 if last == length else FRAME,
        )
        for first, last in pairwise(edges)
    ]


def _cut(
    exact: Mapping[str, Floats],
    quantised: Quantised,
    tensors: Tensors,
    config: WaveletConfig,
    pixels: Floats,
    decoded: Floats,
    sides: tuple[_Side, _Side],
) -> Part:
    """The colours of a tile."""
    down, across = sides
    whole = (down.last - down.first, across.last - across.first) == (config.height, config.width)
    count, levels = COLOURS[config.channels], config.levels()
    if not whole:
        levels = min(levels, TILE_LEVELS)
    units = [config.latent_unit(level) for level in range(levels)]
    low = [synthesise_low_band(tensors, config, channel, finest=levels) for channel in range(count)]
    places = [_place(sides, level, count) for level in range(levels)]
    area = slice(down.first, down.last), slice(across.first, across.last)
    above = np.stack(low)[_place(sides, levels - 1, count)]
    *sixteenths, last = config.band_sixteenths()
    sixteenths = [*sixteenths[:levels], last]
    return Part(
        [
            [exact[f"levels.{level}.{name}"][place] / np.float32(unit) for name in ORIENTATIONS]
            for level, (place, unit) in enumerate(zip(places, units, strict=True))
        ],
        [
            [np.ascontiguousarray(band[place]) for band in bands]
            for bands, place in zip(quantised.levels, places, strict=False)
        ],
        units,
        sixteenths,
        above,
        (above / np.float32(config.coarsest_step())).round().astype(np.int64),
        np.ascontiguousarray(tensors["colours"][:count, :count]),
        np.ascontiguousarray(pixels[area][..., :count]),
        np.ascontiguousarray(decoded[area][..., :count]),
        _opacity(decoded[area], count),
        (down.before, down.after, across.before, across.after),
    )


def _opacity(decoded: Floats, count: int) -> Floats | None:
    """The opacity ``[h, w, 1]``, 0 to 1, behind so many colours of ``decoded`` ``[h, w, C]``."""
    if count == decoded.shape[-1]:
        return None
    return ((decoded[..., count:] + np.float32(1)) / np.float32(2)).clip(0, 1)


def _place(sides: tuple[_Side, _Side], level: int, count: int) -> tuple[slice, slice, slice]:
    """The latents of a tile in a band of a level, of so many channels."""
    octaves = level + 1
    down, across = (
        slice(side.first >> octaves, (side.last + (1 << octaves) - 1) >> octaves) for side in sides
    )
    return slice(count), down, across


def _put(
    latents: Sequence[Sequence[Floats]],
    found: Refined,
    part: Part,
    sides: tuple[_Side, _Side],
) -> None:
    """Put the latents of a tile, without its frame, where they belong."""
    top, bottom, left, right = part.frame
    for level, bands in enumerate(found.latents):
        place = _place(sides, level, bands[0].shape[0])
        for orientation, band in enumerate(bands):
            target = latents[level][orientation][place]
            height, width = band.shape[1:]
            inner = (
                slice(None),
                slice(top >> level + 1, height - (bottom >> level + 1)),
                slice(left >> level + 1, width - (right >> level + 1)),
            )
            target[inner] = band[inner]
