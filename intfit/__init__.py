"""Media files as small neural networks: fit a SIREN, decode it at any resolution.

import intfit
encoded = intfit.encode(Path("photo.png").read_bytes(), intfit.Settings(effort=3))
field = intfit.load(encoded.data)          # callable: coordinates [B, 2] to values [B, 3]
png = intfit.decode(field, suffix=".png").data
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import decode, encode, load
    from .settings import Settings

__version__ = "0.1.0"
__all__ = ["Settings", "__version__", "decode", "encode", "load"]


def __getattr__(name: str) -> Any:
    # On first use: `intfit --help` needs none of what these import.
    if name == "Settings":
        from .settings import Settings

        return Settings
    if name in ("decode", "encode", "load"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
