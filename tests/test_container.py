"""The file: what any safetensors reader sees, and what ours refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from intfit.coding import container
from intfit.coding.header import VERSION, Header
from intfit.coding.tensors import read_open, store_open
from intfit.errors import FileFormatError

HEADER = Header(
    medium="image",
    facts={"width": 768, "height": 512, "mode": "RGB"},
    field="siren",
    network={"width": 64, "depth": 6, "omega_first": 60.0, "omega": 30.0},
    fit={"distortion": 32.1234, "steps": 12345, "teacher": "int-proportional", "seed": 0},
)


def some_file() -> bytes:
    parameters = {
        "layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "layers.0.bias": np.ones(2, np.float32),
    }
    return container.dump(HEADER, store_open(parameters))


def test_any_safetensors_reader_can_use_the_tensors():
    tensors = safetensors.torch.load(some_file())
    assert torch.equal(tensors["layers.0.weight"], torch.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_parameters_come_back_as_they_were_rounded(precision):
    parameters = {"w": torch.randn(5, 4, generator=torch.Generator().manual_seed(0))}
    stored = store_open({name: tensor.numpy() for name, tensor in parameters.items()}, precision)
    _, loaded = container.load(container.dump(HEADER, stored))
    restored = read_open(loaded, {"w": (5, 4)})["w"]
    rounded = parameters["w"].to(getattr(torch, precision)).float()
    np.testing.assert_array_equal(restored, rounded.numpy())


def test_equal_contents_give_equal_bytes_whatever_their_order():
    shuffled = replace(HEADER, facts=dict(reversed(HEADER.facts.items())))
    assert container.dump(HEADER, {}) == container.dump(shuffled, {})


def test_a_header_comes_back_whole_and_takes_at_most_256_bytes():
    data = container.dump(HEADER, {"payload": container.Stored("U8", (12345,), bytes(12345))})
    layout, _ = container.load(data)
    assert layout.header == HEADER
    assert layout.packed
    assert len(data) - 12345 <= 256


def test_every_truncation_is_refused():
    data = some_file()
    for length in range(len(data)):
        with pytest.raises(FileFormatError):
            container.load(data[:length])


def test_no_flipped_byte_crashes_the_reader():
    data = some_file()
    for position in range(len(data)):
        damaged = data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
        try:
            layout, tensors = container.load(damaged)
        except FileFormatError:
            continue
        assert sum(len(tensor.data) for tensor in tensors.values()) <= len(data)
        json.dumps(layout.header.facts)


@pytest.mark.parametrize("place", ["tensor", "metadata"])
def test_a_name_that_is_no_text_is_refused(place):
    """Half of a surrogate pair, which JSON can escape, cannot be printed or written anywhere."""
    header = replace(HEADER, metadata={"xmp": "?"}) if place == "metadata" else HEADER
    data = container.dump(header, {"l?": container.Stored("U8", (1,), b"a")})
    wrong = data.replace(b"?", rb"\\ud800" if place == "metadata" else rb"\ud800")
    length = int.from_bytes(wrong[:8], "little") + len(wrong) - len(data)
    with pytest.raises(FileFormatError, match="JSON"):
        container.load(length.to_bytes(8, "little") + wrong[8:])


def test_the_checksum_covers_where_tensors_lie_and_what_they_are():
    """Two tensors of one size that change places, or a type for another of its size."""
    data = container.dump(
        HEADER, {name: container.Stored("F16", (2,), bytes([i] * 4)) for i, name in enumerate("ab")}
    )
    swapped = (
        data.replace(b"[0,4]", b"[_,4]").replace(b"[4,8]", b"[0,4]").replace(b"[_,4]", b"[4,8]")
    )
    for damaged in (swapped, data.replace(b'"F16"', b'"BF16"').replace(b"  ", b"", 1)):
        assert damaged != data
        with pytest.raises(FileFormatError, match=r"checksum|damaged"):
            container.load(damaged)
    container.load(data)


def test_files_of_version_2_still_read():
    old = (Path(__file__).parent / "golden" / "image.safetensors").read_bytes()
    layout, stored = container.load(old)
    assert layout.version == 2
    again, restored = container.load(container.dump(layout.header, stored))
    assert (again.version, again.header, restored) == (VERSION, layout.header, stored)
