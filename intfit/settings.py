"""What a person asks for, and what it means for a medium of a given size. A leaf."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import UsageError
from .schedules import RatioSchedule, interval_at

FieldName = Literal["siren", "latent"]
TeacherName = Literal["full", "uniform", "int", "evos", "nint"]
SelectionName = Literal["top", "proportional"]
Profile = Literal["packed", "open"]
Precision = Literal["float32", "bfloat16", "float16"]

#: Limits on a network, of what one may ask for and of what a file may ask for.
MAX_WIDTH, MAX_DEPTH = 8192, 64


@dataclass(frozen=True)
class Settings:
    """How to encode. None leaves the choice to the medium, its size and the effort.

    ``field`` ``latent``, quantised latents, is for images and recordings, and their default unless
    a setting is given that only a fit has: see :func:`field_of`.
    ``quality`` lies in 0..100. ``target_size`` is in bytes, the whole file; ``target_bpp`` in
    bits a pixel, ``target_kbps`` in kilobits a second: at most that much.
    ``max_time`` is in seconds. ``target_psnr`` and ``target_snr`` (recordings) are in dB,
    ``target_distance`` (surfaces) in % of the box diagonal: a goal, which the smallest network
    that can is to reach, or at which a network of a given size stops.
    ``device`` is ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``threads`` counts CPU
    threads.
    """

    effort: int = 5
    field: FieldName | None = None
    quality: float | None = None
    target_size: int | None = None
    target_bpp: float | None = None
    target_kbps: float | None = None
    steps: int | None = None
    max_time: float | None = None
    target_psnr: float | None = None
    target_snr: float | None = None
    target_distance: float | None = None
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
    profile: Profile = "packed"
    precision: Precision | None = None
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Goal:
    """A distortion to reach: ``psnr`` or ``snr`` in dB, ``mean_distance`` in % of the diagonal."""

    metric: Literal["psnr", "snr", "mean_distance"]
    value: float

    def score(self, distortion: float) -> float:
        """Decibels by which ``distortion`` is better than the goal."""
        if self.metric == "mean_distance":
            return 20 * math.log10(self.value / max(distortion, 1e-12))
        return distortion - self.value


@dataclass(frozen=True)
class Plan:
    """Every choice made. ``steps`` is None where ``max_time`` bounds the fit.

    ``memory`` is Adam's beta2. ``stops`` says that the fit ends once it reaches its ``goal``, if it
    has one.
    """

    width: int
    depth: int
    omega: float
    omega_first: float
    lr: float
    memory: float
    steps: int | None
    max_time: float | None
    goal: Goal | None
    stops: bool
    teacher: TeacherName
    selection: SelectionName
    ratio: float
    ratio_schedule: RatioSchedule
    interval_schedule: str
    batch: int
    seed: int
    profile: Profile
    precision: Precision
    price: float
    target_size: int | None

    @property
    def teacher_name(self) -> str:
        """Teacher and selection, as a file's header keeps them."""
        return f"{self.teacher}-{self.selection}" if self.teacher == "int" else self.teacher


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A medium's defaults.

    ``weights`` parameters for ``per`` examples, growing as their number to the ``power``, within
    the widths: detail grows more slowly than pixels, in proportion to the length of a recording,
    and not at all with a pool of points. ``omega_first`` is a constant, or a share of the number
    of examples where ``follows_length``. ``lr`` is best at ``lr_width`` neurons a layer; it falls
    as they grow, and rises as they shrink, to at most as if they were ``lr_most`` times fewer.
    ``memory`` is Adam's beta2: a short one settles sooner, 0.1 to 0.3 dB in photographs, a long one
    gains 1 dB in recordings (measured).
    The teacher rebuilds the table it draws from after ``fresh`` times as many draws as it has
    examples. The errors of a wave soon move on: bach.wav comes to 13.0 dB in 1200 steps at 1, 13.4
    at 0.2, 13.7 at 0.1 and 13.3 at 0.03; photographs do not care, surfaces lose a little at less
    than 1 (measured).
    ``price`` is what a bit a weight must gain, in nepers of the distortion, for the packed profile
    to spend it. Twice the weights gain about ``octave`` dB; the part of a fit that a search's
    trial leaves out, about ``late`` dB.
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
    lr_width: int
    lr_most: float
    memory: float
    batch: int
    fresh: float
    price: float
    octave: float
    late: float


