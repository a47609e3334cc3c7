"""Made envelope, colours and bands.safetensors, of format version 4, once.

They never change.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_colours import painted_ball
from test_mdct import encoded, notes

from intfit import api
from intfit.settings import Settings

HERE = Path(__file__).parent
TINY = Settings(width=12, depth=2, steps=200, device="cpu")

for name, data in (
    ("envelope", encoded(notes(0.9, 2), quality=30).data),
    ("bands", encoded(notes(0.9, 2), quality=30).data),
    ("colours", api.encode(painted_ball(".ply"), TINY).data),
):
    path = HERE / f"{name}.safetensors"
    if not path.exists():
        path.write_bytes(data)
