"""What a page shows of a file: its field as the browser can evaluate it, and a caption."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import api
from ..codecs.protocol import Hooks
from ..complaints import collect_complaints
from ..field import Field
from ..inputs import read_file
from ..inspection import info
from ..limits import USUAL, Limits
from . import captions, pictures, recordings, surfaces


@dataclass(frozen=True)
class Item:
    """What a page shows of one file; its JSON is what the page's scripts read.

    ``caption`` is rows of a term and a text, ``notes`` say what the page leaves out. Of
    ``picture``, ``recording`` and ``surface``, the one of its ``kind`` is there.
    """

    name: str
    kind: str
    caption: list[tuple[str, str]]
    notes: list[str]
    picture: dict[str, Any] | None = None
    recording: dict[str, Any] | None = None
    surface: dict[str, Any] | None = None


#: What each kind of medium is called in an :class:`Item`, and what makes that: the field, its info
#: and the original to values for the page, and notes.
Maker = Callable[
    [Field, dict[str, Any], bytes | None, str, Limits], tuple[dict[str, Any], list[str]]
]
MAKERS: dict[str, tuple[str, Maker]] = {
    "image": ("picture", pictures.describe),
    "audio": ("recording", recordings.describe),
    "mesh": ("surface", surfaces.describe),
}


def make_item(
    file: "str | os.PathLike[str]",
    against: "str | os.PathLike[str] | None" = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    limits: Limits = USUAL,
    hooks: Hooks | None = None,
) -> Item:
    """What a page shows of a ``file``, beside the original ``against`` if that is given.

    The ``stage`` of ``hooks`` is told what is done.

    Raises:
        IntfitError: if one of them cannot be read, or they do not belong together.
        OSError: likewise.
    """
    hooks = hooks or Hooks()
    data = read_file(file)
    found = info(data)
    hooks.enter("decoding")
    field = api.load(data, device=device, threads=threads, limits=limits)
    original = None if against is None else read_file(against)
    suffix = "" if against is None else Path(against).suffix
    measured = None
    if original is not None:
        measured = api.verify(field, original, suffix=suffix, hooks=hooks)
    hooks.enter("page")
    key, make = MAKERS[field.kind]
    with collect_complaints():
        values, notes = make(field, found, original, suffix, limits)
    caption = captions.make_caption(found, measured)
    return Item(
        os.fsencode(Path(file).name).decode(errors="replace"),
        field.kind,
        caption,
        notes,
        **{key: values},
    )
