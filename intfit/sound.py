"""Recordings as soundfile gives them."""

from typing import TYPE_CHECKING

from . import api
from .errors import MediaError

if TYPE_CHECKING:
    from .inputs import File
    from .signals import Floats


def open_audio(
    file: "File",
    *,
    sample_rate: int | None = None,
    start: float | None = None,
    duration: float | None = None,
) -> "tuple[Floats, int]":
    """The samples of a recording and their rate in Hz, as ``soundfile.read`` gives them.

    Samples are float32 of full scale 1: ``[T]`` of one channel, ``[T, C]`` of more. ``sample_rate``
    in Hz, ``start`` and ``duration`` in seconds as for :func:`.decode`.

    Raises:
        IntfitError: if it is not a sound file of a recording, or the part lies outside of it.
        OSError: if it cannot be read.
    """
    field = api.load(file)
    if field.kind != "audio":
        raise MediaError(f"the file holds {field.kind}, not a recording")
    samples: Floats = field.render(sample_rate=sample_rate, start=start, duration=duration)
    rate = sample_rate or int(field.facts["sample_rate"])
    return samples[:, 0] if samples.shape[1] == 1 else samples, rate
