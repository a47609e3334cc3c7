"""Pictures of latents: sections 5 and 6."""

import decimal
import hashlib
import json
import math
from pathlib import Path

import numpy as np

from .coder import RangeDecoder, RunModel, cumulative, precise
from .contexts import read_levels_2
from .levels import NORMS, PASSES, SIZE, Cache, band_shapes, level_count
from .siren import mirrored, packed_parameters, perceptron, siren_shapes
from .smoothing import smoothings
from .trellis import TrellisSizes
from .two_scales import framed, layers, seen_by_last_layer


def shipped(folder, sha256):
    """The tensors of a network that is part of the format, found by its digest."""
    for path in Path(folder).rglob("*.safetensors"):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256:
            length = int.from_bytes(data[:8], "little")
            table = json.loads(data[8 : 8 + length])
            found = {}
            for name, entry in table.items():
                if name != "__metadata__":
                    first, last = entry["data_offsets"]
                    kind = {"I8": "i1", "I16": "<i2", "I32": "<i4", "F32": "<f4", "F16": "<f2"}
                    raw = np.frombuffer(data[8 + length :][first:last], kind[entry["dtype"]])
                    found[name] = raw.reshape(entry["shape"]).astype(np.float64)
            return found
    raise FileNotFoundError(sha256)


RINGS = [
    [(0, -1), (0, 1)],
    [(-1, 0), (1, 0)],
    [(-1, -1), (-1, 1), (1, -1), (1, 1)],
    [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2],
]


def fit(band, shape):
    """Cut, or filled with zeros, to a shape."""
    found = np.zeros(shape, np.asarray(band).dtype)
    part = band[: shape[0], : shape[1]]
    found[: part.shape[0], : part.shape[1]] = part
    return found


def double(band, shape):
    return fit(np.repeat(np.repeat(band, 2, axis=0), 2, axis=1), shape)


def shifted(band, y, x):
    """``band[i + y, j + x]``, zero outside."""
    height, width = band.shape
    framed = np.pad(band, 2)
    return framed[2 + y : 2 + y + height, 2 + x : 2 + x + width]


def cross(band):
    return sum(shifted(band, y, x) for y, x in [(-1, 0), (1, 0), (0, -1), (0, 1)])


def zero_bounds(index):
    with precise():
        logit = decimal.Decimal(2 * index - 63) / 8
        share = int((1 << 40) / (1 + (-logit).exp()))
    return cumulative([share, (1 << 40) - share])


ZERO = Cache(zero_bounds)
LOGARITHMS = np.array([round(16 * math.log2(1 + 2 * m)) for m in range(1024)], np.int64)


def context_classes(network, group, turn, features):
    """Classes of zero and of size from magnitudes ``[16, n]``; whole numbers throughout."""
    x = LOGARITHMS[np.minimum(features, 1023)]
    first, second, last = (network[k].astype(np.int64) for k in ("first", "second", "last"))
    x = np.maximum(first @ x + network["position"][group, turn].astype(np.int64)[:, None], 0) >> 6
    x = np.maximum(second @ x + network["second_bias"].astype(np.int64)[:, None], 0) >> 6
    x = (last @ x + network["last_bias"].astype(np.int64)[:, None]) >> 8
    return np.clip(x[0] + 32, 0, 63), np.clip(x[1] + 20, 0, 43)


def read_pass(decoder, zero, size):
    """The latents of a pass, in raster order."""
    values = np.zeros(len(zero), np.int64)
    for index in sorted(set(zero.tolist())):
        for place in np.flatnonzero(zero == index):
            values[place] = decoder.symbol(ZERO[index])
    there = np.flatnonzero(values)
    signs = [1 - 2 * decoder.uniform(1) for _ in there]
    for index in sorted(set(size[there].tolist())):
        bounds, reach = SIZE[index]
        places = there[size[there] == index]
        more = [decoder.symbol(bounds) for _ in places]
        more = [m + decoder.uniform(24) if m == reach else m for m in more]
        values[places] = np.array(more) + 1
    values[there] *= np.array(signs, np.int64)
    return values


