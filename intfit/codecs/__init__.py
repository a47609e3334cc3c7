"""Codecs: how a field of one kind holds a medium of one kind.

A new field is a folder here and its lines in the two tables below.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..coding.facts import check_facts
from ..coding.header import Header
from ..errors import FileFormatError, UsageError
from ..settings import (
    TRAINING_SETTINGS,
    TUNES,
    TUNES_OF_GOALS,
    FieldName,
    Settings,
    TuneName,
)
from .levelset import config as levelset_config
from .mdct import config as mdct_config
from .mdct.config import MAX_CHANNELS
from .palette import config as palette_config
from .protocol import Codec, Config
from .siren import config as siren_config
from .wavelet import config as wavelet_config

if TYPE_CHECKING:
    from ..signals import Signal


def _load_siren() -> Codec:
    from .siren import codec

    return codec


def _load_wavelet() -> Codec:
    from .wavelet import codec

    return codec


def _load_mdct() -> Codec:
    from .mdct import codec

    return codec


def _load_palette() -> Codec:
    from .palette import codec

    return codec


def _load_levelset() -> Codec:
    from .levelset import codec

    return codec


#: The codec of each field and medium, loaded when first needed: NumPy takes a tenth of a second.
CODECS: dict[tuple[str, str], Callable[[], Codec]] = {
    ("siren", "image"): _load_siren,
    ("siren", "audio"): _load_siren,
    ("siren", "mesh"): _load_siren,
    ("latent", "image"): _load_wavelet,
    ("latent", "audio"): _load_mdct,
    ("latent", "mesh"): _load_levelset,
    ("palette", "image"): _load_palette,
}
#: The function that reads the architecture of each from a file's header.
CONFIG_READERS: dict[tuple[str, str], Callable[[Header], Config]] = {
    ("siren", "image"): siren_config.read_config,
    ("siren", "audio"): siren_config.read_config,
    ("siren", "mesh"): siren_config.read_config,
    ("latent", "image"): wavelet_config.read_config,
    ("latent", "audio"): mdct_config.read_config,
    ("latent", "mesh"): levelset_config.read_config,
    ("palette", "image"): palette_config.read_config,
}


#: A sheet becomes latents above this quality, and for goals below this mean distance, in %: there a
#: plain SIREN becomes large and slow.
HIGH_QUALITY, CLOSE = 50.0, 0.02
#: No latents fit into fewer bytes than this.
FEWEST_BYTES = 1000
#: A picture of few colours has at least so many pixels for each: where there are fewer, colours
#: come again too seldom for a palette to learn from.
PIXELS_PER_COLOUR = 32


def choose_field(
    settings: Settings,
    kind: str,
    channels: int,
    *,
    smooth: bool,
    sheet: bool = False,
    drawn: bool = False,
) -> FieldName:
    """The field that ``settings`` ask for, or the default of a medium with so many ``channels``.

    ``smooth`` surfaces have neither creases, which take latents many bytes, nor colours, which they
    do not keep. A ``sheet`` is one that was given a thickness. A picture that is ``drawn`` has few
    colours, and is smaller as a palette.
    """
    if settings.field is not None:
        return settings.field
    if kind == "mesh":
        return "latent" if smooth and _asks_for_latents(settings, sheet=sheet) else "siren"
    if drawn and not settings.changed((*TRAINING_SETTINGS, "tune")):
        return "palette"
    return "latent" if ("latent", kind) in CODECS and channels <= MAX_CHANNELS else "siren"


def _asks_for_latents(settings: Settings, *, sheet: bool) -> bool:
    """Whether a smooth surface is for latents, as no setting is of the training of one SIREN."""
    if settings.changed((*TRAINING_SETTINGS, "max_time")):
        return False
    if not sheet:
        return settings.target_size is None or settings.target_size >= FEWEST_BYTES
    if settings.target_size is not None:
        return False
    if settings.target_distance is not None:
        return settings.target_distance < CLOSE
    return (settings.quality or 0) > HIGH_QUALITY


def suits_palette(signal: "Signal") -> bool:
    """Whether a medium is a picture that looks drawn, and of few colours."""
    if getattr(signal, "lossless_size", None) is None:
        return False
    most = min(palette_config.MAX_COLOURS, signal.n // PIXELS_PER_COLOUR)
    return signal.count_colours(most) <= most  # type: ignore[union-attr]


def note_drawing(
    signal: "Signal", settings: Settings, field: FieldName, drawn: bool
) -> tuple[str, ...]:
    """A note on what is better for a drawn picture than a ``field``, where something is.

    Such a picture is ``drawn`` in few colours, or its size without loss is known. Where a size is
    asked for, a palette may be too large.
    """
    size = getattr(signal, "lossless_size", None)
    if size is None or field == "palette" or settings.changed(("target_size", "target_bpp")):
        return ()
    if drawn:
        return ("it looks drawn: --field palette is exact, and mostly smaller",)
    return (f"it looks drawn: a lossless WebP of it takes {size} bytes, and is exact",)


#: What is tried in the place of a field that is too large for the bytes allowed, and a note on it.
SMALLER: dict[tuple[str, FieldName], tuple[FieldName, str]] = {
    ("mesh", "latent"): ("siren", "too few bytes for latents: a plain SIREN"),
    ("image", "palette"): ("latent", "too few bytes for an exact palette: latents"),
}


def find_smaller(settings: Settings, kind: str, field: FieldName) -> tuple[FieldName | None, str]:
    """The field to try where one that nobody asked for is too large, and a note on it.

    None where there is no other, or no size is asked for.
    """
    if settings.field is not None or not settings.changed(("target_size", "target_bpp")):
        return None, ""
    return SMALLER.get((kind, field), (None, ""))


#: A recording of fewer samples is too short for an envelope to be worth its bytes.
FEWEST_TO_HEAR = 2048


def choose_tune(settings: Settings, kind: str, field: FieldName, n: int) -> TuneName | None:
    """What ``settings`` ask to tune for, or the default of a field and a medium of ``n`` examples.

    Raises:
        UsageError: if that is not for them.
    """
    choices = TUNES.get(kind, ()) if field == "latent" else ()
    if settings.tune is None:
        if n < FEWEST_TO_HEAR and "snr" in choices:
            return "snr"
        goals = [tune for goal, tune in TUNES_OF_GOALS.items() if settings.changed([goal])]
        return next((tune for tune in (*goals, *choices) if tune in choices), None)
    if settings.tune not in choices:
        known = f"there are {' and '.join(choices)}" if choices else "there is nothing to tune"
        raise UsageError(f"--tune {settings.tune} is not for {kind}, --field {field}: {known}")
    return settings.tune


def codec_of(field: str, kind: str) -> Codec:
    """The codec of a field and a medium.

    Raises:
        UsageError: if the field is not for the medium.
    """
    if (field, kind) not in CODECS:
        raise UsageError(f"--field {field} is not for a medium of this kind, {kind}")
    return CODECS[field, kind]()


def read_config(header: Header) -> Config:
    """The architecture that a header describes.

    Raises:
        FileFormatError: if it describes none, or its facts are not those of a medium.
    """
    check_facts(header.medium, header.facts)
    try:
        return CONFIG_READERS[header.field, header.medium](header)
    except (TypeError, KeyError):
        raise FileFormatError("damaged: not a network this version can build") from None
