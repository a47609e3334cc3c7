"""Wavelet latents as a field, for images: quantised at the rate asked for, then post-filtered.

The transform gives the exact latents at once; rate and distortion decide how they are rounded. A
picture's own post-filter, a SIREN, is trained on what rounding took, and kept where it is worth
its bytes.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...coding.container import Stored
from ...coding.steps import COARSEST_LATENT_STEP
from ...coding.tensors import Tensors, payload_of, read_open, store_open, store_payload
from ...plan import Plan
from ...settings import Goal, Settings
from ...signals import Evaluate, Floats, Grid
from ..assemble import assemble
from ..latent_steps import Candidate, StepSearch, step_index
from ..protocol import Encoding, Hooks, Prepared, goal_notes
from . import payload
from .config import NEWEST_SHARED, WaveletConfig
from .field import Latent, analysed, colours, pictured
from .postfilter import corrected

DECODES_ON_DEVICE = False
#: The width of the own post-filter that pays from so many bytes of latents on.
OWN_WIDTHS = ((80_000, 32), (35_000, 24), (8_000, 16), (1_500, 8))
#: The bytes to leave for it where the size of the file is bounded, by its width.
OWN_BYTES = {None: 0, 8: 250, 16: 650, 24: 1000, 32: 1400}
#: What a post-filter usually gains, in dB; how near to a goal is near enough.
USUAL_GAIN, NEAR = 0.2, 0.1


def configure(signal: Grid, plan: Plan, settings: Settings) -> WaveletConfig:
    """The latents of a picture, at the step of the quality that is set."""
    height, width = signal.shape
    config = WaveletConfig(signal.out_features, height, width, step_index(settings.quality))
    return replace(config, common=NEWEST_SHARED) if config.can_share_postfilter() else config


def trains(plan: Plan) -> bool:
    """Whether the effort has steps for an own post-filter."""
    return bool(plan.steps)


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Quantise at the step of the quality, the size or the goal; train an own post-filter.

    Raises:
        UsageError: if no file is as small as asked.
    """
    start = time.monotonic()
    if hooks.fit_begins is not None:
        hooks.fit_begins(prepared)
    signal = prepared.signal
    assert isinstance(signal, Grid)
    pixels = signal.targets().reshape(*signal.shape, -1)
    exact = analysed(pixels, prepared.config, colours(pixels))
    best = _Encoder(prepared, hooks, pixels, exact).encode()
    plan = prepared.plan
    reached = None if plan.goal is None else best.distortion
    steps = _trained_steps(best.config, plan)
    return Encoding(
        data=best.data,
        config=best.config,
        distortion=best.distortion,
        reached=reached,
        steps=steps,
        seconds=time.monotonic() - start,
        teacher=plan.teacher_name if steps else "none",
        notes=goal_notes(plan.goal, reached),
    )


def _trained_steps(config: WaveletConfig, plan: Plan) -> int:
    """The steps of training that a file of ``config`` holds."""
    return 0 if config.neurons is None else plan.steps or 0


