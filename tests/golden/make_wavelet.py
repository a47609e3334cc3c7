"""Made the golden files of pictures, once: without and with a post-filter, and with version 4.

They never change.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import digests, png
from test_postfilter import drawing
from test_wavelet import scene

from intfit import api
from intfit.settings import Settings

HERE = Path(__file__).parent
PLAIN = Settings(field="latent", effort=2, device="cpu")
FILTERED = Settings(field="latent", effort=3, quality=40, device="cpu")

for name, picture, settings in (
    ("latent", scene(67, 45), PLAIN),
    ("correction", drawing(), FILTERED),
    ("contexts", scene(93, 71), PLAIN),
):
    if (HERE / f"{name}.safetensors").exists():
        continue
    encoded = api.encode(png(picture), settings).data
    (HERE / f"{name}.safetensors").write_bytes(encoded)
    known = digests(HERE / f"{name}.safetensors")
    (HERE / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")
