"""The commands as a person types them."""

from pathlib import Path

from PIL import Image

FAST = ("--steps", 30)


def test_encode_then_decode_gives_a_picture_of_the_same_size(intfit, picture):
    run = intfit("encode", picture, *FAST)
    assert run.code == 0, run.err
    assert Path("photo.png.safetensors").exists()
    assert intfit("decode", "photo.png.safetensors").code == 0
    with Image.open("photo.decoded.png") as decoded:
        assert decoded.size == (48, 32)
