"""Latents of a surface: section 9."""

import itertools

import numpy as np

from .siren import packed_parameters, siren, siren_shapes
from .whole import WholeSiren

STEPS = (128, 123, 117, 112, 108, 103, 99, 95, 91, 87, 83, 79, 76, 73, 70, 67)
FACTORS = (611, 1222, 1222, 256)
LOGISTIC = (
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349,
    3608, 3785, 3902, 3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095,
)  # fmt: skip
BEFORE = (
    ((-1, 0, 0), 4), ((0, -1, 0), 4), ((0, 0, -1), 4),
    ((-1, -1, 0), 3), ((-1, 1, 0), 3), ((-1, 0, -1), 3), ((-1, 0, 1), 3), ((0, -1, -1), 3),
    ((0, -1, 1), 3), ((-1, -1, -1), 2), ((-1, -1, 1), 2), ((-1, 1, -1), 2), ((-1, 1, 1), 2),
    ((-2, 0, 0), 2), ((0, -2, 0), 2), ((0, 0, -2), 2),
)  # fmt: skip
AROUND = [d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)]


def probability(logit):
    place, part = divmod(logit + 2048, 128)
    return min((LOGISTIC[place] * (128 - part) + LOGISTIC[place + 1] * part + 64) >> 7, 4095)


def logits():
    """For each probability from 0 to 4095, the logit that stands for it."""
    found, logit = [], -2047
    for wanted in range(4096):
        while logit < 2047 and probability(logit) < wanted:
            logit += 1
        found.append(logit)
    return found


LOGITS = logits()


