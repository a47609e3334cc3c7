"""The decoder network of two scales: section 6.5, version 4."""

import numpy as np

CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def corners(picture, rows, columns):
    """The four pixels of each block of 2 x 2, ``[h, w, C]`` each; edges are continued."""
    y, x = np.arange(2 * rows), np.arange(2 * columns)
    whole = picture[np.minimum(y, len(picture) - 1)][:, np.minimum(x, picture.shape[1] - 1)]
    return [whole[down::2, right::2] for down, right in CORNERS]


def spread(band, factor, rows, columns):
    """Latents ``[C, h, w]``, each over so many places each way, as ``[h, w, C]``; 0 beyond."""
    grown = np.repeat(np.repeat(band, factor, axis=1), factor, axis=2)[:, :rows, :columns]
    found = np.zeros((rows, columns, len(band)))
    found[: grown.shape[1], : grown.shape[2]] = np.moveaxis(grown, 0, -1)
    return found


def framed(values, frame):
    return np.pad(values, ((frame, frame), (frame, frame), (0, 0)), mode="edge")


def rectified(v):
    return np.where(v > 0, v, 0.1 * v)


def layers(network, name, count, x):
    """So many layers of 3 x 3, each of which takes a frame of one place away."""
    for layer in range(count):
        weight, bias = network[f"{name}.{layer}.weight"], network[f"{name}.{layer}.bias"]
        rows, columns = x.shape[0] - 2, x.shape[1] - 2
        v = bias + sum(
            x[i : i + rows, j : j + columns] @ weight[:, :, i, j].T
            for i in range(3)
            for j in range(3)
        )
        x = rectified(v) + (x[1:-1, 1:-1] if layer else 0)
    return x


def seen_by_last_layer(network, picture, lows, levels, index):
    """What the last layer sees of each block, but for smoothed pictures and 1: ``[h, w, F]``.

    ``lows`` are the pictures before levels 0, 1 and 2 are merged, divided by 2, 4 and 8.
    """
    step = 2.0 ** (-index / 24)
    sizes = [low.shape[:2] for low in lows]
    (rows, columns), (tall, wide), _ = sizes
    fine = [np.clip((c - lows[0]) / step, -16, 16) for c in corners(picture, rows, columns)]
    fine += [np.clip(spread(band, 1, rows, columns), -16, 16) for band in levels[0]]
    fine += [np.clip(lows[0], -8, 8), np.full((rows, columns, 1), -index / 48)]
    above = np.repeat(np.repeat(lows[2], 2, axis=0), 2, axis=1)[:tall, :wide]
    coarse = [(c - lows[1]) / step for c in corners(lows[0], tall, wide)]
    coarse += [spread(band, factor, tall, wide) for factor in (1, 2) for band in levels[factor]]
    coarse = np.clip(np.concatenate([*coarse, (lows[1] - above) / step], axis=-1), -16, 16)
    coarse = np.concatenate([coarse, np.full((tall, wide, 1), -index / 48)], axis=-1)
    x = layers(network, "coarse", 3, framed(coarse, 4))
    v = rectified(x @ network["handed.weight"].T + network["handed.bias"])
    # four values of each channel, one for each block
    v = v.reshape(*v.shape[:2], -1, 2, 2).transpose(0, 3, 1, 4, 2)
    handed = v.reshape(v.shape[0] * 2, v.shape[2] * 2, -1)[: rows + 4, : columns + 4]
    x = np.concatenate([framed(np.concatenate(fine, axis=-1), 2), handed], axis=-1)
    return np.concatenate([layers(network, "blocks", 2, x), x[2:-2, 2:-2]], axis=-1)
