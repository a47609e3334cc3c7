"""Palettes: section 10."""

import decimal

from .coder import RangeDecoder, cumulative, precise
from .surface import BinaryDecoder, Decision

WORD = 0xFFFFFFFF
MIX, MIX_COLOUR, MIX_PLACE = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35
SIZES, REMEMBERED = (2, 4, 6, 9, 12, 18, 26, 40, 60), (2, 4, 6, 12, 18, 26, 40, 60)
BESIDE = ((-1, 0), (0, -1), (1, -1), (-1, -1))
NEAREST = sorted(
    [(x, y) for y in range(-7, 1) for x in range(-7, 8) if x + 3 * y < 0 and (y < 0 or x < 0)],
    key=lambda o: (o[0] ** 2 + o[1] ** 2, -o[1], o[0]),
)[:60]
LIMIT = 2816


def squashed():
    """The probability of each logit from -2816 to 2816."""
    with precise():
        known = [
            round(decimal.Decimal(65536) / (1 + (-decimal.Decimal(k) / 256).exp()))
            for k in range(-LIMIT, LIMIT + 1, 64)
        ]
    known.append(known[-1])
    found = []
    for place in range(2 * LIMIT + 1):
        k, part = divmod(place, 64)
        between = (known[k] * (64 - part) + known[k + 1] * part + 32) // 64
        found.append(min(max(between, 1), 65535))
    return found


SQUASH = squashed()


def stretched():
    found, logit = [], -LIMIT
    for p in range(65536):
        while logit < LIMIT and SQUASH[logit + LIMIT] < p:
            logit += 1
        found.append(logit)
    return found


STRETCH = stretched()


def place_in(value, bits=18):
    value ^= value >> 15
    return (value * MIX_PLACE & WORD) >> (32 - bits)


