"""Made bank.safetensors and bank.json, of a recording, once. They never change."""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from test_mdct import encoded, notes

from intfit.codecs import read_config
from intfit.codecs.mdct import payload
from intfit.coding import container

HERE = Path(__file__).parent
data = encoded(notes(0.9, 2), quality=45).data
(HERE / "bank.safetensors").write_bytes(data)
layout, stored = container.load(data)
config = read_config(layout.header)
tensors = payload.unpack(stored["payload"].data, config)
steps = tensors["latents"] / config.step_size
whole = np.where(np.abs(steps) > 0.5, np.rint(steps), 0).astype("<i4")
blocks = tensors["blocks"].astype("<i4")
known = {
    name: hashlib.sha256(array.tobytes()).hexdigest()
    for name, array in (("blocks", blocks), ("latents", whole))
}
(HERE / "bank.json").write_text(json.dumps(known, indent=1) + "\n")
