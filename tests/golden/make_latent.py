"""Made the golden file of latents, once. It must never change."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import png
from test_latent import scene

from intfit import pipeline
from intfit.codec import container, pyramid
from intfit.fields.architecture import architecture
from intfit.settings import Settings

HERE = Path(__file__).parent
encoded = pipeline.encode(png(scene(67, 45)), Settings(field="latent", device="cpu")).data
(HERE / "latent.safetensors").write_bytes(encoded)
layout, stored = container.load(encoded)
config = architecture(layout.header)
digests = {
    name: hashlib.sha256((tensor / config.size()).round().astype("<i4").tobytes()).hexdigest()
    for name, tensor in pyramid.unpack(stored["payload"].data, config).items()
    if name != "colours"
}
(HERE / "latent.json").write_text(json.dumps(digests, indent=1) + "\n")
