"""Measure which kernel interpolates best, and in which colours latents take the fewest bytes.

    python tools/measure_latents.py kodim04.png kodim20.png --learn PHOTO...

Kernels: each picture is reduced, by box averages and by a Lanczos filter (nobody knows what a
camera did), interpolated back to where its pixels were, and compared with them: as it is, and once
it was encoded. Prints the PSNR (dB) and, of grey, the SSIM, over all grids and on each; and how far
a kernel overshoots at a step. With ``--learn``, one is fitted to those photographs, too.

Colours: each picture is encoded in its principal colours and in fixed ones, at the same steps.
Prints the BD-rate of the latter against the former (PSNR of RGB): above 0, the principal ones win.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_array

import intfit
from intfit import metrics
from intfit.api import Encoded
from intfit.codecs import channels
from intfit.codecs.wavelet import codec
from intfit.codecs.wavelet.config import WaveletConfig

Array = NDArray[np.float64]
#: Weights ``[B, 2 * reach]`` of the samples around positions ``[B]`` past those left of them.
Kernel = Callable[[Array], Array]
#: Weights ``[B, size]`` of all samples of an axis at positions ``[B]`` on it.
Axis = Callable[[Array, int], csr_array]

#: How pictures are reduced: native pixels a pixel, and how far the grid is moved.
GRIDS = {"2": (2.0, 0.0), "3": (3.0, 0.0), "1.7": (1.7, 0.0), "2, moved": (2.0, 0.6)}
#: Qualities that reduced pictures are encoded at, if at all; and pictures in other colours.
CODED, QUALITIES = (None, 50, 20), (5, 20, 35, 50)
#: Pixels at the edges that are not compared.
MARGIN = 8
#: The learned kernel: taps either side, polynomials of each, the square it learns from, rounds.
REACH, DEGREE, SQUARE, ROUNDS = 3, 3, 256, 3
#: Fixed colours: what red, green and blue are of each.
COLOURS = {
    "YCoCg": [[1, 1, 1], [1, 0, -1], [-1, 1, -1]],
    "YCbCr": [[1, 1, 1], [0, -0.344136, 1.772], [1.402, -0.714136, 0]],
    "orthonormal": [[1, 1, 1], [1, 0, -1], [-1, 2, -1]],
}


def axis(kernel: Kernel) -> Axis:
    """A kernel on samples that are mirrored at the edges."""

    def weights(positions: Array, size: int) -> csr_array:
        base = np.floor(positions)
        taps = kernel(positions - base)
        reach = taps.shape[1] // 2
        columns = base.astype(int)[:, None] + np.arange(1 - reach, reach + 1)
        columns = np.where(columns < 0, -1 - columns, columns)
        columns = np.where(columns >= size, 2 * size - 1 - columns, columns)
        rows = np.repeat(np.arange(len(positions)), 2 * reach)
        return csr_array((taps.ravel(), (rows, columns.ravel())), (len(positions), size))

    return weights


def sampled(function: Callable[[Array], Array], reach: int) -> Axis:
    """A kernel from a function of the distance."""

    def kernel(t: Array) -> Array:
        weights = function(np.abs(t[:, None] - np.arange(1 - reach, reach + 1)))
        return weights / weights.sum(axis=1, keepdims=True)

    return axis(kernel)


def cubic(b: float, c: float) -> Axis:
    """The cubics of Mitchell and Netravali (1988)."""

    def function(x: Array) -> Array:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 - (12 * b + 48 * c) * x + 8 * b + 24 * c
        return np.where(x < 1, near, far)

    return sampled(function, 2)


def lanczos(x: Array) -> Array:
    """The sinc of three lobes."""
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


def spline(positions: Array, size: int) -> csr_array:
    """The cubic spline through all samples (Unser, Aldroubi and Eden 1991)."""
    frame = 20
    wide = np.pad(np.eye(size), ((frame, frame), (0, 0)), mode="symmetric")
    places = np.meshgrid(positions + frame, np.arange(size), indexing="ij")
    return csr_array(map_coordinates(wide, places, order=3, mode="reflect"))


def terms(t: Array) -> Array:
    """What a learned kernel may have besides linear interpolation, ``[M, B, 2 * REACH]``.

    Nothing at the pixels; symmetric; of sum 0.
    """
    family = []
    for power in range(DEGREE):
        bump, sign = t * (1 - t) * (2 * t - 1) ** power, (-1) ** power
        for tap in range(power % 2 == 0, REACH):
            term = np.zeros((len(t), 2 * REACH))
            term[:, REACH + tap], term[:, REACH - 1 - tap] = bump, sign * bump
            if sign > 0:
                term[:, REACH - 1 : REACH + 1] = -bump[:, None]
            family.append(term)
    return np.stack(family)


def learned(factors: Array) -> Axis:
    """Linear interpolation and the terms, by their factors ``[M]``."""

    def kernel(t: Array) -> Array:
        weights = np.tensordot(factors, terms(t), 1)
        weights[:, REACH - 1] += 1 - t
        weights[:, REACH] += t
        return weights

    return axis(kernel)


@dataclass(frozen=True)
class Reduction:
    """How an axis is reduced, ``[n, size]``, and where its pixels are on the reduced one."""

    weights: Array
    positions: Array

    @staticmethod
    def of(size: int, scale: float, moved: float, smooth: bool) -> "Reduction":
        count = round(size / scale) if moved == 0 else int((size - moved) / scale)
        scale = size / count if moved == 0 else scale
        middles = moved + (np.arange(count)[:, None] + 0.5) * scale
        edges = np.arange(size + 1.0)
        if smooth:
            weights = lanczos(np.abs(middles - edges[:-1] - 0.5) / scale)
        else:
            weights = np.diff(edges.clip(middles - scale / 2, middles + scale / 2), axis=1)
        weights /= weights.sum(axis=1, keepdims=True)
        return Reduction(weights, (edges[:-1] + 0.5 - moved) / scale - 0.5)


def apply_along(rows: Array | csr_array, columns: Array | csr_array, values: Array) -> Array:
    """``[h, w, C]`` times a matrix along each axis."""
    for weights in (rows, columns):
        count, other, channels = weights.shape[0], *values.shape[1:]
        product = weights @ np.ascontiguousarray(values).reshape(len(values), -1)
        values = product.reshape(count, other, channels).swapaxes(0, 1)
    return values


def reduce(pixels: Array, grid: str, *, smooth: bool) -> tuple[Array, list[Reduction]]:
    """A picture ``[H, W, C]`` in whole numbers, and how its axes were reduced."""
    axes = [Reduction.of(size, *GRIDS[grid], smooth) for size in pixels.shape[:2]]
    return apply_along(axes[0].weights, axes[1].weights, pixels).clip(0, 255).round(), axes


def inner(values: Array) -> Array:
    """Without the edges."""
    return values[MARGIN:-MARGIN, MARGIN:-MARGIN]


def fit_kernel(photographs: Sequence[Path]) -> Array:
    """The factors of the kernel with the least squared error, the same along both axes.

    The weights down are fitted while those across are kept, and so in turns.
    """
    cases = []
    for path in photographs:
        grey = pixels_of(path, "L")[:, :, None]
        top, left = ((side - SQUARE) // 2 for side in grey.shape[:2])
        grey = grey[top : top + SQUARE, left : left + SQUARE]
        for grid in GRIDS:
            for smooth in (False, True):
                small, axes = reduce(grey, grid, smooth=smooth)
                cases += [(grey[..., 0], small[..., 0], axes[0].positions)]
                cases += [(grey[..., 0].T, small[..., 0].T, axes[0].positions)]
    count = len(terms(np.zeros(1)))
    factors = np.zeros(count)
    parts = [axis(lambda t, i=i: terms(t)[i]) for i in range(count)]
    for _ in range(ROUNDS):
        square, side = np.zeros((count, count)), np.zeros(count)
        for grey, small, positions in cases:
            size = len(small)
            lines = (learned(factors)(positions, size) @ small.T).T
            residual = inner(grey - learned(0 * factors)(positions, size) @ lines).ravel()
            predicted = np.stack([inner(part(positions, size) @ lines).ravel() for part in parts])
            square += predicted @ predicted.T
            side += predicted @ residual
        factors = np.linalg.solve(square, side)
    return factors


def pixels_of(path: Path, mode: str = "RGB") -> Array:
    """A picture's pixels, from 0 to 255."""
    with Image.open(path) as image:
        return np.asarray(image.convert(mode), np.float64)


