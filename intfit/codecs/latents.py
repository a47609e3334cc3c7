"""Encoding with latents: a transform finds them, and rate and distortion say how to round them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..coding import container
from ..coding.container import Stored
from ..errors import UsageError
from ..metrics import quality
from ..networks.architecture import NEWEST, BankConfig, LatentConfig, LatentsConfig
from ..settings import COARSEST_STEP, FINEST_STEP, MAX_CHANNELS, Goal, step_of
from ..signals import Floats, Grid
from .mdct import payload as bank_codec
from .mdct import transform as bank
from .mdct.transform import Bank
from .wavelet import field as latent
from .wavelet import payload as pyramid
from .wavelet import postfilter as correction
from .wavelet.field import Latent, Tensors

#: A field on latents.
LatentsField = Latent | Bank

#: Networks that correct a picture: the least bytes of latents at which each width pays (measured
#: on kodim04, 08 and 20), and the bytes to leave for it where the whole is bounded.
NEURONS = ((80_000, 32), (35_000, 24), (8_000, 16), (1_500, 8))
ROOM = {None: 0, 8: 250, 16: 650, 24: 1000, 32: 1400}
#: What a network gains as a rule, in dB; how near to a goal is near enough.
EXPECTED, NEAR = 0.2, 0.1

#: Fits a network to what rounding took from a picture ``[H, W, C]``: the bytes of its parameters.
Correct = Callable[[Tensors, LatentConfig, Floats], bytes]


@dataclass(frozen=True)
class Made:
    """A file that was made: its architecture, payload, distortion and bytes.

    Without its tensors: a search keeps every step it tries, and they take 12 bytes a pixel.
    """

    config: LatentsConfig
    payload: bytes
    distortion: float
    data: bytes


def configured(signal: Grid, wanted: float | None) -> LatentsConfig:
    """The latents of a picture or a recording at a quality.

    Raises:
        UsageError: if it has too many channels.
    """
    facts, channels = signal.facts, signal.out_features
    if signal.metric == "psnr":
        size = facts["height"], facts["width"]
        found = LatentConfig(channels, *size, step_of(wanted))
        return replace(found, common=NEWEST) if found.corrigible() else found
    if channels > MAX_CHANNELS:
        raise UsageError(f"{channels} channels are too many for latents: give --field siren")
    config = BankConfig(channels, facts["frames"], 0)
    # a few samples spread over all
    power = float(np.square(signal.targets()).sum()) / config.count()
    return replace(config, step=step_of(wanted, loudness=power**0.5))


def packer(targets: Floats, config: LatentsConfig) -> Callable[[LatentsConfig], bytes]:
    """What makes the payload of values ``[n, C]`` at any step of a config like ``config``."""
    if isinstance(config, LatentConfig):
        values = targets.reshape(config.height, config.width, config.channels)
        exact = latent.analysed(values, config, latent.colours(values))
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
    from ..coding import quantize  # which knows torch, and the types that NumPy does not

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
        plain = config.neurons is None and config.common is None
        return Latent((latent.pictured if plain else correction.corrected)(tensors, config))
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
    correct: Correct | None = None,
) -> Made:
    """The file at the step of ``config``, or at the finest that ``size`` allows.

    Or at the coarsest that reaches ``goal``; which, where it is ``bounded``, is no finer than
    those. ``file`` makes the bytes of a file of an architecture, its tensors and the distortion.
    ``correct`` fits a network to what rounding left; it is kept where it is worth its bytes.

    Raises:
        UsageError: if no step makes it as small as ``size``.
    """
    targets = signal.targets()
    pack = packer(targets, config)

    def made(payload: bytes, *rivals: LatentsConfig) -> Made:
        """What is closest; all of what ``rivals`` need is there for the first of them."""
        stored = {container.PAYLOAD: Stored("U8", (len(payload),), payload)}
        tensors = tensors_of(stored, rivals[0])
        found = []
        for chosen in rivals:
            samples = field_of(tensors, chosen).samples
            distortion = quality(signal.metric, samples.reshape(targets.shape), targets)
            found.append((distortion, chosen))
        distortion, chosen = max(found, key=lambda pair: pair[0])
        if profile == "open":
            stored = opened({name: tensors[name] for name in chosen.shapes()})
        return Made(chosen, payload, distortion, file(chosen, stored, distortion))

    @cache
    def at(step: int) -> Made:
        chosen = replace(config, step=step)
        if isinstance(chosen, LatentConfig) and chosen.common is not None:
            # what photographs have in common, a drawing may be better off without
            return made(pack(chosen), chosen, replace(chosen, common=None))
        return made(pack(chosen), chosen)

    def first(holds: Callable[[Made], bool]) -> int:
        """The coarsest step of which something holds that holds of all finer ones."""
        # above low, at most high
        low, middle, high = COARSEST_STEP - 1, config.step, FINEST_STEP + 1
        while high - low > 1:
            low, high = (low, middle) if holds(at(middle)) else (middle, high)
            middle = (low + high) // 2
        return high

    def within(room: int) -> int:
        """The finest step that makes a file of no more than so many bytes."""
        return first(lambda made: len(made.data) > room) - 1

    def corrected(step: int) -> Made | None:
        """With a network, where that is worth its bytes."""
        plain = at(step)
        neurons = neurons_for(len(plain.payload))
        if correct is None or neurons is None or not isinstance(plain.config, LatentConfig):
            return None
        chosen = replace(plain.config, neurons=neurons)
        exact = targets.reshape(chosen.height, chosen.width, chosen.channels)
        network = correct(pyramid.unpack(plain.payload, plain.config), chosen, exact)
        found = made(pyramid.joined(plain.payload, network), chosen)
        squares = (_squares(plain, targets) - _squares(found, targets)) / chosen.size() ** 2
        bits = 8 * (len(found.payload) - len(plain.payload))
        return found if squares > pyramid.PRICE * bits else None

    finest = config.step
    if size is not None:
        finest = within(size)
        if finest < COARSEST_STEP:
            least = len(at(COARSEST_STEP).data)
            raise UsageError(
                f"{size} bytes are too few: the smallest file possible here has {least}"
            )
    elif goal is not None and not bounded:
        finest = FINEST_STEP
    step = finest
    if goal is not None:
        step = min(first(lambda made: goal.score(made.distortion) >= 0), finest)
    plain = at(step)
    if goal is not None and goal.score(plain.distortion) >= 0:
        return _coarser(plain, goal, at, corrected)
    if size is None:
        return corrected(step) or plain
    # the network needs room; what it needs is not known before it is there
    coarser = corrected(max(within(size - ROOM[neurons_for(size)]), COARSEST_STEP))
    if coarser is None or len(coarser.data) > size or coarser.distortion < plain.distortion:
        return plain
    return coarser


def _coarser(
    plain: Made,
    goal: Goal,
    at: Callable[[int], Made],
    corrected: Callable[[int], Made | None],
) -> Made:
    """The smallest file found that reaches ``goal``, as ``plain`` does without a network.

    At a step as much coarser as a network is expected to make up for; and again, once it is known
    what it does make up for.
    """
    step, best = plain.config.step, plain
    fall = (plain.distortion - at(max(step - 8, COARSEST_STEP)).distortion) / 8
    fall = max(fall, 0.05)
    tried = step - max(1, math.floor(EXPECTED / fall))  # at the same step, it only adds bytes
    for _ in range(2):
        found = corrected(max(tried, COARSEST_STEP))
        if found is None:
            break
        above = goal.score(found.distortion)
        if above >= 0 and len(found.data) < len(best.data):
            best = found
        if 0 <= above <= NEAR:
            break
        tried -= math.floor((above - NEAR / 2) / fall)
    return best


def _squares(made: Made, targets: Floats) -> float:
    """The squared error of a picture."""
    return targets.size * 4 * 10 ** (-made.distortion / 10)


def neurons_for(size: int) -> int | None:
    """The width of the network that pays at a payload of ``size`` bytes; None for none."""
    return next((neurons for least, neurons in NEURONS if size >= least), None)
