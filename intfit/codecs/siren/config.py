"""The architecture of a SIREN that is a whole field: of a plan, or from a file's header."""

from typing import Any

from ...coding.header import Header, count_features
from ...networks.architecture import SirenConfig
from ...plan import Plan
from ...settings import SIZE_SETTINGS, Settings, check_sizes, flag


def read_config(header: Header) -> SirenConfig:
    """The SIREN that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError: if it describes none.
    """
    inputs, outputs = count_features(header.medium, header.facts)
    return SirenConfig(inputs, outputs, **header.network)


def configure(signal: Any, plan: Plan, settings: Settings) -> SirenConfig:
    """The SIREN of a plan, for a signal's inputs and outputs.

    Raises:
        UsageError: if several settings say how large it is.
    """
    check_sizes([flag(name) for name in settings.changed(SIZE_SETTINGS)])
    return SirenConfig(
        in_features=signal.in_features,
        out_features=signal.out_features,
        width=plan.width,
        depth=plan.depth,
        omega_first=float(plan.omega_first),
        omega=float(plan.omega),
    )