class Decision:
    """One kind of decision, with so many contexts."""

    def __init__(self, count, most=None):
        self.cells = [{} for _ in range(count)]
        self.most = most
        self.weights = {}

    def read(self, decoder, contexts, mix):
        for table, context in zip(self.cells, contexts, strict=True):
            if len(table) == self.most and context not in table:
                table.clear()
        cells = [
            table.setdefault(c, [32768, 0]) for table, c in zip(self.cells, contexts, strict=True)
        ]
        weights = self.weights.setdefault(mix, [65536 // len(cells)] * len(cells))
        stretched = [LOGITS[cell[0] >> 4] for cell in cells]
        total = sum(w * x for w, x in zip(weights, stretched, strict=True)) >> 16
        p = probability(max(-2047, min(2047, total)))
        bit = decoder.read(p)
        for k, x in enumerate(stretched):
            weights[k] += (x * (4096 * bit - p) * 8 + 8192) >> 14
        for cell in cells:
            cell[0] += (65535 * bit - cell[0]) * (65536 // (cell[1] + 2)) >> 16
            cell[1] = min(cell[1] + 1, 60)
        return bit


class BinaryDecoder:
    def __init__(self, data):
        self.data, self.next = data, 4
        self.low, self.high = 0, 0xFFFFFFFF
        self.value = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def read(self, p):
        middle = self.low + ((self.high - self.low) * p >> 12)
        bit = int(self.value <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 24 == self.high >> 24:
            self.low = (self.low << 8) & 0xFFFFFFFF
            self.high = (self.high << 8) & 0xFFFFFFFF | 255
            byte = self.data[self.next] if self.next < len(self.data) else 0
            self.value = (self.value << 8) & 0xFFFFFFFF | byte
            self.next += 1
        return bit


def refine(grid):
    """The coefficients of the next finer level, without corrections."""
    for axis in range(3):
        c = np.moveaxis(grid, axis, 0)
        n = len(c) - 3
        fine = np.zeros((2 * n + 3, *c.shape[1:]), np.int64)
        for j in range(n + 1):
            fine[2 * j + 1] = (c[j] + 6 * c[j + 1] + c[j + 2] + 4) >> 3
        for j in range(n + 2):
            fine[2 * j] = (c[j] + c[j + 1] + 1) >> 1
        grid = np.moveaxis(fine, 0, axis)
    return grid


def shifted(node, step):
    return tuple(a + b for a, b in zip(node, step, strict=True))


def rank(bounds, value):
    """How many of the bounds are at most the value."""
    return sum(bound <= value for bound in bounds)


def signed_rank(bounds, value):
    return rank(bounds, abs(value)) * (int(value > 0) - int(value < 0))


def levels_and_step(header):
    index = header["latent"][0]
    finest = index // 16 if len(header["latent"]) == 1 else max(index // 16, 5)
    return finest, STEPS[index % 16] << (finest - index // 16)


def parts_of(payload, header):
    """The base, None where there is none, the trim, and the latents."""
    found = []
    for there in (len(header["latent"]) > 1, len(header["mesh"]) > 8):
        size = int.from_bytes(payload[:2], "little")
        found.append(payload[2 : 2 + size] if there else None)
        payload = payload[2 + size :] if there else payload
    return (*found, payload)


def base_coefficients(payload, header, side):
    """The coefficients of level 5 without corrections."""
    network = WholeSiren(payload, siren_shapes(3, 1, header["latent"][1], 3), FACTORS, 16)
    extent, (finest, step) = header["mesh"][4], levels_and_step(header)
    places = (np.arange(-2, side) << 10) - 16384
    grid = np.stack(np.meshgrid(places, places, places, indexing="ij"), axis=-1)
    v = network.outputs(grid.reshape(-1, 3)).reshape(grid.shape[:3]).clip(-(1 << 32), 1 << 32)
    inner = slice(1, -1)
    sixths = 12 * v[inner, inner, inner]
    for axis in range(3):
        for move in (-1, 1):
            sixths -= np.roll(v, move, axis=axis)[inner, inner, inner]
    divisor = 60 * step << 15
    limit = 1 << 24
    found = (((sixths << finest) + divisor // 2) // divisor).clip(-limit, limit)
    outside = min(((6 << 30 << finest) + divisor // 2) // divisor, limit)
    for axis in range(3):
        beyond = abs(places[1:-1]) > round(extent[axis] * 16384) + 1024
        np.moveaxis(found, axis, 0)[beyond] = outside
    return found


def surface_latents(payload, header):
    """The coefficients of the finest level, in units."""
    base, _, payload = parts_of(payload, header)
    finest, step = levels_and_step(header)
    reach, first = payload[0], 1 if base is None else 5
    decoder = BinaryDecoder(payload[1:])
    models = Decision(6), Decision(5), Decision(4)
    grid, coarser = np.zeros((5, 5, 5), np.int64), None
    if base is not None:
        grid = base_coefficients(base, header, 35)
    for level in range(first, finest + 1):
        if level > first:
            grid = refine(grid)

        def threshold(eighths, level=level):
            return (eighths << (13 + finest - level)) // step

        own = {2: 12, 3: 7}.get(level, reach)
        nodes = list(np.ndindex(grid.shape))
        core = [n for n in nodes if level == 1 or abs(grid[n]) < threshold(own)]
        stage = min(level - (first - 1) // 2, 5)
        latents = read_level(decoder, models, level, finest, step, grid, core, coarser, stage)
        shift = 6 + finest - level
        change = {node: latents[node] << shift for node in core}
        if level > 1:
            least = 11 if level == first else 16
            band = {n for n in nodes if abs(grid[n]) < threshold(max(least, own))}
            for _ in range(2):
                taken = {}
                for node in band - set(change):
                    beside = [
                        (4 >> (sum(map(abs, d)) - 1), change[shifted(node, d)])
                        for d in AROUND
                        if shifted(node, d) in change
                    ]
                    if beside:
                        weight = sum(w for w, _ in beside)
                        total = sum(w * value for w, value in beside)
                        taken[node] = (2 * total + weight) // (2 * weight)
                change |= taken
        for node, value in change.items():
            grid[node] = max(-(1 << 24), min(1 << 24, grid[node] + value))
        coarser = np.zeros(grid.shape, np.int64)
        for node in core:
            coarser[node] = max(-4096, min(4096, latents[node]))
    return grid


def read_level(decoder, models, level, finest, step, grid, core, coarser, stage):
    zero, sign, size = models
    padded = np.pad(grid, 1, mode="edge")
    if coarser is not None:
        activity, trend_above = refine(np.abs(coarser) * 64), refine(coarser * 64)
    values = {}
    for node in core:
        here = int(grid[node])
        distance = min(abs(here) * step >> (13 + finest - level), 15)
        block = tuple(slice(k, k + 3) for k in node)
        bending = int(padded[block].sum()) - 27 * here
        quarter = 1 << (4 + finest - level)
        bend = rank((1, 3, 6, 12, 24), abs(bending) // quarter)
        bend_signed = bend if bending > 0 else -bend
        active = above = 0
        if coarser is not None:
            active = rank((3, 10, 19, 32, 51, 77, 128, 256), activity[node])
            above = signed_rank((6, 19, 38, 77), int(trend_above[node]))
        beside = [(values.get(shifted(node, d), 0), w) for d, w in BEFORE]
        total = sum(w * v for v, w in beside)
        magnitude = sum(w * abs(v) for v, w in beside)
        near = magnitude
        if magnitude >= 30:
            near = 12 + min((magnitude - 30) // 16, 8)
        elif magnitude >= 6:
            near = 6 + (magnitude - 6) // 4
        few = min(near, 8)
        first = tuple(min(abs(v), 2) for v, _ in beside[:3])
        contexts = (
            (near, stage), (near, distance), (active, distance, stage), (few, active, bend),
            (first, distance // 2, active // 2), (near, bend, stage),
        )  # fmt: skip
        if not zero.read(decoder, contexts, stage):
            values[node] = 0
            continue
        trend = signed_rank((1, 4, 8, 15, 41), total)
        contexts = (
            (trend, stage), (bend_signed, stage), (above, stage), (trend, bend_signed),
            (trend, above, here < 0),
        )  # fmt: skip
        negative = sign.read(decoder, contexts, stage)
        value = 1
        while value < 20:
            k = min(value, 12)
            contexts = (
                (k, near), (k, active), (k, stage, distance // 2), (k, bend, few),
            )  # fmt: skip
            if not size.read(decoder, contexts, (min(k, 3), stage == 1)):
                break
            value += 1
        else:
            digits = 0
            while decoder.read(2048):
                digits += 1
                assert digits <= 20
            rest = 1
            for _ in range(digits):
                rest = 2 * rest + decoder.read(2048)
            value += rest - 1
        values[node] = -value if negative else value
    return values


def surface_between(grid, header, place):
    """The field at coordinates (x, y, z)."""
    finest, step = levels_and_step(header)
    cells = 1 << finest
    total = 0.0
    firsts, weights = [], []
    for coordinate in place:
        position = (min(max(coordinate, -1), 1) + 1) * cells / 2
        first = min(int(position), cells - 1)
        t = position - first
        firsts.append(first)
        weights.append(
            ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        )
    for a, b, c in itertools.product(range(4), repeat=3):
        weight = weights[0][a] * weights[1][b] * weights[2][c] / 216
        total += weight * grid[firsts[0] + a, firsts[1] + b, firsts[2] + c]
    unit = step * 2.0 ** (1 - finest) / 65536
    return max(-1.0, min(1.0, 10 * total * unit))


def surface_trim(payload, header, coordinates):
    """The trim at coordinates ``[n, 3]``."""
    _, trim, _ = parts_of(payload, header)
    shapes = siren_shapes(3, 1, header["mesh"][8], 3)
    return siren(packed_parameters(trim, shapes)[1], (0, 3, 15.0, 30.0), coordinates)
