"""Media files as small neural networks: fit a field, use it, decode it at any resolution.

import intfit
encoded = intfit.encode("photo.png", intfit.Settings(effort=3), path="photo.safetensors")
field = intfit.load("photo.safetensors")     # callable: coordinates [..., 2] to values [..., 3]
intfit.decode(field, scale=4, path="large.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Decoded, Encoded, decode, encode, export, load, verify
    from .codecs.protocol import Hooks
    from .errors import IntfitError
    from .field import Field
    from .inspection import info
    from .settings import Settings
    from .sound import open_audio

__version__ = "0.1.0"
__all__ = [
    "Decoded", "Encoded", "Field", "Hooks", "IntfitError", "Settings", "__version__", "decode",
    "encode", "export", "info", "load", "open_audio", "verify",
]  # fmt: skip

#: Where each name comes from. It is imported on first use: `import intfit` takes no time, and
#: `intfit --help` needs none of what these import.
_MODULES = dict.fromkeys(
    ("Decoded", "Encoded", "decode", "encode", "export", "load", "verify"), "api"
) | {
    "Field": "field",
    "Hooks": "codecs.protocol",
    "IntfitError": "errors",
    "Settings": "settings",
    "info": "inspection",
    "open_audio": "sound",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
