"""A plug-in of imageio: after ``import intfit.imageio``, ``imread`` reads files of pictures.

``imread("photo.png.safetensors", scale=0.5)``: ``scale``, ``size`` and ``region`` are those of
:func:`intfit.decode`. Bytes are taken to other plug-ins first: ``plugin="intfit"`` names this one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from imageio.config import FileExtension, PluginConfig, extension_list, known_extensions
from imageio.config import known_plugins as plugins
from imageio.core.request import InitializationError, IOMode, Request
from imageio.core.v3_plugin_api import ImageProperties, PluginV3
from numpy.typing import NDArray

from .coding.container import SUFFIX
from .errors import IntfitError
from .inspection import info
from .pillow import accepts, read_picture

NAME = "intfit"


class IntfitPlugin(PluginV3):
    """A file of a picture; nothing is written.

    Raises:
        InitializationError: if it is none: imageio then tries other plug-ins.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        if request.mode.io_mode == IOMode.write:
            raise InitializationError("intfit encodes by 'intfit encode' and intfit.encode alone")
        self._data: bytes = request.get_file().read()
        try:
            found = info(self._data) if accepts(self._data[:16]) else {}
        except IntfitError as error:
            raise InitializationError(str(error)) from None
        if found.get("kind") != "image":
            raise InitializationError("not an intfit file of a picture")
        self._facts: dict[str, Any] = found["facts"]

    def read(self, *, index: Any = 0, **asked: Any) -> NDArray[Any]:
        """Pixels ``[H, W]`` or ``[H, W, C]``; the colours of a palette are looked up.

        Raises:
            ValueError: if ``index`` is not that of the only picture.
            OSError: if the file is damaged, or what is asked for lies outside the picture.
        """
        if index not in (0, -1, None, ...):
            raise ValueError(f"there is one picture, and none of index {index!r}")
        try:
            image = read_picture(self._data, **asked)
        except IntfitError as error:
            raise OSError(str(error)) from None
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        return np.asarray(image.convert("L") if image.mode == "1" else image)

    def iter(self, **asked: Any) -> Iterator[NDArray[Any]]:
        """The only picture."""
        yield self.read(**asked)

    def write(self, ndimage: Any, **options: Any) -> None:
        """Nothing can be written."""
        raise NotImplementedError("intfit encodes by 'intfit encode' and intfit.encode alone")

    def properties(self, index: Any = 0) -> ImageProperties:
        """Shape and type of the pixels."""
        pixels = self.read(index=index)
        return ImageProperties(shape=pixels.shape, dtype=pixels.dtype)

    def metadata(self, index: Any = 0, exclude_applied: bool = True) -> dict[str, Any]:
        """The facts that the file's header keeps of the picture."""
        return dict(self._facts)


if NAME not in plugins:
    plugins[NAME] = PluginConfig(name=NAME, class_name="IntfitPlugin", module_name=__name__)
    entry = FileExtension(extension=SUFFIX, priority=[NAME], name="intfit neural field")
    extension_list.append(entry)
    known_extensions.setdefault(SUFFIX, []).insert(0, entry)
