"""Recordings tuned for hearing: an envelope, levels of bands, and noise at these levels."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_mdct import RATE, notes, rendered, wav

from intfit import api
from intfit.codecs import read_config
from intfit.codecs.mdct import blocks, transform
from intfit.codecs.mdct.config import SHORTEST, MdctConfig
from intfit.codecs.mdct.hearing import bands, envelope, levels, payload, shaping
from intfit.codecs.protocol import Hooks
from intfit.coding import container, weights
from intfit.coding.magnitudes import Decoder, Encoder
from intfit.errors import FileFormatError, UsageError
from intfit.networks.siren import Siren, set_parameters
from intfit.settings import Settings
from intfit.training.quantisation import Steps, dequantise, quantise

CONFIG = MdctConfig(channels=2, frames=40_000, step=0, rate=RATE, neurons=7)


def encoded(samples: np.ndarray, **settings) -> bytes:
    return api.encode(wav(samples), Settings(device="cpu", **settings)).data


def bursts() -> np.ndarray:
    """Hiss for a quarter of a second in every half ``[N, 1]``, and a tone throughout."""
    t = np.arange(3 * RATE) / RATE
    hiss = np.random.default_rng(0).normal(0, 0.05, len(t)) * (t % 0.5 < 0.25)
    return (0.4 * np.sin(2 * np.pi * 300 * t) + hiss).astype(np.float32)[:, None]


def test_whole_numbers_give_the_envelope_of_the_network():
    network_config = CONFIG.envelope_network()
    network = Siren(network_config, generator=torch.Generator().manual_seed(3))
    parameters = dict(network.named_parameters())
    steps = Steps({name: 84 + 5 * i for i, name in enumerate(parameters)})
    quantised = quantise(parameters, steps)
    set_parameters(network, dequantise(quantised, steps))
    coordinates = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (500, 2))
    with torch.no_grad():
        values = network(torch.from_numpy(coordinates / (1 << 14)).float()).numpy()
    exact = envelope.evaluate_exactly(quantised, network_config, coordinates)
    octaves = exact / envelope.SIXTEENTHS
    assert octaves.std() > 0.1
    # a sixteenth of an octave is lost by rounding down, a little more by the table of sines
    expected = envelope.OCTAVES * values + envelope.MIDDLE
    assert np.abs(octaves - expected).max() < 0.12


@pytest.mark.parametrize("rate", [1, 8000, 44_100, 192_000, 1 << 24])
def test_bands_fill_every_block_at_any_rate(rate):
    for size, count in bands.BAND_COUNTS.items():
        edges = bands.band_edges(size, rate)
        assert len(edges) == count + 1
        assert edges[0] == 0
        assert edges[-1] == size
        assert (np.diff(edges) > 0).all()


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([256, 512, 8192]), min_size=1, max_size=9),
    st.integers(1, 3),
    st.sampled_from([0.3, 3, 30]),
)
def test_differences_come_back_near_those_wanted(sizes, channels, spread):
    rng = np.random.default_rng(len(sizes))
    shapes = [(bands.BAND_COUNTS[size], channels) for size in sizes]
    predicted = [rng.integers(-240, 65, shape) for shape in shapes]
    wanted = [rng.normal(0, spread, shape).clip(-16, 16) for shape in shapes]
    tolerances = [np.full(want.shape, 0.7) for want in wanted]
    encoder = Encoder()
    coded = levels.code_differences(encoder, sizes, predicted, wanted, tolerances)
    for want, got in zip(wanted, coded, strict=True):
        assert np.abs(want - got).max() <= 1.4
    back = levels.code_differences(Decoder(encoder.finish()), sizes, predicted)
    for one, other in zip(coded, back, strict=True):
        np.testing.assert_array_equal(one, other)


def test_stages_are_named_and_move(monkeypatch):
    monkeypatch.setattr(blocks, "STRETCH", 1 << 14)
    monkeypatch.setattr(transform, "STRETCH", 1 << 14)
    names: list[str] = []
    told: list[tuple[str, float]] = []
    hooks = Hooks(stage=names.append, share=lambda share: told.append((names[-1], share)))
    api.encode(wav(notes(9, 1)), Settings(device="cpu", steps=20), hooks=hooks)
    assert list(dict.fromkeys(names)) == [
        "fitting",
        "choosing blocks",
        "coding levels",
        "coding latents",
        "measuring",
    ]
    for stage in ("choosing blocks", "coding latents"):
        shares = [share for name, share in told if name == stage]
        assert shares == sorted(shares)
        assert 0 < shares[-1] < 1


def test_noise_follows_bursts_and_leaves_pauses_quiet():
    sound = bursts()
    data = encoded(sound, quality=20)
    back = rendered(data)
    assert len(data) < 6000
    window = np.hanning(RATE // 8)
    high = np.fft.rfftfreq(RATE // 8, 1 / RATE) > 1000
    for start in range(RATE // 2, 5 * RATE // 2, RATE // 2):
        loud, quiet = (
            [
                np.square(
                    np.abs(np.fft.rfft(window * s[first : first + RATE // 8, 0]))[high]
                ).mean()
                for s in (sound, back)
            ]
            for first in (start + RATE // 16, start + 5 * RATE // 16)
        )
        assert 0.3 < loud[1] / loud[0] < 1.6
        assert quiet[1] < 0.02 * loud[1]


def filled(octaves: list[int], table: int | None) -> tuple[np.ndarray, list[int]]:
    """Noise alone ``[N, 1]``, in blocks of these levels in all bands; and the blocks' sizes."""
    sizes = [1024] * len(octaves)
    levels = [np.full((bands.BAND_COUNTS[1024], 1), 16 * each) for each in octaves]
    shape = shaping.Shape(sizes, levels, RATE, 0, payload.SLOPE, payload.TILT, table)
    filling = shaping.NoiseFilling(shape, bytes([255] * shaping.SHARES), 1.0)
    zeros = np.zeros((1024, 1), np.int32)
    return np.concatenate([filling.fill(i, zeros) for i in range(len(sizes))]), sizes


