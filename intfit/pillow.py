"""A plug-in of Pillow: after ``import intfit.pillow``, ``Image.open`` reads files of pictures.

``draft`` and ``thumbnail`` decode at the small size.
"""

import math
from typing import Any

from PIL import Image, ImageFile

from . import api
from .codecs import read_config
from .coding import container
from .coding.container import Layout
from .errors import IntfitError
from .field import make_target, render
from .media.metadata import options_for
from .media.pixels import to_pillow

FORMAT = "INTFIT"
#: How a safetensors file with metadata goes on after the length of its table.
_BEGINNING = b'{"__meta'


def accepts(prefix: bytes) -> bool:
    """Whether a file's first 16 bytes may be those of one of ours."""
    return prefix[8:16] == _BEGINNING and int.from_bytes(prefix[:8], "little") <= (
        container.MAX_HEADER
    )


def read_picture(data: bytes, **asked: Any) -> Image.Image:
    """The picture in a file, in the mode that it was encoded from.

    ``asked`` are ``scale``, ``size`` and ``region`` as :func:`intfit.decode` takes them.

    Raises:
        IntfitError: if it is not a sound file of a picture, or the region lies outside of it.
    """
    field = api.load(data)
    return to_pillow(render(field, make_target("image", **asked)), field.facts)


class IntfitImageFile(ImageFile.ImageFile):
    """A picture in a file of ours: its header is read when it is opened, the rest when needed."""

    format = FORMAT
    format_description = "intfit neural field"

    def _open(self) -> None:
        """Read the header.

        Raises:
            SyntaxError: if it is not one of a picture: Pillow then tries other formats.
        """
        assert self.fp is not None
        try:
            header = self._read_layout().header
        except IntfitError as error:
            raise SyntaxError(str(error)) from None
        facts = header.facts
        self.info.update(options_for("JPEG", header.metadata).items())
        self._mode = {"PA": "P"}.get(facts["mode"], facts["mode"])
        self._size = facts["width"], facts["height"]
        self._undecoded = True

    def _read_layout(self) -> Layout:
        fp = self.fp
        assert fp is not None
        fp.seek(0, 2)
        size = fp.tell()
        fp.seek(0)
        head = fp.read(8)
        head += fp.read(min(int.from_bytes(head, "little"), container.MAX_HEADER))
        layout = container.parse(head, size)
        if layout.header.medium != "image":
            raise IntfitError(f"it holds {layout.header.medium}")
        read_config(layout.header)
        return layout

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Have the picture decoded no smaller than ``size``; its mode stays as it is.

        Gives the mode, and the box of the whole picture in what will be decoded.
        """
        if size is None or not self._undecoded:
            return None
        width, height = self.size
        scale = max(size[0] / width, size[1] / height)
        if not 0 < scale < 1:
            return None
        self._size = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
        return self.mode, (0, 0, *self._size)

    def load(self) -> Any:
        """Decode the picture, once.

        Raises:
            OSError: if the file is damaged.
        """
        if self._undecoded and self.fp is not None:
            self.fp.seek(0)
            try:
                image = read_picture(self.fp.read(), size=self.size)
            except IntfitError as error:
                raise OSError(str(error)) from None
            self.im, self._mode = image.im, image.mode
            self.palette = image.palette
            self.info |= image.info
            self._undecoded = False
            if getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return Image.Image.load(self)


Image.register_open(FORMAT, IntfitImageFile, accepts)
Image.register_extension(FORMAT, container.SUFFIX)