PRESETS = {
    "image": Preset(
        depth=6,
        weights=21_000,
        per=393_216,
        power=0.5,
        widths=(16, 512),
        omega=30.0,
        omega_first=60.0,
        follows_length=False,
        lr=5e-4,
        lr_width=64,
        lr_most=4.0,
        memory=0.99,
        batch=2048,
        fresh=1.0,
        price=0.02,
        octave=1.7,
        late=2.5,
    ),
    "audio": Preset(
        depth=4,
        weights=15_500,
        per=308_000,
        power=1.0,
        widths=(24, 512),
        omega=30.0,
        omega_first=0.01,
        follows_length=True,
        lr=1e-3,
        lr_width=72,
        lr_most=1.0,
        memory=0.999,
        batch=2048,
        fresh=0.1,
        price=0.02,
        octave=4.0,
        late=1.4,
    ),
    "mesh": Preset(
        depth=5,
        weights=9_600,
        per=1,
        power=0.0,
        widths=(12, 512),
        omega=30.0,
        omega_first=30.0,
        follows_length=False,
        lr=1e-3,
        lr_width=48,
        lr_most=1.0,
        memory=0.999,
        batch=4096,
        fresh=1.0,
        price=0.1,
        octave=4.3,
        late=3.6,
    ),
}

#: Seconds a fit may take at each effort on the machine the presets were measured on (two cores of
#: a 2023 server). Steps follow from it, so that the same command gives the same bytes everywhere.
SECONDS = {1: 4, 2: 8, 3: 16, 4: 32, 5: 64, 6: 128, 7: 300, 8: 900, 9: 2700}
#: What a step costs there, in seconds: by itself, and for each example and neuron (sines) or weight
#: (multiply-adds), forward and backward. Fitted there to SIRENs from 48 x 5 to 256 x 4 by autograd,
#: within 20 %: 1.5e-3, 4.8e-9 and 2.7e-11. Times what is left of each by hand: 0.70, 0.71 and 0.96
#: on one core with AVX2 (tools/measure_steps.py).
PER_STEP, PER_NEURON, PER_WEIGHT = 1.05e-3, 3.4e-9, 2.6e-11
#: The network that corrects a picture of latents: steps at each effort, none at the least; examples
#: a step, and the learning rate. (Measured: 4e-3 gains 0.6 % of the bytes less in 2000 steps than
#: 8e-3, which one fit of twelve did not survive in 4000.)
CORRECTION_STEPS = {1: 0, 2: 0, 3: 1000, 4: 2000, 5: 4000, 6: 6000, 7: 10000, 8: 18000, 9: 32000}
CORRECTION_BATCH, CORRECTION_LR, ENOUGH_PIXELS = 4096, 6e-3, 100_000
#: The quality that gives a preset's own number of weights, and what doubles it.
MIDDLE, DOUBLING = 50.0, 12.5
#: Bits that a packed weight takes as a rule; the fewest that still leave a picture; the narrowest
#: network to fit into a given size; and the bytes of a tensor besides its integers.
USUAL_BITS, FEWEST_BITS, SMALLEST, TENSOR = 6.2, 3.0, 4, 4
#: How the learning rate falls with the width. (Measured, kodim04 and kodim08: best about 1.2e-3 at
#: 24, 4 to 7e-4 at 64 to 72, 3e-4 at 128; twice that costs up to 2 dB at 128.)
LR_POWER = 0.85
#: With fewer steps than this a smaller network gets further. (Measured, kodim04 in 4 s: width 32
#: 25.3 dB, 64 27.3 dB, 96 27.8 dB, the last after some 300 steps.)
ENOUGH_STEPS = 200
STEPS = (100, 1_000_000)

