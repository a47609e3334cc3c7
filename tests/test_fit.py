"""intfit fit: SIRENs as named float32 tensors, alone and as a data set of networks."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import soundfile
from conftest import photo, tone
from PIL import Image

from intfit.cli.encode import ENCODED_KEYS, encode
from intfit.cli.fit import NOT_OFFERED, fit, signature_without

SMALL = ("--width", "8", "--depth", "2", "--steps", "5", "--device", "cpu")


def test_fit_is_encode_of_a_siren_in_the_open_profile(intfit, picture):
    assert intfit("fit", picture, *SMALL, "-o", "fitted").code == 0
    options = ("--field", "siren", "--profile", "open", "-o", "encoded")
    assert intfit("encode", picture, *SMALL, *options).code == 0
    assert Path("fitted").read_bytes() == Path("encoded").read_bytes()
    weights = safetensors.numpy.load_file("fitted")
    assert weights["layers.0.weight"].shape == (8, 2)
    assert {values.dtype for values in weights.values()} == {np.dtype(np.float32)}


def test_fit_reports_and_names_its_outputs_as_encode_does(intfit, picture, recording):
    run = intfit("fit", picture, recording, *SMALL, "--output-dir", "w", "--json")
    assert run.code == 0
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert [tuple(line) for line in lines] == [ENCODED_KEYS] * 2
    assert [line["output"] for line in lines] == [
        "w/photo.png.safetensors",
        "w/chord.wav.safetensors",
    ]
    assert all(line["network"] == "SIREN 8 x 2, 5 steps" for line in lines)
    assert intfit("decode", lines[0]["output"], "-o", "again.png").code == 0


def test_fit_has_the_options_of_encode_but_those_it_decides(intfit, picture):
    offered = set(inspect.signature(fit).parameters)
    assert offered == set(inspect.signature(encode).parameters) - NOT_OFFERED
    with pytest.raises(AssertionError):
        signature_without(encode, {"no_such_option"})
    assert intfit("fit", picture, "--target-size", "9kB").code == 2
    refused = intfit("fit", picture, "--teacher", "full", "--batch", "9")
    assert refused.code == 2
    assert "--batch is not for --teacher full" in refused.err


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_networks_of_one_seed_and_architecture_begin_with_the_same_weights(intfit, kind):
    """A data set of networks, as learning on weights needs it, of media of different sizes."""
    if kind == "image":
        names = ["a.png", "b.png"]
        photo(40, 24).save("a.png")
        photo(30, 30).rotate(90).save("b.png")
    else:
        names = ["a.wav", "b.wav"]
        soundfile.write("a.wav", tone(0.25), 8000)
        soundfile.write("b.wav", tone(0.4)[::-1], 8000)
    frequency = "--omega-first", "30"
    still = ("--lr", "1e-8", "--steps", "1")  # what is written is what it began with
    options = ("--width", "8", "--depth", "3", *frequency, *still, "--device", "cpu", "--quiet")
    assert intfit("fit", *names, *options, "--output-dir", "w").code == 0
    assert intfit("fit", names[0], *options, "--seed", "1", "-o", "other").code == 0
    first, second = (safetensors.numpy.load_file(f"w/{name}.safetensors") for name in names)
    other = safetensors.numpy.load_file("other")
    assert list(first) == list(second)
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], atol=1e-7)
    assert np.abs(first["layers.1.weight"] - other["layers.1.weight"]).max() > 0.01


def test_the_first_layer_of_a_picture_begins_with_the_frequencies_of_its_spectrum(intfit):
    """Fine stripes are fitted in fewer steps than from uniform weights, and the weights say why."""
    columns = np.sin(np.arange(96) * (2 * np.pi * 20 / 96))
    stripes = np.uint8(127 + 90 * np.tile(columns, (64, 1)))
    Image.fromarray(stripes).save("stripes.png")
    options = ("--width", "16", "--depth", "3", "--device", "cpu")
    first, reached = {}, {}
    for name, more in {"spectrum": (), "uniform": ("--omega-first", "60")}.items():
        still = ("--lr", "1e-8", "--steps", "1", "--quiet")
        assert intfit("fit", "stripes.png", *options, *still, *more, "-o", name).code == 0
        first[name] = 60 * safetensors.numpy.load_file(name)["layers.0.weight"]
        run = intfit("fit", "stripes.png", *options, "--steps", "150", *more, "-fo", name, "--json")
        reached[name] = json.loads(run.out)["distortion"]
    # 20 cycles along 2 units, halved
    np.testing.assert_allclose(np.abs(first["spectrum"][:, 1]), 10 * np.pi, rtol=0.15)
    assert np.abs(first["spectrum"][:, 0]).max() < 5 < np.abs(first["uniform"][:, 0]).max()
    assert reached["spectrum"] > reached["uniform"] + 3


def test_a_picture_of_one_colour_or_one_row_begins_somewhere_too(intfit):
    Image.new("RGB", (9, 7), (10, 200, 30)).save("plain.png")
    Image.fromarray(np.arange(0, 240, 8, dtype=np.uint8)[None]).save("row.png")
    assert intfit("fit", "plain.png", "row.png", *SMALL).code == 0


def test_the_network_is_the_same_from_a_packed_file(intfit, picture):
    """Fit rounds nothing; export of a packed file gives tensors of the same names and shapes."""
    intfit("fit", picture, *SMALL, "-o", "fitted")
    intfit("encode", picture, *SMALL, "--field", "siren", "-o", "packed")
    assert intfit("export", "packed", "-o", "exported").code == 0
    fitted, exported = (safetensors.numpy.load_file(name) for name in ("fitted", "exported"))
    assert {n: t.shape for n, t in fitted.items()} == {n: t.shape for n, t in exported.items()}
