"""The decoder network: the shared convolutional network behind the transform."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intfit import api
from intfit.codecs.latent_steps import RD_LAMBDA
from intfit.codecs.wavelet import codec, decoder_network, payload, smoothing, transform
from intfit.codecs.wavelet.config import WaveletConfig, read_config
from intfit.codecs.wavelet.encoding import encoder
from intfit.codecs.wavelet.postfilter import Features, shared_parameters
from intfit.coding import container
from intfit.errors import FileFormatError
from intfit.networks.decoder import DecoderNetwork
from intfit.settings import Settings

PHOTO = Path(__file__).parents[1] / "samples" / "photo.png"


def picture_of_latents(
    height: int, width: int, version: int
) -> tuple[dict[str, np.ndarray], WaveletConfig]:
    """Smooth latents of a picture, with the shared networks, modulated by any numbers."""
    config = WaveletConfig(3, height, width, 40, common=version)
    y, x = np.mgrid[0:height, 0:width] / 9
    values = np.sin(y[..., None] * [1, 1.5, 2] + x[..., None]).astype(np.float32)
    exact = transform.analyse(values, config, transform.principal_colours(values))
    drawn = np.random.default_rng(0)
    for name, shape in config.modulation_shapes().items():
        exact[name] = drawn.normal(scale=0.1, size=shape).astype(np.float32)
    return exact | shared_parameters(config), config


def test_numpy_evaluates_the_network_that_torch_trains():
    torch.manual_seed(0)
    tensors, config = picture_of_latents(84, 92, 4)
    sizes = {"width": 48, "layers": 2, "coarse_layers": 3, "handed": 24}
    network = DecoderNetwork(25, 34, 68, 12, **sizes)
    torch.nn.init.normal_(network.last.weight)
    drawn = {f"common.{name}": p.detach().numpy() for name, p in network.named_parameters()}
    picture = Features(tensors, config).picture
    inputs = decoder_network.Inputs(tensors, config, picture, picture)
    [(_, activations)] = decoder_network.compute_activations(inputs, tensors | drawn)
    arrays = inputs.at(0, 42), inputs.coarse_at(0, 21), inputs.smoothed(0, 42)
    framed = [
        np.pad(array, ((0, 0), (frame, frame), (frame, frame)), mode="edge")[None]
        for array, frame in zip(arrays, (2, 4, 0), strict=True)
    ]
    seen = network.see(*map(torch.from_numpy, framed))[0].movedim(-1, 0)
    np.testing.assert_allclose(activations[:-1], seen.detach(), atol=1e-4)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("size", [(101, 75), (64, 90)])
def test_a_picture_is_the_same_in_however_many_parts_it_is_corrected(size, version, monkeypatch):
    tensors, config = picture_of_latents(*size, version)
    whole = decoder_network.correct_picture(tensors, config, Features(tensors, config))
    monkeypatch.setattr(decoder_network, "KEPT", 300)
    monkeypatch.setattr(decoder_network, "GATHERED", 100)
    parts = decoder_network.correct_picture(tensors, config, Features(tensors, config))
    assert np.abs(parts - Features(tensors, config).picture).max() > 1e-3
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_filters_sharpen_colours_by_brightness_and_take_noise_away_from_both_sides_of_an_edge():
    clean = np.zeros((40, 48, 3), np.float32)
    clean[:, 20:] = 6
    blurred = clean.copy()
    blurred[:, 18:22, 1:] = np.array([1, 2, 4, 5])[:, None]
    sharpened = blurred[..., 1] + smoothing.smooth(blurred)[..., 4]
    before = np.square(blurred[..., 1] - clean[..., 1]).mean()
    assert np.square(sharpened - clean[..., 1]).mean() < 0.4 * before
    noise = np.random.default_rng(1).normal(scale=0.3, size=clean.shape)
    noisy = (clean + noise).astype(np.float32)
    left = np.square(noisy[..., 0] + smoothing.smooth(noisy)[..., -6] - clean[..., 0])
    assert left.mean() < 0.3 * np.square(noise).mean()
    assert left[:, 18:22].mean() < 0.5 * np.square(noise).mean()


def test_a_file_modulates_the_decoder_network_in_few_bytes():
    settings = Settings(field="latent", effort=1, quality=30, device="cpu", tune="psnr")
    encoded = api.encode(PHOTO.read_bytes(), settings)
    layout, stored = container.load(encoded.data)
    config = read_config(layout.header)
    assert config.is_modulated()
    sizes = payload.parts(stored["payload"].data, config)
    assert 4 < sizes["modulation"] < 60
    tensors = codec.unpack(stored, config)
    errors = []
    for factor in (0, 1):
        changed = tensors | {"modulation": factor * tensors["modulation"]}
        picture = decoder_network.reconstruct(changed, config)
        original = np.asarray(Image.open(PHOTO).convert("RGB")) / np.float32(127.5) - 1
        errors.append(np.square(picture - original).mean())
    assert errors[1] < 0.995 * errors[0]


def test_latents_are_refined_to_a_better_file(monkeypatch):
    settings = Settings(field="latent", effort=2, quality=30, device="cpu", tune="psnr")
    costs = []
    for count in (0, 2):
        monkeypatch.setitem(encoder.TRELLIS_ROUNDS, 2, count)
        encoded = api.encode(PHOTO.read_bytes(), settings)
        squared_error = 384 * 256 * 3 * 4 * 10 ** (-encoded.distortion / 10)
        costs.append(squared_error / 0.295**2 + RD_LAMBDA * 8 * len(encoded.data))
    assert costs[1] < 0.995 * costs[0]


def test_a_header_that_changes_a_network_that_is_not_there_is_refused():
    for entries in ({"common": 1, "adapted": True}, {"adapted": True}, {"common": 2, "adapted": 1}):
        with pytest.raises(FileFormatError):
            WaveletConfig(3, 64, 64, 40, **entries)
