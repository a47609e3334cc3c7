"""Write samples.npz, what golden files decode to: a new file's samples are added to the others."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from test_golden import CASES, REFERENCES, decoded

known = dict(np.load(REFERENCES)) if REFERENCES.exists() else {}
for name, how in CASES:
    known.setdefault(f"{name}.{how}", decoded(name, how))
np.savez_compressed(REFERENCES, **known)
