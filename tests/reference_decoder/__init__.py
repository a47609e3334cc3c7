"""A second decoder of intfit files, written from docs/reference/file-format.md alone.

It shares no code with intfit and imports nothing of it: only Python and NumPy. It is slow, and
meant for small files: it shows that the specification suffices. Names of functions follow the
sections of the specification.
"""

from .audio import audio_between, audio_latents, audio_samples
from .coder import RangeDecoder, RunModel, cumulative, read_container
from .envelope import envelope_latents, envelope_samples
from .image import image_between, image_latents, image_samples, shipped
from .palette import palette_picture
from .siren import (
    grid,
    open_parameters,
    packed_parameters,
    pixels,
    siren,
    siren_shapes,
    with_prefix,
)
from .surface import surface_between, surface_latents, surface_trim
from .waveform import waveform_latents, waveform_samples

__all__ = [
    "RangeDecoder", "RunModel", "audio_between", "audio_latents", "audio_samples", "cumulative",
    "envelope_latents", "envelope_samples", "grid", "image_between", "image_latents",
    "image_samples", "open_parameters", "packed_parameters", "palette_picture", "pixels",
    "read_container", "shipped",
    "siren", "siren_shapes", "surface_between", "surface_latents", "surface_trim",
    "waveform_latents", "waveform_samples", "with_prefix",
]  # fmt: skip
