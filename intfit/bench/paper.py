"""The INT paper's tables (Zhang et al., ICML 2024), repeated beside the published figures.

Two comparisons: full batches against greedy INT at equal steps, which are the paper's; and, which
the paper does not have, uniform draws of small batches in the seconds that INT took.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import soxr

from ..api import prepare
from ..codecs.protocol import Follow, Prepared, ignore_progress
from ..defaults import MEDIUM_DEFAULTS
from ..errors import MediaError, UsageError
from ..media import audio, image, sniff
from ..media.pixels import read_pixels
from ..settings import Settings
from . import synthetic
from .teachers import BASELINE, Run, halve, run_teacher

#: A table: image, audio, megapixel or shape; and the scale it is repeated at: small or full.
Part = str
Scale = str

#: Kodak, 5000 steps of a SIREN of 256 x 5: schedule, seconds, PSNR (dB).
SCHEDULES = {
    "full": (345.2, 35.95),
    "cosine+dense": (337.0, 36.39),
    "cosine+incremental": (227.8, 36.61),
    "step+dense": (468.0, 36.84),
    "step+incremental": (211.0, 37.04),
    "reverse-cosine+decremental": (225.3, 33.56),
}
#: Published seconds and quality (dB; of shapes IoU), without INT and with it.
PUBLISHED: dict[Part, tuple[tuple[float, float], tuple[float, float]]] = {
    "image": ((345.0, 36.09), (211.0, 36.97)),
    "audio": ((23.05, 48.38), (15.76, 48.15)),
    "megapixel": ((16_800.0, 31.82), (11_900.0, 33.01)),
    "shape": ((144.6, 0.9707), (93.2, 0.9668)),
}
#: The schedules that are best in the paper.
INT = "step+incremental"
#: The best ones where each step has a new pool: a selection is then of no use to the next step.
POOLED = "step+dense"


@dataclass(frozen=True)
class Size:
    """The size of a table's fit: network, steps, and examples in a pool (None: all)."""

    width: int
    depth: int
    steps: int
    pool: int | None


#: ``full`` is the paper's; ``small`` has its proportions in a few minutes on two cores.
SIZES: dict[Scale, dict[Part, Size]] = {
    "small": {
        "image": Size(64, 5, 400, None),
        "audio": Size(64, 5, 400, None),
        "megapixel": Size(64, 5, 160, 1 << 16),
        "shape": Size(48, 5, 500, 1 << 14),
    },
    "full": {
        "image": Size(256, 5, 5000, None),
        "audio": Size(256, 5, 5000, None),
        "megapixel": Size(512, 5, 12_800, 1 << 19),
        "shape": Size(256, 5, 5000, 50_000),
    },
}
#: The most pixels of a picture at the small scale; the fewest of one for the megapixel table.
SMALL_PIXELS, LARGE_PIXELS = 1 << 15, 1 << 18
#: Length and sample rate (Hz) of the paper's recordings.
SECONDS, RATE = 2.0, 16_000
#: The side, in pixels, of the synthetic picture for the megapixel table.
SIDE: dict[Scale, int] = {"small": 1024, "full": 8192}


#: The table that a file of each kind is for.
PARTS: dict[str, Part] = {"image": "image", "audio": "audio", "mesh": "shape"}


def collect_inputs(files: Mapping[str, bytes], scale: Scale) -> dict[Part, tuple[str, bytes]]:
    """Name and bytes of each table's input: from ``files`` by name, or else synthetic.

    A large picture serves two tables: as it is, and reduced to the size of the small scale.

    Raises:
        IntfitError: for a file that cannot be read, or a second of its kind.
    """
    inputs: dict[Part, tuple[str, bytes]] = {}
    for name, data in files.items():
        part = PARTS[sniff(data, Path(name).suffix)]
        if part in inputs:
            raise UsageError(f"{name!r} is a second file of its kind: give one of each")
        inputs[part] = (name, data)
        if part == "image" and _count_pixels(data) >= LARGE_PIXELS:
            inputs["megapixel"] = (name, data)
    if "image" in inputs:
        name, data = inputs["image"]
        while scale == "small" and _count_pixels(data) > SMALL_PIXELS:
            data = halve(data)
        inputs["image"] = (name, data)
    else:
        sides = (192, 128) if scale == "small" else (768, 512)
        inputs["image"] = ("a synthetic picture", synthetic.make_picture(*sides))
    if "megapixel" not in inputs:
        side = SIDE[scale]
        inputs["megapixel"] = ("a synthetic picture", synthetic.make_picture(side, side))
    if "audio" in inputs:
        name, data = inputs["audio"]
        inputs["audio"] = (name, _loudest_excerpt(data))
    else:
        inputs["audio"] = ("a synthetic recording", synthetic.make_recording(SECONDS))
    inputs.setdefault("shape", ("a synthetic surface", synthetic.make_surface()))
    return inputs


