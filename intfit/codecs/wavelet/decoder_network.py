"""The decoder network: a shared convolutional network that corrects a picture of latents.

It works at half the picture's resolution, where the four pixels of a 2 x 2 block are channels of
one place, and sees what the decoder knows there: the picture as the shared post-filter leaves it,
the latents of the two finest levels, and the quantisation step. It was trained on photographs
(``tools/train_decoder.py``), comes with the program, and estimates the error that is left, in
steps.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...coding.tensors import Tensors
from ...signals import Floats
from .config import DECODER_LAYERS, ORIENTATIONS, WaveletConfig
from .postfilter import Features, estimate_error
from .smoothing import HALO, smooth
from .transform import synthesise, synthesise_low_band

#: Inputs in steps are clipped to this magnitude, the low-pass picture (in the unit of values) too.
MAX_INPUT, MAX_LOW_PASS = 16.0, 8.0
#: The slope of rectifiers below 0.
SLOPE = np.float32(0.1)
#: How many blocks further the network sees.
REACH = DECODER_LAYERS
#: Blocks whose neighbourhoods are gathered at once, and whose activations are computed at once; the
#: most of a picture whose activations are kept for a second use.
GATHERED, COMPUTED, KEPT = 1 << 12, 1 << 14, 1 << 18


def reconstruct(tensors: Tensors, config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, post-filtered, in about [-1, 1]."""
    if config.neurons is None and config.common is None:
        return synthesise(tensors, config)
    return synthesise_filtered(tensors, config)


