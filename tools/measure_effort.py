"""Measure what more effort gains a plain SIREN: the table of docs/results/effort.md.

    python tools/measure_effort.py effort.jsonl kodim04.png bach.wav bunny.obj --efforts 1,3,5,7

Fits every file with every effort and seed, on one thread: the cheap efforts first, then the other
seeds. Each fit appends a line to the JSON lines file; fits that are in it already are not repeated,
so an interrupted run goes on where it was. Prints the table of all that the file holds: PSNR or SNR
in dB, or IoU; a dash where nothing is measured. Without files, only prints it.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import intfit

Row = dict[str, Any]


def read_rows(results: Path) -> list[Row]:
    """The fits that are measured; none where there is no such file."""
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def measure_fit(path: Path, effort: int, seed: int, quality: float | None) -> Row:
    """One fit in the packed profile: what it reached, its bytes, steps and processor seconds."""
    settings = intfit.Settings(field="siren", effort=effort, seed=seed, device="cpu", threads=1)
    began = time.process_time()
    encoding = intfit.encode(
        path.read_bytes(), replace(settings, quality=quality), suffix=path.suffix
    )
    return {
        "file": path.name,
        "effort": effort,
        "seed": seed,
        "quality": quality,
        "distortion": round(encoding.distortion, 4),
        "bytes": len(encoding.data),
        "steps": encoding.steps,
        "seconds": round(time.process_time() - began, 1),
    }


def make_table(rows: list[Row]) -> str:
    """A Markdown table: a line for each file, quality and seed, a column for each effort."""
    efforts = sorted({row["effort"] for row in rows})
    lines: dict[tuple[str, str, int], dict[int, str]] = {}
    for row in sorted(rows, key=lambda row: (row["file"], row["quality"] or 0, row["seed"])):
        quality = "default" if row["quality"] is None else f"{row['quality']:g}"
        cells = lines.setdefault((row["file"], quality, row["seed"]), {})
        digits = 4 if row["file"].endswith((".obj", ".ply")) else 2
        cells[row["effort"]] = f"{row['distortion']:.{digits}f}"
    table = ["| | -q | seed | " + " | ".join(f"-e {effort}" for effort in efforts) + " |"]
    table.append("|---" * (3 + len(efforts)) + "|")
    for (name, quality, seed), cells in lines.items():
        values = " | ".join(cells.get(effort, "-") for effort in efforts)
        table.append(f"| {name} | {quality} | {seed} | {values} |")
    return "\n".join(table)


def main() -> None:
    """Read the command line, measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a JSON lines file")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--efforts", default="1,3,5,7")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--quality", type=float, help="as -q; the usual one otherwise")
    options = parser.parse_args()
    seeds, efforts = (
        [int(n) for n in text.split(",")] for text in (options.seeds, options.efforts)
    )
    key = "file", "effort", "seed", "quality"
    done = {tuple(row[name] for name in key) for row in read_rows(options.results)}
    for seed, effort, path in product(seeds, efforts, options.files):
        if (path.name, effort, seed, options.quality) in done:
            continue
        row = measure_fit(path, effort, seed, options.quality)
        with options.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
    if rows := read_rows(options.results):
        print(make_table(rows))


if __name__ == "__main__":
    main()
