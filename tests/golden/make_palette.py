"""Made palette.safetensors, of a drawn picture with transparency, once. It never changes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import png
from PIL import Image
from test_drawings import window

from intfit import api
from intfit.settings import Settings

HERE = Path(__file__).parent
picture = window().crop((0, 10, 150, 90)).convert("RGBA")
picture.paste((20, 30, 40, 90), (100, 50, 130, 70))
assert isinstance(picture, Image.Image)
path = HERE / "palette.safetensors"
if not path.exists():
    path.write_bytes(api.encode(png(picture), Settings(field="palette")).data)
