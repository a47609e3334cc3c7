"""Damage files and see that nothing but a clear error comes of it.

    python tools/fuzz.py --count 20000 --seed 0

Files of every medium and field (tests/golden and docs/reference/vectors) are changed where it may
hurt: values of the header, entries of the table of tensors, bytes of the payload. The checksum is
made anew, so that the change gets past it. Each is then read as `info -v`, `export`, `decode` and
`verify` do. Anything but an IntfitError, or a peak of memory above what was declared and allowed
four times over, is printed and counted; the exit code is 1 if there was one.
"""

import argparse
import contextlib
import copy
import json
import random
import resource
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from intfit import api
from intfit.codecs import codec_of, read_config
from intfit.coding import container
from intfit.coding.header import parse_json
from intfit.coding.tensors import payload_of
from intfit.errors import IntfitError
from intfit.limits import BYTES, Limits
from intfit.media import medium

ROOT = Path(__file__).resolve().parents[1]
#: A hundredth of what is usually allowed: 2 megapixels, 2 million frames, 200,000 cells, 80 MB.
LIMITS = Limits(0.01)
#: What may stand in the place of a header's value.
HOSTILE: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 255, 2**16, 2**24, 2**31, 2**63, 10**30, 0.0, -0.5, 1e-300, 1e300, 1.5, True,
    None, "", "x" * 5000, "RGB", "P", "I;16", "F", "PCM_16", "\x1b[2J", [], [1, 2, 3], [1e300] * 3,
    {}, {"a": 1},
)  # fmt: skip


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
    """``data`` with one to three things changed."""
    table, header, body = split(data)
    for _ in range(rng.randint(1, 3)):
        kind = rng.random()
        if kind < 0.5:
            key = rng.choice([k for k in header if k != "crc"])
            value = header[key]
            if isinstance(value, list) and value and rng.random() < 0.9:
                place = rng.randrange(len(value))
                old = value[place]
                if isinstance(old, (int, float)) and rng.random() < 0.4:
                    value[place] = rng.choice((old + 1, old - 1, old * 2, old * 1000, -old))
                else:
                    value[place] = copy.deepcopy(rng.choice(HOSTILE))
            else:
                header[key] = copy.deepcopy(rng.choice(HOSTILE))
        elif kind < 0.65 and table:
            entry = table[rng.choice(list(table))]
            if isinstance(entry, dict):
                entry[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(
                    ("F32", "BF16", "U8", [0], [2, 2], [len(body)], [0, len(body)], [2**40], "x")
                )
        elif kind < 0.95 and body:
            changed = bytearray(body)
            for _ in range(rng.choice((1, 1, 2, 8, 64))):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            body = bytes(changed)
        else:
            cut = rng.randrange(len(body) + 1)
            body = body[:cut] if rng.random() < 0.5 else body[:cut] + rng.randbytes(cut % 97)
            for entry in table.values():
                if isinstance(entry, dict) and len(table) == 1:
                    entry |= {"shape": [len(body)], "data_offsets": [0, len(body)]}
    return join(table, header, body)


def use(data: bytes, original: bytes) -> None:
    """Read a file in every way there is."""
    layout = container.parse(data[: 8 + int.from_bytes(data[:8], "little")], len(data))
    config = read_config(layout.header)
    config.describe()
    config.count()
    layout, stored = container.load(data)
    parse_json(json.dumps(layout.header.facts), "facts")
    if (payload := payload_of(stored)) is not None:
        codec_of(layout.header.field, layout.header.medium).parts(payload, config)
    api.export(data, limits=LIMITS)
    field = api.load(data, device="cpu", threads=1, limits=LIMITS)
    # (marching cubes at the usual resolution would be all of the time)
    target = medium("mesh").Target(resolution=24) if field.kind == "mesh" else None
    api.decode(field, target)
    with contextlib.suppress(IntfitError):  # mostly it is another picture
        api.verify(field, original)


def main() -> None:
    """Run the fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write what went wrong here")
    options = parser.parse_args()
    folders = (ROOT / "tests" / "golden", ROOT / "docs" / "reference" / "vectors")
    files = sorted(path for folder in folders for path in folder.glob("*.safetensors"))
    rng = random.Random(options.seed)
    original = (ROOT / "samples" / "photo.png").read_bytes()
    for path in files:  # what is loaded once is not a file's
        try:
            use(path.read_bytes(), original)
        except IntfitError:
            continue
    outcomes: Counter[str] = Counter()
    allowed = 4 * BYTES * LIMITS.factor
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number in range(options.count):
        path = rng.choice(files)
        data = damage(path.read_bytes(), rng)
        try:
            use(data, original)
            outcome = "read"
        except IntfitError as error:
            outcome = "refused" if len(str(error)) < 1000 else "long message"
        except Exception as error:
            outcome = f"{type(error).__name__}: {str(error)[:100]}"
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