@pytest.mark.parametrize(("table", "least", "most"), [(None, 0.5, 2.0), (1, 2.5, 6.0)])
def test_noise_rises_within_blocks_whose_level_rises(table, least, most):
    latents, sizes = filled([-8, -6, -4], table)
    latents[:1024], latents[2048:] = 0, 0  # the middle block alone
    heard = np.square(transform.synthesise(latents, sizes)[1024:2048, 0])
    assert least < heard[512:].mean() / heard[:512].mean() < most


def test_there_is_next_to_no_noise_below_300_hertz():
    latents, _ = filled([-6, -6, -6], 1)
    places = (np.arange(1024) + 0.5) * RATE / 2048
    power = np.square(latents[1024:2048, 0])
    low, above = power[places < 300].mean(), power[(places > 300) & (places < 1000)].mean()
    assert 0.05 < low / above < 0.15


def test_a_table_of_steps_that_is_not_known_is_refused():
    with pytest.raises(FileFormatError, match="does not know"):
        replace(CONFIG, bands=2)


def test_the_default_file_holds_a_network_and_says_so(intfit):
    Path("in.wav").write_bytes(wav(notes()))
    run = intfit("encode", "in.wav", "--steps", 50, "--json")
    assert json.loads(run.out)["steps"] == 50
    assert "SIREN 8 x 3" in json.loads(run.out)["network"]
    _, stored = container.load(Path("in.wav.safetensors").read_bytes())
    assert list(stored) == ["payload"]
    plain = intfit("encode", "in.wav", "--tune", "snr", "--json", "-f")
    assert json.loads(plain.out)["network"] == "latents"
    assert json.loads(plain.out)["steps"] == 0


def test_tuned_for_snr_it_has_more_of_it():
    wave = notes(2)
    by_ear, by_error = (
        api.encode(wav(wave), Settings(tune=tune, target_size=2500, device="cpu")).distortion
        for tune in ("hearing", "snr")
    )
    assert by_error > by_ear + 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tune": "hearing", "field": "siren"},
            "--tune hearing is not for audio, --field siren",
        ),
        ({"width": 65}, "--width 65 is above 64"),
        ({"depth": 2}, "--depth is for --field siren"),
        ({"tune": "snr", "steps": 20}, "--steps is for --field siren"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        encoded(notes(0.4), **settings)


def test_silence_and_the_shortest_recordings_come_back():
    for samples in (np.zeros((3000, 2), np.float32), np.full((1, 1), 0.5, np.float32)):
        back = rendered(encoded(samples, tune="hearing", steps=20))
        assert back.shape == samples.shape
        assert np.abs(back - samples).max() < 0.3


def test_damage_past_the_checksum_is_noticed_or_decodes_to_the_declared_size():
    layout, stored = container.load(encoded(notes(0.5), steps=20))
    config, data = read_config(layout.header), stored["payload"].data
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        try:
            found = payload.unpack(bytes(damaged), config)
        except FileFormatError:
            continue
        assert found["latents"].shape == config.shapes()["latents"]


def test_a_long_recording_has_a_network_for_each_piece():
    config = replace(CONFIG, frames=60 * RATE)
    ranges = list(envelope.pieces(config.padded_frames(), RATE))
    assert len(ranges) == 5
    network = config.envelope_network()
    steps = Steps(dict.fromkeys(network.shapes(), 80))
    packed = []
    for seed in range(5):
        siren = Siren(network, generator=torch.Generator().manual_seed(seed))
        packed.append(weights.pack(quantise(dict(siren.named_parameters()), steps)))
    networks = payload.join_networks(packed, config)
    assert payload.read_networks(networks.data + b"more", config).data == networks.data
    sizes = [SHORTEST] * (config.padded_frames() // SHORTEST)
    predicted = envelope.predict_levels(networks.parameters, network, sizes, RATE)
    assert len(predicted) == len(sizes)
    assert predicted[0].shape == (bands.BAND_COUNTS[SHORTEST], 2)


def test_the_vector_decodes_to_the_same_integers_and_samples():
    folder = Path(__file__).parents[1] / "docs" / "reference" / "vectors"
    told = json.loads((folder / "latent-envelope.json").read_text())
    data = (folder / "latent-envelope.safetensors").read_bytes()
    layout, stored = container.load(data)
    found = payload.read(stored["payload"].data, read_config(layout.header))
    for name, integers in (
        ("latents", np.concatenate(list(found.latents))),
        ("levels", np.concatenate(found.shape.levels)),
    ):
        digest = hashlib.sha256(integers.astype("<i4").tobytes()).hexdigest()
        assert digest == told["integers"][name]["sha256"]
    field = api.load(data, device="cpu")
    np.testing.assert_allclose(
        field(np.array(told["coordinates"], np.float32)), told["values"], atol=1e-5
    )
