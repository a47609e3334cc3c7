"""The architecture of a surface's trim, known without NumPy."""

from typing import Any

from ..coding.header import SMALL_DEPTH, SMALL_OMEGA, SMALL_OMEGA_FIRST
from ..networks.architecture import SirenConfig

#: What the names of its parameters begin with.
PREFIX = "trim."


def trim_config(width: Any) -> SirenConfig:
    """The architecture of a trim of so many neurons a layer, which is a fact of the surface.

    Raises:
        FileFormatError: if there is none.
    """
    return SirenConfig(3, 1, width, SMALL_DEPTH, SMALL_OMEGA_FIRST, SMALL_OMEGA)


def trim_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, in order."""
    return {f"{PREFIX}{name}": shape for name, shape in trim_config(width).shapes().items()}


def describe_trim(width: int | None) -> str:
    """What is said of a trim of this width, after the field that it is beside."""
    return "" if width is None else f"; open where a SIREN {width} x {SMALL_DEPTH} says so"