def read_levels(data, height, width, channels, network):
    """Latents by level (finest first), orientation: ``[C, h, w]``."""
    shapes = band_shapes(height, width)
    latents = [[np.zeros((channels, *sides), np.int64) for sides in level] for level in shapes]
    decoder = RangeDecoder(data)
    for level in reversed(range(len(shapes))):
        for channel in range(channels):
            for orientation in range(3):
                band = latents[level][orientation][channel]
                around = other_bands(latents, level, orientation, channel)
                group = (min(level, 4) * 3 + orientation) * 3 + min(channel, 2)
                for turn, (row, column) in enumerate(PASSES):
                    if not band[row::2, column::2].size:
                        continue
                    features = beside(np.abs(band), row, column) + around
                    features = [f[row::2, column::2].ravel() for f in features]
                    zero, size = context_classes(network, group, turn, np.stack(features))
                    found = read_pass(decoder, zero, size)
                    band[row::2, column::2] = found.reshape(band[row::2, column::2].shape)
    return latents


def beside(sizes, row, column):
    """Four sums over rings of neighbours in the band, later passes being zero still."""
    return [sum(shifted(sizes, y, x) for y, x in ring) for ring in RINGS]


def other_bands(latents, level, orientation, channel):
    """Twelve magnitudes from other bands."""
    shape = latents[level][orientation].shape[1:]
    found = [np.zeros(shape, np.int64)] * 12
    if level + 1 < len(latents):
        above = [np.abs(band[channel]) for band in latents[level + 1]]
        found[0] = double(above[orientation], shape)
        found[1] = double(cross(above[orientation]), shape)
        found[2] = sum(double(above[k], shape) for k in range(3) if k != orientation)
    for k in range(orientation):
        found[3 + 2 * k] = fit(np.abs(latents[level][k][channel]), shape)
        found[4 + 2 * k] = cross(found[3 + 2 * k])
    for k in range(min(channel, 2)):
        found[7 + 2 * k] = np.abs(latents[level][orientation][k])
        found[8 + 2 * k] = cross(found[7 + 2 * k])
    if level + 2 < len(latents):
        middle = latents[level + 1][orientation].shape[1:]
        grand = np.abs(latents[level + 2][orientation][channel])
        found[11] = double(double(grand, middle), shape)
    return found


STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
SCALE = 1.1496043988602418


def merge(low, high):
    """The signal along the first axis from its low and high half."""
    even, odd = low / SCALE, high * SCALE

    def neighbours(source, count, offset):
        index = np.arange(count) + offset
        last = len(source) - 1
        return source[index.clip(0, last)] + source[(index + 1).clip(0, last)]

    even = even - STEPS[3] * neighbours(odd, len(even), -1)
    odd = odd - STEPS[2] * neighbours(even, len(odd), 0)
    even = even - STEPS[1] * neighbours(odd, len(even), -1)
    odd = odd - STEPS[0] * neighbours(even, len(odd), 0)
    signal = np.empty((len(even) + len(odd), *even.shape[1:]))
    signal[0::2], signal[1::2] = even, odd
    return signal


def synthesise(coarsest, levels, step, finest=0, last=0):
    """The picture ``[H, W, C]``, without levels below ``finest``, or before level ``last``."""
    picture = np.moveaxis(coarsest * step, 0, -1)
    for level in reversed(range(last, len(levels))):
        across, down, both = (
            np.moveaxis(band * (step if level >= finest else 0.0), 0, -1)
            / NORMS[min(level, 4)][orientation == 2]
            for orientation, band in enumerate(levels[level])
        )
        low, high = merge(picture, down), merge(across, both)
        picture = merge(low.swapaxes(0, 1), high.swapaxes(0, 1)).swapaxes(0, 1)
    return picture


NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
NEIGHBOURS += [(0, 2), (2, 0), (0, -2), (-2, 0)]


