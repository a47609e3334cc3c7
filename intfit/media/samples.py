"""The samples of sound files, as far as libsndfile can read them.

It trusts what a header says of counts, and stops at chunks of text that are larger than its buffer:
such files are read once more, without what is no sound and with the sizes that are there.
"""

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import USUAL, Limits
from .protocol import note_lost

#: Frames that are read or written at once.
BLOCK = 1 << 16
#: Bytes of memory that encoding takes for each sample of each channel, about.
BYTES_PER_SAMPLE = 80
#: Bytes of a FLAC file before its second block.
_FLAC_HEAD = 42
#: The tags that are kept: libsndfile writes its own name into that of the software.
TAGS = (
    *("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright"),
    "license",
)
#: What soundfile raises where it cannot read.
_ERRORS = (soundfile.SoundFileError, ValueError, TypeError, OSError)


@dataclass(frozen=True)
class _Container:
    """A format of chunks: an identifier of 4 bytes, a size, a body.

    ``head`` bytes come before the first chunk; sizes have ``width`` bytes in ``order``, and bodies
    fill up to a multiple of ``even``. ``kept`` are the chunks that libsndfile needs; of them,
    ``sound`` holds the samples.
    """

    head: int
    order: Literal["little", "big"]
    width: int
    even: int
    sound: bytes
    kept: tuple[bytes, ...]


_CONTAINERS = {
    b"RIFF": _Container(12, "little", 4, 2, b"data", (b"fmt ", b"fact", b"data")),
    b"FORM": _Container(12, "big", 4, 2, b"SSND", (b"COMM", b"FVER", b"SSND")),
    b"caff": _Container(
        8, "big", 8, 1, b"data", (b"desc", b"kuki", b"pakt", b"chan", b"data")
    ),
}  # fmt: skip


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """A sound file read from its beginning to its end.

    soundfile would seek to where it is after each block, and where some codecs, or a count of
    samples that is wrong, do not allow that, fail.
    """

    def seekable(self) -> bool:
        return False


def open_sound(data: bytes) -> soundfile.SoundFile:
    """The sound file in ``data``: as it is, mended, or from a file on disk.

    libsndfile now and then takes the bytes of an MP3 in memory for something else.

    Raises:
        SoundFileError, ValueError, TypeError, OSError: what reading it as it is raised.
    """
    data = _without_tag(data)
    try:
        file = _Stream(io.BytesIO(data))
        if file.frames:
            return file
    except _ERRORS as error:
        reason = error
    else:
        with suppress(*_ERRORS):
            return _Stream(io.BytesIO(mended(data)))
        return file
    with suppress(*_ERRORS):
        return _Stream(io.BytesIO(mended(data)))
    with suppress(*_ERRORS), tempfile.NamedTemporaryFile(prefix="intfit-") as copy:
        copy.write(data)
        copy.flush()
        return _Stream(copy.name)  # it stays open when its name is gone
    raise reason


def _without_tag(data: bytes) -> bytes:
    """A file of chunks without the tag of MP3 that some programs put before it."""
    if data[:3] != b"ID3" or len(data) < 10:
        return data
    size = 10
    for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True):
        size += (byte & 0x7F) << shift
    return data[size:] if data[size : size + 4] in _CONTAINERS else data


def mended(data: bytes) -> bytes:
    """A sound file without what holds no sound (chunks, blocks of FLAC), its size put right.

    Wrong is one that reaches beyond the end, or is 0 where no chunks follow that fill the rest: of
    a recording that was never finished, or written to a pipe.
    """
    if data[:4] == b".snd" and data[8:12] == bytes(4):
        return data[:8] + b"\xff" * 4 + data[12:]
    if data[:4] == b"fLaC":
        return _without_metadata(data)
    form = _CONTAINERS.get(data[:4])
    if form is None:
        return data
    kept = []
    for name, start, end in _chunks(data, form):
        if name in form.kept:
            body = data[start:end]
            length = len(body).to_bytes(form.width, form.order)
            kept.append(name + length + body + bytes(-len(body) % form.even))
    whole = b"".join(kept)
    head = data[: form.head]
    if form.head == 12:
        head = data[:4] + (len(whole) + 4).to_bytes(4, form.order) + data[8:12]
    return head + whole


def _without_metadata(data: bytes) -> bytes:
    """A FLAC file of its first block, which describes the stream, and its frames."""
    position, last = 4, False
    while not last and position + 4 <= len(data):
        last = data[position] >= 0x80
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
    head = data[:_FLAC_HEAD]
    return head[:4] + bytes([head[4] | 0x80]) + head[5:] + data[position:] if last else data