#: The settings that say how large the network is, and those that say how good it must be.
SIZES = ("quality", "target_size", "target_bpp", "target_kbps", "width")
GOALS: dict[str, Literal["psnr", "snr", "mean_distance"]] = {
    "target_psnr": "psnr",
    "target_snr": "snr",
    "target_distance": "mean_distance",
}

#: The settings of a SIREN that is a whole field, and all that say how one is fitted: where one of
#: these is given, a SIREN is meant unless latents are asked for.
OF_SIRENS = ("max_time", "width", "depth", "omega", "omega_first", "precision")
OF_FITS = (
    *OF_SIRENS, "steps", "lr", "selection", "ratio", "ratio_schedule", "interval_schedule",
    "batch", "teacher",
)  # fmt: skip

#: The coarsest and the finest step of latents.
COARSEST_STEP, FINEST_STEP = -96, 400
#: The most channels of a recording that they decorrelate.
MAX_CHANNELS = 32

#: The share of proportional draws that are uniform.
FLOOR = 0.2
#: The settings of a teacher that selects.
KNOBS = ("selection", "ratio", "ratio_schedule", "interval_schedule")
#: Ratio, its schedule and that of the intervals of teachers that rank all examples, as published.
SCHEDULES: dict[str, tuple[float, RatioSchedule, str]] = {
    "int": (0.2, "step", "incremental"),
    "evos": (0.5, "constant", "linear:100:50"),
    "nint": (0.2, "step", "incremental"),
}

#: The most examples that one scoring pass of greedy INT ranks (the paper's chunk for 8192 x 8192
#: images), or one table of stochastic INT holds.
POOL = 1 << 19


def check(settings: Settings) -> None:
    """Raise UsageError where a setting is out of its range or contradicts another."""
    choices: dict[str, tuple[str, ...]] = {
        "field": get_args(FieldName),
        "teacher": get_args(TeacherName),
        "selection": get_args(SelectionName),
        "ratio_schedule": get_args(RatioSchedule),
        "profile": get_args(Profile),
        "precision": get_args(Precision),
    }
    for name, known in choices.items():
        value = getattr(settings, name)
        if value is not None and value not in known:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} {value!r} is not one of {', '.join(known)}")
    bounds: dict[str, tuple[float, float]] = {
        "effort": (1, 9),
        "quality": (0, 100),
        "target_size": (1, 1 << 40),
        "target_bpp": (1e-6, 1e3),
        "target_kbps": (1e-6, 1e6),
        "steps": (1, 10**9),
        "max_time": (0.1, 10**7),
        "target_psnr": (1, 120),
        "target_snr": (0.1, 120),
        "target_distance": (1e-4, 10),
        "width": (1, MAX_WIDTH),
        "depth": (1, MAX_DEPTH),
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
    if settings.field == "latent" and (refused := of_a_fit(settings, OF_SIRENS)) is not None:
        flag = f"--{refused.replace('_', '-')}"
        raise UsageError(f"{flag} is for --field siren, not for latents")
    if settings.steps is not None and settings.max_time is not None:
        raise UsageError("--steps and --max-time both bound the fit: give one")
    given = _given(settings, SIZES)
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} all say how large the network is: give one")
    goals = _given(settings, GOALS)
    if len(goals) > 1:
        raise UsageError(f"{' and '.join(goals)} all say how good it must be: give one")
    if settings.profile == "open" and any(flag.startswith("--target") for flag in given):
        raise UsageError(f"{given[0]} is for the packed profile: give --width for the open one")
    if settings.precision is not None and settings.profile != "open":
        raise UsageError("--precision is for --profile open: the packed one chooses its own")
    if settings.teacher != "int":
        knobs = ("selection",) if settings.teacher in SCHEDULES else KNOBS
        for name in knobs:
            if getattr(settings, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} is for --teacher int, not {settings.teacher!r}")
    if settings.teacher == "full" and settings.batch is not None:
        raise UsageError("--batch is not for --teacher full, which takes every example")
    if settings.interval_schedule is not None:
        try:
            interval_at(settings.interval_schedule, 0.0)
        except ValueError:
            raise UsageError(
                f"--interval-schedule {settings.interval_schedule!r} is not dense, incremental, "
                "decremental, every:N or linear:A:B"
            ) from None


