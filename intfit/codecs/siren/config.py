"""The architecture of a SIREN that is a whole field, from a file's header."""

from ...coding.header import Header, count_features
from ...networks.architecture import SirenConfig


def read_config(header: Header) -> SirenConfig:
    """The SIREN that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError: if it describes none.
    """
    inputs, outputs = count_features(header.medium, header.facts)
    return SirenConfig(inputs, outputs, **header.network)
