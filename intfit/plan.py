"""Settings made concrete: every choice of a fit, for a medium of a given size."""

import math
from dataclasses import dataclass, replace

from .defaults import (
    COLOUR_SECONDS,
    COLOUR_WEIGHTS,
    DOUBLING_QUALITY,
    ENVELOPE_BATCH,
    ENVELOPE_LR,
    ENVELOPE_STEPS,
    FEWEST_BITS,
    LR_POWER,
    MEDIUM_DEFAULTS,
    MIDDLE_QUALITY,
    NARROWEST,
    POSTFILTER_BATCH,
    POSTFILTER_LR,
    POSTFILTER_PIXELS,
    POSTFILTER_STEPS,
    PUBLISHED_SCHEDULES,
    SECONDS,
    STEP_RANGE,
    TENSOR_BYTES,
    UNIFORM_SHARE,
    USUAL_BITS,
    WEIGHT_GROWTH,
    WIDEST_MATRICES,
    MediumDefaults,
    step_seconds,
    widest_network,
)
from .schedules import RatioSchedule
from .settings import (
    Goal,
    OptimizerName,
    Precision,
    Profile,
    SelectionName,
    Settings,
    TeacherName,
    TuneName,
    check_settings,
    goal_of,
    searches_size,
    too_few_bytes,
)

#: The most examples that a teacher ranks in one pass or draws from in one table; a larger signal
#: is worked on in pools of so many. (The INT paper's chunk for images of 8192 x 8192.)
POOL = 1 << 19


@dataclass(frozen=True)
class Plan:
    """Every choice made.

    The fit ends after ``steps`` or ``max_time`` seconds, whichever comes first; one may be None.

    ``decay`` is that of :class:`.Adam` in a very long fit; a shorter one has less of it, and one of
    at most ``steps_without_decay`` steps has none.

    ``stops_at_goal``: the fit ends once it reaches its ``goal``, if it has one. ``rd_lambda`` as
    in :class:`.MediumDefaults`. ``target_size`` bounds the file, in bytes; the network may take
    ``size_share`` of what is left of that for networks. ``follows_spectrum``: the first layer's
    weights are drawn from the spectrum of the picture, in place of uniform ones.
    ``importance_power`` as in :class:`.MediumDefaults`.
    """

    width: int
    depth: int
    omega: float
    omega_first: float
    lr: float
    beta2: float
    decay: float
    steps_without_decay: int
    optimizer: OptimizerName
    steps: int | None
    max_time: float | None
    goal: Goal | None
    stops_at_goal: bool
    teacher: TeacherName
    selection: SelectionName
    ratio: float
    ratio_schedule: RatioSchedule
    interval_schedule: str
    batch: int
    seed: int
    profile: Profile
    precision: Precision
    rd_lambda: float
    target_size: int | None
    tune: TuneName | None = None
    size_share: float = 1.0
    follows_spectrum: bool = False
    importance_power: float = 1.0

    @property
    def teacher_name(self) -> str:
        """Teacher and selection, as a file's header keeps them."""
        return f"{self.teacher}-{self.selection}" if self.teacher == "int" else self.teacher