def postfilter_features(coarsest, levels, step):
    """What the networks of the post-filter see at each pixel, ``[H, W, F]``."""
    picture = synthesise(coarsest, levels, step)
    found, last = [], picture
    for level in range(min(3, len(levels))):
        without = synthesise(coarsest, levels, step, finest=level + 1)
        found.append(np.clip((last - without) / step, -8, 8))
        last = without
    found.append(np.clip(last, -1000, 1000))
    height, width, _ = picture.shape
    framed = np.pad(picture[..., 0], 2, mode="edge")
    for y, x in NEIGHBOURS:
        other = framed[2 + y : 2 + y + height, 2 + x : 2 + x + width]
        found.append(np.clip((other - picture[..., 0]) / step, -8, 8)[..., None])
    return np.concatenate(found, axis=-1)


#: The steps of bands from the finest level on, in sixteenths, by the version of their table.
BAND_STEPS = {None: (16,), 1: (27, 18, 13, 11)}


def band_steps(version, count):
    """The steps of levels and of the coarsest picture, in sixteenths of the file's."""
    shares = BAND_STEPS[version]
    return [shares[min(level, len(shares) - 1)] for level in range(count + 1)]


def in_steps_of_the_file(coarsest, levels, version, trellis):
    """Latents in steps of the file, of integers that count the steps of their level."""
    *shares, last = band_steps(version, len(levels))
    shares = [share * (10 / 16 if trellis else 1) for share in shares]
    scaled = [
        [band * (share / 16) for band in bands] for bands, share in zip(levels, shares, strict=True)
    ]
    return coarsest * (last / 16), scaled


