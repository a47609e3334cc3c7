"""Damage files and see that nothing but a clear error comes of it.

    python tools/fuzz.py --count 20000 --seed 0

Files of every medium and field (tests/golden, docs/reference/vectors and those of --also) are
changed where it may hurt: names and values of the header, entries of the table of tensors, bytes
of the payload. The checksum is mostly made anew, so that the change gets past it. Each is then read
as `info -v`, `export`, `decode` (sometimes at another resolution) and `verify` do, and evaluated at
points. Anything but an IntfitError of one line, a peak of memory above what was declared and
allowed four times over, or more than --seconds of processor time, is printed and counted; the exit
code is 1 if there was one.
"""

import argparse
import contextlib
import copy
import json
import random
import resource
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from intfit import api
from intfit.coding import container
from intfit.errors import IntfitError
from intfit.inspection import info
from intfit.limits import BYTES, Limits
from intfit.media import medium

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "tests" / "golden", ROOT / "docs" / "reference" / "vectors")
#: A hundredth of what is usually allowed: 2 megapixels, 2 million frames, 200,000 cells, 80 MB.
LIMITS = Limits(0.01)
#: What may stand in the place of a header's value.
HOSTILE: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 255, 2**16, 2**24, 2**31, 2**63, 10**30, 0.0, -0.5, 1e-300, 1e300, 1.5, True,
    None, "", "x" * 5000, "RGB", "P", "I;16", "F", "PCM_16", "\x1b[2J", [], [1, 2, 3], [1e300] * 3,
    {}, {"a": 1}, float("nan"), float("-inf"), -(2**31), 4097, 65537, 2**30, "\u2028", "\ud800",
    [None], [[]], [0.5, 0.5, 0.5], [-1.0, 1.0, float("nan")], "ff" * 768, "00", False, "siren",
)  # fmt: skip
#: How a medium may be asked for.
TARGETS: dict[str, tuple[dict[str, Any], ...]] = {
    "image": ({}, {"scale": 1.7}, {"size": (9, 70)}, {"region": (0, 0, 5, 3)}, {"scale": 0.3}),
    "audio": ({}, {"sample_rate": 11025}, {"start": 0.0, "duration": 0.01}, {"sample_rate": 1999}),
    # (marching cubes at the usual resolution would be all of the time)
    "mesh": ({"resolution": 24}, {"resolution": 20, "watertight": True},
             {"resolution": 16, "faces": 100}),
}  # fmt: skip
SUFFIXES = {
    "image": (".png", ".jpg", ".tiff"),
    "audio": (".wav", ".flac"),
    "mesh": (".ply", ".glb"),
}


def split(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """A file's table, its header, and the bytes of its tensors."""
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])
    return table, json.loads(table.pop("__metadata__")["intfit"]), data[start:]


def join(table: dict[str, Any], header: dict[str, Any], body: bytes) -> bytes:
    """The file again, with a checksum that fits if its contents can be read at all."""
    header.pop("crc", None)

    def written(header: dict[str, Any]) -> bytes:
        text = json.dumps(header, sort_keys=True, separators=(",", ":"))
        whole = {"__metadata__": {"intfit": text}} | table
        encoded = json.dumps(whole, separators=(",", ":")).encode()
        encoded += b" " * (-len(encoded) % 8)
        return len(encoded).to_bytes(8, "little") + encoded + body

    data = written(header | {"crc": 0})
    try:
        layout = container.parse(data, len(data))
        checksum = container.checksum_of(layout, data)
    except (IntfitError, ValueError):
        checksum = zlib.crc32(body)
    return written(header | {"crc": checksum})