def _count_pixels(data: bytes) -> int:
    return image.count_samples(read_pixels(data)[1])


def _loudest_excerpt(data: bytes) -> bytes:
    """The loudest :data:`SECONDS` of a recording, mono at :data:`RATE`, as a WAV.

    Raises:
        MediaError: if it cannot be read, or has no samples.
    """
    values, facts = audio.read_samples(data)
    if not len(values):
        raise MediaError("a recording of zero length has nothing to fit")
    wave = soxr.resample(values.mean(axis=1), facts["sample_rate"], RATE)
    length = round(SECONDS * RATE)
    starts = range(0, max(1, len(wave) - length), RATE // 2)
    start = max(starts, key=lambda first: float((wave[first : first + length] ** 2).sum()))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave[start : start + length], RATE, "FLOAT", format="WAV")
    return buffer.getvalue()


def prepare_input(
    source: tuple[str, bytes], part: Part, scale: Scale, settings: Settings
) -> Prepared:
    """Read the ``source`` (name and bytes) of a table, and choose the table's network for it.

    Raises:
        IntfitError: if it cannot be fitted.
    """
    size = SIZES[scale][part]
    settings = replace(
        settings, field="siren", profile="open", width=size.width, depth=size.depth,
        steps=size.steps,
        # the first layer of pictures begins as in the paper
        omega_first=None if part == "audio" else MEDIUM_DEFAULTS["image"].omega_first,
    )  # fmt: skip
    name, data = source
    return prepare(data, settings, suffix=Path(name).suffix)


#: A clock: returns the seconds since some moment.
Now = Callable[[], float]


def train_for_steps(
    prepared: Prepared,
    name: str,
    part: Part,
    scale: Scale,
    *,
    now: Now = time.monotonic,
    follow: Follow = ignore_progress,
) -> Run:
    """Fit ``prepared`` with the teacher called ``name``, with the table's steps and pools."""
    pool = SIZES[scale][part].pool
    extra_settings: dict[str, Any] = {}
    if pool is not None:
        extra_settings["batch"] = pool
        if name == "full":  # the signal is too large for one batch: all of a pool, then the next
            name = "constant+dense"
            extra_settings["ratio"] = 1.0
    seed = prepared.settings.seed
    return run_teacher(
        prepared, name, seed=seed, parts=1, now=now, extra_settings=extra_settings, follow=follow
    )


def train_for_seconds(
    prepared: Prepared,
    seconds: float,
    *,
    now: Now = time.monotonic,
    follow: Follow = ignore_progress,
) -> Run:
    """Fit ``prepared`` by uniform draws of small batches in so many ``seconds``."""
    settings = replace(prepared.settings, steps=None, max_time=max(0.1, seconds))
    prepared = replace(prepared, settings=settings)
    return run_teacher(prepared, BASELINE, seed=settings.seed, parts=1, now=now, follow=follow)


def run_schedules(
    prepared: Prepared,
    scale: Scale,
    *,
    now: Now = time.monotonic,
    follow: Follow = ignore_progress,
) -> Iterator[Run]:
    """Fit by every published schedule, then by uniform draws in INT's seconds: the image table."""
    seconds = 0.0
    for name in SCHEDULES:
        run = train_for_steps(prepared, name, "image", scale, now=now, follow=follow)
        seconds = run.end.seconds if name == INT else seconds
        yield run
    yield train_for_seconds(prepared, seconds, now=now, follow=follow)


def run_modality(
    prepared: Prepared,
    part: Part,
    scale: Scale,
    *,
    now: Now = time.monotonic,
    follow: Follow = ignore_progress,
) -> tuple[Run, Run, Run]:
    """Fit without INT and with it at equal steps, and by uniform draws in INT's seconds."""
    best = INT if SIZES[scale][part].pool is None else POOLED
    without, with_int = (
        train_for_steps(prepared, name, part, scale, now=now, follow=follow)
        for name in ("full", best)
    )
    return (
        without,
        with_int,
        train_for_seconds(prepared, with_int.end.seconds, now=now, follow=follow),
    )
