"""Scores that agree with what people see and hear. A leaf: NumPy in, floats out.

Three of them are other packages': without these they are None, and :func:`group_missing` says what
to install.
"""

import importlib.util
import io
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: The package that each score needs, and how to get it.
PACKAGES = {"ssimulacra2": "ssimulacra2", "zimtohrli": "zimtohrli", "visqol": "visqol"}
_IN_BENCH = "pip install 'intfit[bench]'"
REMEDIES = {
    "ssimulacra2": _IN_BENCH,
    "zimtohrli": _IN_BENCH,
    "visqol": "pip install 'intfit[visqol]', which needs a C++ compiler",
}

#: The exponents of the five scales of MS-SSIM (Wang et al. 2003, section 4).
SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: The width of SSIM's Gaussian window, and its standard deviation, in pixels.
WINDOW, SIGMA = 11, 1.5

#: SSIMULACRA2 is not defined for pictures with a side below this, in pixels.
SMALLEST_SIDE = 8
#: Pictures of more pixels than this are scored in bands of rows: the package takes some 400 bytes
#: for each pixel.
BAND = 1 << 22
#: The shades of grey, of 1, that SSIMULACRA2 puts a transparent picture on; the worse score counts.
BACKGROUNDS = (0.1, 0.9)

#: The sample rate that Zimtohrli and ViSQOL are defined for, in Hz.
HEARING_RATE = 48000
#: The shortest recording, in samples at that rate. Zimtohrli, which fails on some that are shorter,
#: hears silence after them; ViSQOL would take that for most of what there is to hear.
SHORTEST = 48000
#: The largest sample that they are given, of 1: Zimtohrli ends the program on absurd ones.
LOUDEST = 16.0
#: ViSQOL takes about a second for each second of a channel, and is meant for some 5 to 10: of
#: recordings longer than :data:`LISTENED` seconds it hears :data:`STRETCHES` parts, evenly spread,
#: that are as long together.
LISTENED, STRETCHES = 15, 3


def list_missing(scores: Iterable[str]) -> list[str]:
    """Those of the ``scores`` whose package is not installed."""
    return [
        score
        for score in scores
        if score in PACKAGES and importlib.util.find_spec(PACKAGES[score]) is None
    ]


def group_missing(scores: Iterable[str]) -> dict[str, list[str]]:
    """The same, by what is to be installed for them."""
    groups: dict[str, list[str]] = {}
    for score in list_missing(scores):
        groups.setdefault(REMEDIES[score], []).append(score)
    return groups


def _blur(plane: Array) -> Array:
    """``[H, W]`` under SSIM's window, where that fits: ``[H - 10, W - 10]``."""
    from scipy.ndimage import correlate1d

    half = WINDOW // 2
    taps = np.exp(-0.5 * np.square(np.arange(-half, half + 1) / SIGMA))
    taps /= taps.sum()
    down = correlate1d(plane, taps, axis=0)[half:-half]
    return np.asarray(correlate1d(down, taps, axis=1)[:, half:-half])


def _halve(plane: Array) -> Array:
    """The means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    blocks = plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _ms_ssim_of_plane(reference: Array, decoded: Array, peak: float) -> float:
    """MS-SSIM of ``[H, W]`` planes."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    result = 1.0
    for scale, exponent in enumerate(SCALE_EXPONENTS):
        if scale:
            reference, decoded = _halve(reference), _halve(decoded)
        mean1, mean2 = _blur(reference), _blur(decoded)
        variances = _blur(reference**2) - mean1**2 + _blur(decoded**2) - mean2**2
        covariance = _blur(reference * decoded) - mean1 * mean2
        similarity = (2 * covariance + c2) / (variances + c2)  # contrast and structure
        if scale == len(SCALE_EXPONENTS) - 1:
            similarity = similarity * (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
        result *= max(float(similarity.mean()), 0.0) ** exponent
    return result


def ms_ssim(reference: Array, decoded: Array, *, peak: float) -> float | None:
    """Multi-scale structural similarity of ``[H, W, C]`` images, 0 to 1 (Wang et al. 2003).

    Five scales, each half of the one before; Gaussian windows of 11 x 11, only where they fit. The
    mean over channels. None where a side is below 176 pixels, which leaves no window at the
    coarsest scale.
    """
    if min(reference.shape[:2]) < WINDOW << (len(SCALE_EXPONENTS) - 1):
        return None
    channels = np.moveaxis(reference, 2, 0), np.moveaxis(decoded, 2, 0)
    values = [
        _ms_ssim_of_plane(one.astype(np.float64), two.astype(np.float64), peak)
        for one, two in zip(*channels, strict=True)
    ]
    return float(np.mean(values))


def _on_background(image: Array, grey: float) -> Array:
    """``[H, W, 3]``, 8 bits, of ``[H, W, C]`` in 0..1 with an alpha channel where C is even."""
    colours = image
    if image.shape[2] in (2, 4):
        alpha = image[..., -1:]
        colours = image[..., :-1] * alpha + grey * (1 - alpha)
    levels = np.round(colours.clip(0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:2], 3))


