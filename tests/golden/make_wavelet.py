"""Made the golden files of pictures, once: without and with networks, of versions 2 to 4.

They never change.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import digests, png
from PIL import Image
from test_postfilter import drawing
from test_wavelet import scene

from intfit import api
from intfit.settings import Settings

HERE = Path(__file__).parent
PHOTO = HERE.parents[1] / "samples" / "photo.png"
PLAIN = Settings(field="latent", effort=2, device="cpu", tune="psnr")
FILTERED = Settings(field="latent", effort=3, quality=40, device="cpu", tune="psnr")
DECODED = Settings(field="latent", effort=2, quality=45, device="cpu", tune="psnr")
SEEN = Settings(field="latent", effort=2, quality=45, device="cpu", tune="visual")
VISUAL = Settings(field="latent", effort=3, quality=30, device="cpu", tune="visual")

for name, picture, settings in (
    ("latent", scene(67, 45), PLAIN),
    ("correction", drawing(), FILTERED),
    ("decoder", Image.open(PHOTO).convert("RGB").crop((51, 20, 384, 255)), DECODED),
    ("contexts", scene(93, 71), PLAIN),
    ("modulated", Image.open(PHOTO).convert("RGB").crop((60, 30, 283, 195)), DECODED),
    ("trellis", Image.open(PHOTO).convert("RGB").crop((60, 30, 283, 195)), DECODED),
    ("trellis-visual", Image.open(PHOTO).convert("RGB").crop((60, 30, 283, 195)), SEEN),
    ("visual", Image.open(PHOTO).convert("RGB").crop((70, 40, 213, 151)), VISUAL),
):
    if (HERE / f"{name}.safetensors").exists():
        continue
    encoded = api.encode(png(picture), settings).data
    (HERE / f"{name}.safetensors").write_bytes(encoded)
    known = digests(HERE / f"{name}.safetensors")
    (HERE / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")
