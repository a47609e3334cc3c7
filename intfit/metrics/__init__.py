"""How far a decoded medium is from its original. A leaf: NumPy in, floats out."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Reported for identical signals, whose PSNR and SNR are infinite: JSON has no infinity.
IDENTICAL_DB = 120.0
#: Samples that are compared at once.
PART = 1 << 20
#: Frames of a spectrogram that are held at once: 16 MB each of a 2048 window.
BLOCK = 1 << 10


def decibels(power: float, error: float) -> float:
    """10 log10(power / error), bounded to +-:data:`IDENTICAL_DB`."""
    if error <= 0:
        return IDENTICAL_DB
    if power <= 0:
        return -IDENTICAL_DB
    return max(-IDENTICAL_DB, min(IDENTICAL_DB, 10 * math.log10(power / error)))


def psnr(reference: Array, decoded: Array, *, peak: float) -> float:
    """Peak signal-to-noise ratio in dB over all samples and channels of equal-shaped arrays.

    ``peak`` is the span of the sample values (255 for 8 bits).
    """
    total, rows = 0.0, max(1, PART * len(reference) // max(1, reference.size))
    for first in range(0, len(reference), rows):  # a large picture would take gigabytes at once
        part = slice(first, first + rows)
        difference = reference[part].astype(np.float64) - decoded[part].astype(np.float64)
        total += float(np.square(difference).sum())
    return decibels(peak * peak, total / reference.size)


def snr(
    reference: Array, decoded: Array, *, low: float = -math.inf, high: float = math.inf
) -> float:
    """Signal-to-noise ratio in dB over all samples and channels of equal-shaped arrays.

    What is ``decoded`` is clipped to ``low`` .. ``high``.
    """
    power, noise = 0.0, 0.0
    for start in range(0, len(reference), PART):  # float64 takes twice the memory
        part = reference[start : start + PART].astype(np.float64)
        power += float(np.square(part).sum())
        noise += float(np.square(part - decoded[start : start + PART].clip(low, high)).sum())
    return decibels(power, noise)


def quality(metric: str, outputs: Array, targets: Array) -> float:
    """The PSNR, SNR or IoU of ``outputs`` ``[B, c]`` against ``targets`` ``[B, c]`` in [-1, 1]."""
    if metric == "snr":
        return snr(targets, outputs, low=-1, high=1)
    decoded = outputs.clip(-1, 1)
    if metric == "psnr":
        return psnr(targets, decoded, peak=2.0)
    return iou(targets < 0, decoded < 0)


def ssim(reference: Array, decoded: Array, *, peak: float) -> float | None:
    """Structural similarity (Wang et al. 2004, Gaussian window, sigma 1.5) of ``[H, W, C]`` images.

    The mean over channels; None where the image is smaller than the 11 x 11 window.
    """
    from skimage.metrics import structural_similarity

    if min(reference.shape[:2]) < 11:
        return None
    value = structural_similarity(
        reference.astype(np.float64),
        decoded.astype(np.float64),
        channel_axis=2,
        data_range=peak,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def log_spectral_distance(reference: Array, decoded: Array, *, window: int = 2048) -> float:
    """Log-spectral distance in dB between ``[N, C]`` recordings: lower is closer.

    The root mean square, over frequency, of the difference of the log power spectra (Hann window,
    75 % overlap, floored 100 dB below the loudest bin of the reference), averaged over frames and
    channels (Gray and Markel 1976). It hears hiss that the SNR does not.
    """
    from scipy.signal import ShortTimeFFT, get_window

    window = min(window, len(reference))
    stft = ShortTimeFFT(get_window("hann", window), hop=max(1, window // 4), fs=1.0)
    first, last = stft.p_min, stft.p_max(len(reference))
    blocks = [(p, min(p + BLOCK, last)) for p in range(first, last, BLOCK)]
    loudest, total, count = 0.0, 0.0, 0

    def power(channel: Array, block: tuple[int, int]) -> Array:
        return np.asarray(np.square(np.abs(stft.stft(channel.astype(np.float64), *block))))

    for channel in reference.T:
        loudest = max(loudest, *(float(power(channel, block).max()) for block in blocks))
    floor = max(loudest * 1e-10, 1e-30)
    for channels in zip(reference.T, decoded.T, strict=True):
        for block in blocks:
            logs = [10 * np.log10(np.maximum(power(c, block), floor)) for c in channels]
            distances = np.sqrt(np.mean(np.square(logs[0] - logs[1]), axis=0))
            total, count = total + float(distances.sum()), count + distances.size
    return total / count


def bd_rate(
    rates: list[float], qualities: list[float], other_rates: list[float], others: list[float]
) -> float | None:
    """The rate of the second curve over that of the first at equal quality, less 1, in percent.

    Bjontegaard's delta rate: the mean difference of log rates over the qualities both reach, each
    curve interpolated by piecewise cubics that keep it monotone (PCHIP). Both curves rise. None
    where they share no quality, or one has fewer than two points.
    """
    from scipy.interpolate import PchipInterpolator

    if min(len(qualities), len(others)) < 2:
        return None
    low, high = max(qualities[0], others[0]), min(qualities[-1], others[-1])
    if not low < high:
        return None
    areas = [
        float(PchipInterpolator(q, np.log(r)).integrate(low, high))
        for q, r in ((qualities, rates), (others, other_rates))
    ]
    return 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)


def iou(reference: Array, decoded: Array) -> float:
    """Intersection over union of two boolean occupancies of the same points; 1 if both empty."""
    union = int(np.count_nonzero(reference | decoded))
    return int(np.count_nonzero(reference & decoded)) / union if union else 1.0