def encode(pixels: Array, quality: float) -> Encoded:
    """The file of a picture without post-filters: the shared one is for principal colours only."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    settings = intfit.Settings(field="latent", effort=2, quality=quality)
    with mock.patch.object(WaveletConfig, "can_share_network", return_value=False):
        return intfit.encode(buffer.getvalue(), settings)


def recode(pixels: Array, quality: float | None) -> Array:
    """A picture ``[H, W, C]`` encoded at ``quality`` and decoded; as it is for None."""
    if quality is None:
        return pixels
    return (
        intfit.load(encode(pixels, quality).data).evaluate.samples.astype(np.float64) + 1
    ) * 127.5


def compare_kernels(paths: Sequence[Path], photographs: Sequence[Path]) -> None:
    """Print how close to the original each kernel comes."""
    kernels = {
        "bilinear": sampled(lambda x: np.maximum(1 - x, 0), 1),
        "Mitchell": cubic(1 / 3, 1 / 3),
        "Catmull-Rom": cubic(0, 0.5),
        "cubic spline": spline,
        "Lanczos 3": sampled(lanczos, 3),
    }
    if photographs:
        kernels["learned"] = learned(fit_kernel(photographs))
    scores_of: dict[tuple[str, float | None, str], list[tuple[float, float]]] = {}
    for path in paths:
        pixels = pixels_of(path)
        for grid in GRIDS:
            for smooth in (False, True):
                small, axes = reduce(pixels, grid, smooth=smooth)
                for quality in CODED:
                    samples = recode(small, quality)
                    for name, kernel in kernels.items():
                        weights = [
                            kernel(one.positions, size)
                            for one, size in zip(axes, small.shape, strict=False)
                        ]
                        large = inner(apply_along(*weights, samples).clip(0, 255).round())
                        pair = inner(pixels), large
                        greys = [each.mean(axis=2, keepdims=True) for each in pair]
                        scores = metrics.psnr(*pair, peak=255), metrics.ssim(*greys, peak=255)
                        scores_of.setdefault((name, quality, grid), []).append(scores)
    step, near = (np.arange(64) > 31).astype(float), np.arange(28, 36, 1 / 64)
    columns = [("as it is" if q is None else f"-q {q}", (q,), tuple(GRIDS)) for q in CODED]
    columns += [(f"/ {grid}", CODED, (grid,)) for grid in GRIDS]
    print(f"{'kernel':14}overshoot" + "".join(f"{title:>17}" for title, *_ in columns))
    for name, kernel in kernels.items():
        over = (kernel(near, 64) @ step).max() - 1
        line = f"{name:14}{100 * over:7.1f} %"
        for _, qualities, grids in columns:
            scores = [scores_of[name, quality, grid] for quality in qualities for grid in grids]
            psnr, ssim = np.mean(np.concatenate(scores), axis=0)
            line += f"{psnr:10.2f} {ssim:.4f}"
        print(line, flush=True)


def compare_colours(paths: Sequence[Path]) -> None:
    """Print what fixed colours cost."""
    print(f"{'colours':14}" + "".join(f"{path.stem:>10}" for path in paths) + f"{'mean':>10}")
    curves: dict[str, list[tuple[list[float], list[float]]]] = {}
    for name in ("principal", *COLOURS):
        choose_axes = codec.principal_colours
        if name in COLOURS:
            # a step in each is as large in the picture
            rows = np.array(COLOURS[name]) / np.linalg.norm(COLOURS[name], axis=1, keepdims=True)
            unit = channels.AXIS_UNIT
            axes = ((rows * unit).round() / unit).astype(np.float32)
            choose_axes = mock.Mock(return_value=axes)
        with mock.patch.object(codec, "principal_colours", choose_axes):
            for path in paths:
                files = [encode(pixels_of(path), quality) for quality in QUALITIES]
                curve = [float(len(file.data)) for file in files], [f.distortion for f in files]
                curves.setdefault(name, []).append(curve)
    for name in COLOURS:
        pairs = zip(curves["principal"], curves[name], strict=True)
        rates = [metrics.bd_rate(*ours, *theirs) for ours, theirs in pairs]
        line = "".join(f"{rate:+8.1f} %" for rate in [*rates, np.mean(rates)])
        print(f"{name:14}{line}", flush=True)


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(description="Compare kernels, and colours, of latents.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--learn", nargs="+", type=Path, default=[], metavar="PHOTO")
    options = parser.parse_args()
    compare_kernels(options.files, options.learn)
    compare_colours(options.files)


if __name__ == "__main__":
    main()
