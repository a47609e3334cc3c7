"""The search for the file of a picture: steps, rounds of rounding, refinement, networks."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....coding import weights
from ....coding.integers import Integers
from ....coding.steps import COARSEST_LATENT_STEP
from ....coding.tensors import Tensors, store_open, store_payload
from ....plan import Plan
from ....settings import Goal
from ....signals import Floats, Grid
from ...assemble import assemble
from ...channels import invert_axes
from ...latent_steps import RD_LAMBDA, Candidate, StepSearch
from ...protocol import Hooks, Prepared
from .. import payload
from ..config import WaveletConfig
from ..contexts.influence import MeanInfluence
from ..decoder_network import Inputs, apply_postfilter, correct_blocks, reconstruct
from ..postfilter import Features
from ..transform import analyse
from .adaptation import fit_last_layer
from .refined import Refined, count_steps

#: From this many bytes of latents on, an own post-filter of this width (neurons) pays for itself.
OWN_WIDTHS = ((80_000, 32), (35_000, 24), (8_000, 16), (1_500, 8))
#: The bytes to leave for an own post-filter, by its width, where the file's size is bounded.
OWN_BYTES = {None: 0, 8: 250, 16: 650, 24: 1000, 32: 1400}
#: The fewest bytes that an own post-filter takes, as a share of :data:`OWN_BYTES`.
LEAST_OF_OWN_BYTES = 0.65
#: The fewest seconds of training for which it is begun at all.
MIN_TRAINING_SECONDS = 0.3
#: How often latents are rounded anew, at each effort.
ROUNDS = {1: 0, 2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 6, 8: 8, 9: 12}
#: With a trellis, the same, and the share of what networks add that is taken off in one round after
#: the other: its paths change so much that only half of what they added to the last one is added
#: to the next. What a round gains is partly a matter of luck, so that more of them gain more.
TRELLIS_ROUNDS = {1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 3, 7: 5, 8: 8, 9: 16}
TRELLIS_SHARES = (0.5, 0.5, 0.4, 0.6)
#: The usual gain of an own post-filter, and how near to a goal a search ends, both in dB.
USUAL_GAIN, NEAR = 0.2, 0.1


@dataclass(frozen=True)
class Networks:
    """The files of some latents, without and with the shared networks.

    ``tensors`` are the latents as a file has them, ``linear`` ``[H, W, C]`` is the picture that
    they make where it is kept, ``picture`` what the networks of the last file make of it.
    """

    candidates: list[Candidate[WaveletConfig]]
    tensors: Tensors
    linear: Floats | None
    picture: Floats


@dataclass(frozen=True)
class Estimate:
    """The bytes of a file, and its distortion in dB."""

    size: int
    distortion: float


@dataclass(frozen=True)
class RefinedFile:
    """Files of refined latents, the best first, without and with the shared networks.

    ``coded`` bytes of them are those of the latents; the rest are networks and header.
    """

    candidates: list[Candidate[WaveletConfig]]
    config: WaveletConfig
    coarsest: Integers
    coded: int
    refined: Refined

    @property
    def best(self) -> Candidate[WaveletConfig]:
        """The file of the least squared error plus lambda times bits."""
        return self.candidates[0]


class Encoder:
    """Encodes one picture, ``pixels`` ``[H, W, C]`` in [-1, 1], at as many steps as it takes.

    ``exact`` are its latents before quantisation; ``start`` is when encoding began, by the clock.
    """

    def __init__(
        self, prepared: Prepared, hooks: Hooks, pixels: Floats, exact: Tensors, start: float
    ) -> None:
        self.prepared, self.hooks = prepared, hooks
        self.pixels, self.exact = pixels, exact
        self._start = start
        #: Whether an own post-filter was tried.
        self.tried = False
        #: The steps in which latents are to be refined for the eye.
        self.refining = count_steps(prepared.config, prepared.plan, prepared.settings)
        self._refined: dict[bytes, Refined] = {}
        self._estimates: dict[int, Estimate] = {}

    def encode(self) -> Candidate[WaveletConfig]:
        """The file that the plan asks for."""
        plan, config = self.prepared.plan, self.prepared.config
        if self.refining:
            from .refined_search import find_refined

            if (found := find_refined(self)) is not None:
                return found
        search = StepSearch(self._encode_at, config.step)
        goal, size = plan.goal, plan.target_size
        plain = search.at(search.choose(goal=goal, size=size, bounded=plan.stops_at_goal))
        if plain.config.bands is not None:
            return plain
        if goal is not None and goal.margin(plain.distortion) >= 0:
            return self._search_coarser(plain, goal, search)
        if size is None:
            return self._add_own_postfilter(plain) or plain
        # the bytes of an own post-filter are known only once it is trained
        room = max(
            search.find_finest_within(size - OWN_BYTES[own_width(size)]), COARSEST_LATENT_STEP
        )
        filtered = self._add_own_postfilter(search.at(room))
        if filtered is None or len(filtered.data) > size:
            return plain
        return plain if filtered.distortion < plain.distortion else filtered

    def _encode_at(self, step: int) -> Candidate[WaveletConfig]:
        """The file at a step, without an own post-filter; with the shared networks if they help.

        Where these are, latents are rounded several times: to nearest what the networks, as they
        were the last time, leave to be coded. With a trellis, what latents then meant for the bits
        of others counts, too.
        """
        config = replace(self.prepared.config, step=step)
        exact, made = self.exact, list[Candidate[WaveletConfig]]()
        rounds = 0 if config.common is None else self._count_rounds()
        influence, trellis = MeanInfluence(), config.trellis is not None
        for number in range(1 + rounds):
            more = number < rounds and not self._is_late()
            heeded = influence.weighed()
            quantised = payload.quantise(exact, config, heeded, observed=more and trellis)
            influence.add(quantised.influence)
            networks = self._apply_networks(config, quantised, again=more)
            made += networks.candidates
            if networks.linear is None:
                break
            added = networks.picture - networks.linear
            if trellis:
                added *= np.float32(TRELLIS_SHARES[number % len(TRELLIS_SHARES)])
            shifts = analyse(added, config, networks.tensors["colours"])
            shifts.pop("colours")
            exact = exact | {name: self.exact[name] - shift for name, shift in shifts.items()}
        return min(made, key=self._compute_cost)

    def _apply_networks(
        self, config: WaveletConfig, quantised: payload.Quantised, *, again: bool = False
    ) -> Networks:
        """The files of integer latents without networks, and with the shared ones if any.

        Where latents will be rounded ``again``, what that takes is kept: it is as large as the
        picture.
        """
        colours = self.exact["colours"]
        data = payload.pack(colours, quantised)
        tensors = payload.dequantise(colours, quantised.coarsest, quantised.levels, config)
        del quantised  # as large, too
        candidates, linear, last = list[Candidate[WaveletConfig]](), None, None
        for file in self._run_networks(data, tensors, config):
            candidates.append(self._assemble_candidate(*file))
            picture = file[-1]
            del file
            linear = picture if again and linear is None else linear
            last = picture
        assert last is not None
        return Networks(candidates, tensors, linear, last)

    def _run_networks(
        self, data: bytes, tensors: Tensors, config: WaveletConfig
    ) -> Iterator[tuple[bytes, WaveletConfig, Tensors, Floats]]:
        """Payload, architecture, tensors and picture of a file, with more and more networks."""
        colours = tensors["colours"]
        if config.common is None:
            yield data, config, tensors, reconstruct(tensors, config)
            return
        features = Features(tensors, config)
        picture = features.picture
        yield data, replace(config, common=None), tensors, picture @ colours
        filtered = apply_postfilter(tensors, config, features)
        del features  # half of the memory that all of this takes
        if config.shared_postfilter_shapes():
            yield data, replace(config, common=1), tensors, filtered @ colours
        inputs = Inputs(tensors, config, picture, filtered)
        error = self.pixels @ invert_axes(colours) - filtered
        for name, found in fit_last_layer(inputs, tensors, error):
            data = payload.join(data, weights.pack({name: found}))
            tensors = tensors | {name: found.dequantise()}
        adapted = replace(config, adapted="adaptation" in tensors or None)
        yield data, adapted, tensors, correct_blocks(inputs, tensors) @ colours

    def _count_rounds(self) -> int:
        """How often latents are rounded anew; a search over steps has less time for each."""
        plan, effort = self.prepared.plan, self.prepared.settings.effort
        count = (TRELLIS_ROUNDS if self.prepared.config.trellis else ROUNDS)[effort]
        return count if plan.goal is None and plan.target_size is None else min(count, 1)

    def _is_late(self) -> bool:
        """Whether more than a third of the time is gone, where time is bounded."""
        most = self.prepared.plan.max_time
        return most is not None and time.monotonic() - self._start > most / 3

    def estimate(self, step: int) -> Estimate:
        """The file at a step, without refinement and networks."""
        if step not in self._estimates:
            config = replace(self.prepared.config, step=step)
            exact, quantised = self.exact, payload.quantise(self.exact, config)
            data = payload.pack(exact["colours"], quantised)
            tensors = payload.dequantise(
                exact["colours"], quantised.coarsest, quantised.levels, config
            )
            # the transform is nearly orthonormal
            error = sum(
                float(np.square(values - tensors[name]).sum(dtype=np.float64))
                for name, values in exact.items()
                if name != "colours"
            )
            distortion = 10 * math.log10(4 * config.count() / max(error, 1e-9))
            file = assemble(
                self.prepared, config, store_payload(data), steps=0, distortion=distortion
            )
            self._estimates[step] = Estimate(len(file), distortion)
        return self._estimates[step]

    def refine(self, step: int, tries: int = 1) -> RefinedFile:
        """The file at a step whose latents were refined for the eye, as far as there was time.

        Where time is bounded, it is shared by so many ``tries``.
        """
        from .tiles import refine_picture

        config = replace(self.prepared.config, step=step)
        quantised = payload.quantise(self.exact, config)
        networks = self._apply_networks(config, quantised)
        plan = self._plan_training(tries)
        if plan is None:
            return self._keep_best(networks, quantised, config, Refined.unchanged(quantised.levels))
        self.hooks.enter("fitting")
        found = refine_picture(
            self.exact, quantised, networks.tensors, config, self.pixels, networks.picture,
            steps=self.refining, seconds=plan.max_time,
            on_progress=self.hooks.progress,
        )  # fmt: skip
        self.hooks.enter("coding")
        del networks
        return self.round_refined(config, quantised.coarsest, found)

    def round_refined(
        self, config: WaveletConfig, coarsest: Integers, refined: Refined, bias: float = 0.0
    ) -> RefinedFile:
        """The best file of refined latents, rounded with a ``bias``."""
        quantised = payload.code(coarsest, refined.round(bias), config)
        return self._keep_best(self._apply_networks(config, quantised), quantised, config, refined)

    def _keep_best(
        self,
        networks: Networks,
        quantised: payload.Quantised,
        config: WaveletConfig,
        refined: Refined,
    ) -> RefinedFile:
        candidates = sorted(networks.candidates, key=self._compute_cost)
        for candidate in candidates:
            self._refined[candidate.data] = refined
        return RefinedFile(candidates, config, quantised.coarsest, len(quantised.coded), refined)

    def find_refined(self, candidate: Candidate[WaveletConfig]) -> Refined | None:
        """How the latents of a file were refined; None where they were not."""
        return self._refined.get(candidate.data)

    def _make_candidate(
        self, data: bytes, config: WaveletConfig, steps: int = 0
    ) -> Candidate[WaveletConfig]:
        """The file of a payload, into which ``steps`` of training went."""
        tensors = payload.unpack(data, config)
        return self._assemble_candidate(data, config, tensors, reconstruct(tensors, config), steps)

    def _assemble_candidate(
        self, data: bytes, config: WaveletConfig, tensors: Tensors, picture: Floats, steps: int = 0
    ) -> Candidate[WaveletConfig]:
        """The file of a payload, whose ``tensors`` and ``picture`` ``[H, W, C]`` these are."""
        prepared = self.prepared
        distortion = self._measure_quality(picture)
        stored = store_payload(data)
        if prepared.plan.profile == "open":
            stored = store_open({name: tensors[name] for name in config.shapes()})
        file = assemble(prepared, config, stored, steps=steps, distortion=distortion)
        return Candidate(config, data, distortion, file, steps)

    def _compute_cost(self, candidate: Candidate[WaveletConfig]) -> float:
        """Squared error and bits of a file, in squared quantisation steps."""
        bits = 8 * len(candidate.payload)
        step = candidate.config.step_size
        return self._compute_squared_error(candidate) / step**2 + RD_LAMBDA * bits

    def _measure_quality(self, picture: Floats) -> float:
        """The PSNR, in dB, of a decoded picture ``[H, W, C]`` once it is written to a file."""
        signal, channels = self.prepared.signal, picture.shape[-1]
        assert isinstance(signal, Grid)
        return signal.quality(picture.reshape(-1, channels), self.pixels.reshape(-1, channels))

    def _plan_training(self, tries: int) -> Plan | None:
        """The plan of one of ``tries`` trainings in the time that is left; None if none is left."""
        plan = self.prepared.plan
        if not plan.steps:
            return None
        if plan.max_time is None:
            return plan
        # packing and decoding, after training, take about as long as what came before it
        elapsed = time.monotonic() - self._start
        left = (plan.max_time - 2 * elapsed) / tries
        return replace(plan, max_time=left) if left > MIN_TRAINING_SECONDS else None

    def _add_own_postfilter(
        self, plain: Candidate[WaveletConfig], tries: int = 1
    ) -> Candidate[WaveletConfig] | None:
        """``plain`` with an own post-filter; None where that is not worth its bytes.

        Where time is bounded, it is shared by so many ``tries``.
        """
        plan = self._plan_training(tries)
        width = self.prepared.settings.width or own_width(len(plain.payload))
        if plan is None or width is None or not plain.config.levels():
            return None
        from .postfilter_training import train_postfilter

        self.tried = True
        self.hooks.enter("fitting")
        config = replace(plain.config, neurons=width)
        wrap_teacher = self.hooks.wrap_teacher
        trained = train_postfilter(
            payload.unpack(plain.payload, plain.config),
            config,
            self.pixels,
            plan,
            self.prepared.device,
            usual_bytes=round(LEAST_OF_OWN_BYTES * OWN_BYTES.get(width, width * width)),
            wrap_teacher=None
            if wrap_teacher is None
            else lambda teacher, places: wrap_teacher(teacher, self.prepared, places),
            on_progress=self.hooks.progress,
        )
        self.hooks.enter("coding")
        if trained is None:
            return None
        data = payload.join(plain.payload, trained.payload)
        filtered = self._make_candidate(data, config, steps=trained.steps)
        return filtered if self._compute_cost(filtered) < self._compute_cost(plain) else None

    def _compute_squared_error(self, candidate: Candidate[WaveletConfig]) -> float:
        """The sum of squared errors of all values of a picture, from its PSNR."""
        size: int = self.prepared.config.count()
        return size * 4 * 10 ** (-candidate.distortion / 10)

    def _search_coarser(
        self, plain: Candidate[WaveletConfig], goal: Goal, search: StepSearch[WaveletConfig]
    ) -> Candidate[WaveletConfig]:
        """The smallest file that reaches ``goal``, as ``plain`` does without an own post-filter.

        A post-filter is tried at a coarser step, whose loss it is expected to make up for, and once
        more at a step that follows from what it gained there.
        """
        step, best = plain.config.step, plain
        coarser = search.at(max(step - 8, COARSEST_LATENT_STEP))
        per_step = max((plain.distortion - coarser.distortion) / 8, 0.05)  # dB for one index
        # at the same step, a post-filter would only add bytes
        tried = step - max(1, math.floor(USUAL_GAIN / per_step))
        for tries in (2, 1):
            candidate = search.at(max(tried, COARSEST_LATENT_STEP))
            filtered = self._add_own_postfilter(candidate, tries)
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
    """The width of an own post-filter for ``size`` bytes of latents; None where none pays."""
    return next((width for least, width in OWN_WIDTHS if size >= least), None)
