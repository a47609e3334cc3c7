"""What a person asks for: the settings of an encode, and whether they make sense together."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from .errors import UsageError
from .schedules import RatioSchedule, interval_at

FieldName = Literal["siren", "latent", "palette"]
TeacherName = Literal["full", "uniform", "int", "evos", "nint"]
OptimizerName = Literal["adam", "soap", "muon"]
SelectionName = Literal["top", "proportional"]
Profile = Literal["packed", "open"]
Precision = Literal["float32", "bfloat16", "float16"]
MetadataName = Literal["none", "all"]
GoalMetric = Literal["psnr", "snr", "mean_distance"]
TuneName = Literal["visual", "psnr", "hearing", "snr"]

#: The largest network that may be asked for, by a person or by a file.
MAX_WIDTH, MAX_DEPTH = 8192, 64


@dataclass(frozen=True)
class Settings:
    """How to encode. None leaves the choice to the medium, its size and the effort.

    Size: ``quality`` in 0..100; or at most ``target_size`` bytes, ``target_bpp`` bits a pixel or
    ``target_kbps`` kilobits a second, each for the whole file.

    Goal: at least ``target_psnr`` or ``target_snr`` (recordings) dB, or at most
    ``target_distance`` (surfaces) % of the box diagonal from the surface. Without a size, the
    smallest network that reaches the goal is searched for; with one, the fit stops at the goal.

    Fit: ``effort`` in 1..9, or ``steps`` of the optimizer; ``max_time`` bounds the seconds; ``lr``
    is the highest learning rate, ``batch`` the examples of a step, ``seed`` that of all randomness.

    ``tune`` says what the bytes are spent on: of images, ``visual`` (what eyes see) or ``psnr``; of
    recordings, ``hearing`` or ``snr``.

    Network: ``field`` is ``latent`` (quantised latents), ``siren`` or, of drawn pictures,
    ``palette`` (exact); ``width`` neurons in each of ``depth`` sine layers of frequency
    ``omega_first`` and ``omega``.

    Teacher: see :mod:`intfit.teachers`. File: ``profile``, and in the open one ``precision``;
    ``metadata`` is ``all`` (EXIF, XMP, resolution, tags, names) or ``none``.
    Machine: ``device`` is ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``threads`` is the
    number of CPU threads; ``limit`` multiplies the usual bounds of :mod:`intfit.limits`.
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
    tune: TuneName | None = None
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
    limit: float = 1.0
    metadata: MetadataName = "none"

    def changed(self, names: Iterable[str]) -> list[str]:
        """Those of the settings called ``names`` that differ from their defaults."""
        return [name for name in names if getattr(self, name) != getattr(Settings, name)]


@dataclass(frozen=True)
class Goal:
    """A distortion to reach: ``psnr`` or ``snr`` in dB, ``mean_distance`` in % of the diagonal."""

    metric: GoalMetric
    value: float

    def margin(self, distortion: float) -> float:
        """Decibels by which ``distortion`` is better than the goal; negative where it is worse."""
        if self.metric == "mean_distance":
            return 20 * math.log10(self.value / max(distortion, 1e-12))
        return distortion - self.value


#: The settings that say how large the network is: one at most is given.
SIZE_SETTINGS = ("quality", "target_size", "target_bpp", "target_kbps", "width")
#: The settings that say how good it must be, and the metric of each.
GOAL_METRICS: dict[str, GoalMetric] = {
    "target_psnr": "psnr",
    "target_snr": "snr",
    "target_distance": "mean_distance",
}
#: The settings of a SIREN that is a whole field, which the network beside latents does not have.
SIREN_SETTINGS = ("depth", "omega", "omega_first", "precision")
#: The settings of any network that is trained.
TRAINING_SETTINGS = (
    *SIREN_SETTINGS, "width", "steps", "lr", "selection", "ratio", "ratio_schedule",
    "interval_schedule", "batch", "teacher",
)  # fmt: skip
#: What each medium's latents may be tuned for, the usual choice first.
TUNES: dict[str, tuple[TuneName, ...]] = {
    "image": ("visual", "psnr"),
    "audio": ("hearing", "snr"),
}
#: What a goal is measured by is what is tuned for, unless something else is asked for.
TUNES_OF_GOALS: dict[str, TuneName] = {"target_psnr": "psnr", "target_snr": "snr"}
#: The settings of a teacher that selects examples.
SELECTION_SETTINGS = ("selection", "ratio", "ratio_schedule", "interval_schedule")
#: The teachers that have schedules but no choice of ``selection``.
SCHEDULED_TEACHERS = ("evos", "nint")