def _as_file(pixels: Array) -> io.BytesIO:
    """8-bit pixels ``[H, W, 3]`` as an uncompressed file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PPM")
    buffer.seek(0)
    return buffer


def ssimulacra2(reference: Array, decoded: Array, *, low: float, high: float) -> float | None:
    """SSIMULACRA2 of ``[H, W, C]`` images in ``low`` to ``high``: 100 is identical, 70 good.

    30 is poor, and negative is worse (Sneyers 2023, as the package ``ssimulacra2`` has it). Values
    are sRGB, rounded to 8 bits; a transparent picture is put on dark and on light grey, and the
    worse score counts. A picture of more than :data:`BAND` pixels is scored in bands of rows, and
    the mean taken. None where a side is below :data:`SMALLEST_SIDE`, or the package is missing.
    """
    if min(reference.shape[:2]) < SMALLEST_SIDE or list_missing(["ssimulacra2"]):
        return None
    from ssimulacra2 import compute_ssimulacra2

    unit = [(image.astype(np.float64) - low) / (high - low) for image in (reference, decoded)]
    count = -(-reference.shape[0] * reference.shape[1] // BAND)
    scores = []
    for grey in BACKGROUNDS[: 2 if reference.shape[2] in (2, 4) else 1]:
        bands = (np.array_split(_on_background(image, grey), count) for image in unit)
        pairs = list(zip(*bands, strict=True))
        values = [compute_ssimulacra2(_as_file(one), _as_file(two)) for one, two in pairs]
        scores.append(np.average(values, weights=[len(one) for one, _ in pairs]))
    return float(min(scores))


def zimtohrli(reference: Array, decoded: Array, *, rate: int) -> float | None:
    """The opinion that listeners would have of ``decoded``, 1 (bad) to 5 (no difference).

    Zimtohrli (Alakuijala et al. 2025, package ``zimtohrli``) of ``[N, C]`` recordings in -1..1,
    resampled to 48 kHz, not shifted and as loud as they are: a sine at full scale counts as 80 dB
    SPL. Each channel is heard for itself; the score is that of the channels' mean distance. None
    where the package is missing, or samples are beyond :data:`LOUDEST`.
    """
    if not _is_sane(reference, decoded) or list_missing(["zimtohrli"]):
        return None
    from zimtohrli import Pyohrli, mos_from_zimtohrli

    ear = Pyohrli()
    distances = [ear.distance(*pair) for pair in _hear(reference, decoded, rate)]
    return float(mos_from_zimtohrli(float(np.mean(distances))))


def _is_sane(reference: Array, decoded: Array) -> bool:
    """Whether all samples are numbers, and none is beyond :data:`LOUDEST`."""
    loudest = [float(np.abs(values).max(initial=0)) for values in (reference, decoded)]
    return all(value <= LOUDEST for value in loudest)


def _hear(reference: Array, decoded: Array, rate: int) -> list[tuple[Array, Array]]:
    """Each channel of both recordings ``[N, C]``, resampled, with silence after a short one."""
    import soxr

    pairs = []
    for pair in zip(reference.T, decoded.T, strict=True):
        one, two = (soxr.resample(np.asarray(c, np.float32), rate, HEARING_RATE) for c in pair)
        silence = max(0, SHORTEST - len(one))
        pairs.append((np.pad(one, (0, silence)), np.pad(two, (0, silence))))
    return pairs


@lru_cache(maxsize=1)
def _load_visqol() -> Any:
    """ViSQOL in its mode for audio, which takes a second to load."""
    from visqol.api import VisqolApi

    ear = VisqolApi()
    ear.create(mode="audio")
    return ear


def visqol(reference: Array, decoded: Array, *, rate: int) -> float | None:
    """The opinion that listeners would have of ``decoded``, 1 (bad) to 4.73 (no difference).

    ViSQOL 3 (Chinen et al. 2020, as the package ``visqol-python`` has it) in its mode for audio, of
    ``[N, C]`` recordings in -1..1, resampled to 48 kHz: the mean over channels, of a long recording
    over :data:`STRETCHES` parts, too. Silence, of which it knows nothing, is left out where it is
    the original's, and has the worst score where it is not. None where the package is missing,
    samples are beyond :data:`LOUDEST`, or what is left is shorter than a second.
    """
    if not _is_sane(reference, decoded) or list_missing(["visqol"]):
        return None
    if len(reference) * HEARING_RATE < SHORTEST * rate:
        return None
    scores = []
    for part in _choose_stretches(len(reference), rate):
        for one, two in _hear(reference[part], decoded[part], rate):
            if not one.any():
                continue
            with np.errstate(all="ignore"):  # it divides by the energy of what may be silence
                score = float(_load_visqol().measure_from_arrays(one, two, HEARING_RATE).moslqo)
            scores.append(score if math.isfinite(score) else 1.0)
    return float(np.mean(scores)) if scores else None


def _choose_stretches(frames: int, rate: int) -> list[slice]:
    """The parts of a recording that ViSQOL hears: all, or :data:`STRETCHES` of a long one."""
    length = LISTENED * rate // STRETCHES
    if frames <= LISTENED * rate:
        return [slice(0, frames)]
    starts = [(frames - length) * i // (STRETCHES - 1) for i in range(STRETCHES)]
    return [slice(start, start + length) for start in starts]
