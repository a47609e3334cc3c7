"""The codecs that people use, each run at several settings and decoded again."""

import importlib.util
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..media import audio
from ..media.pixels import read_pixels, to_pillow
from ..media.samples import write_blocks
from . import rd_surface

#: The qualities, of 100, that picture codecs are run at, and the distances of JPEG XL.
QUALITIES = (2, 5, 10, 20, 30, 45, 60, 75, 85, 92)
DISTANCES = (20.0, 14.0, 10.0, 7.0, 5.0, 3.5, 2.5, 1.8, 1.2, 0.8, 0.5)
#: The compression levels, in 0..1, that libsndfile's codecs are run at: 1 is the smallest file.
LEVELS = (0.99, 0.9, 0.8, 0.7, 0.6, 0.45, 0.3, 0.15, 0.0)
#: The bit rates that Opus and AAC are asked for, in kilobits per second of all channels.
BIT_RATES = (6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128)
#: The bits per second and channel of Opus at libsndfile's compression levels 1 and 0.
OPUS_RANGE = (6000, 256000)
#: The most samples that a lossy codec may delay a recording by.
MAX_DELAY = 1 << 13

#: Pillow's name and options of the picture codecs it has. Slow and good: JPEG with 4:2:0 and
#: optimised tables, WebP (always 4:2:0) by method 6, AVIF at speed 4: with 4:2:0 and libaom's own
#: tuning, with 4:4:4, and with 4:4:4 tuned for PSNR.
PICTURE_CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"optimize": True, "progressive": True}),
    "webp": ("WEBP", {"method": 6}),
    "avif": ("AVIF", {"speed": 4}),
    "avif444": ("AVIF", {"speed": 4, "subsampling": "4:4:4"}),
    "avif-psnr": ("AVIF", {"speed": 4, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}}),
}
#: The container and codec of libsndfile.
SOUND_CODECS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
#: The codecs that intfit is compared with on each medium.
RIVALS = {
    "image": (*PICTURE_CODECS, "jxl"),
    "audio": (*SOUND_CODECS, "aac"),
    "mesh": rd_surface.RIVALS,
}
#: Those that are run only where they are asked for.
ON_REQUEST = frozenset({"avif444", "avif-psnr"})
#: The packages beyond the usual ones that a codec needs, and the extra that brings them.
NEEDS = {
    "jxl": (("imagecodecs",), "bench"),
    "aac": (("av",), "aac"),
    "draco": (("DracoPy",), "bench"),
    "draco-whole": (("DracoPy",), "bench"),
}

#: The result of a codec at one setting: the size in bytes, and the medium decoded from them.
Coded = tuple[int, Any]


def say_what_is_missing(name: str) -> str | None:
    """What to install for a codec, or None where it is all there."""
    packages, extra = NEEDS.get(name, ((), ""))
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"{package} is missing: pip install 'intfit[{extra}]'"
    return None


def code_picture(name: str, setting: float, data: bytes) -> Coded:
    """Code a picture at one of :data:`QUALITIES`, or of :data:`DISTANCES` for JPEG XL.

    JPEG XL at libjxl's usual effort, 7. Pixels ``[H, W, C]`` as the original has them.
    """
    pixels, facts, _ = read_pixels(data)
    original = to_pillow(pixels, facts)
    if original.mode == "P":
        original = original.convert("RGBA" if pixels.shape[2] == 4 else "RGB")
    if name == "jxl":
        import imagecodecs

        plain = original.mode in ("L", "LA", "RGB", "RGBA")
        source = np.asarray(original if plain else original.convert("RGB"))
        coded = imagecodecs.jpegxl_encode(source, distance=setting, effort=7, numthreads=1)
        image = Image.fromarray(imagecodecs.jpegxl_decode(coded, numthreads=1))
        size = len(coded)
    else:
        format_name, options = PICTURE_CODECS[name]
        buffer = io.BytesIO()
        original.save(buffer, format_name, quality=int(setting), **options)
        image, size = Image.open(buffer), len(buffer.getvalue())
    return size, np.asarray(image.convert(original.mode)).reshape(pixels.shape)