def of_a_fit(settings: Settings, names: Iterable[str] = OF_FITS) -> str | None:
    """The first setting given of those that only a fit by descent has."""
    changed = (name for name in names if getattr(settings, name) != getattr(Settings, name))
    return next(changed, None)


def field_of(settings: Settings, kind: str, channels: int) -> FieldName:
    """The field of a medium, where the settings leave it open too."""
    if settings.field is not None:
        return settings.field
    fits = kind == "mesh" or channels > MAX_CHANNELS or of_a_fit(settings) is not None
    return "siren" if fits else "latent"


def _given(settings: Settings, names: Iterable[str]) -> list[str]:
    """The flags of those of these settings that are set."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(settings, name) is not None]


def goal_of(settings: Settings) -> Goal | None:
    """What is to be reached, if anything."""
    for name, metric in GOALS.items():
        if (value := getattr(settings, name)) is not None:
            return Goal(metric, value)
    return None


def searches(settings: Settings) -> bool:
    """Whether the network's size follows from a goal."""
    return bool(_given(settings, GOALS)) and not _given(settings, SIZES)


def plan(
    settings: Settings,
    *,
    kind: str,
    n: int,
    features: tuple[int, int],
    size: int | None = None,
    frame: int = 0,
) -> Plan:
    """Settings made concrete for a medium of ``n`` examples of these features.

    ``size`` bounds the bytes of the file, of which ``frame`` are no payload.
    """
    check(settings)
    preset = PRESETS[kind]
    depth = settings.depth or preset.depth
    selection = settings.selection or "proportional"
    drawn = settings.teacher == "int" and selection == "proportional"
    greedy = settings.teacher in SCHEDULES and not drawn
    latent = settings.field == "latent"
    batch = n if settings.teacher == "full" else settings.batch
    batch = batch or (min(n, POOL) if greedy else CORRECTION_BATCH if latent else preset.batch)
    seconds = settings.max_time or SECONDS[settings.effort]
    if size is not None and settings.field == "siren":
        width = _width_within(size, frame, preset, depth, features)
    else:
        quality = MIDDLE if settings.quality is None else settings.quality
        width = settings.width or _width(preset, n, depth, seconds=seconds, quality=quality)
    steps = settings.steps
    lr = preset.lr * min(preset.lr_most, preset.lr_width / width) ** LR_POWER
    if latent:
        steps, lr = steps or _correction_steps(settings.effort, n), CORRECTION_LR
    elif steps is None and settings.max_time is None:
        # Greedy INT learns from 0.6 of its batch on average, and scores all of it now and then; its
        # rivals are near enough.
        each = step_seconds(width, depth, batch * (0.9 if greedy else 1))
        steps = max(STEPS[0], min(STEPS[1], round(seconds / each)))
    # The table to draw from is rebuilt after draws in proportion to its examples: its share of the
    # time is the same however large the signal.
    redrawn = f"every:{max(1, int(preset.fresh * min(n, POOL) / batch))}"
    usual = SCHEDULES[settings.teacher] if greedy else (FLOOR, "constant", redrawn)
    schedule = settings.ratio_schedule or usual[1]
    start = 1.0 if schedule == "reverse-cosine" else usual[0]  # the one that falls
    omega_first = preset.omega_first * (n if preset.follows_length else 1)
    return Plan(
        width=width,
        depth=depth,
        omega=settings.omega or preset.omega,
        omega_first=settings.omega_first or omega_first,
        lr=settings.lr or lr,
        memory=preset.memory,
        steps=steps,
        max_time=settings.max_time,
        goal=goal_of(settings),
        stops=not searches(settings),
        teacher=settings.teacher,
        selection=selection,
        ratio=settings.ratio or start,
        ratio_schedule=schedule,
        interval_schedule=settings.interval_schedule or usual[2],
        batch=batch,
        seed=settings.seed,
        profile=settings.profile,
        precision=settings.precision or "float32",
        price=preset.price,
        target_size=size,
    )


