"""The architecture of SIRENs that are a whole field: of a plan, or from a file's header."""

from dataclasses import dataclass, replace
from typing import Any

from ...coding.header import Header, count_features
from ...errors import FileFormatError
from ...networks.architecture import SirenConfig
from ...plan import Plan, plan_colours
from ...settings import SIZE_SETTINGS, Settings, check_sizes, flag
from ..trim_config import describe_trim, trim_config, trim_shapes

#: What the names of the colours' parameters, and of their sizes in a header, begin with.
COLOURS = "colours."
HEADER_PREFIX = "colour_"
#: The least steps of a fit that creases are worth their outputs in: a shorter one finds no surface.
STEPS_OF_CREASES = 400


@dataclass(frozen=True)
class PaintedConfig:
    """A SIREN of distances, and beside it one of colours: coordinates to distance, R, G and B."""

    distance: SirenConfig
    colours: SirenConfig

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order: those of the distance come first."""
        own = {f"{COLOURS}{name}": shape for name, shape in self.colours.shapes().items()}
        return self.distance.shapes() | own

    def count(self) -> int:
        """Number of parameters."""
        return self.distance.count() + self.colours.count()

    def count_weights(self) -> int:
        """Number of weights and biases: all of them."""
        return self.count()

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the networks."""
        own = self.colours.header_entries()
        return self.distance.header_entries() | {
            f"{HEADER_PREFIX}{name}": value for name, value in own.items()
        }

    def describe(self) -> str:
        """The networks in a phrase."""
        return f"{self.distance.describe()}; colours: {self.colours.describe()}"


@dataclass(frozen=True)
class TrimmedConfig:
    """The networks of an open surface: those of a closed one, and a trim of ``width`` neurons."""

    closed: SirenConfig | PaintedConfig
    width: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in order: those of the trim come last."""
        return self.closed.shapes() | trim_shapes(self.width)

    def count(self) -> int:
        """Number of parameters."""
        return self.closed.count() + trim_config(self.width).count()

    def count_weights(self) -> int:
        """Number of weights and biases: all of them."""
        return self.count()

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the networks; the trim's width is a fact of the surface."""
        return self.closed.header_entries()

    def describe(self) -> str:
        """The networks in a phrase."""
        return f"{self.closed.describe()}{describe_trim(self.width)}"


AnyConfig = SirenConfig | PaintedConfig | TrimmedConfig


def distance_of(config: AnyConfig) -> SirenConfig:
    """The network of a field but for its colours and its trim."""
    config = config.closed if isinstance(config, TrimmedConfig) else config
    return config.distance if isinstance(config, PaintedConfig) else config


def colours_of(config: AnyConfig) -> SirenConfig | None:
    """The network of a surface's colours, where it has several."""
    config = config.closed if isinstance(config, TrimmedConfig) else config
    return config.colours if isinstance(config, PaintedConfig) else None


def with_neuron_steps(config: AnyConfig) -> AnyConfig:
    """The same networks, whose packed neurons have quantisation steps that differ."""
    if isinstance(config, TrimmedConfig):
        return replace(config, closed=_with_neuron_steps(config.closed))
    return _with_neuron_steps(config)


def _with_neuron_steps(config: SirenConfig | PaintedConfig) -> SirenConfig | PaintedConfig:
    if isinstance(config, PaintedConfig):
        return replace(config, distance=replace(config.distance, neuron_steps=1))
    return replace(config, neuron_steps=1)


def trim_of(config: AnyConfig) -> int | None:
    """The width of a surface's trim, where it has one."""
    return config.width if isinstance(config, TrimmedConfig) else None


def read_config(header: Header) -> AnyConfig:
    """The SIREN that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError: if it describes none.
    """
    inputs, outputs = (
        (3, 1) if header.medium == "mesh" else count_features(header.medium, header.facts)
    )
    names = [name for name in header.network if name.startswith(HEADER_PREFIX)]
    own = {name.removeprefix(HEADER_PREFIX): header.network[name] for name in names}
    rest = {name: value for name, value in header.network.items() if name not in names}
    config = SirenConfig(inputs, outputs, **rest)
    painted = header.medium == "mesh" and header.facts.get("texture") is not None
    if painted != bool(own):
        raise FileFormatError("damaged: its colours and its networks do not belong together")
    closed = PaintedConfig(config, SirenConfig(3, 3, **own)) if own else config
    width = header.facts.get("trim") if header.medium == "mesh" else None
    return closed if width is None else TrimmedConfig(closed, width)


def configure(signal: Any, plan: Plan, settings: Settings) -> AnyConfig:
    """The SIREN of a plan, for a signal's inputs and outputs, and that of its colours.

    Raises:
        UsageError: if several settings say how large it is.
    """
    check_sizes([flag(name) for name in settings.changed(SIZE_SETTINGS)])
    config = _make_config(signal.in_features, signal.out_features, plan)
    sides = getattr(signal, "sides", None)
    if sides is not None and (plan.steps is None or plan.steps >= STEPS_OF_CREASES):
        config = replace(config, creases=sides.shape[1])
    if getattr(signal, "colours", None) is None:
        return config
    return PaintedConfig(config, _make_config(3, 3, plan_colours(plan, settings, signal.colours.n)))


def _make_config(inputs: int, outputs: int, plan: Plan) -> SirenConfig:
    return SirenConfig(
        in_features=inputs,
        out_features=outputs,
        width=plan.width,
        depth=plan.depth,
        omega_first=float(plan.omega_first),
        omega=float(plan.omega),
    )