def image_latents(payload, header, channels, networks):
    """Integers of a picture: colours, coarsest, levels, those of its own network.

    ``networks`` are the context models of versions 1 and 2.
    """
    width, height = header["image"][:2]
    neurons = header["latent"][1] if len(header["latent"]) > 1 else None
    integers, own, found = {}, {}, {}
    if neurons:
        end = 2 + int.from_bytes(payload[:2], "little")
        inside = (min(3, level_count(height, width)) + 1) * channels + 12
        shapes = siren_shapes(inside, channels, neurons, 2, skip=True)
        integers, own = packed_parameters(payload[2:end], shapes)
        payload = payload[end:]
    *_, version, changed = (*header["latent"], *[None] * 4)[:4]
    shapes = {"adaptation": (12, {2: 79, 3: 147, 4: 166}[version])} if changed else {}
    shapes |= {"modulation": (32,)} if version in (3, 4) else {}
    for name, shape in shapes.items():
        end = 2 + int.from_bytes(payload[:2], "little")
        integers_of, change = packed_parameters(payload[2:end], {name: shape})
        payload = payload[end:]
        own, found = own | change, found | integers_of
    colours = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    head = channels**2 + 3 * channels
    models = [RunModel(payload[i : i + 3]) for i in range(channels**2, head, 3)]
    end = head + 3 + int.from_bytes(payload[head : head + 3], "little")
    scale = 1 << level_count(height, width)
    tall, wide = -(-height // scale), -(-width // scale)
    decoder = RangeDecoder(payload[head + 3 : end])
    coarsest = np.stack([m.read(decoder, tall * wide).reshape(tall, wide) for m in models])
    coarsest[:, :, 0] = coarsest[:, :, 0].cumsum(axis=1)
    coarsest = coarsest.cumsum(axis=2)
    sixteenths = band_steps((*header["latent"], *[None] * 6)[4], len(band_shapes(height, width)))
    if len(header["latent"]) > 5:
        assert header["latent"][5] == 2
        trellis = TrellisSizes() if header["latent"][6:] else None
        levels = read_levels_2(
            payload[end:], coarsest, height, width, networks[1], sixteenths, trellis
        )
    else:
        levels = read_levels(payload[end:], height, width, channels, networks[0])
    integers = {f"correction.{name}": values for name, values in integers.items()} | found
    integers["coarsest"] = coarsest
    for level, bands in enumerate(levels):
        for name, band in zip(("across", "down", "both"), bands, strict=True):
            integers[f"levels.{level}.{name}"] = band
    return colours / 127, coarsest, levels, own, integers


CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def decoder_inputs(coarsest, levels, index, filtered):
    """What the decoder network sees at each block of 2 x 2 pixels, ``[h, w, F]``."""
    step = 2.0 ** (-index / 24)
    low = synthesise(coarsest, levels, step, last=1) / 2
    rows, columns, _ = low.shape

    def corners(picture):
        y, x = np.arange(2 * rows), np.arange(2 * columns)
        whole = picture[np.minimum(y, len(picture) - 1)][:, np.minimum(x, picture.shape[1] - 1)]
        return [whole[down::2, right::2] for down, right in CORNERS]

    added = filtered - synthesise(coarsest, levels, step)
    found = [np.clip((corner - low) / step, -16, 16) for corner in corners(filtered)]
    for level in (0, 1):
        for band in levels[level]:
            grow = double if level else fit
            each = [grow(channel, (rows, columns)) for channel in band]
            found.append(np.clip(np.stack(each, axis=-1), -16, 16))
    found += [np.clip(corner / step, -16, 16) for corner in corners(added[..., :1])]
    found += [np.clip(low, -8, 8), np.full((rows, columns, 1), -index / 48)]
    return np.concatenate(found, axis=-1)


def convolutions(network, inputs, more, own):
    """Two layers and a last one, ``[h, w, F]`` to ``[h, w, 4 C]``; ``more`` the last one sees."""
    x = layers(network, "blocks", 2, framed(inputs, 2))
    return last_layer(network, [x, inputs, *more], own)


def last_layer(network, seen, own):
    """The last layer's values ``[h, w, 4 C]`` of what it sees, and of 1."""
    seen = np.concatenate([*seen, np.ones_like(seen[0][..., :1])], axis=-1)
    last = network["last.weight"] + own.pop("adaptation", 0) / network["last.scale"]
    if "modulation" in own:
        last = last + np.einsum("k,kij->ij", own.pop("modulation"), network["last.basis"])
    return seen @ last.T


def image_samples(header, colours, coarsest, levels, own, shipped):
    """Values ``[H, W, C]`` at the pixels; ``shipped`` are the shipped networks, in order."""
    index, _, _, _, bands, _, trellis, *_ = (*header["latent"], *[None] * 6)
    coarsest, levels = in_steps_of_the_file(coarsest, levels, bands, trellis)
    step = 2.0 ** (-index / 24)
    picture = synthesise(coarsest, levels, step)
    features = postfilter_features(coarsest, levels, step)
    if shipped and len(shipped) < 4:
        picture = picture + step * perceptron(shipped[0], features, lambda _, z: np.maximum(z, 0))
    if len(shipped) > 1:
        more, network = [], shipped[1]
        if len(shipped) > 2:
            maps = smoothings(picture / step)
            even = np.pad(maps, [(0, side % 2) for side in maps.shape[:2]] + [(0, 0)], mode="edge")
            more = [even[down::2, right::2] for down, right in CORNERS]
        if len(shipped) < 4:
            network = network | (shipped[2] if more else {})
            inputs = decoder_inputs(coarsest, levels, index, picture)
            added = convolutions(network, inputs, more, own)
        else:
            lows = [synthesise(coarsest, levels, step, last=last) / 2**last for last in (1, 2, 3)]
            seen = seen_by_last_layer(shipped[3], picture, lows, levels, index)
            added = last_layer(shipped[3], [seen, *more], own)
        for (down, right), part in zip(CORNERS, np.split(added, 4, axis=-1), strict=True):
            place = picture[down::2, right::2]
            place += step * part[: place.shape[0], : place.shape[1]]
    if own:
        picture = picture + step * perceptron(own, features, lambda _, z: np.sin(z))
    return picture @ colours


def image_between(samples, y, x):
    """A value ``[C]`` at a position in pixels (pixel centres are whole), interpolated."""

    def taps(position, size):
        position = round(position * 1024) / 1024
        base = math.floor(position)
        t = position - base
        weights = [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
        return zip([mirrored(base + i, size) for i in (-1, 0, 1, 2)], weights, strict=True)

    height, width, _ = samples.shape
    columns = list(taps(x, width))
    return sum(
        a * sum(b * samples[row, column] for column, b in columns) for row, a in taps(y, height)
    )