def synthesise_filtered(tensors: Tensors, config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, corrected by all networks of ``config``."""
    features = Features(tensors, config)
    picture = correct_picture(tensors, config, features)
    for part, seen in features.split(picture):
        # in place: the features of the pixels that remain do not depend on these
        if config.own_shapes():
            part += config.step_size * estimate_error(tensors, config, seen, "correction")
        part[...] = part @ tensors["colours"]
    return picture


def correct_picture(tensors: Tensors, config: WaveletConfig, features: Features) -> Floats:
    """The picture ``[H, W, C]`` in decorrelated colours, corrected by the shared networks.

    ``features`` are those of the same latents.
    """
    filtered = apply_postfilter(tensors, config, features)
    if not config.decoder_shapes():
        return filtered
    inputs = Inputs(tensors, config, features.picture, filtered)
    return correct_blocks(inputs, tensors)


def apply_postfilter(tensors: Tensors, config: WaveletConfig, features: Features) -> Floats:
    """The picture ``[H, W, C]`` in decorrelated colours after the shared post-filter, if any."""
    picture = features.picture.copy()
    if config.shared_postfilter_shapes():
        for part, seen in features.split(picture):
            part += config.step_size * estimate_error(tensors, config, seen, "common")
    return picture


class Inputs:
    """The inputs of the decoder network at each 2 x 2 block of a picture.

    ``picture`` ``[H, W, C]`` is that of quantised latents in decorrelated colours, ``filtered``
    the same after the shared post-filter. Blocks are counted row by row, ``[ceil(H / 2), ceil(W /
    2)]``. The inputs, 11 C + 5, are, in steps: by how much each pixel of the filtered block is
    above the block's low-pass value (4 C), the latents of the finest level (3 C) and of the next (3
    C), and what the post-filter added to each pixel in the first channel (4); then the low-pass
    value (C) and the step (1).
    """

    def __init__(
        self,
        tensors: Mapping[str, Floats],
        config: WaveletConfig,
        picture: Floats,
        filtered: Floats,
    ) -> None:
        self.config, self.filtered = config, filtered
        #: All that :func:`compute_activations` gave, where it was kept.
        self.kept: list[tuple[int, Floats]] = []
        self._tensors, self._picture = tensors, picture
        self.blocks = -(-config.height // 2), -(-config.width // 2)
        self._low_pass = np.empty((config.channels, *self.blocks), np.float32)
        for channel in range(config.channels):
            self._low_pass[channel] = synthesise_low_band(tensors, config, channel)
        self._low_pass /= 2

    def at(self, first: int, last: int) -> Floats:
        """The inputs ``[F, last - first, ceil(W / 2)]`` of rows of blocks ``first`` to ``last``.

        Rows beyond the edges are as the row at the edge.
        """
        config, channels = self.config, self.config.channels
        index = np.arange(first, last).clip(0, self.blocks[0] - 1)
        low_pass = self._low_pass[:, index]
        pixels = split_blocks(self.filtered, index).reshape(4, channels, *low_pass.shape[1:])
        luma = split_blocks(self.filtered[..., :1], index)
        luma -= split_blocks(self._picture[..., :1], index)
        scaled = [(pixels - low_pass).reshape(4 * channels, *low_pass.shape[1:])]
        scaled += [
            self._spread(f"levels.{level}.{name}", level, index)
            for level in (0, 1)
            for name in ORIENTATIONS
        ]
        inputs = np.concatenate([*scaled, luma])
        inputs /= np.float32(config.step_size)
        inputs.clip(-MAX_INPUT, MAX_INPUT, out=inputs)
        step = np.full((1, *low_pass.shape[1:]), -config.step / 48, np.float32)
        return np.concatenate([inputs, low_pass.clip(-MAX_LOW_PASS, MAX_LOW_PASS), step])

    def smoothed(self, first: int, last: int) -> Floats:
        """What filters would add to pixels, ``[4 SMOOTHINGS, last - first, ceil(W / 2)]``.

        In steps, of rows of blocks ``first`` to ``last``: as :func:`.smoothing.smooth`.
        """
        top = max(0, 2 * first - HALO)
        rows = self.filtered[top : 2 * last + HALO] / np.float32(self.config.step_size)
        return split_blocks(smooth(rows), np.arange(first, last) - top // 2)

    def _spread(self, name: str, level: int, index: NDArray[np.intp]) -> Floats:
        """The latents ``[C, n, w]`` of a band at rows ``index`` of blocks, 0 where it has none."""
        band, columns = self._tensors[name], self.blocks[1]
        spread = np.zeros((self.config.channels, len(index), columns), np.float32)
        inside = index >> level < band.shape[1]
        values = band[:, index[inside] >> level].repeat(1 << level, axis=2)[..., :columns]
        spread[:, inside, : values.shape[2]] = values
        return spread


def split_blocks(picture: Floats, index: NDArray[np.intp]) -> Floats:
    """The 2 x 2 blocks ``[4 C, n, ceil(W / 2)]`` in rows ``index`` of blocks of ``[H, W, C]``.

    Pixels beyond the edge are as those at the edge.
    """
    height, width, channels = picture.shape
    blocks = np.empty((4, channels, len(index), -(-width // 2)), np.float32)
    for corner in range(4):
        rows = (2 * index + corner // 2).clip(0, height - 1)
        pixels = np.moveaxis(picture[rows, corner % 2 :: 2], -1, 0)
        blocks[corner, ..., : pixels.shape[-1]] = pixels
        if pixels.shape[-1] < blocks.shape[-1]:
            blocks[corner, ..., -1] = picture[rows, -1].T
    return blocks.reshape(4 * channels, *blocks.shape[2:])


def last_layer(tensors: Tensors) -> Floats:
    """The last layer ``[4 C, D + 1]``: weights, then biases, as the file modulates and changes it.

    Changes are stored in the unit of each weight's usual effect on the picture.
    """
    weight = tensors["common.last.weight"]
    modulation, changes = tensors.get("modulation"), tensors.get("adaptation")
    if modulation is not None:
        weight = weight + np.tensordot(modulation, tensors["common.last.basis"], axes=1)
    return weight if changes is None else weight + changes / tensors["common.last.scale"]


def correct_blocks(inputs: Inputs, tensors: Tensors) -> Floats:
    """The filtered picture ``[H, W, C]`` of ``inputs``, corrected by the decoder network."""
    picture, channels, last = inputs.filtered.copy(), inputs.config.channels, last_layer(tensors)
    for first, activations in compute_activations(inputs, tensors):
        error = np.tensordot(last, activations, axes=1)
        error *= np.float32(inputs.config.step_size)
        rows = slice(2 * first, 2 * (first + activations.shape[1]))
        for corner in range(4):
            target = picture[rows][corner // 2 :: 2, corner % 2 :: 2]
            part = np.moveaxis(error[corner * channels : (corner + 1) * channels], 0, -1)
            target += part[: target.shape[0], : target.shape[1]]
    return picture


def compute_activations(
    inputs: Inputs, tensors: Tensors, *, keep: bool = False
) -> Iterator[tuple[int, Floats]]:
    """What the last layer sees at all blocks: the first row of some, and ``[D + 1, n, w]``.

    These are the hidden layer's values, the network's inputs, where the file modulates the layer
    what filters would add, and 1. Those of a picture that is not too large are kept for the next
    call, if ``keep`` says so.
    """
    rows, columns = inputs.blocks
    if inputs.kept:
        yield from inputs.kept
        return
    found_all = list[tuple[int, Floats]]()
    height = max(1, COMPUTED // columns)
    for first in range(0, rows, height):
        last = min(first + height, rows)
        seen = inputs.at(first - REACH, last + REACH)
        x = np.pad(seen, ((0, 0), (0, 0), (REACH, REACH)), mode="edge")
        ones = np.ones((1, last - first, columns), np.float32)
        found = [compute_hidden(tensors, x), crop(x, REACH)]
        if inputs.config.is_modulated():
            found.append(inputs.smoothed(first, last))
        activations = np.concatenate([*found, ones])
        if keep and rows * columns <= KEPT:
            found_all.append((first, activations))
        yield first, activations
    inputs.kept = found_all


def compute_hidden(tensors: Mapping[str, Floats], inputs: Floats) -> Floats:
    """The hidden layers' values ``[D, h - 2 r, w - 2 r]`` for inputs ``[F, h, w]``, r the reach.

    As :class:`.networks.decoder.DecoderNetwork` computes them.
    """
    x = inputs
    for layer in range(DECODER_LAYERS):
        y = _convolve(x, tensors[f"common.blocks.{layer}.weight"])
        y += tensors[f"common.blocks.{layer}.bias"][:, None, None]
        np.maximum(y, y * SLOPE, out=y)
        if layer:
            y += crop(x, 1)
        x = y
    return x


def crop(x: Floats, frame: int) -> Floats:
    """``x`` ``[C, h, w]`` without a frame of so many places."""
    return x[:, frame:-frame, frame:-frame]


def _convolve(x: Floats, weight: Floats) -> Floats:
    """A layer ``[out, in, 3, 3]`` of ``x`` ``[in, h, w]``, without the edges."""
    outside = len(weight)
    channels, height, width = x.shape
    flat = x.reshape(channels, -1)
    matrix = weight.transpose(0, 2, 3, 1).reshape(outside, -1)
    offsets = [row * width + column for row in range(3) for column in range(3)]
    # along the flattened rows, so that each neighbour is a shift; the two last columns are waste
    count = (height - 2) * width - 2
    y = np.empty((outside, count + 2), np.float32)
    gathered = np.empty((9 * channels, GATHERED), np.float32)
    for first in range(0, count, GATHERED):
        size = min(GATHERED, count - first)
        for place, offset in enumerate(offsets):
            source = flat[:, first + offset : first + offset + size]
            gathered[place * channels : (place + 1) * channels, :size] = source
        np.matmul(matrix, gathered[:, :size], out=y[:, first : first + size])
    return np.ascontiguousarray(y.reshape(outside, height - 2, width)[..., : width - 2])
