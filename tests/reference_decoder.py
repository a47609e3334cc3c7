"""A second decoder of intfit files, written from docs/reference/file-format.md alone.

It shares no code with intfit and imports nothing of it: only Python and NumPy. It is slow, and
meant for small files: it shows that the specification suffices. Names of functions follow the
sections of the specification.
"""

import decimal
import hashlib
import json
import math
import zlib
from pathlib import Path

import numpy as np

PRECISION = 24  # bits of a probability


# --- 1. container --------------------------------------------------------------------------------


def read_container(data):
    """The intfit header (a dictionary) and the tensors (name -> (type, shape, bytes)) of a file."""
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    text = table.pop("__metadata__")["intfit"]
    body = data[8 + length :]
    tensors = {}
    for name, entry in table.items():
        first, last = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], body[first:last])
    header = json.loads(text)
    member = f'"crc":{header["crc"]}'
    bare = (
        text.replace(member + ",", "") if member + "," in text else text.replace("," + member, "")
    )
    assert zlib.crc32(body, zlib.crc32(bare.encode())) == header["crc"], "checksum"
    assert header["version"] == 2
    return header, tensors


# --- 2. range coder ------------------------------------------------------------------------------


class RangeDecoder:
    """Words of 32 bits, a state of 64 bits, probabilities of 24 bits."""

    MASK = (1 << 64) - 1

    def __init__(self, data):
        data += b"\0" * (-len(data) % 4)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.next = 0
        self.lower, self.range = 0, self.MASK
        self.point = self.word() << 32 | self.word()

    def word(self):
        self.next += 1
        return self.words[self.next - 1] if self.next <= len(self.words) else 0

    def symbol(self, cumulative):
        """One symbol; ``cumulative`` is a list of left bounds that ends with 2^24."""
        scale = self.range >> PRECISION
        quantile = ((self.point - self.lower) & self.MASK) // scale
        assert quantile < 1 << PRECISION, "invalid data"
        low, high = 0, len(cumulative) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cumulative[middle] <= quantile else (low, middle)
        self.narrow(scale, cumulative[low], cumulative[low + 1] - cumulative[low])
        return low

    def uniform(self, bits):
        """A number of so many bits, all equally likely."""
        scale = self.range >> PRECISION
        quantile = ((self.point - self.lower) & self.MASK) // scale
        assert quantile < 1 << PRECISION, "invalid data"
        each = 1 << (PRECISION - bits)
        self.narrow(scale, quantile // each * each, each)
        return quantile // each

    def narrow(self, scale, left, probability):
        self.lower = (self.lower + scale * left) & self.MASK
        self.range = scale * probability
        if self.range < 1 << 32:
            self.lower = self.lower << 32 & self.MASK
            self.range <<= 32
            self.point = (self.point << 32 & self.MASK) | self.word()


def cumulative(weights):
    """Left bounds of the symbols of a table of whole weights, ended by 2^24."""
    scale = float((1 << PRECISION) - len(weights)) / float(sum(weights))
    bounds, total = [], 0
    for symbol, weight in enumerate(weights):
        bounds.append(int(float(total) * scale) + symbol)
        total += weight
    return [*bounds, 1 << PRECISION]


# --- 3. runs of integers -------------------------------------------------------------------------


def precise():
    return decimal.localcontext(prec=40, rounding=decimal.ROUND_HALF_EVEN)


class RunModel:
    """Three bytes: a distribution between Laplace and Gauss."""

    def __init__(self, data):
        packed = int.from_bytes(data, "little")
        self.reach, self.shift = packed & 1023, packed >> 10 & 15
        shape, spread = packed >> 14 & 7, packed >> 17
        with precise():
            one, two = decimal.Decimal(1), decimal.Decimal(2)
            scale = two ** (decimal.Decimal(spread) / 6) / 16
            share = decimal.Decimal(shape) / 7
            linear = share * two.sqrt() / scale
            square = (one - share) / (two * scale * scale)
            unit = decimal.Decimal(1 << 62)
            ratio, change = int((-(linear + square)).exp() * unit), int((-2 * square).exp() * unit)
        weight, half = 1 << 62, []
        for _ in range(self.reach):
            weight = weight * ratio >> 62
            ratio = ratio * change >> 62
            half.append(weight >> 22)
        weights = [*reversed(half), 1 << 40, *half] if half else [1, 0]
        self.bounds = cumulative(weights)

    def read(self, decoder, count):
        values = [(decoder.symbol(self.bounds) - self.reach) << self.shift for _ in range(count)]
        if self.shift:
            values = [value | decoder.uniform(self.shift) for value in values]
        return np.array(values, np.int64)


# --- 4. SIRENs -----------------------------------------------------------------------------------


def siren_shapes(inside, outside, width, depth, *, skip=False):
    sizes = [inside, *[width] * depth, outside]
    shapes = {}
    for layer in range(depth + 1):
        shapes[f"layers.{layer}.weight"] = (sizes[layer + 1], sizes[layer])
        shapes[f"layers.{layer}.bias"] = (sizes[layer + 1],)
    return shapes | ({"skip": (outside, inside)} if skip else {})


def packed_parameters(payload, shapes):
    """Integers and parameters of a packed network."""
    head = 4 * len(shapes)
    decoder = RangeDecoder(payload[head:])
    integers, parameters = {}, {}
    for index, (name, shape) in enumerate(shapes.items()):
        entry = payload[4 * index : 4 * index + 4]
        run = RunModel(entry[1:]).read(decoder, math.prod(shape)).reshape(shape)
        integers[name], parameters[name] = run, run * np.float32(2.0 ** (-entry[0] / 12))
    return integers, parameters


def perceptron(parameters, x, bend):
    """Layers with a nonlinearity between them, and a linear layer beside them if there is one."""
    depth = sum(name.endswith("bias") for name in parameters) - 1
    values = x
    for layer in range(depth + 1):
        values = values @ parameters[f"layers.{layer}.weight"].T
        values = values + parameters[f"layers.{layer}.bias"]
        if layer < depth:
            values = bend(layer, values)
    return values + x @ parameters["skip"].T if "skip" in parameters else values


def siren(parameters, network, coordinates):
    """Values ``[n, c]`` at coordinates ``[n, d]``."""
    _, _, omega_first, omega = network
    return perceptron(
        parameters, coordinates, lambda layer, z: np.sin((omega if layer else omega_first) * z)
    )


def open_parameters(tensors):
    found = {}
    for name, (dtype, shape, data) in tensors.items():
        if dtype == "BF16":
            raw = np.frombuffer(data, "<u2").astype("<u4") << 16
            values = raw.view("<f4")
        else:
            values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype("<f4")
        found[name] = values.reshape(shape)
    return found


# --- 5. images of latents ------------------------------------------------------------------------


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


def level_count(height, width):
    count = 0
    while min(height, width) >> count >= 16:
        count += 1
    return count


def band_shapes(height, width):
    """For each level, the finest first, the sides of its bands: across, down, both."""
    found = []
    for _ in range(level_count(height, width)):
        tall, wide = (height + 1) // 2, (width + 1) // 2
        found.append([(tall, width // 2), (height // 2, wide), (height // 2, width // 2)])
        height, width = tall, wide
    return found


PASSES = [(0, 0), (1, 1), (0, 1), (1, 0)]
RINGS = [
    [(0, -1), (0, 1)],
    [(-1, 0), (1, 0)],
    [(-1, -1), (-1, 1), (1, -1), (1, 1)],
    [(y, x) for y in range(-2, 3) for x in range(-2, 3) if max(abs(y), abs(x)) == 2],
]


def fit(band, shape):
    """Cut, or filled with zeros, to a shape."""
    found = np.zeros(shape, np.int64)
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


def size_bounds(index):
    with precise():
        scale = (decimal.Decimal(2 * index + 1) / 8 - 5).exp()
        ratio = (-1 / scale).exp()
        reach = min(1000, int(12 * scale) + 2)
        weights = [int((1 << 40) * (1 - ratio) * ratio**m) for m in range(reach)]
        weights.append(int((1 << 40) * ratio**reach))
    return cumulative([max(weight, 1 << 18) for weight in weights]), reach


class Cache(dict):
    def __init__(self, make):
        self.make = make

    def __missing__(self, key):
        self[key] = self.make(key)
        return self[key]


ZERO, SIZE = Cache(zero_bounds), Cache(size_bounds)
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
NORMS = [(1.0113, 1.0404), (0.9984, 0.9672), (1.0458, 1.0396), (1.0668, 1.0751), (1.0729, 1.0859)]


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


def synthesise(coarsest, levels, step, finest=0):
    """The picture ``[H, W, C]``, without levels below ``finest``."""
    picture = np.moveaxis(coarsest * step, 0, -1)
    for level in reversed(range(len(levels))):
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


def image_latents(payload, header, channels, network):
    """Integers of a picture: colours, coarsest, levels, those of its own network."""
    width, height = header["image"][:2]
    neurons = header["latent"][1] if len(header["latent"]) > 1 else None
    integers, own = {}, {}
    if neurons:
        end = 2 + int.from_bytes(payload[:2], "little")
        inside = (min(3, level_count(height, width)) + 1) * channels + 12
        shapes = siren_shapes(inside, channels, neurons, 2, skip=True)
        integers, own = packed_parameters(payload[2:end], shapes)
        payload = payload[end:]
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
    levels = read_levels(payload[end:], height, width, channels, network)
    integers = {f"correction.{name}": values for name, values in integers.items()}
    integers["coarsest"] = coarsest
    for level, bands in enumerate(levels):
        for name, band in zip(("across", "down", "both"), bands, strict=True):
            integers[f"levels.{level}.{name}"] = band
    return colours / 127, coarsest, levels, own, integers


def image_samples(header, colours, coarsest, levels, own, common):
    """Values ``[H, W, C]`` at the pixels."""
    step = 2.0 ** (-header["latent"][0] / 24)
    picture = synthesise(coarsest, levels, step)
    if own or common:
        features = postfilter_features(coarsest, levels, step)
        for parameters, bend in (
            (common, lambda _, z: np.maximum(z, 0)),
            (own, lambda _, z: np.sin(z)),
        ):
            if parameters:
                picture = picture + step * perceptron(parameters, features, bend)
    return picture @ colours


# --- 6. recordings of latents --------------------------------------------------------------------

SHORTEST, LONGEST, LEAD, PARTS, SEGMENT, MEMORY = 256, 8192, 128, 64, 1 << 14, 1 << 14
BANDS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]
WEIGHTS = [
    [0, 0, 28, 22, 13, 6, 2, 8, 3, 1, 0, 0],
    [31, 0, 21, 12, 2, 3, 0, 6, 2, 0, 2, 1],
    [41, 3, 12, 6, 1, 0, 0, 6, 2, 0, 2, 1],
]


def root(power):
    """The whole part of 2^(16 + power / 8)."""
    return math.isqrt(math.isqrt(math.isqrt(1 << (128 + power))))


EDGES = [(1 << 15) * root(3 * i) >> 23 for i in range(1, 40)]


class AdaptiveModels:
    """Counts of magnitudes in 40 contexts, and the distributions that follow from them."""

    def __init__(self):
        self.counts = []
        for context in range(40):
            expected = root(3 * context) >> 7
            left, row = 1 << 26, []
            for _ in range(3):
                stops = (left << 16) // ((1 << 16) + expected)
                row.append(max(stops >> 16, 1))
                left -= stops
            self.counts.append([*row, max(left >> 16, 1), max(left * expected >> 32, 1)])
        self.made = {}

    def model(self, context):
        if context not in self.made:
            counts = self.counts[context]
            left, weights = 1 << 40, []
            for magnitude in range(3):
                stops = left * counts[magnitude] // sum(counts[magnitude:4])
                weights.append(stops)
                left -= stops
            stop, go = counts[3], counts[4]
            reach = min(1000, 7 + 12 * (stop + go) // stop)
            for _ in range(3, reach):
                stops = left * stop // (stop + go)
                weights.append(stops)
                left -= stops
            weights.append(left)
            self.made[context] = cumulative([max(w, 1 << 20) for w in weights]), reach
        return self.made[context]

    def count(self, context, magnitude):
        self.counts[context][min(magnitude, 3)] += 256
        if magnitude > 3:
            self.counts[context][4] += 256 * min(magnitude - 3, 1000)


def block_sizes(decoder, total):
    counts, found = {}, []

    def divide(start, size):
        if start >= total:
            return
        split = start + size > total
        if size > SHORTEST and not split:
            key = size, bool(found) and found[-1] < size
            seen = counts.setdefault(key, [1, 1])
            split = decoder.symbol(cumulative(seen))
            seen[split] += 1
        if split:
            divide(start, size // 2)
            divide(start + size // 2, size // 2)
        else:
            found.append(size)

    for start in range(0, total, LONGEST):
        divide(start, LONGEST)
    return found


def resized(line, size):
    if len(line) > size:
        return line.reshape(size, -1).sum(axis=1) // (len(line) // size)
    return line.repeat(size // len(line))


def at(line, index):
    """Elements of a line, zero outside it."""
    inside = (index >= 0) & (index < len(line))
    return np.where(inside, line[index.clip(0, len(line) - 1)], 0) if len(line) else 0 * index


def pair(line, index, apart):
    return at(line, index - apart) + at(line, index + apart)


def audio_latents(payload, channels, frames):
    """The matrix of channels, block sizes, integers ``[N, C]`` and loudness of noise."""
    total = -(-(frames + 2 * LEAD) // SHORTEST) * SHORTEST
    mixing = np.frombuffer(payload[: channels**2], np.int8).reshape(channels, channels)
    place = channels**2
    top, model = payload[place], RunModel(payload[place + 1 : place + 4])
    end = place + 7 + int.from_bytes(payload[place + 4 : place + 7], "little")
    segments = -(-total // SEGMENT)
    noise = model.read(RangeDecoder(payload[place + 7 : end]), segments * 19 * channels)
    noise = noise.reshape(segments, 19, channels).cumsum(axis=0).clip(0, 15)
    decoder = RangeDecoder(payload[end:])
    sizes = block_sizes(decoder, total)
    latents = np.zeros((total, channels), np.int64)
    models = AdaptiveModels()
    average = [np.zeros(LONGEST, np.int64) for _ in range(channels)]
    last = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    older = [np.zeros(SHORTEST, np.int64) for _ in range(channels)]
    start = renewed = 0
    for size in sizes:
        count = size * top // PARTS
        if start - renewed >= 4096:
            models.made.clear()
            renewed = start
        other = np.zeros(count, np.int64)
        for channel in range(channels):
            before, earlier, mean = (
                resized(lines[channel], size)[:count] for lines in (last, older, average)
            )
            current = np.zeros(count, np.int64)
            for turn, (first, stride) in enumerate([(0, 4), (2, 4), (1, 2)]):
                k = np.arange(first, count, stride)
                near, far = [(0, 0), (2, 0), (1, 3)][turn]
                features = [
                    pair(current, k, near),
                    pair(current, k, far),
                    at(before, k),
                    pair(before, k, 1),
                    pair(before, k, 2),
                    at(earlier, k),
                    pair(earlier, k, 1),
                    at(mean, k),
                    pair(mean, k, 1),
                    pair(mean, k, 2) + pair(mean, k, 3) + pair(mean, k, 4),
                    at(other, k),
                    pair(other, k, 1),
                ]
                sums = sum(w * f for w, f in zip(WEIGHTS[turn], features, strict=True))
                contexts = np.searchsorted(EDGES, sums, side="right")
                magnitudes = read_magnitudes(decoder, models, contexts)
                signs = [1 - 2 * decoder.uniform(1) if m else 0 for m in magnitudes]
                latents[start + k, channel] = magnitudes * np.array(signs, np.int64)
                for context, magnitude in zip(contexts.tolist(), magnitudes.tolist(), strict=True):
                    models.count(context, magnitude)
                current[k] = np.minimum(magnitudes, 255) << 8
            older[channel] = last[channel]
            last[channel] = fit(current[None], (1, size))[0]
            change = resized(last[channel], LONGEST) - average[channel]
            average[channel] += change * size // MEMORY
            other = current
        start += size
    return mixing / 127, sizes, latents, noise


def read_magnitudes(decoder, models, contexts):
    magnitudes = np.zeros(len(contexts), np.int64)
    for context in sorted(set(contexts.tolist())):
        bounds, reach = models.model(context)
        places = np.flatnonzero(contexts == context)
        found = [decoder.symbol(bounds) for _ in places]
        magnitudes[places] = [m + decoder.uniform(24) if m == reach else m for m in found]
    return magnitudes


def scramble(index):
    """A number in [-1, 1) from a whole number."""
    for factor, shift in ((0x9E3779B1, 15), (0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        index = index * factor & 0xFFFFFFFF
        index ^= index >> shift
    return index / 2**31 - 1


def fill_noise(latents, sizes, noise):
    filled = latents.astype(np.float64)
    channels, start = latents.shape[1], 0
    for size in sizes:
        for k in range(size):
            position = k * PARTS // size
            band = max(b for b in range(19) if BANDS[b] <= position)
            for channel in range(channels):
                level = noise[start // SEGMENT, band, channel]
                if latents[start + k, channel] == 0 and level:
                    gain = 2.0 ** ((level - 15) / 2 - 3) * math.sqrt(3)
                    index = (start + k) * channels + channel
                    filled[start + k, channel] = gain * scramble(index)
        start += size
    return filled


def audio_samples(mixing, sizes, latents, noise, step, frames):
    """Samples ``[frames, C]``, full scale being the peak."""
    x = fill_noise(latents, sizes, noise) * step
    start = 0
    for size in sizes:
        half = np.arange(size) + 0.5
        matrix = math.sqrt(2 / size) * np.cos(np.pi / size * np.outer(half, half))
        x[start : start + size] = matrix @ x[start : start + size]
        start += size
    edge = 0
    for left, right in zip(sizes[:-1], sizes[1:], strict=True):
        edge += left
        half = min(left, right) // 2
        angle = np.pi / 4 * (1 + (np.arange(half) + 0.5) / half)
        rise, fall = np.sin(angle)[:, None], np.cos(angle)[:, None]
        after, before = x[edge : edge + half].copy(), x[edge - half : edge][::-1].copy()
        x[edge : edge + half] = rise * after - fall * before
        x[edge - half : edge] = (rise * before + fall * after)[::-1]
    return x[LEAD : LEAD + frames] @ mixing


# --- 7. coordinates and values -------------------------------------------------------------------


def centres(size, longest):
    return (2 * np.arange(size) + 1 - size) / longest


def grid(height, width):
    """Coordinates (y, x) of all pixels, row by row."""
    longest = max(height, width)
    y, x = np.meshgrid(centres(height, longest), centres(width, longest), indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def pixels(values, mode):
    """8-bit pixels of values in [-1, 1]; 16 bits where the mode is I;16."""
    most = 65535 if mode == "I;16" else 255
    return np.rint((np.clip(values, -1, 1) + 1) * (most / 2)).astype(np.int64)


CHANNELS = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "PA": 4, "I;16": 1, "F": 1}


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


def audio_between(samples, position):
    """A value ``[C]`` at a position in samples, interpolated."""
    base = math.floor(position)
    total = 0.0
    for tap in range(-15, 17):
        away = position - base - tap
        weight = np.sinc(away) * (0.5 + 0.5 * math.cos(math.pi * away / 16))
        total = total + weight * samples[mirrored(base + tap, len(samples))]
    return total


def mirrored(index, size):
    """An index beyond an end, mirrored at it."""
    index = -1 - index if index < 0 else index
    index = 2 * size - 1 - index if index >= size else index
    return min(max(index, 0), size - 1)