def code_recording(name: str, setting: float, data: bytes) -> Coded:
    """Code a recording, with as many channels as it has.

    MP3 and Vorbis at one of :data:`LEVELS` of libsndfile, Opus (libopus through libsndfile) and
    AAC (FFmpeg's own encoder, in an MP4 file) at one of :data:`BIT_RATES`. The samples ``[N, C]``
    are at the original's rate and without the codec's delay.
    """
    import soxr

    values, facts = audio.read_samples(data)
    native = facts["sample_rate"]
    rate = 48000 if name == "opus" else native
    resampled = soxr.resample(values, native, rate, quality="VHQ") if rate != native else values
    if name == "aac":
        size, decoded, back = _code_aac(resampled, rate, setting)
    else:
        level = setting
        if name == "opus":
            low, high = OPUS_RANGE
            level = 1 - (1000 * setting / values.shape[1] - low) / (high - low)
        size, decoded, back = _code_by_libsndfile(name, resampled, rate, min(max(level, 0.0), 1.0))
    if back != native:
        decoded = soxr.resample(decoded, back, native, quality="VHQ")
    return size, align(decoded, values)


def _code_by_libsndfile(
    name: str, values: NDArray[np.float32], rate: int, level: float
) -> tuple[int, NDArray[np.float32], int]:
    """The size, the samples and their rate."""
    import soundfile

    container, subtype = SOUND_CODECS[name]
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, values.shape[1], subtype, format=container, compression_level=level
    ) as file:
        write_blocks(file, values.clip(-1, 1))  # LAME ends the program on very large ones
    decoded, facts = audio.read_samples(buffer.getvalue())
    return len(buffer.getvalue()), decoded, facts["sample_rate"]


def _code_aac(
    values: NDArray[np.float32], rate: int, kbps: float
) -> tuple[int, NDArray[np.float32], int]:
    """The size, the samples and their rate.

    Raises:
        ValueError: if FFmpeg cannot code it: more than two channels, or an unusual rate.
    """
    import av

    if values.shape[1] > 2:
        raise ValueError("only mono and stereo are compared as AAC")
    layout = "mono" if values.shape[1] == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        stream.bit_rate = int(1000 * kbps)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(values.T, np.float32), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        cut = av.AudioResampler("fltp", layout, rate, frame_size=1024)
        for part in [*cut.resample(frame), *cut.resample(None), None]:
            container.mux(stream.encode(part))
    size = len(buffer.getvalue())
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        frames = [frame.to_ndarray() for frame in source.decode(audio=0)]
        back = source.streams.audio[0].rate
    return size, np.concatenate(frames, axis=1).T.astype(np.float32), back


def align(decoded: NDArray[np.float32], original: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift ``decoded`` ``[M, C]`` in time, and cut it to the ``[N, C]`` of ``original``.

    Lossy codecs delay a recording. The shift, of at most :data:`MAX_DELAY` samples, is the one at
    which the two correlate most.
    """
    from scipy.signal import correlate

    pairs = zip(decoded.T, original.T, strict=True)
    correlation = np.sum([correlate(one, two, method="fft") for one, two in pairs], axis=0)
    lags = np.arange(len(correlation)) - (len(original) - 1)
    near = np.abs(lags) <= MAX_DELAY
    lag = int(lags[near][np.argmax(correlation[near])])
    moved = np.zeros_like(original)
    part = decoded[max(lag, 0) : max(lag, 0) + len(original) - max(-lag, 0)]
    moved[max(-lag, 0) : max(-lag, 0) + len(part)] = part
    return moved


def list_settings(name: str, data: bytes, suffix: str) -> Iterator[tuple[str, Callable[[], Coded]]]:
    """The name of every setting of a codec, and a function that runs it."""
    if name in RIVALS["image"]:
        for quality in DISTANCES if name == "jxl" else QUALITIES:
            yield f"{quality:g}", partial(code_picture, name, quality, data)
    elif name in RIVALS["audio"]:
        for level in BIT_RATES if name in ("opus", "aac") else LEVELS:
            yield f"{level:g}", partial(code_recording, name, level, data)
    else:
        yield from rd_surface.list_settings(name, data, suffix)
