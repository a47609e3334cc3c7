"""Made the golden files, once. Run again only with a new format version: they must not change."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import io

import soundfile
import trimesh
from conftest import photo, png, tone

from intfit import api
from intfit.codecs import read_config
from intfit.coding import container, weights
from intfit.settings import Settings

HERE = Path(__file__).parent
sound = io.BytesIO()
soundfile.write(sound, tone(channels=2), 8000, format="WAV", subtype="PCM_16")
media = {
    "image": png(photo()),
    "audio": sound.getvalue(),
    "mesh": trimesh.creation.icosphere(subdivisions=3, radius=2.0).export(file_type="ply"),
}
digests = {}
for kind, data in media.items():
    encoded = api.encode(
        data, Settings(field="siren", steps=600, width=16, depth=3, device="cpu")
    ).data
    (HERE / f"{kind}.safetensors").write_bytes(encoded)
    layout, stored = container.load(encoded)
    tensors = weights.unpack(stored["payload"].data, read_config(layout.header).shapes())
    digests[kind] = {
        name: [tensor.step, hashlib.sha256(tensor.integers.astype("<i4").tobytes()).hexdigest()]
        for name, tensor in tensors.items()
    }
(HERE / "integers.json").write_text(json.dumps(digests, indent=1) + "\n")
