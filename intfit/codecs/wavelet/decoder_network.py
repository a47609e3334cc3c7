"""The decoder network: a shared convolutional network that corrects a picture of latents.

It works at half the picture's resolution, where the four pixels of a 2 x 2 block are channels of
one place, and sees what the decoder knows there: the picture, the latents of fine levels, and the
quantisation step; in the newest version also what layers at a quarter of the resolution hand on.
It was trained on photographs (``tools/train_decoder.py``), comes with the program, and estimates
the error that is left, in steps.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...coding.tensors import Tensors
from ...signals import Floats
from .config import COARSE_LAYERS, DECODER_LAYERS, ORIENTATIONS, WaveletConfig
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
    the same after the shared post-filter, if any. Blocks are counted row by row, ``[ceil(H / 2),
    ceil(W / 2)]``. The inputs are, in steps: by how much each pixel of the filtered block is above
    the block's low-pass value (4 C), the latents of the finest level (3 C), and, where there is a
    post-filter, those of the next (3 C) and what it added to each pixel in the first channel (4);
    then the low-pass value (C) and the step (1).
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
        #: The low-pass pictures ``[h, w, C]`` before the finest levels are merged, in the unit of
        #: values: as many as the network sees.
        self._low_pass = [self._make_low_pass(1)]
        if config.has_two_scales():
            self._low_pass += [self._make_low_pass(2), self._make_low_pass(3)]

    def _make_low_pass(self, finest: int) -> Floats:
        channels = range(self.config.channels)
        low = [
            synthesise_low_band(self._tensors, self.config, channel, finest=finest)
            for channel in channels
        ]
        return np.stack(low, axis=-1) / np.float32(1 << finest)

    def at(self, first: int, last: int) -> Floats:
        """The inputs ``[F, last - first, ceil(W / 2)]`` of rows of blocks ``first`` to ``last``.

        Rows beyond the edges are as the row at the edge.
        """
        config = self.config
        index = np.arange(first, last).clip(0, self.blocks[0] - 1)
        scaled, low_pass = self._subtract_low_pass(self.filtered, index, 0)
        scaled += self._spread_level(0, index, 0)
        if not config.has_two_scales():
            luma = split_blocks(self.filtered[..., :1], index)
            luma -= split_blocks(self._picture[..., :1], index)
            scaled += [*self._spread_level(1, index, 0), luma]
        return self._finish(scaled, [low_pass.clip(-MAX_LOW_PASS, MAX_LOW_PASS)])

    def coarse_at(self, first: int, last: int) -> Floats:
        """The inputs ``[F, last - first, ceil(W / 4)]`` of rows of 4 x 4 pixels, coarse ones.

        By how much the low-pass picture is above that of the next level (4 C), the latents of both
        levels (6 C), by how much the low-pass value is above that of a level further (C), and the
        step (1).
        """
        middle, coarsest = self._low_pass[1:]
        index = np.arange(first, last).clip(0, len(middle) - 1)
        scaled, low_pass = self._subtract_low_pass(self._low_pass[0], index, 1)
        above = np.moveaxis(coarsest[index >> 1].repeat(2, axis=1), -1, 0)
        scaled += self._spread_level(1, index, 1) + self._spread_level(2, index, 1)
        scaled.append(low_pass - above[..., : low_pass.shape[2]])
        return self._finish(scaled, [])

    def _subtract_low_pass(
        self, picture: Floats, index: NDArray[np.intp], octave: int
    ) -> tuple[list[Floats], Floats]:
        """Blocks in rows ``index`` of a picture less their low-pass values; and these."""
        low_pass = np.ascontiguousarray(np.moveaxis(self._low_pass[octave][index], -1, 0))
        pixels = split_blocks(picture, index).reshape(4, *low_pass.shape)
        return [(pixels - low_pass).reshape(-1, *low_pass.shape[1:])], low_pass

    def _finish(self, scaled: list[Floats], plain: list[Floats]) -> Floats:
        """What the network sees of values that are given in steps, of others, and of the step."""
        inputs = np.concatenate(scaled)
        inputs /= np.float32(self.config.step_size)
        inputs.clip(-MAX_INPUT, MAX_INPUT, out=inputs)
        step = np.full((1, *inputs.shape[1:]), -self.config.step / 48, np.float32)
        return np.concatenate([inputs, *plain, step])

    def smoothed(self, first: int, last: int) -> Floats:
        """What filters would add to pixels, ``[4 SMOOTHINGS, last - first, ceil(W / 2)]``.

        In steps, of rows of blocks ``first`` to ``last``: as :func:`.smoothing.smooth`.
        """
        top = max(0, 2 * first - HALO)
        rows = self.filtered[top : 2 * last + HALO] / np.float32(self.config.step_size)
        return split_blocks(smooth(rows), np.arange(first, last) - top // 2)

    def _spread_level(self, level: int, index: NDArray[np.intp], octave: int) -> list[Floats]:
        """The latents ``[C, n, w]`` of a level's bands at rows ``index``, 0 where there are none.

        Rows and columns are those of a level, ``octave``, or as many as of blocks for 0.
        """
        columns = self._low_pass[octave].shape[1]
        shift = level - octave
        found = []
        for name in ORIENTATIONS:
            band = self._tensors[f"levels.{level}.{name}"]
            spread = np.zeros((self.config.channels, len(index), columns), np.float32)
            inside = index >> shift < band.shape[1]
            values = band[:, index[inside] >> shift].repeat(1 << shift, axis=2)[..., :columns]
            spread[:, inside, : values.shape[2]] = values
            found.append(spread)
        return found


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
        if inputs.config.has_two_scales():
            x = np.concatenate([x, hand_on(inputs, tensors, first - REACH, last + REACH)])
        ones = np.ones((1, last - first, columns), np.float32)
        found = [compute_hidden(tensors, x), crop(x, REACH)]
        if inputs.config.is_modulated():
            found.append(inputs.smoothed(first, last))
        activations = np.concatenate([*found, ones])
        if keep and rows * columns <= KEPT:
            found_all.append((first, activations))
        yield first, activations
    inputs.kept = found_all


def hand_on(inputs: Inputs, tensors: Mapping[str, Floats], first: int, last: int) -> Floats:
    """What the coarse layers hand on: ``[D, last - first, ceil(W / 2) + 2 REACH]``.

    To rows of blocks ``first`` to ``last``, and to a frame of :data:`REACH` columns on each side.
    """
    top, bottom, frame = first // 2, -(-last // 2), -(-REACH // 2)
    seen = inputs.coarse_at(top - COARSE_LAYERS, bottom + COARSE_LAYERS)
    edge = COARSE_LAYERS + frame
    x = np.pad(seen, ((0, 0), (0, 0), (edge, edge)), mode="edge")
    x = compute_hidden(tensors, x, "coarse", COARSE_LAYERS)
    y = np.tensordot(tensors["common.handed.weight"], x, axes=1)
    y += tensors["common.handed.bias"][:, None, None]
    np.maximum(y, y * SLOPE, out=y)
    _, height, width = y.shape
    # each place has the values of its four blocks
    blocks = y.reshape(-1, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    blocks = blocks.reshape(-1, 2 * height, 2 * width)
    row, column = first - 2 * top, 2 * frame - REACH
    count = inputs.blocks[1] + 2 * REACH
    return blocks[:, row : row + last - first, column : column + count]


def compute_hidden(
    tensors: Mapping[str, Floats],
    inputs: Floats,
    name: str = "blocks",
    layers: int = DECODER_LAYERS,
) -> Floats:
    """The values ``[D, h - 2 r, w - 2 r]`` of r ``layers`` for inputs ``[F, h, w]``.

    As :class:`.networks.decoder.DecoderNetwork` computes them.
    """
    x = inputs
    for layer in range(layers):
        y = _convolve(x, tensors[f"common.{name}.{layer}.weight"])
        y += tensors[f"common.{name}.{layer}.bias"][:, None, None]
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
