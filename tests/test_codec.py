"""The packed profile: integers come back on every machine, sizes are kept, damage is noticed."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import photo, png

from intfit import api
from intfit.codecs import read_config
from intfit.coding import container, integers, weights
from intfit.coding.steps import WEIGHT_STEPS_PER_OCTAVE, step_size
from intfit.errors import FileFormatError, UsageError
from intfit.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("image", "audio", "mesh")


@pytest.mark.parametrize("spread", [0.0, 0.3, 4.0, 200.0, 1e5])
def test_integers_come_back_at_about_their_entropy(spread):
    rng = np.random.default_rng(0)
    for draws in (rng.normal(size=3000), rng.laplace(size=3000), rng.uniform(-2, 2, size=3000)):
        symbols = np.round(draws * spread).astype(np.int32)
        model, estimate = integers.fit_model(symbols)
        data = integers.encode([(symbols, model), (symbols[:7], model)])
        back = integers.decode(data, [(3000, model), (7, model)])
        np.testing.assert_array_equal(back[0], symbols)
        np.testing.assert_array_equal(back[1], symbols[:7])
        exact = integers.count_bits(symbols, model) + integers.count_bits(symbols[:7], model)
        assert 8 * len(data) <= exact + 64
        assert estimate == pytest.approx(integers.count_bits(symbols, model), rel=0.02, abs=32)


def test_any_three_bytes_are_a_model_and_survive_a_round_trip():
    for raw in (b"\0\0\0", b"\xff\xff\xff", b"\x12\x34\x56"):
        model = integers.Model.from_bytes(raw)
        assert model.to_bytes() == raw
        assert len(integers.make_table(model)) == 2 * model.reach + 1


@pytest.mark.parametrize("kind", KINDS)
def test_golden_files_decode_to_the_same_integers_for_ever(kind):
    layout, stored = container.load((GOLDEN / f"{kind}.safetensors").read_bytes())
    shapes = read_config(layout.header).shapes()
    digests = {
        name: [tensor.step, hashlib.sha256(tensor.integers.astype("<i4").tobytes()).hexdigest()]
        for name, tensor in weights.unpack(stored["payload"].data, shapes).items()
    }
    assert digests == json.loads((GOLDEN / "integers.json").read_text())[kind]


def test_steps_mean_the_same_for_ever():
    sizes = [step_size(index, WEIGHT_STEPS_PER_OCTAVE) for index in (0, 12, 120, 252, 255)]
    assert sizes == pytest.approx([1, 2**-1, 2**-10, 2**-21, 2**-21.25])


@pytest.mark.parametrize("kind", KINDS)
def test_any_payload_decodes_or_is_refused(kind):
    layout, stored = container.load((GOLDEN / f"{kind}.safetensors").read_bytes())
    original = stored["payload"].data
    rng = np.random.default_rng(0)
    for trial in range(60):
        data = bytearray(original if trial % 2 else rng.bytes(len(original)))
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        file = container.dump(
            layout.header, {"payload": container.Stored("U8", (len(data),), bytes(data))}
        )
        try:
            loaded = api.load(file, device="cpu")
            values = loaded(np.zeros((4, loaded.config.in_features)))
        except FileFormatError:
            continue
        assert values.shape == (4, loaded.config.out_features)


@pytest.mark.parametrize("kind", KINDS)
def test_golden_files_decode(intfit, kind):
    suffix, *options = {
        "image": (".png",),
        "audio": (".wav",),
        "mesh": (".ply", "--resolution", 64),
    }[kind]
    run = intfit("decode", GOLDEN / f"{kind}.safetensors", "-o", "out" + suffix, *options)
    assert run.code == 0, run.err
    assert Path("out" + suffix).stat().st_size > 500


def test_every_flipped_byte_and_every_truncation_is_noticed():
    data = (GOLDEN / "image.safetensors").read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for position in range(len(data)):
        damaged = data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :]
        try:
            loaded = api.load(damaged, device="cpu")
        except FileFormatError:
            continue
        # only the padding of the header may differ unnoticed
        assert position < header
        assert data[position : position + 1] == b" "
        assert loaded.kind == "image"
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            api.load(data[:length], device="cpu")


def test_a_small_file_that_claims_a_large_network_is_refused(tmp_path):
    layout, stored = container.load((GOLDEN / "image.safetensors").read_bytes())
    layout.header.network.update(width=8192, depth=64)
    with pytest.raises(FileFormatError, match=r"cut short|too small"):
        api.load(container.dump(layout.header, stored), device="cpu")


@pytest.mark.parametrize("size", [900, 2500, 9000])
def test_a_target_size_is_kept_and_nearly_used(intfit, picture, size):
    run = intfit(
        "encode", picture, "--target-size", f"{size / 1000}kB", "--field", "siren", "--steps", 60
    )
    assert run.code == 0, run.err
    taken = Path("photo.png.safetensors").stat().st_size
    assert taken <= size
    assert taken > 0.5 * size


@pytest.mark.parametrize("options", [(), ("--field", "siren", "--steps", 60)])
def test_a_target_size_that_cannot_be_met_names_the_smallest_that_can(intfit, picture, options):
    run = intfit("encode", picture, "--target-size", "200", *options)
    assert run.code == 2
    least = int(run.err.split("--target-size ")[1].split()[0])
    assert intfit("encode", picture, "--target-size", least, *options).code == 0
    assert Path(f"{picture}.safetensors").stat().st_size <= least


def test_rates_can_be_asked_for_in_the_unit_of_the_medium(intfit, picture, recording):
    run = intfit("encode", picture, "--target-bpp", 5, "--field", "siren", "--steps", 20)
    assert run.code == 0, run.err
    assert Path("photo.png.safetensors").stat().st_size <= 48 * 32 * 5 / 8
    assert (
        intfit("encode", recording, "--target-kbps", 60, "--field", "siren", "--steps", 20).code
        == 0
    )
    assert Path("chord.wav.safetensors").stat().st_size <= 60_000 / 8 * 0.25
    refused = intfit(
        "encode", recording, "--target-bpp", 3, "--field", "siren", "--steps", 20, "-f"
    )
    assert refused.code == 2
    assert "--target-bpp is not for" in refused.err


def test_a_higher_quality_is_bigger_and_closer(intfit, picture):
    lines = []
    for quality in (0, 50, 80):
        run = intfit(
            "encode", picture, "-q", quality, "--field", "siren", "--steps", 100, "--json", "-f"
        )
        lines.append(json.loads(run.out))
    sizes = [line["bytes_out"] for line in lines]
    assert sizes[0] <= sizes[1] < sizes[2]
    assert lines[0]["distortion"] - 1e-9 <= lines[1]["distortion"] < lines[2]["distortion"]


def test_two_ways_to_say_how_large_are_misuse(intfit, picture):
    for pair in (
        ("--field", "siren", "-q", 50, "--width", 8),
        ("--target-size", "2kB", "--target-bpp", 1),
    ):
        assert intfit("encode", picture, *pair).code == 2
    for text in ("much", "0", "-3", "20 elephants"):
        assert intfit("encode", picture, "--target-size", text).code == 2
    with pytest.raises(UsageError, match="--teacher 'fulll'"):
        api.encode(b"", Settings(teacher="fulll"))


def test_packing_costs_little_and_takes_few_bits():
    data = png(photo(96, 64))
    settings = Settings(field="siren", steps=300, width=32, depth=3, batch=512)
    fits = {
        profile: api.encode(data, replace(settings, profile=profile))
        for profile in ("open", "packed")
    }
    assert fits["packed"].distortion > fits["open"].distortion - 0.5
    assert 8 * len(fits["packed"].data) / fits["packed"].parameters < 8.5  # at 28 dB


def test_an_exported_file_holds_plain_tensors_and_decodes_alike(intfit, picture):
    assert intfit("encode", picture, "--field", "siren", "--steps", 60).code == 0
    run = intfit("export", "photo.png.safetensors", "-o", "weights.safetensors")
    assert run.code == 0, run.err
    tensors = safetensors.torch.load_file("weights.safetensors")
    assert tensors["layers.0.weight"].dtype == torch.float32
    for name in ("photo.png.safetensors", "weights.safetensors"):
        assert intfit("decode", name, "-o", f"{name}.bmp").code == 0
    one, two = (Path(f"{n}.safetensors.bmp").read_bytes() for n in ("photo.png", "weights"))
    assert one == two
    assert intfit("export", "photo.png.safetensors").code == 0
    assert Path("photo.png.open.safetensors").exists()


def test_info_breaks_a_file_down(intfit):
    golden = GOLDEN / "image.safetensors"
    line = json.loads(intfit("info", "-v", golden, "--json").out)
    assert sum(line["sizes"].values()) == pytest.approx(golden.stat().st_size, abs=8)
    assert line["sizes"]["header"] <= 256
    assert "layers.0.bias" in intfit("info", "-v", golden).out
