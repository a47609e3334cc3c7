"""What a file holds, from its header: needs neither NumPy nor torch."""

from pathlib import Path
from typing import Any

from .codecs import codec_of, read_config
from .codecs.protocol import Config
from .coding import container
from .coding.header import complete_fit
from .inputs import File, read_file


def info(file: File, *, sizes: bool = False) -> dict[str, Any]:
    """What is in a file, as ``intfit info --json`` says it; reads the header only.

    ``bytes``; ``kind`` and ``facts`` of the medium; ``field`` (its kind and architecture), ``fit``
    (distortion, steps, teacher, seed), ``parameters`` (weights and biases of the networks fitted to
    it) and ``latents``, counted; ``network`` in a phrase; ``metadata`` that were kept; ``profile``
    (``packed``, ``open``) and ``types`` of the tensors. With ``sizes``, for which all
    of the file is read, also the bytes that each part takes, under that name.

    Raises:
        FileFormatError: if it is not a sound intfit file.
        OSError: if it cannot be read.
    """
    if isinstance(file, bytes) or sizes:
        data = read_file(file)
        layout = container.parse(data, len(data))
    else:
        data, layout = b"", container.read_layout(Path(file))
    header = layout.header
    config = read_config(header)
    found = {
        "bytes": layout.size,
        "kind": header.medium,
        "facts": header.facts,
        "field": {"kind": header.field, **header.network},
        "fit": complete_fit(header.fit),
        "parameters": config.count_weights(),
        "latents": config.count() if header.field == "latent" else 0,
        "network": config.describe(),
        "metadata": header.metadata,
        "profile": "packed" if layout.packed else "open",
        "types": sorted({dtype for dtype, *_ in layout.tensors.values()}),
    }
    return found | {"sizes": _measure_parts(data, config)} if sizes else found


def _measure_parts(data: bytes, config: Config) -> dict[str, float]:
    """Bytes that the header and each part of a file take."""
    from .coding.tensors import payload_of  # NumPy takes a tenth of a second

    layout, stored = container.load(data)
    found: dict[str, float] = {"header": layout.start}
    payload = payload_of(stored)
    if payload is None:
        return found | {name: len(tensor.data) for name, tensor in stored.items()}
    header = layout.header
    return found | codec_of(header.field, header.medium).parts(payload, config)