def damage(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one to three things changed; now and then without a checksum that fits."""
    if rng.random() < 0.05:
        return damage_bytes(data, rng)
    table, header, body = split(data)
    for _ in range(rng.randint(1, 3)):
        kind = rng.random()
        if kind < 0.5:
            damage_header(header, rng)
        elif kind < 0.65 and table:
            damage_table(table, len(body), rng)
        elif kind < 0.95 and body:
            body = damage_bytes(body, rng, cut=False)
        else:
            body = damage_bytes(body, rng, cut=True)
            for entry in table.values():
                if isinstance(entry, dict) and len(table) == 1:
                    entry |= {"shape": [len(body)], "data_offsets": [0, len(body)]}
    return join(table, header, body)


def damage_header(header: dict[str, Any], rng: random.Random) -> None:
    """Change a value, most often one in a list, or what belongs to which name."""
    keys = [key for key in header if key != "crc"]
    key, kind = rng.choice(keys), rng.random()
    value = header[key]
    if kind < 0.75 and isinstance(value, (list, dict)) and value:
        place = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        old = value[place]
        if isinstance(old, (int, float)) and rng.random() < 0.4:
            value[place] = rng.choice((old + 1, old - 1, old * 2, old * 1000, -old, float(old)))
        else:
            value[place] = copy.deepcopy(rng.choice(HOSTILE))
    elif kind < 0.8 and isinstance(value, list):  # a list may end early, or go on
        value[:] = value[: rng.randrange(len(value) + 1)] if rng.random() < 0.4 else [
            *value, *[None] * rng.randrange(5), copy.deepcopy(rng.choice(HOSTILE))
        ]  # fmt: skip
    elif kind < 0.85:
        other = rng.choice(keys)
        header[key], header[other] = header[other], header[key]
    elif kind < 0.9:
        del header[key]
    elif kind < 0.95:
        name = rng.choice(
            ("image", "audio", "mesh", "siren", "latent", "palette", "metadata", "x" * 99, "")
        )
        header[name] = copy.deepcopy(rng.choice((*HOSTILE, {"exif": "RXhpZgAA", "dpi": "1 x"})))
    else:
        header[key] = copy.deepcopy(rng.choice(HOSTILE))


def damage_table(table: dict[str, Any], size: int, rng: random.Random) -> None:
    """Change an entry of the table of tensors, or which name it has."""
    name, kind = rng.choice(list(table)), rng.random()
    entry = table[name]
    if kind < 0.7 and isinstance(entry, dict):
        wrong = ("F32", "BF16", "U8", [0], [2, 2], [size], [0, size], [2**40], "x", None, [-1, 1])
        entry[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(wrong)
    elif kind < 0.8:
        other = rng.choice(list(table))
        table[name], table[other] = table[other], table[name]
    elif kind < 0.9:
        table[rng.choice(("", "payload", "\ud800", "trim.x", "x\n", "l" * 999))] = table.pop(name)
    else:
        table[rng.choice(("", "payload", "zz"))] = {
            "dtype": "U8", "shape": [0], "data_offsets": [size, size]
        }  # fmt: skip


def damage_bytes(data: bytes, rng: random.Random, *, cut: bool | None = None) -> bytes:
    """Change some bytes, or ``cut`` the end off and perhaps put noise in its place."""
    if not data or (rng.random() < 0.5 if cut is None else cut):
        place = rng.randrange(len(data) + 1)
        return data[:place] + (b"" if rng.random() < 0.5 else rng.randbytes(place % 97))
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] = rng.choice((rng.randrange(256), 0, 255))
    return bytes(changed)


def use(data: bytes, rng: random.Random) -> None:
    """Read a file in every way there is.

    Raises:
        IntfitError: if it cannot be read.
    """
    json.dumps(info(data), allow_nan=False).encode()
    info(data, sizes=True)
    api.export(data, limits=LIMITS)
    field = api.load(data, device="cpu", threads=1, limits=LIMITS)
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (7, field.in_features))
    values = field(points)
    assert values.shape == (7, field.out_features)
    assert np.isfinite(values).all()
    module = medium(field.kind)
    target = module.Target(**rng.choice(TARGETS[field.kind]))
    suffix = rng.choice(SUFFIXES[field.kind])
    decoded = api.decode(field, target, suffix=suffix).data
    if rng.random() < 0.2:  # it takes longest
        with contextlib.suppress(IntfitError):  # of another size, often
            api.verify(field, decoded, suffix=suffix)


def try_file(data: bytes, rng: random.Random) -> str:
    """``read`` or ``refused``, or what is wrong with how a file was read or refused."""
    try:
        use(data, rng)
    except IntfitError as error:
        text = str(error)
        clear = len(text) < 1000 and text.isprintable()
        return "refused" if clear else f"no clear message: {text[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    return "read"


def main() -> None:
    """Run the fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="the most for one file")
    parser.add_argument("--also", type=Path, help="a folder of more files to damage")
    parser.add_argument("--keep", type=Path, help="write what went wrong here")
    options = parser.parse_args()
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.safetensors"))]
    files += sorted(options.also.glob("*.safetensors")) if options.also else []
    rng = random.Random(options.seed)
    for path in files:  # what is loaded once is not a file's
        with contextlib.suppress(IntfitError):
            use(path.read_bytes(), rng)
    outcomes: Counter[str] = Counter()
    allowed = 4 * BYTES * LIMITS.factor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number in range(options.count):
        path = rng.choice(files)
        data = damage(path.read_bytes(), rng)
        began = time.process_time()
        outcome = try_file(data, rng)
        if (took := time.process_time() - began) > options.seconds:
            outcome = f"took {took:.0f} s"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak - before > allowed:
            outcome, before = f"took {(peak - before) / 1e6:.0f} MB", peak
        outcomes[outcome] += 1
        if outcome not in ("read", "refused") and outcomes[outcome] == 1:
            print(f"{number} {path.name}: {outcome}", flush=True)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}-{path.name}").write_bytes(data)
    print(dict(outcomes))
    sys.exit(any(outcome not in ("read", "refused") for outcome in outcomes))


if __name__ == "__main__":
    main()
