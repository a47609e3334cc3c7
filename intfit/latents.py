"""Encoding with latents: a transform finds them, and rate and distortion say how to round them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .codec import bank as bank_codec
from .codec import container, pyramid
from .codec.container import Stored
from .errors import UsageError
from .fields import bank, latent
from .fields.architecture import BankConfig, LatentConfig, LatentsConfig
from .fields.bank import Bank
from .fields.latent import Latent, Tensors
from .grid import Floats, Grid
from .metrics import quality
from .settings import COARSEST_STEP, FINEST_STEP, MAX_CHANNELS, Goal, step_of

#: A field on latents.
LatentsField = Latent | Bank

#: A file that was made: its architecture, its bytes and its distortion.
Made = tuple[LatentsConfig, bytes, float]


def configured(signal: Grid, wanted: float | None) -> LatentsConfig:
    """The latents of a picture or a recording at a quality.

    Raises:
        UsageError: if it has too many channels.
    """
    facts, channels = signal.facts, signal.out_features
    if signal.metric == "psnr":
        return LatentConfig(channels, facts["height"], facts["width"], step_of(wanted))
    if channels > MAX_CHANNELS:
        raise UsageError(f"{channels} channels are too many for latents: give --field siren")
    config = BankConfig(channels, facts["frames"], 0)
    power = (
        float(np.square(signal.targets()).sum()) / config.count()
    )  # a few samples spread over all
    return replace(config, step=step_of(wanted, loudness=power**0.5))


def packer(targets: Floats, config: LatentsConfig) -> Callable[[LatentsConfig], bytes]:
    """What makes the payload of values ``[n, C]`` at any step of a config like ``config``."""
    if isinstance(config, LatentConfig):
        values = targets.reshape(config.height, config.width, config.channels)
        moves = [np.diff(values, axis=axis).reshape(-1, config.channels) for axis in (0, 1)]
        exact = latent.analysed(values, config, latent.principal(*moves))
        return lambda chosen: pyramid.pack(exact, chosen)  # type: ignore[arg-type]
    mixing = latent.principal(targets)
    mixed = targets @ latent.unmixing(mixing)
    return lambda chosen: bank_codec.pack(mixed, mixing, chosen)  # type: ignore[arg-type]


def tensors_of(stored: dict[str, Stored], config: LatentsConfig) -> Tensors:
    """The tensors of a file, in either profile.

    Raises:
        FileFormatError: if it does not hold them.
    """
    if list(stored) != [container.PAYLOAD] or stored[container.PAYLOAD].dtype != "U8":
        return _opened(stored, config)
    payload = stored[container.PAYLOAD].data
    if isinstance(config, LatentConfig):
        return pyramid.unpack(payload, config)
    return bank_codec.unpack(payload, config)


def _opened(stored: dict[str, Stored], config: LatentsConfig) -> Tensors:
    """The tensors of the open profile."""
    from .codec import quantize  # which knows torch, and the types that NumPy does not

    return {
        name: tensor.numpy() for name, tensor in quantize.restore(stored, config.shapes()).items()
    }


def opened(tensors: Tensors) -> dict[str, Stored]:
    """The open profile: float32 tensors by name."""
    return {
        name: Stored("F32", tensor.shape, np.ascontiguousarray(tensor, "<f4").tobytes())
        for name, tensor in tensors.items()
    }


def field_of(tensors: Tensors, config: LatentsConfig) -> LatentsField:
    """The field of a file's tensors.

    Raises:
        FileFormatError: if they are none of a field.
    """
    if isinstance(config, LatentConfig):
        return Latent(latent.pictured(tensors, config))
    return Bank(bank.sounded(tensors, config))


def parts(payload: bytes, config: LatentsConfig) -> dict[str, int]:
    """Bytes of the parts of a payload."""
    if isinstance(config, LatentConfig):
        return pyramid.parts(payload, config)
    return bank_codec.parts(payload, config)


def encoded(
    signal: Grid,
    config: LatentsConfig,
    file: Callable[[LatentsConfig, dict[str, Stored], float], bytes],
    *,
    profile: str,
    goal: Goal | None,
    size: int | None,
    bounded: bool,
) -> Made:
    """The file at the step of ``config``, or at the finest that ``size`` allows.

    Or at the coarsest that reaches ``goal``; which, where it is ``bounded``, is no finer than
    those. ``file`` makes the bytes of a file of an architecture, its tensors and the distortion.

    Raises:
        UsageError: if no step makes it as small as ``size``.
    """
    targets = signal.targets()
    pack = packer(targets, config)

    def at(step: int) -> Made:
        chosen = replace(config, step=step)
        stored = {container.PAYLOAD: _bytes(pack(chosen))}
        tensors = tensors_of(stored, chosen)
        samples = field_of(tensors, chosen).samples
        distortion = quality(signal.metric, samples.reshape(targets.shape), targets)
        if profile == "open":
            stored = opened(tensors)
        return chosen, file(chosen, stored, distortion), distortion

    tried: dict[int, Made] = {}

    def first(holds: Callable[[Made], bool]) -> int:
        """The coarsest step of which something holds that holds of all finer ones."""
        low, middle, high = (
            COARSEST_STEP - 1,
            config.step,
            FINEST_STEP + 1,
        )  # above low, at most high
        while high - low > 1:
            if middle not in tried:
                tried[middle] = at(middle)
            low, high = (low, middle) if holds(tried[middle]) else (middle, high)
            middle = (low + high) // 2
        return high

    finest = config.step
    if size is not None:
        finest = first(lambda made: len(made[1]) > size) - 1
        if finest < COARSEST_STEP:
            least = len(tried[COARSEST_STEP][1])
            raise UsageError(
                f"{size} bytes are too few: the smallest file possible here has {least}"
            )
    elif goal is not None and not bounded:
        finest = FINEST_STEP
    step = finest
    if goal is not None:
        step = min(first(lambda made: goal.score(made[2]) >= 0), finest)
    return tried.get(step) or at(step)


def _bytes(data: bytes) -> Stored:
    return Stored("U8", (len(data),), data)