_CHOICES: dict[str, tuple[str, ...]] = {
    "field": get_args(FieldName),
    "teacher": get_args(TeacherName),
    "selection": get_args(SelectionName),
    "ratio_schedule": get_args(RatioSchedule),
    "profile": get_args(Profile),
    "precision": get_args(Precision),
    "tune": get_args(TuneName),
}
_RANGES: dict[str, tuple[float, float]] = {
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
    "limit": (1e-6, 1e6),
}


def flag(name: str) -> str:
    """The command line's spelling of a setting: ``--max-time`` for ``max_time``."""
    return f"--{name.replace('_', '-')}"


def check_settings(settings: Settings) -> None:
    """Raise UsageError where a setting is out of its range or contradicts another."""
    for name, choices in _CHOICES.items():
        value = getattr(settings, name)
        if value is not None and value not in choices:
            raise UsageError(f"{flag(name)} {value!r} is not one of {', '.join(choices)}")
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{flag(name)} {value!r} is outside {low:g} to {high:g}")
    _check_field(settings)
    _check_size_and_goal(settings)
    _check_teacher(settings)


def _check_field(settings: Settings) -> None:
    if settings.field == "latent":
        refuse_settings(settings, SIREN_SETTINGS, "not for latents")


def refuse_settings(settings: Settings, names: Iterable[str], reason: str) -> None:
    """Raise UsageError where one of these settings of a SIREN is given; ``reason`` says why not."""
    if refused := settings.changed(names):
        raise UsageError(f"{flag(refused[0])} is for --field siren: {reason}")


def _check_size_and_goal(settings: Settings) -> None:
    if settings.steps is not None and settings.max_time is not None:
        raise UsageError("--steps and --max-time both bound the fit: give one")
    # (beside latents, the width is that of another network: see the codecs)
    sizes = [flag(name) for name in settings.changed(SIZE_SETTINGS) if name != "width"]
    check_sizes(sizes)
    goals = [flag(name) for name in settings.changed(GOAL_METRICS)]
    if len(goals) > 1:
        raise UsageError(f"{' and '.join(goals)} all say how good it must be: give one")
    if settings.profile == "open" and any(size.startswith("--target") for size in sizes):
        raise UsageError(f"{sizes[0]} is for the packed profile: give --width for the open one")
    if settings.precision is not None and settings.profile != "open":
        raise UsageError("--precision is for --profile open: the packed one chooses its own")


def check_sizes(flags: list[str]) -> None:
    """Raise UsageError where several of the flags that set one network's size are given."""
    if len(flags) > 1:
        raise UsageError(f"{' and '.join(flags)} all say how large the network is: give one")


def too_few_bytes(size: int, least: int) -> UsageError:
    """The error where a file may have ``size`` bytes, and the smallest possible has ``least``."""
    return UsageError(
        f"{size} bytes are too few: --target-size {least} is the smallest possible here"
    )


def _check_teacher(settings: Settings) -> None:
    if settings.teacher != "int":
        scheduled = settings.teacher in SCHEDULED_TEACHERS
        refused = settings.changed(("selection",) if scheduled else SELECTION_SETTINGS)
        if refused:
            raise UsageError(f"{flag(refused[0])} is for --teacher int, not {settings.teacher!r}")
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


def goal_of(settings: Settings) -> Goal | None:
    """The goal that is set, if any."""
    for name, metric in GOAL_METRICS.items():
        if (value := getattr(settings, name)) is not None:
            return Goal(metric, value)
    return None


def searches_size(settings: Settings) -> bool:
    """Whether the size of a field follows from a goal."""
    sizes = settings.changed(SIZE_SETTINGS)
    if settings.field == "latent":
        sizes = [name for name in sizes if name != "width"]
    return bool(settings.changed(GOAL_METRICS)) and not sizes
