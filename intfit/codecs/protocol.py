"""The protocol of codecs, and the types that they are given and return."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Protocol

from ..plan import Plan
from ..settings import FieldName, Goal, Settings

if TYPE_CHECKING:  # NumPy and torch come with these, and a command's help needs neither
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ..coding.container import Stored
    from ..coding.header import Header
    from ..coding.tensors import Tensors
    from ..signals import Evaluate, Signal
    from ..teachers import Teacher
    from ..training.loop import Progress

#: How to get further than a fit did, for a note on a goal that was missed.
ADVICE = ": a higher --effort or larger network gets further"

#: What lies inside a surface near it and outside its field, as a share, that is no matter of
#: rounding.
MOST_LOST = 0.25

#: Why latents are not exported to ONNX.
NO_ONNX = (
    "ONNX is for SIRENs, and this file holds latents: export it to .safetensors, or encode the "
    "original with --field siren"
)


class Config(Protocol):
    """The architecture of a field, which a file's header holds."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""

    def count(self) -> int:
        """Number of weights or latents."""

    def count_weights(self) -> int:
        """Number of weights and biases of the networks that were fitted to the medium."""

    def header_entries(self) -> dict[str, Any]:
        """The values of a file's header, by the names in :data:`.header.FIELDS`."""

    def describe(self) -> str:
        """The field in a phrase, as ``intfit info`` prints it."""


@dataclass(frozen=True)
class Prepared:
    """An input that has been read, and the architecture of its field, before any fitting.

    ``settings`` are what was asked for, ``plan`` what follows from them for this input. ``config``
    is a :class:`Config` of the codec's own type. ``metadata`` are those of the input that are kept.
    """

    kind: str
    field: FieldName
    signal: "Signal"
    settings: Settings
    plan: Plan
    config: Any
    device: str
    metadata: dict[str, str] = dataclass_field(default_factory=dict)


@dataclass(frozen=True)
class Encoding:
    """The bytes of a file, and what went into them.

    ``network`` describes the field and its training in a phrase. ``distortion`` is that of the
    parameters as stored, in the medium's metric; ``reached`` the value in the goal's metric, where
    there is a goal. The file's network was trained for ``steps`` by a ``teacher`` (0 and ``none``
    where nothing was trained). ``seconds`` count the whole encoding.
    """

    data: bytes
    config: Config
    network: str
    distortion: float
    reached: float | None
    steps: int
    seconds: float
    teacher: str
    notes: tuple[str, ...]


class WrapTeacher(Protocol):
    """Returns the teacher to use in place of another."""

    def __call__(
        self, teacher: "Teacher", prepared: Prepared, places: "NDArray[np.int64] | None"
    ) -> "Teacher": ...


class Follow(Protocol):
    """Called with what is done from now on, and the share of it that is done, where that is known.

    The share is in [0, 1].
    """

    def __call__(self, stage: str, fraction: float | None = None) -> None: ...


def ignore_progress(stage: str, fraction: float | None = None) -> None:
    """Follow nothing."""


@dataclass(frozen=True)
class Hooks:
    """Functions that are called while an input is encoded.

    ``fit_begins`` is called before every fit, ``progress`` now and then in it, ``stage`` with the
    name of what is done from then on (``transform``, ``fitting``, ``coding``, ...), ``share`` with
    how much of that is done, from 0 to 1, where this is known. ``wrap_teacher``
    returns the teacher to use in place of the one it is given; its ``places`` ``[n]`` are the
    indices of the examples in the signal, None where they are all samples in order.
    """

    fit_begins: Callable[[Prepared], None] | None = None
    progress: "Callable[[Progress], None] | None" = None
    wrap_teacher: "WrapTeacher | None" = None
    stage: Callable[[str], None] | None = None
    share: Callable[[float], None] | None = None

    def enter(self, stage: str) -> None:
        """Tell whoever listens what is done from now on."""
        if self.stage is not None:
            self.stage(stage)

    def advance(self, stage: str, share: float) -> None:
        """Tell whoever listens what is done now, and how much of that is."""
        self.enter(stage)
        if self.share is not None:
            self.share(share)


class Codec(Protocol):
    """One kind of field for one kind of medium. A module with these functions is one.

    ``config`` is of the codec's own type throughout.
    """

    #: Whether a field is evaluated by torch, on a device of the caller's choice.
    DECODES_ON_DEVICE: bool

    def configure(self, signal: Any, plan: Plan, settings: Settings) -> Config:
        """The architecture for a signal.

        Raises:
            UsageError: if the field is not for it, or a setting not for the field.
        """

    def trains(self, plan: Plan) -> bool:
        """Whether encoding trains a network, and so needs a device."""

    def encode(self, prepared: Prepared, hooks: Hooks) -> Encoding:
        """Fit the field and write the file.

        Raises:
            IntfitError: if the fit fails, or no file is as small as the plan asks.
        """

    def unpack(self, stored: "Mapping[str, Stored]", config: Any) -> "Tensors":
        """The tensors of a file in either profile, as :meth:`Config.shapes` lists them.

        Raises:
            FileFormatError: if it does not hold them.
        """

    def decode(self, tensors: "Tensors", config: Any, device: str) -> "Evaluate":
        """The field: NumPy coordinates ``[B, d]`` to values ``[B, c]``."""

    def make_module(self, field: Any, config: Any) -> "nn.Module":
        """A module of torch that computes what ``field`` does, which :meth:`decode` gave.

        Coordinates ``[..., d]`` to values ``[..., c]``, differentiable in the coordinates. It
        shares no parameters with ``field``.
        """

    def write_onnx(self, tensors: "Tensors", config: Any, header: "Header") -> bytes:
        """An ONNX model of the field in a file with this ``header``.

        Raises:
            UsageError: if the field is no network that ONNX can express.
        """

    def parts(self, payload: bytes, config: Any) -> dict[str, float]:
        """The bytes that each named part of a packed payload takes."""

    def describe_plan(self, prepared: Prepared) -> str:
        """The field and its training in a phrase, as ``--verbose`` and ``--dry-run`` print it."""


def goal_notes(goal: Goal | None, reached: float | None, *, advice: str = "") -> tuple[str, ...]:
    """Notes on the value ``reached`` of a goal, where the summary does not say it."""
    if goal is None or reached is None:
        return ()
    unit = "% mean distance" if goal.metric == "mean_distance" else "dB"
    if goal.margin(reached) < 0:
        return (f"{reached:.4g} {unit} as stored, not the {goal.value:g} asked for{advice}",)
    return (f"{reached:.4g} {unit}",) if goal.metric == "mean_distance" else ()


def note_lost(lost: float, options: str) -> tuple[str, ...]:
    """A note where a share ``lost`` of what lies inside a surface near it is outside its field.

    ``options`` are those that may keep it.
    """
    if lost <= MOST_LOST:
        return ()
    what = f"{100 * lost:.0f} % of what lies inside near the surface is missing"
    return (f"{what}: a higher {options} may keep it",)
