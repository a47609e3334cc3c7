"""The container, the range coder, and runs of integers: sections 1 to 3."""

import decimal
import json
import zlib

import numpy as np

PRECISION = 24  # bits of a probability


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
    assert header["version"] in (2, 3, 4)
    checksum = zlib.crc32(bare.encode())
    if header["version"] >= 3:
        order = ("dtype", "shape", "data_offsets")
        entries = {name: {key: table[name][key] for key in order} for name in sorted(table)}
        listed = json.dumps(entries, separators=(",", ":"), ensure_ascii=False)
        checksum = zlib.crc32(listed.encode(), checksum)
    assert zlib.crc32(body, checksum) == header["crc"], "checksum"
    return header, tensors


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


def precise():
    return decimal.localcontext(prec=40, rounding=decimal.ROUND_HALF_EVEN)


class RunModel:
    """Three bytes: a distribution between Laplace and Gauss."""

    def __init__(self, data, wider=0):
        packed = int.from_bytes(data, "little")
        self.reach, self.shift = packed & 1023, packed >> 10 & 15
        shape, spread = packed >> 14 & 7, min((packed >> 17) + wider, 127)
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
