"""Codecs: how a field of one kind holds a medium of one kind. A new field is one line here."""

from ..coding.header import Header
from ..errors import FileFormatError, UsageError
from ..settings import TRAINING_SETTINGS, FieldName, Settings
from .mdct import codec as mdct
from .mdct.config import MAX_CHANNELS
from .protocol import Codec, Config
from .siren import codec as siren
from .wavelet import codec as wavelet

#: The codec of each field and medium.
CODECS: dict[tuple[str, str], Codec] = {
    ("siren", "image"): siren,
    ("siren", "audio"): siren,
    ("siren", "mesh"): siren,
    ("latent", "image"): wavelet,
    ("latent", "audio"): mdct,
}


def choose_field(settings: Settings, kind: str, channels: int) -> FieldName:
    """The field that is asked for, or the medium's own.

    A SIREN where a setting is given that only training has.
    """
    if settings.field is not None:
        return settings.field
    has_latents = ("latent", kind) in CODECS and channels <= MAX_CHANNELS
    return "latent" if has_latents and not settings.changed(TRAINING_SETTINGS) else "siren"


def codec_of(field: str, kind: str) -> Codec:
    """The codec of a field and a medium.

    Raises:
        UsageError: if the field is not for the medium.
    """
    if (field, kind) not in CODECS:
        raise UsageError(f"--field {field} is for images and recordings, not for a {kind}")
    return CODECS[field, kind]


def read_config(header: Header) -> Config:
    """The architecture that a header describes, whose facts are sound.

    Raises:
        FileFormatError: if it describes none.
    """
    try:
        return CODECS[header.field, header.medium].read_config(header)
    except (TypeError, KeyError):
        raise FileFormatError("damaged: not a network this version can build") from None
