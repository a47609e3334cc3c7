"""Measure which networks do best at an equal number of weights and in equal time.

    python tools/measure_networks.py kodim04.png bach.wav bunny.obj --effort 3 --qualities 30,60

For each file and quality, fits the default network, and then others with as many weights and one
change of depth or frequency each, as in `CHANGES`. Prints the distortion (dB; for surfaces, the
mean distance from the surface in decibels) and the gain over the default. Depths and frequencies in
`intfit/defaults.py` come from here.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import intfit
from intfit.api import prepare
from intfit.plan import count_weights

GOALS: dict[str, dict[str, Any]] = {
    "image": {"target_psnr": 120.0},
    "audio": {"target_snr": 120.0},
    "mesh": {"target_distance": 1e-4},
}
#: Layers more or fewer than the default; factors on its frequencies.
CHANGES = [
    *(("depth", by) for by in (-2, -1, 1, 2)),
    *(("omega_first", by) for by in (0.5, 2.0)),
    *(("omega", by) for by in (0.6, 1.6)),
]


def match_width(weights: int, depth: int, features: tuple[int, int]) -> int:
    """The width at which a network of this depth comes nearest to this number of weights."""
    return min(
        range(4, 513), key=lambda width: abs(count_weights(width, depth, features) - weights)
    )


def measure_fit(data: bytes, kind: str, suffix: str, settings: intfit.Settings) -> float:
    """The decibels that a fit with these settings reaches."""
    with_goal = replace(settings, **GOALS[kind])
    value = intfit.encode(data, with_goal, suffix=suffix).reached
    assert value is not None
    return -20 * math.log10(value) if kind == "mesh" else value


def compare_networks(path: Path, settings: intfit.Settings) -> None:
    """Fit the default network and the others, and print what they reach."""
    data = path.read_bytes()
    prepared = prepare(data, settings, suffix=path.suffix)
    plan, config = prepared.plan, prepared.config
    features = config.in_features, config.out_features
    default = replace(settings, quality=None, width=plan.width)
    base = measure_fit(data, prepared.kind, path.suffix, default)
    print(
        f"{path.name} -q {settings.quality:g}: {config.count()} weights, "
        f"{plan.width} x {plan.depth}, omega {plan.omega_first:g} / {plan.omega:g}: {base:.2f} dB",
        flush=True,
    )
    for name, by in CHANGES:
        if name == "depth":
            depth = max(2, plan.depth + int(by))
            width = match_width(config.count(), depth, features)
            changed = replace(default, depth=depth, width=width)
        else:
            changed = replace(default, **{name: getattr(plan, name) * by})
        gain = measure_fit(data, prepared.kind, path.suffix, changed) - base
        print(
            f"  {name} {getattr(changed, name):g}, width {changed.width}: {gain:+.2f}", flush=True
        )


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--qualities", default="30,60")
    options = parser.parse_args()
    for path in options.files:
        for quality in map(float, options.qualities.split(",")):
            compare_networks(
                path, intfit.Settings(field="siren", effort=options.effort, quality=quality)
            )


if __name__ == "__main__":
    main()