@dataclass(frozen=True)
class _Encoder:
    """Encodes one picture ``[H, W, C]`` in [-1, 1], at as many steps as it takes.

    ``exact`` are its latents before rounding.
    """

    prepared: Prepared
    hooks: Hooks
    pixels: Floats
    exact: Tensors

    def encode(self) -> Candidate[WaveletConfig]:
        """The file that the plan asks for."""
        plan = self.prepared.plan
        search = StepSearch(self._encode_at, self.prepared.config.step)
        goal, size = plan.goal, plan.target_size
        plain = search.at(search.choose(goal=goal, size=size, bounded=plan.stops_at_goal))
        if goal is not None and goal.margin(plain.distortion) >= 0:
            return self._coarser(plain, goal, search)
        if size is None:
            return self._with_own_postfilter(plain) or plain
        # the post-filter needs room; how much is not known before it is there
        room = max(search.finest_within(size - OWN_BYTES[own_width(size)]), COARSEST_LATENT_STEP)
        filtered = self._with_own_postfilter(search.at(room))
        if filtered is None or len(filtered.data) > size:
            return plain
        return plain if filtered.distortion < plain.distortion else filtered

    def _encode_at(self, step: int) -> Candidate[WaveletConfig]:
        """The file at a step, without an own post-filter, and with the shared one if it helps."""
        config = replace(self.prepared.config, step=step)
        data = payload.pack(self.exact, config)
        if config.common is None:
            return self._candidate(data, config)
        return self._candidate(data, config, replace(config, common=None))

    def _candidate(self, data: bytes, *configs: WaveletConfig) -> Candidate[WaveletConfig]:
        """The file of a payload, decoded as the best of ``configs`` says.

        The first of them has all the tensors that the others need.
        """
        prepared = self.prepared
        tensors = payload.unpack(data, configs[0])
        decoded = [(self._quality(reconstruct(tensors, config)), config) for config in configs]
        distortion, config = max(decoded, key=lambda pair: pair[0])
        stored = store_payload(data)
        if prepared.plan.profile == "open":
            stored = store_open({name: tensors[name] for name in config.shapes()})
        steps = _trained_steps(config, prepared.plan)
        file = assemble(prepared, config, stored, steps=steps, distortion=distortion)
        return Candidate(config, data, distortion, file)

    def _quality(self, picture: Floats) -> float:
        """The PSNR of a decoded picture ``[H, W, C]``, as a file of it holds it."""
        signal, channels = self.prepared.signal, picture.shape[-1]
        assert isinstance(signal, Grid)
        return signal.quality(picture.reshape(-1, channels), self.pixels.reshape(-1, channels))

    def _with_own_postfilter(
        self, plain: Candidate[WaveletConfig]
    ) -> Candidate[WaveletConfig] | None:
        """``plain`` with a post-filter of its own, where that is worth its bytes."""
        plan, width = self.prepared.plan, own_width(len(plain.payload))
        if not plan.steps or width is None or not plain.config.levels():
            return None
        from .postfilter_fitting import train_postfilter

        config = replace(plain.config, neurons=width)
        tensors = payload.unpack(plain.payload, plain.config)
        network = train_postfilter(
            tensors,
            config,
            self.pixels,
            plan,
            self.prepared.device,
            on_progress=self.hooks.progress,
        )
        if network is None:
            return None
        filtered = self._candidate(payload.joined(plain.payload, network), config)
        saved = self._squared_error(plain) - self._squared_error(filtered)
        bits = 8 * (len(filtered.payload) - len(plain.payload))
        return filtered if saved / config.step_size**2 > payload.RD_LAMBDA * bits else None

    def _squared_error(self, candidate: Candidate[WaveletConfig]) -> float:
        """The summed squared error of a picture, from its PSNR."""
        size: int = self.prepared.config.count()
        return size * 4 * 10 ** (-candidate.distortion / 10)

    def _coarser(
        self, plain: Candidate[WaveletConfig], goal: Goal, search: StepSearch[WaveletConfig]
    ) -> Candidate[WaveletConfig]:
        """The smallest file that reaches ``goal``, as ``plain`` does without a post-filter.

        At a step as much coarser as a post-filter is expected to make up for; and once more, when
        it is known what it does make up for.
        """
        step, best = plain.config.step, plain
        per_step = (
            plain.distortion - search.at(max(step - 8, COARSEST_LATENT_STEP)).distortion
        ) / 8
        per_step = max(per_step, 0.05)
        tried = step - max(1, math.floor(USUAL_GAIN / per_step))  # at the same step, it only adds
        for _ in range(2):
            filtered = self._with_own_postfilter(search.at(max(tried, COARSEST_LATENT_STEP)))
            if filtered is None:
                break
            margin = goal.margin(filtered.distortion)
            if margin >= 0 and len(filtered.data) < len(best.data):
                best = filtered
            if 0 <= margin <= NEAR:
                break
            tried -= math.floor((margin - NEAR / 2) / per_step)
        return best


def own_width(size: int) -> int | None:
    """The width of the own post-filter that pays at ``size`` bytes of latents; None for none."""
    return next((width for least, width in OWN_WIDTHS if size >= least), None)


def unpack(stored: Mapping[str, Stored], config: WaveletConfig) -> Tensors:
    """The latents in a file, in the unit of the picture's values, and the post-filters' parameters.

    Raises:
        FileFormatError: if it does not hold them.
    """
    data = payload_of(stored)
    return read_open(stored, config.shapes()) if data is None else payload.unpack(data, config)


def reconstruct(tensors: Tensors, config: WaveletConfig) -> Floats:
    """The picture ``[H, W, C]`` of latents, post-filtered, in about [-1, 1]."""
    plain = config.neurons is None and config.common is None
    return (pictured if plain else corrected)(tensors, config)


def decode(tensors: Tensors, config: WaveletConfig, device: str) -> Evaluate:
    """The field of these latents."""
    return Latent(reconstruct(tensors, config))


def parts(data: bytes, config: WaveletConfig) -> dict[str, float]:
    """The bytes that each part of a packed payload takes."""
    return dict(payload.parts(data, config))


def describe_plan(prepared: Prepared) -> str:
    """The field in a phrase, before encoding."""
    return f"{prepared.config.count()} latents, in steps of {prepared.config.step_size:.3g}"