def make_plan(
    settings: Settings,
    *,
    kind: str,
    n: int,
    features: tuple[int, int],
    size: int | None = None,
    overhead: int = 0,
) -> Plan:
    """Settings made concrete for a medium of ``n`` examples of ``features`` inputs and outputs.

    ``size`` bounds the bytes of the file, of which ``overhead`` are not payload.

    Raises:
        UsageError: if the settings contradict each other, or no network fits into ``size``.
    """
    check_settings(settings)
    defaults = MEDIUM_DEFAULTS[kind]
    latent = settings.field in ("latent", "palette")
    depth = settings.depth or defaults.depth
    selection = settings.selection or "proportional"
    draws = settings.teacher == "int" and selection == "proportional"
    ranks = settings.teacher in PUBLISHED_SCHEDULES and not draws
    batch = n if settings.teacher == "full" else settings.batch
    latent_batch = ENVELOPE_BATCH if kind == "audio" else POSTFILTER_BATCH
    batch = batch or (min(n, POOL) if ranks else latent_batch if latent else defaults.batch)
    seconds = settings.max_time or SECONDS[settings.effort]
    if size is not None and not latent:
        width = _width_within(size - overhead, size, defaults, depth, features)
    else:
        width = settings.width or _width(settings, defaults, n, depth, seconds)
    steps = settings.steps
    lr = defaults.lr * min(defaults.lr_most, defaults.lr_width / width) ** LR_POWER
    optimizer = defaults.optimizer if width <= WIDEST_MATRICES and not latent else "adam"
    if latent and kind == "audio":
        steps, lr = steps or ENVELOPE_STEPS[settings.effort], ENVELOPE_LR
    elif latent:
        steps, lr = steps or _postfilter_steps(settings.effort, n), POSTFILTER_LR
    elif steps is None and settings.max_time is None:
        # A teacher that ranks learns from 0.6 of its batch on average, and scores all of it now
        # and then.
        each = step_seconds(width, depth, batch * (0.9 if ranks else 1))
        steps = max(STEP_RANGE[0], min(STEP_RANGE[1], round(seconds / each)))
    # The table to draw from is rebuilt after draws in proportion to its examples: its share of the
    # time is the same however large the signal.
    redraws = f"every:{max(1, int(defaults.redraw * min(n, POOL) / batch))}"
    usual_ratio, usual_schedule, usual_intervals = (
        PUBLISHED_SCHEDULES[settings.teacher] if ranks else (UNIFORM_SHARE, "constant", redraws)
    )
    ratio_schedule = settings.ratio_schedule or usual_schedule
    first_ratio = 1.0 if ratio_schedule == "reverse-cosine" else usual_ratio  # the one that falls
    omega = settings.omega or defaults.omega
    omega_first = defaults.omega_first * (n if defaults.follows_length else 1)
    return Plan(
        width=width,
        depth=depth,
        omega=omega,
        omega_first=settings.omega_first or omega_first,
        follows_spectrum=kind == "image" and settings.omega_first is None and not latent,
        lr=settings.lr or lr,
        beta2=defaults.beta2,
        importance_power=defaults.importance_power,
        decay=0.0 if latent else _weight_decay(width, omega),
        steps_without_decay=defaults.steps_without_decay,
        optimizer=optimizer,
        steps=steps,
        max_time=settings.max_time,
        goal=goal_of(settings),
        stops_at_goal=not searches_size(settings),
        teacher=settings.teacher,
        selection=selection,
        ratio=settings.ratio or first_ratio,
        ratio_schedule=ratio_schedule,
        interval_schedule=settings.interval_schedule or usual_intervals,
        batch=batch,
        seed=settings.seed,
        profile=settings.profile,
        precision=settings.precision or "float32",
        rd_lambda=defaults.rd_lambda,
        target_size=size,
        tune=settings.tune,
    )


def plan_colours(plan: Plan, settings: Settings, n: int) -> Plan:
    """The plan of the network of a surface's colours, of ``n`` examples, beside that of distances.

    It has :data:`COLOUR_WEIGHTS` times as many weights, and takes :data:`COLOUR_SECONDS` times as
    long. What the settings say of the network and of learning rates is for the other one.
    """
    defaults = MEDIUM_DEFAULTS["colours"]
    weights = COLOUR_WEIGHTS * plan.width**2 * (plan.depth - 1 or 1)
    width = max(NARROWEST, 2 * round(math.sqrt(weights / (defaults.depth - 1)) / 2))
    own = Settings(
        width=width, effort=settings.effort, steps=settings.steps, max_time=settings.max_time,
        teacher=settings.teacher, selection=settings.selection, ratio=settings.ratio,
        ratio_schedule=settings.ratio_schedule, interval_schedule=settings.interval_schedule,
        batch=settings.batch, seed=settings.seed, profile=settings.profile,
        precision=settings.precision,
    )  # fmt: skip
    made = make_plan(own, kind="colours", n=n, features=(3, 3))
    by_effort = settings.steps is None and made.steps is not None
    return replace(
        made,
        steps=max(STEP_RANGE[0], round(made.steps * COLOUR_SECONDS))
        if by_effort and made.steps
        else made.steps,
        max_time=_share(made.max_time, COLOUR_SECONDS / (1 + COLOUR_SECONDS)),
        target_size=plan.target_size,
        size_share=COLOUR_WEIGHTS / (1 + COLOUR_WEIGHTS),
    )


