"""What a person asks for, and what it means for a medium of a given size. A leaf."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from .errors import UsageError

TeacherName = Literal["full", "uniform", "int"]
SelectionName = Literal["top", "proportional"]
RatioSchedule = Literal["constant", "step", "linear", "cosine", "reverse-cosine"]
Precision = Literal["float32", "bfloat16", "float16"]

EFFORTS = range(1, 10)


@dataclass(frozen=True)
class Settings:
    """How to encode. None leaves the choice to the medium, its size and the effort.

    ``max_time`` is in seconds, ``target_psnr`` in dB. ``device`` is ``auto``, ``cpu``, ``cuda``,
    ``cuda:N`` or ``mps``; ``threads`` counts CPU threads.
    """

    effort: int = 5
    steps: int | None = None
    max_time: float | None = None
    target_psnr: float | None = None
    width: int | None = None
    depth: int | None = None
    omega: float | None = None
    omega_first: float | None = None
    lr: float | None = None
    teacher: TeacherName = "int"
    selection: SelectionName | None = None
    ratio: float | None = None
    ratio_schedule: RatioSchedule | None = None
    interval_schedule: str | None = None
    batch: int | None = None
    seed: int = 0
    precision: Precision = "float32"
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Plan:
    """Every choice made. ``steps`` is None where ``max_time`` bounds the fit."""

    width: int
    depth: int
    omega: float
    omega_first: float
    lr: float
    steps: int | None
    max_time: float | None
    target_psnr: float | None
    teacher: TeacherName
    selection: SelectionName
    ratio: float
    ratio_schedule: RatioSchedule
    interval_schedule: str
    batch: int
    seed: int
    precision: Precision


@dataclass(frozen=True)
class Preset:
    """A medium's defaults.

    ``weights`` parameters for ``per`` examples, growing as their number to the ``power``, within
    the widths: detail grows more slowly than pixels, in proportion to the length of a recording,
    and not at all with a pool of points. ``omega_first`` is a constant, or a share of the number
    of examples where ``follows_length``.
    """

    depth: int
    weights: int
    per: int
    power: float
    widths: tuple[int, int]
    omega: float
    omega_first: float
    follows_length: bool
    lr: float
    batch: int


PRESETS = {
    "image": Preset(6, 21_000, 393_216, 0.5, (16, 256), 30.0, 60.0, False, 7e-4, 2048),
    "audio": Preset(4, 15_500, 308_000, 1.0, (24, 256), 30.0, 0.01, True, 1e-3, 2048),
    "mesh": Preset(5, 9_600, 1, 0.0, (48, 48), 30.0, 30.0, False, 1e-3, 4096),
}

#: Seconds a fit may take at each effort on the machine the presets were measured on (two cores of
#: a 2023 server). Steps follow from it, so that the same command gives the same bytes everywhere.
SECONDS = {1: 4, 2: 8, 3: 16, 4: 32, 5: 64, 6: 128, 7: 300, 8: 900, 9: 2700}
#: What a step costs there, in seconds: by itself, and for each example and neuron (sines) or weight
#: (multiply-adds), forward and backward. Fitted to SIRENs from 48 x 5 to 256 x 4; within 20 %.
PER_STEP, PER_NEURON, PER_WEIGHT = 1.5e-3, 4.8e-9, 2.7e-11
#: With fewer steps than this a smaller network gets further. (Measured, kodim04 in 4 s: width 32
#: 25.3 dB, 64 27.3 dB, 96 27.8 dB, the last after some 300 steps.)
ENOUGH_STEPS = 200
STEPS = (100, 1_000_000)

#: The most examples that one scoring pass of greedy INT ranks (the paper's chunk for 8192 x 8192
#: images), or one table of stochastic INT holds.
POOL = 1 << 19


def check(settings: Settings) -> None:
    """Raise UsageError where a setting is out of its range or contradicts another."""
    bounds: dict[str, tuple[float, float]] = {
        "effort": (1, 9),
        "steps": (1, 10**9),
        "max_time": (0.1, 10**7),
        "target_psnr": (1, 120),
        "width": (1, 8192),
        "depth": (1, 64),
        "omega": (1e-3, 1e5),
        "omega_first": (1e-3, 1e8),
        "lr": (1e-8, 1),
        "ratio": (1e-3, 1),
        "batch": (1, 1 << 26),
        "seed": (0, 2**63 - 1),
        "threads": (1, 1024),
    }
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} {value!r} is outside {low:g} to {high:g}")
    if settings.steps is not None and settings.max_time is not None:
        raise UsageError("--steps and --max-time both bound the fit: give one")
    if settings.teacher != "int":
        for name in ("selection", "ratio", "ratio_schedule", "interval_schedule"):
            if getattr(settings, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} is for --teacher int, not {settings.teacher!r}")
    if settings.teacher == "full" and settings.batch is not None:
        raise UsageError("--batch is not for --teacher full, which takes every example")
    if settings.interval_schedule is not None:
        name, _, count = settings.interval_schedule.partition(":")
        fixed = {"dense", "incremental", "decremental"}
        if not (name in fixed and not count) and not (
            name == "every" and count.isascii() and count.isdigit() and int(count) > 0
        ):
            raise UsageError(
                f"--interval-schedule {settings.interval_schedule!r} is not dense, incremental, "
                "decremental or every:N"
            )


def plan(settings: Settings, *, kind: str, n: int) -> Plan:
    """Settings made concrete for a medium of ``n`` examples."""
    check(settings)
    preset = PRESETS[kind]
    depth = settings.depth or preset.depth
    selection = settings.selection or "proportional"
    greedy = settings.teacher == "int" and selection == "top"
    batch = n if settings.teacher == "full" else settings.batch
    batch = batch or (min(n, POOL) if greedy else preset.batch)
    seconds = settings.max_time or SECONDS[settings.effort]
    width = settings.width or _width(preset, n, depth, seconds=seconds)
    steps = settings.steps
    if steps is None and settings.max_time is None:
        # Greedy INT learns from 0.6 of its batch on average, and scores all of it now and then.
        each = step_seconds(width, depth, batch * (0.9 if greedy else 1))
        steps = max(STEPS[0], min(STEPS[1], round(seconds / each)))
    # The table to draw from is rebuilt after half as many draws as it has examples: its share
    # of the time is the same however large the signal.
    redrawn = f"every:{max(1, min(n, POOL) // (2 * batch))}"
    omega_first = preset.omega_first * (n if preset.follows_length else 1)
    return Plan(
        width=width,
        depth=depth,
        omega=settings.omega or preset.omega,
        omega_first=settings.omega_first or omega_first,
        lr=settings.lr or preset.lr,
        steps=steps,
        max_time=settings.max_time,
        target_psnr=settings.target_psnr,
        teacher=settings.teacher,
        selection=selection,
        ratio=settings.ratio or (0.2 if greedy else 0.5),
        ratio_schedule=settings.ratio_schedule or ("step" if greedy else "linear"),
        interval_schedule=settings.interval_schedule or ("incremental" if greedy else redrawn),
        batch=batch,
        seed=settings.seed,
        precision=settings.precision,
    )


def step_seconds(width: int, depth: int, batch: float) -> float:
    """What a step of a SIREN of these sizes takes on the machine the presets were measured on."""
    neurons, weights = width * depth, width * width * (depth - 1)
    return PER_STEP + batch * (neurons * PER_NEURON + weights * PER_WEIGHT)


def _width(preset: Preset, n: int, depth: int, *, seconds: float) -> int:
    """A multiple of 8 (for the vector units) whose network has about the preset's weights.

    Less where ``seconds`` would not see it through :data:`ENOUGH_STEPS` steps.
    """
    weights = preset.weights * (n / preset.per) ** preset.power
    exact = math.sqrt(weights / max(depth - 1, 1))
    narrowest, widest = preset.widths
    width = int(min(max(8 * round(exact / 8), narrowest), widest))
    while width > narrowest and ENOUGH_STEPS * step_seconds(width, depth, preset.batch) > seconds:
        width -= 8
    return width


def header_keys(plan: Plan) -> dict[str, Any]:
    """The part of a plan that a file's header keeps: which teacher, which seed."""
    teacher = f"{plan.teacher}-{plan.selection}" if plan.teacher == "int" else plan.teacher
    return {"teacher": teacher, "seed": plan.seed}
