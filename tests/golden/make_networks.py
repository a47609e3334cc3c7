"""Made envelope, colours and bands.safetensors, of format version 4, once.

Others of that version are copies of test vectors. They never change.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_colours import painted_ball
from test_mdct import encoded, notes

from intfit import api
from intfit.settings import Settings

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "docs" / "reference" / "vectors"
TINY = Settings(width=12, depth=2, steps=200, device="cpu")

for name, make in (
    ("envelope", lambda: encoded(notes(0.9, 2), quality=30)),
    ("bands", lambda: encoded(notes(0.9, 2), quality=30)),
    ("colours", lambda: api.encode(painted_ball(".ply"), TINY)),
):
    path = HERE / f"{name}.safetensors"
    if not path.exists():
        path.write_bytes(make().data)

for name, vector in (("levelset", "latent-mesh"), ("base", "latent-base"), ("trim", "siren-trim")):
    path = HERE / f"{name}.safetensors"
    if not path.exists():
        shutil.copyfile(VECTORS / f"{vector}.safetensors", path)