def leave_room_for_colours(plan: Plan) -> Plan:
    """The plan of a surface's distances, where a network of its colours shares time and bytes."""
    return replace(
        plan,
        max_time=_share(plan.max_time, 1 / (1 + COLOUR_SECONDS)),
        size_share=1 / (1 + COLOUR_WEIGHTS),
    )


def _share(seconds: float | None, share: float) -> float | None:
    return None if seconds is None else seconds * share


def count_weights(width: int, depth: int, features: tuple[int, int]) -> int:
    """Parameters of a SIREN of these sizes, with ``features`` inputs and outputs."""
    inputs, outputs = features
    return (inputs + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * outputs


def _weight_decay(width: int, omega: float) -> float:
    """The decay of hidden weights that holds them, by noise alone, at a multiple of their start.

    A step adds the square of the learning rate to their variance, and a decay of ``decay`` times
    that square takes the share 2 ``decay`` of it away: so it is 1 / (2 ``decay``) in the long run.
    The initial variance is 2 / (``width`` ``omega``^2).
    """
    return width * omega**2 / (4 * WEIGHT_GROWTH**2)


def _postfilter_steps(effort: int, n: int) -> int:
    """Training steps of the post-filter of a picture of ``n`` pixels."""
    steps = POSTFILTER_STEPS[effort]
    return min(steps, max(POSTFILTER_STEPS[3], round(steps * n / POSTFILTER_PIXELS)))


def _width(settings: Settings, defaults: MediumDefaults, n: int, depth: int, seconds: float) -> int:
    """The width whose network has about the medium's weights at the quality that is set.

    Narrower where ``seconds`` are too few for it.
    """
    quality = MIDDLE_QUALITY if settings.quality is None else settings.quality
    weights = defaults.weights * (n / defaults.per) ** defaults.power
    weights *= 2 ** ((quality - MIDDLE_QUALITY) / DOUBLING_QUALITY)
    exact = math.sqrt(weights / max(depth - 1, 1))
    narrowest, widest = defaults.widths
    # even, and a multiple of 8 (for the vector units) where that is no coarse step
    multiple = 8 if exact >= 64 else 4 if exact >= 32 else 2
    width = int(min(max(multiple * round(exact / multiple), narrowest), widest))
    return min(width, widest_network(defaults, depth, seconds))


def _width_within(
    payload: int, size: int, defaults: MediumDefaults, depth: int, features: tuple[int, int]
) -> int:
    """The widest network that ``payload`` bytes hold at about :data:`USUAL_BITS` a weight.

    Raises:
        UsageError: if ``size``, the bytes of the file, is too small for any network.
    """
    room = payload - TENSOR_BYTES * 2 * (depth + 1)

    def needed(width: int, bits: float) -> float:
        return count_weights(width, depth, features) * bits / 8

    if room < needed(NARROWEST, FEWEST_BITS):
        least = math.ceil(needed(NARROWEST, FEWEST_BITS) + size - room)
        raise too_few_bytes(size, least)
    width = NARROWEST
    while width < defaults.widths[1] and needed(width + 1, USUAL_BITS) <= room:
        width += 1
    return width
