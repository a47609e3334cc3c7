"""A page: the templates beside this module, with the items to show as JSON in their midst."""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files

from .. import __version__
from .items import Item

#: The scripts of a page, in the order in which they need each other.
SCRIPTS = (
    "context.js", "fields.js", "gestures.js", "picture.js", "recording.js", "surface.js", "page.js",
)  # fmt: skip


def _read(name: str) -> str:
    """A template's text, without the line that its file ends with."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8").rstrip("\n")


def _as_json(items: Sequence[Item]) -> str:
    """Items as JSON that ends no element of HTML, whatever the names of files are."""
    text = json.dumps([asdict(item) for item in items], separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def make_page(items: Sequence[Item], title: str | None = None) -> str:
    """The HTML of a page that shows ``items``; its title is the first one's name by default."""
    more = f" and {len(items) - 1} more" if len(items) > 1 else ""
    parts = {
        "title": html.escape(title or f"{items[0].name}{more}"),
        "version": __version__,
        "style": _read("style.css"),
        "script": "\n".join(_read(name) for name in SCRIPTS),
        "data": _as_json(items),
    }
    # in one pass: what is put in is not looked at again
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _read("page.html")) + "\n"
