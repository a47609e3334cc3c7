"""Media files as small neural networks: fit a SIREN, decode it at any resolution.

import intfit
encoded = intfit.encode(Path("photo.png").read_bytes(), intfit.Settings(effort=3))
field = intfit.load(encoded.data)          # callable: coordinates [B, 2] to values [B, 3]
png = intfit.decode(field, suffix=".png").data
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import decode, encode, load
    from .settings import Settings

__version__ = "0.1.0"
__all__ = ["Settings", "__version__", "decode", "encode", "load"]


def __getattr__(name: str) -> Any:
    # Lazily: importing torch takes over a second, and `intfit --help` needs none of it.
    if name == "Settings":
        from .settings import Settings

        return Settings
    if name in ("decode", "encode", "load"):
        from . import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