def forget(count):
    return count if count <= 2 else min((count + 3) // 2, 6)


def after(state, bit):
    zeros, ones = divmod(state, 16)
    if bit:
        return forget(zeros) * 16 + min(ones + 1, 15)
    return min(zeros + 1, 15) * 16 + forget(ones)


class Counts:
    """Counts of zeros and ones in states that begin at these probabilities."""

    def __init__(self, assumed):
        self.counts = [[48 - p * 48 // 65536 + 1, p * 48 // 65536 + 1] for p in assumed]
        self.steps = 0

    def probability(self, state):
        zeros, ones = self.counts[state]
        return ones * 65536 // (zeros + ones)

    def learn(self, pairs):
        for state, bit in pairs:
            self.counts[state][bit] += 32
        self.steps += 1
        if self.steps % 64 == 0:
            for pair in self.counts:
                if max(pair) > 32768:
                    pair[:] = [(count + 1) >> 1 for count in pair]


HISTORY = [(5 * (s % 16) + 2) * 65536 // (5 * (s // 16 + s % 16) + 4) for s in range(256)]
MEMORY = [
    (s // 2 + 1) * 65536 // (s // 2 + 2) if s % 2 else 65536 // (s // 2 + 3) for s in range(256)
]
MEMORY[0] = 32768


class Mixed:
    """One kind of decision: all of a diagonal are read before any is learned from."""

    def __init__(self, tables, classes):
        self.counts = Counts([p for table in tables for p in table])
        first = 8000 // len(classes)
        self.weights = [[[first] * (len(tables) + 1) for _ in range(n)] for n in classes]

    def read(self, decoder, states, chosen):
        """A bit for each of ``states``, lists of a state for each input; ``chosen`` classes."""
        pairs, found, changes = [], [], {}
        for own, classes in zip(states, chosen, strict=True):
            logits = [
                STRETCH[self.counts.probability(256 * k + state)] for k, state in enumerate(own)
            ]
            logits.append(256)
            sets = [table[c] for table, c in zip(self.weights, classes, strict=True)]
            total = sum(sum(w) * x for *w, x in zip(*sets, logits, strict=True)) >> 16
            p = SQUASH[min(max(total, -LIMIT), LIMIT) + LIMIT]
            bit = decoder.symbol(cumulative([65536 - p, p]))
            found.append(bit)
            pairs += [(256 * k + state, bit) for k, state in enumerate(own)]
            for key in enumerate(classes):
                change = changes.setdefault(key, [0] * len(logits))
                for k, x in enumerate(logits):
                    change[k] += x * (65536 * bit - p)
        self.counts.learn(pairs)
        for (which, c), change in changes.items():
            row = self.weights[which][c]
            for k, value in enumerate(change):
                row[k] = min(max(row[k] + (value >> 16), -(1 << 20)), 1 << 20)
        return found


def read_histories(tables, places):
    return [table.get(place, 0) for table, place in zip(tables, places, strict=True)]


def read_colours(decoder, count, channels):
    model, found = Decision(5), []
    last, before = [0] * channels, [0] * channels
    for _ in range(count):
        colour, own = [], []
        for channel in range(channels):
            base = colour[-1] if channel else found[-1][0] if found else 0
            beside = (last[channel], before[channel], colour[-1] >> 3 if colour else 0)
            beside += (own[-1] if own else 0,)
            node = 1
            for _ in range(8):
                here = node * 4 + channel
                contexts = (here, *(here << 8 | each for each in beside))
                node = node * 2 + model.read(decoder, contexts, channel)
            own.append(node & 255)
            colour.append(base + node & 255)
        found.append(colour)
        last, before = own, last
    weights = {1: (1,), 2: (1, 1), 3: (2, 5, 1), 4: (2, 5, 1, 1)}[channels]
    return sorted(found, key=lambda c: sum(w * v for w, v in zip(weights, c, strict=True)))


class Indices:
    """What is known of a picture of so many rows, not more than columns, and ``count`` colours."""

    def __init__(self, rows, columns, count):
        self.rows, self.columns, self.count = rows, columns, count
        self.digits = max(count - 1, 1).bit_length()
        self.known, self.depth, self.run = {}, {}, {}
        self.memories = [{} for _ in REMEMBERED]
        self.trust = Counts([(s + 1) * 65536 // 18 for s in range(16)] * len(REMEMBERED))
        tables = [MEMORY] * len(REMEMBERED) + [HISTORY] * (len(SIZES) + 2)
        self.candidates = [Mixed(tables, (18, 16)) for _ in range(2)]
        self.histories = [[{} for _ in range(len(SIZES) + 2)] for _ in range(2)]
        self.calm = Mixed([HISTORY] * 5, (32,))
        self.calm_histories = [{} for _ in range(5)]
        self.whole = Decision(7, 1 << 17)

    def read(self, first, second):
        """The indices, row by row."""
        for place in range(self.columns + 3 * (self.rows - 1)):
            lanes = [
                (place - 3 * y, y) for y in range(self.rows) if 0 <= place - 3 * y < self.columns
            ]
            if lanes:
                self.read_diagonal(first, second, lanes)
        return [[self.known[x, y] - 1 for x in range(self.columns)] for y in range(self.rows)]

    def read_diagonal(self, first, second, lanes):
        near = {
            (x, y): [self.known.get((x + dx, y + dy), 0) for dx, dy in BESIDE] for x, y in lanes
        }
        even = {at: len(set(colours)) == 1 and colours[0] > 0 for at, colours in near.items()}
        depths = {
            (x, y): min(self.depth.get((x + dx, y + dy), 0) for dx, dy in BESIDE) for x, y in lanes
        }
        depths = {at: min(depth, 31) for at, depth in depths.items()}
        runs = {(x, y): self.run.get((x - 1, y), 0) for x, y in lanes}
        quiet = [at for at in lanes if even[at] and depths[at] >= 2]
        found = {}
        if quiet:
            places = []
            for x, y in quiet:
                colour, depth, run = near[x, y][0] * MIX_COLOUR, depths[x, y], runs[x, y]
                contexts = (
                    colour + 4 * y,
                    colour + 4 * x + 1,
                    colour + 128 * depth + 4 * run + 2,
                    colour + 128 * y + 4 * run + 3,
                    colour + 4 * depth,
                )
                places.append([place_in(c * MIX & WORD, 16) for c in contexts])
            states = [read_histories(self.calm_histories, each) for each in places]
            moved = self.calm.read(first, states, [(depths[at],) for at in quiet])
            self.learn(self.calm_histories, places, states, moved)
            found = {at: near[at][0] for at, bit in zip(quiet, moved, strict=True) if not bit}
        left = [at for at in lanes if at not in found]
        if left:
            excluded = {at: near[at][0] if at in quiet else 0 for at in left}
            found |= self.read_lanes(first, second, left, near, excluded)
        for at in lanes:
            self.known[at] = found[at]
            same = found[at] == near[at][0]
            self.depth[at] = min(depths[at] + 1, 31) if even[at] and same else 0
            self.run[at] = min(runs[at] + 1, 31) if same else 0

    def learn(self, tables, places, states, bits):
        for own, known, bit in zip(places, states, bits, strict=True):
            for table, place, state in zip(tables, own, known, strict=True):
                table[place] = after(state, bit)

    def read_lanes(self, first, second, lanes, near, excluded):
        contexts, cells, choices = {}, {}, {}
        for x, y in lanes:
            at, total, sums = (x, y), 0, {}
            for k, (dx, dy) in enumerate(NEAREST, start=1):
                total += self.known.get((x + dx, y + dy), 0) * pow(MIX, k, 1 << 32)
                sums[k] = total & WORD
            west, north, *_ = near[at]
            contexts[at] = [sums[size] for size in SIZES]
            contexts[at].append((west * MIX_COLOUR + y) * MIX & WORD)
            contexts[at].append(((north * MIX_COLOUR + x) * MIX + 1) & WORD)
            places = [place_in(sums[size]) for size in REMEMBERED]
            cells[at] = [
                (place, *table.get(place, (0, 0)))
                for table, place in zip(self.memories, places, strict=True)
            ]
            sure = [
                self.trust.probability(16 * k + s) if colour and colour != excluded[at] else -1
                for k, (_, colour, s) in enumerate(cells[at])
            ]
            listed = [colour for _, colour, _ in reversed(cells[at])] + near[at]
            best = cells[at][sure.index(max(sure))][1] if max(sure) >= 0 else 0
            ordered = [c for c in [best, *listed] if c and c != excluded[at]]
            choices[at] = [*dict.fromkeys(ordered), 0, 0][:2]
        found, live = {}, lanes
        for rank in range(2):
            live = [at for at in live if at not in found and choices[at][rank]]
            if not live:
                continue
            states, chosen, places = [], [], []
            for at in live:
                candidate = choices[at][rank]
                agree = [colour == candidate for _, colour, _ in cells[at]]
                memory = [
                    2 * s + a if colour else 0
                    for (_, colour, s), a in zip(cells[at], agree, strict=True)
                ]
                salt = candidate * MIX_COLOUR & WORD
                places.append([place_in((c ^ salt) * MIX & WORD) for c in contexts[at]])
                states.append(memory + read_histories(self.histories[rank], places[-1]))
                w, n, ne, nw = near[at]
                alike = (w == n) + 2 * (n == ne) + 4 * (w == nw) + 8 * (n == nw)
                chosen.append((sum(agree) + 9 * (excluded[at] > 0), alike))
            right = self.candidates[rank].read(first, states, chosen)
            pasts = [each[len(REMEMBERED) :] for each in states]
            self.learn(self.histories[rank], places, pasts, right)
            found |= {at: choices[at][rank] for at, bit in zip(live, right, strict=True) if bit}
        for at in lanes:
            if at not in found:
                found[at] = self.read_whole(second, near[at])
        self.remember(lanes, cells, found)
        return found

    def read_whole(self, second, near):
        w, n, ne, nw = near
        slope = min(max(w + n - nw, 0), self.count)
        about = 0
        for colour in near:
            about = about * 8 + colour * 8 // (self.count + 1)
        node = 1
        for place in range(self.digits - 1, -1, -1):
            high = node << 13
            contexts = (
                node, high | w, high | n, high | ne, (high | w) << 13 | n, high | slope,
                node << 12 | about,
            )  # fmt: skip
            node = node * 2 + self.whole.read(second, contexts, place)
        index = node - (1 << self.digits)
        assert index < self.count, "an index beyond the palette"
        return index + 1

    def remember(self, lanes, cells, found):
        pairs = [
            (16 * k + sure, int(colour == found[at]))
            for at in lanes
            for k, (_, colour, sure) in enumerate(cells[at])
            if colour
        ]
        self.trust.learn(pairs)
        for at in lanes:
            for table, (place, colour, sure) in zip(self.memories, cells[at], strict=True):
                if colour == found[at]:
                    table[place] = (colour, min(sure + 1, 15))
                elif sure > 1:
                    table[place] = (colour, sure >> 1)
                else:
                    table[place] = (found[at], int(colour == 0))


def palette_picture(payload, header, channels):
    """The colours, and the indices row by row."""
    (count,) = header["palette"]
    height, width = header["image"][1], header["image"][0]
    end = 4 + int.from_bytes(payload[:4], "little")
    second, first = BinaryDecoder(payload[4:end]), RangeDecoder(payload[end:])
    colours = read_colours(second, count, channels)
    indices = Indices(min(height, width), max(height, width), count).read(first, second)
    if height > width:
        indices = [list(row) for row in zip(*indices, strict=True)]
    return colours, indices
