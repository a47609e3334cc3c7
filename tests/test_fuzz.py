"""Damaged files, past their checksum: read in every way, and never anything but a clear error."""

import importlib.util
import random
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
COUNT = 250


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The long one, which this is a short run of."""
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_damaged_file_is_read_or_refused_in_a_few_words(fuzz):
    files = [path.read_bytes() for path in sorted(ROOT.glob("tests/golden/*.safetensors"))]
    rng, outcomes = random.Random(2), Counter()
    for _ in range(COUNT):
        outcomes[fuzz.try_file(fuzz.damage(rng.choice(files), rng), rng)] += 1
    assert set(outcomes) == {"read", "refused"}
    assert min(outcomes["read"], outcomes["refused"]) > COUNT / 20  # the damage is no mere noise