def step_of(quality: float | None, *, loudness: float | None = None) -> int:
    """The index of the quantisation step of latents, in 24ths of an octave below half the range.

    At a quality of 50 it is 20 grey levels of 255, or 0.35 of a recording's ``loudness``, the root
    of its mean square; every 19 more halve it.
    """
    middle = 64.0 if loudness is None else -24 * math.log2(0.35 * max(loudness, 1e-6))
    wanted = round(middle + 1.28 * ((MIDDLE if quality is None else quality) - MIDDLE))
    return min(max(wanted, COARSEST_STEP), FINEST_STEP)


def step_seconds(width: int, depth: int, batch: float) -> float:
    """What a step of a SIREN of these sizes takes on the machine the presets were measured on."""
    neurons, weights = width * depth, width * width * (depth - 1)
    return PER_STEP + batch * (neurons * PER_NEURON + weights * PER_WEIGHT)


def _correction_steps(effort: int, n: int) -> int:
    """Steps for a picture of ``n`` pixels: a small one is learnt sooner."""
    steps = CORRECTION_STEPS[effort]
    return min(steps, max(CORRECTION_STEPS[3], round(steps * n / ENOUGH_PIXELS)))


def _width(preset: Preset, n: int, depth: int, *, seconds: float, quality: float) -> int:
    """The width whose network has about the preset's weights, at this quality.

    Less where :func:`widest_in` says so.
    """
    weights = preset.weights * (n / preset.per) ** preset.power
    weights *= 2 ** ((quality - MIDDLE) / DOUBLING)
    exact = math.sqrt(weights / max(depth - 1, 1))
    narrowest, widest = preset.widths
    # even, and a multiple of 8 (for the vector units) where that is no coarse step
    multiple = 8 if exact >= 64 else 4 if exact >= 32 else 2
    width = int(min(max(multiple * round(exact / multiple), narrowest), widest))
    return min(width, widest_in(preset, depth, seconds))


def widest_in(preset: Preset, depth: int, seconds: float) -> int:
    """The widest network that ``seconds`` see through :data:`ENOUGH_STEPS` steps."""
    narrowest, width = preset.widths
    while width > narrowest and ENOUGH_STEPS * step_seconds(width, depth, preset.batch) > seconds:
        width -= 2
    return width


def weights_of(width: int, depth: int, features: tuple[int, int]) -> int:
    """Parameters of a SIREN of these sizes."""
    inside, outside = features
    return (inside + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * outside


def _width_within(
    size: int, frame: int, preset: Preset, depth: int, features: tuple[int, int]
) -> int:
    """The widest network that a file of ``size`` bytes holds at about :data:`USUAL_BITS`.

    Raises:
        UsageError: if that is too small for any network.
    """
    room = size - frame - TENSOR * 2 * (depth + 1)

    def taken(width: int, bits: float) -> float:
        return weights_of(width, depth, features) * bits / 8

    if room < taken(SMALLEST, FEWEST_BITS):
        least = math.ceil(taken(SMALLEST, FEWEST_BITS) + size - room)
        raise UsageError(f"{size} bytes are too few: the smallest file possible here has {least}")
    width = SMALLEST
    while width < preset.widths[1] and taken(width + 1, USUAL_BITS) <= room:
        width += 1
    return width
