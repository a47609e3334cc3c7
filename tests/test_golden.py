"""Golden files decode to the samples that they did when they were made, to within rounding.

The integers in them are pinned elsewhere. These references catch a change in what follows:
synthesis, interpolation, post-filters, noise filling, the evaluation of a SIREN.
"""

from pathlib import Path

import numpy as np
import pytest

from intfit import api, metrics

GOLDEN = Path(__file__).parent / "golden"
REFERENCES = GOLDEN / "samples.npz"
#: Every golden file, how it is decoded, and options of the medium's target. Rendered samples of a
#: picture are uint8, of a recording float; of a surface, values of the field or of its trim.
DECODINGS = {
    "image": {"native": {}, "scale2": {"scale": 2}, "half": {"scale": 0.5}},
    "latent": {"native": {}, "scale2": {"scale": 2}, "half": {"scale": 0.5}},
    "contexts": {"native": {}},
    "visual": {"native": {"region": (20, 20, 80, 60)}},
    "envelope": {"native": {"duration": 0.5}, "11025": {"sample_rate": 11025, "duration": 0.15}},
    "bands": {"native": {"duration": 0.5}, "11025": {"sample_rate": 11025, "duration": 0.15}},
    "colours": {"values": {}},
    "correction": {
        "native": {"region": (0, 0, 80, 80)},
        "scale2": {"scale": 2, "region": (160, 110, 40, 40)},
        "half": {"scale": 0.5, "region": (0, 70, 80, 80)},
    },
    "decoder": {
        "native": {"region": (253, 175, 80, 60)},
        "scale2": {"scale": 2, "region": (10, 110, 60, 40)},
        "half": {"scale": 0.5, "region": (0, 0, 60, 60)},
    },
    "modulated": {"native": {"region": (150, 105, 73, 60)}},
    "two-scales": {"native": {"region": (40, 60, 73, 60)}},
    "trellis": {"native": {"region": (40, 60, 73, 60)}},
    "palette": {"native": {}, "scale2": {"scale": 2, "region": (10, 12, 60, 60)}},
    "trellis-visual": {"native": {"region": (40, 60, 73, 60)}},
    "audio": {"native": {}, "11025": {"sample_rate": 11025, "duration": 0.1}},
    "bank": {
        "native": {"duration": 0.5},
        "11025": {"sample_rate": 11025, "start": 0.75, "duration": 0.15},
        "4000": {"sample_rate": 4000, "start": 0.4, "duration": 0.2},
    },
    "waveform": {"native": {"duration": 0.5}, "11025": {"sample_rate": 11025, "duration": 0.15}},
    "mesh": {"values": {}},
    "levelset": {"values": {}},
    "base": {"values": {}, "trim": {}},
    "trim": {"values": {}, "trim": {}},
}
#: In dB, of samples as decoded now against those stored. Machines differ by rounding alone.
LEAST_PSNR = 70
CASES = [(name, how) for name, ways in DECODINGS.items() for how in ways]


def decoded(name: str, how: str) -> np.ndarray:
    """The samples of a golden file: uint8 of a picture, float16 of anything else."""
    field = api.load((GOLDEN / f"{name}.safetensors").read_bytes(), device="cpu")
    if field.kind == "mesh":
        axis = np.linspace(-1, 1, 16, dtype=np.float32)
        coords = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
        part = field.part("trim") if how == "trim" else field
        return part(coords.reshape(-1, 3)).astype(np.float16)
    target = api.medium(field.kind).Target(**DECODINGS[name][how])
    samples = api.render(field, target)
    return samples if samples.dtype == np.uint8 else samples.astype(np.float16)


def test_every_golden_file_is_pinned():
    assert {path.stem for path in GOLDEN.glob("*.safetensors")} == set(DECODINGS)
    assert set(np.load(REFERENCES)) == {f"{name}.{how}" for name, how in CASES}


@pytest.mark.parametrize(("name", "how"), CASES)
def test_golden_files_decode_to_the_samples_that_are_stored(name, how):
    reference, samples = np.load(REFERENCES)[f"{name}.{how}"], decoded(name, how)
    assert (samples.dtype, samples.shape) == (reference.dtype, reference.shape)
    peak = 255.0 if reference.dtype == np.uint8 else float(np.abs(reference).max())
    assert metrics.psnr(reference, samples, peak=peak) > LEAST_PSNR