def _chunks(data: bytes, form: _Container) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk, and where its body begins and ends."""
    position = form.head
    while position + 4 + form.width <= len(data):
        name, start = data[position : position + 4], position + 4 + form.width
        size = int.from_bytes(data[position + 4 : start], form.order)
        end = start + size
        if name == form.sound and (end > len(data) or (size == 0 and not _fills(data, end, form))):
            end = len(data)
        yield name, start, min(end, len(data))
        position = end + -size % form.even


def _fills(data: bytes, position: int, form: _Container) -> bool:
    """Whether chunks of printable names fill ``data`` from a position on."""
    while position < len(data):
        start = position + 4 + form.width
        name = data[position : position + 4]
        if start > len(data) or not all(32 <= byte < 127 for byte in name):
            return False
        size = int.from_bytes(data[position + 4 : start], form.order)
        position = start + size + -size % form.even
    return True


def looks_like_sound(data: bytes) -> bool:
    """Whether the first bytes are those of a sound file, or soundfile takes them for one."""
    heads = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"ID3")
    if data.startswith(heads):
        # a header cut short is still a recording, and deserves the message of one
        return data[:4] != b"FORM" or data[8:12] in (b"", b"AIFF", b"AIFC", b"8SVX", b"16SV")
    if data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 == 0xE2:
        return True  # a frame of MPEG layer III
    try:
        soundfile.info(io.BytesIO(data))
    except _ERRORS:
        return False
    return True


def read_tags(data: bytes) -> dict[str, str]:
    """The tags of a recording, by name; of a damaged one, none."""
    with suppress(*_ERRORS), open_sound(data) as file:
        found: dict[str, str] = file.copy_metadata()
        return {name: found[name] for name in TAGS if found.get(name)}
    return {}


def write_tags(file: soundfile.SoundFile, metadata: Mapping[str, str]) -> None:
    """Give a recording that is being written its tags; those that its format lacks are ignored."""
    for name in TAGS:
        if text := metadata.get(name):
            with suppress(*_ERRORS, RuntimeError):
                setattr(file, name, text)


#: The rates in Hz of codecs that do not hold any.
RATES = {
    "OPUS": (8000, 12000, 16000, 24000, 48000),
    "MPEG_LAYER_III": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
#: The code of libsndfile's error where a format is none that it knows (sndfile.h).
UNRECOGNISED = 1


def nearest_rate(kind: str, rate: int) -> int:
    """The lowest rate that a sample type holds and is no lower; its highest where all are."""
    rates = RATES.get(kind, (rate,))
    return min((each for each in rates if each >= rate), default=max(rates))


def opens(data: bytes) -> bool:
    """Whether libsndfile reads a recording again."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return bool(file.frames >= 0)
    except soundfile.SoundFileError:
        return False


def write_blocks(file: soundfile.SoundFile, values: NDArray[np.float32]) -> None:
    """Write samples ``[N, C]`` block by block: libvorbis keeps what it is given on its stack."""
    for first in range(0, len(values), BLOCK):
        file.write(values[first : first + BLOCK])


def describe_lost_tags(written: bytes, metadata: Mapping[str, str], suffix: str) -> tuple[str, ...]:
    """A note on the tags that a ``written`` recording lacks."""
    return note_lost(metadata.keys() - read_tags(written).keys() if metadata else (), suffix)


def explain(error: Exception) -> str:
    """What libsndfile says of a failure, without the name of our buffer."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


def read_sound(
    data: bytes, kind: str = "float32", *, limits: Limits = USUAL
) -> tuple[NDArray[Any], int, str]:
    """Samples ``[N, C]`` of type ``kind``, full scale 1, their rate in Hz and their sample type.

    As many as there are, whatever the header says.

    Raises:
        MediaError: if they cannot be read, are more than ``limits`` allow, or are not numbers.
    """
    blocks, frames = [], 0
    try:
        with open_sound(data) as file:
            # past the last sample, what trails it would be taken for more
            while wanted := min(BLOCK, max(0, file.frames - frames)):
                block = file.read(wanted, dtype=kind, always_2d=True)
                if not len(block):
                    break
                blocks.append(block)
                frames += len(block)
                limits.check_frames(frames)
                limits.check_bytes(frames * file.channels * BYTES_PER_SAMPLE)
            channels, rate, subtype = file.channels, file.samplerate, file.subtype
    except _ERRORS as error:
        if getattr(error, "code", None) == UNRECOGNISED:
            raise MediaError("not a recording that can be read") from None
        raise MediaError(f"damaged recording: {explain(error)}") from None
    values = np.concatenate(blocks) if blocks else np.empty((0, channels), kind)
    if not np.isfinite(values).all():
        raise MediaError("holds samples that are not numbers (NaN or infinite)")
    return values, rate, subtype
