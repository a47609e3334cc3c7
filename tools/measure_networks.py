"""Measure which networks do best at an equal number of weights and in equal time.

    python tools/measure_networks.py kodim04.png bach.wav bunny.obj --effort 3 --qualities 30,60

For each file and quality, fits the default network; then others with as many weights, as deep or
with such frequencies as `CHANGES` says, one change at a time. Prints the distortion (dB; for
surfaces, decibels of the mean distance from the surface) and the gain over the default. This is
where depth and omegas in `intfit/defaults.py` come from.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import intfit
from intfit.api import prepare
from intfit.plan import count_weights

GOALS = {"image": {"target_psnr": 120.0}, "audio": {"target_snr": 120.0}}
DISTANCE = {"target_distance": 1e-4}
#: Factors on the default's frequencies; layers more or fewer.
CHANGES = [
    *(("depth", by) for by in (-2, -1, 1, 2)),
    *(("omega_first", by) for by in (0.5, 2.0)),
    *(("omega", by) for by in (0.6, 1.6)),
]


def width_of(weights: int, depth: int, features: tuple[int, int]) -> int:
    """The width whose network of this depth has the nearest number of weights."""
    return min(
        range(4, 513), key=lambda width: abs(count_weights(width, depth, features) - weights)
    )


def reached(data: bytes, kind: str, suffix: str, settings: intfit.Settings) -> float:
    """Decibels that a fit with these settings reaches."""
    asked = replace(settings, **GOALS.get(kind, DISTANCE))
    value = intfit.encode(data, asked, suffix=suffix).reached
    assert value is not None
    return -20 * math.log10(value) if kind == "mesh" else value


def compare(path: Path, asked: intfit.Settings) -> None:
    """Fit the default network and its rivals, and print what they reach."""
    data = path.read_bytes()
    ready = prepare(data, asked, suffix=path.suffix)
    plan, config = ready.plan, ready.config
    features = config.in_features, config.out_features
    default = replace(asked, quality=None, width=plan.width)
    base = reached(data, ready.kind, path.suffix, default)
    print(
        f"{path.name} -q {asked.quality:g}: {config.count()} weights, {plan.width} x {plan.depth}, "
        f"omega {plan.omega_first:g} / {plan.omega:g}: {base:.2f} dB",
        flush=True,
    )
    for name, by in CHANGES:
        if name == "depth":
            depth = max(2, plan.depth + int(by))
            width = width_of(config.count(), depth, features)
            changed = replace(default, depth=depth, width=width)
        else:
            changed = replace(default, **{name: getattr(plan, name) * by})
        gain = reached(data, ready.kind, path.suffix, changed) - base
        print(
            f"  {name} {getattr(changed, name):g}, width {changed.width}: {gain:+.2f}", flush=True
        )


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(description="Compare networks of equally many weights.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--qualities", default="30,60")
    options = parser.parse_args()
    for path in options.files:
        for quality in map(float, options.qualities.split(",")):
            compare(path, intfit.Settings(field="siren", effort=options.effort, quality=quality))


if __name__ == "__main__":
    main()
