"""Arrays as media: to the bytes of files that lose nothing of them, and from what was rendered."""

import io
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MediaError

#: A medium: pixels or samples, or a mesh's vertices and faces.
Arrays = NDArray[Any] | tuple[ArrayLike, ArrayLike]
#: The most channels of a recording that a file holds.
MAX_CHANNELS = 1024
#: The types of pixels and of samples; float64 becomes float32.
PIXELS = (np.uint8, np.uint16, np.float32)
SAMPLES = (np.int16, np.float32)


def _in_single_precision(values: ArrayLike) -> NDArray[Any]:
    """An array, in float32 where it is in another floating-point type."""
    array = np.asarray(values)
    with np.errstate(over="ignore"):  # to infinite values, which readers refuse
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def picture_file(pixels: ArrayLike) -> tuple[bytes, tuple[str, ...]]:
    """A TIFF file of pixels ``[H, W]`` or ``[H, W, C]``, and notes on what was converted.

    uint8 of 1 to 4 channels: grey, grey with alpha, RGB, RGBA. uint16 and float32 of one channel,
    as they are; several are kept at 8 bits, from 0 to 65535 and from 0 to 1.

    Raises:
        ValueError: if the shape or the type is none of these, or colours lie outside their range.
    """
    from PIL import Image

    array = _in_single_precision(pixels)
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or not array.size:
        raise ValueError(
            f"an array of shape {shape} is no picture: [H, W], or [H, W, C] of 1 to 4 channels; "
            "samples of a recording, [T] or [T, C], go with rate="
        )
    if array.dtype not in PIXELS:
        raise ValueError(f"pixels of type {array.dtype}: give uint8, uint16 or float32")
    notes: tuple[str, ...] = ()
    if array.dtype != np.uint8 and array.shape[2] > 1:
        notes = (f"colours of type {array.dtype} kept at 8 bits",)
        largest = 65535 if array.dtype == np.uint16 else 1
        if not (array.min() >= 0 and array.max() <= largest):
            raise ValueError("colours of type float32 outside 0 to 1, or not numbers")
        array = (array.astype(np.float64) * (255 / largest)).round().astype(np.uint8)
    array = np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF")
    return buffer.getvalue(), notes


def sound_file(samples: ArrayLike, rate: int) -> bytes:
    """A WAV file of samples ``[T]`` or ``[T, C]``, float32 of full scale 1, or int16.

    ``rate`` is in Hz.

    Raises:
        ValueError: if the shape, the type or the rate is none of a recording.
    """
    import soundfile

    array = _in_single_precision(samples)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS):
        raise ValueError(
            f"an array of shape {array.shape} is no recording: [T] or [T, C], "
            f"of at most {MAX_CHANNELS} channels"
        )
    if array.dtype not in SAMPLES:
        raise ValueError(f"samples of type {array.dtype}: give float32 or int16")
    if rate != int(rate) or rate < 1:
        raise ValueError(f"a rate of {rate!r} Hz: give a whole number above 0")
    buffer = io.BytesIO()
    subtype = "FLOAT" if array.dtype == np.float32 else "PCM_16"
    soundfile.write(buffer, array, int(rate), subtype=subtype, format="WAV")
    return buffer.getvalue()


def check_mesh(mesh: tuple[ArrayLike, ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices ``[V, 3]`` and faces ``[F, 3]``, the indices of each triangle's corners.

    Raises:
        ValueError: if a mesh is not such a pair.
        MediaError: if a face names a vertex that is not there.
    """
    arrays = [np.asarray(part) for part in mesh]
    shapes = " and ".join(str(part.shape) for part in arrays)
    if len(arrays) != 2 or any(part.ndim != 2 or part.shape[1] != 3 for part in arrays):
        raise ValueError(f"arrays of shape {shapes} are no mesh: vertices [V, 3], faces [F, 3]")
    vertices, faces = arrays
    if faces.dtype.kind not in "iu":
        raise ValueError(f"faces of type {faces.dtype}: give the whole numbers of vertices")
    if faces.size and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise MediaError("a face names a vertex that is not there")
    return vertices.astype(np.float64), faces.astype(np.int64)


def mesh_file(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> bytes:
    """A PLY file of a mesh, its vertices as doubles."""
    from .formats.writing import write_ply

    return write_ply(vertices, faces)


def to_arrays(kind: str, rendered: Any) -> Any:
    """What a medium's ``render`` gave as arrays: of a mesh, vertices and faces."""
    if kind != "mesh":
        return rendered
    return np.asarray(rendered.vertices), np.asarray(rendered.faces)
