"""The search for the file of a picture: steps, rounds of rounding, refinement, networks."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ....coding import weights
from ....coding.steps import COARSEST_LATENT_STEP, FINEST_LATENT_STEP
from ....coding.tensors import Tensors, store_open, store_payload
from ....defaults import refinement_steps
from ....plan import Plan
from ....settings import Goal
from ....signals import Floats, Grid
from ...assemble import assemble
from ...channels import invert_axes
from ...latent_steps import RD_LAMBDA, Candidate, StepSearch
from ...protocol import Hooks, Prepared
from .. import payload
from ..config import WaveletConfig
from ..decoder_network import Inputs, apply_postfilter, correct_blocks, reconstruct
from ..postfilter import Features, shared_parameters
from ..transform import analyse
from .adaptation import fit_last_layer

#: From this many bytes of latents on, an own post-filter of this width (neurons) pays for itself.
OWN_WIDTHS = ((80_000, 32), (35_000, 24), (8_000, 16), (1_500, 8))
#: The bytes to leave for an own post-filter, by its width, where the file's size is bounded.
OWN_BYTES = {None: 0, 8: 250, 16: 650, 24: 1000, 32: 1400}
#: The fewest bytes that an own post-filter takes, as a share of :data:`OWN_BYTES`.
LEAST_OF_OWN_BYTES = 0.65
#: The fewest seconds of training for which it is begun at all.
MIN_TRAINING_SECONDS = 0.3
#: Where a file's size is bounded, the first try has one of so many shares of the steps.
FIRST_TRY = 4
#: How much of the bytes that refinement is expected to save is used at once.
REFINED_ROOM = 0.985
#: How often latents are rounded anew, at each effort.
ROUNDS = {1: 0, 2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 6, 8: 8, 9: 12}
#: The usual gain of an own post-filter, and how near to a goal a search ends, both in dB.
USUAL_GAIN, NEAR = 0.2, 0.1


@dataclass(frozen=True)
class Networks:
    """The files of some latents, without and with the shared networks.

    ``colours`` are the axes as a file has them, ``added`` ``[H, W, C]`` is what the networks of the
    last file add to the picture.
    """

    candidates: list[Candidate[WaveletConfig]]
    colours: Floats
    added: Floats


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
        #: Whether an own post-filter was tried, and the steps in which files were refined.
        self.tried, self._refined = False, dict[bytes, int]()
        #: Whether latents were not refined because the picture is too large.
        self.too_large = False

    def encode(self) -> Candidate[WaveletConfig]:
        """The file that the plan asks for."""
        plan, config = self.prepared.plan, self.prepared.config
        search = StepSearch(self._encode_at, config.step)
        goal, size = plan.goal, plan.target_size
        if config.bands is not None and goal is None and size is None and plan.max_time is None:
            # no bound has to be tried without refinement first
            return self._refine(config.step) or search.at(config.step)
        plain = search.at(search.choose(goal=goal, size=size, bounded=plan.stops_at_goal))
        if plain.config.bands is not None:
            return plain if goal is not None else self._refine_within(size, plain, search)
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
        were the last time, leave to be coded.
        """
        config = replace(self.prepared.config, step=step)
        exact, made = self.exact, list[Candidate[WaveletConfig]]()
        rounds = 0 if config.common is None else self._count_rounds()
        for left in reversed(range(1 + rounds)):
            networks = self._apply_networks(config, payload.quantise(exact, config))
            made += networks.candidates
            if not left or self._is_late():
                break
            shifts = analyse(networks.added, config, networks.colours)
            shifts.pop("colours")
            exact = exact | {name: self.exact[name] - shift for name, shift in shifts.items()}
        return min(made, key=self._compute_cost)

    def _apply_networks(self, config: WaveletConfig, quantised: payload.Quantised) -> Networks:
        """The files of integer latents without networks, and with the shared ones if any."""
        data = payload.pack(self.exact["colours"], quantised)
        # what modulates the networks is yet to be found
        tensors = payload.unpack(data, replace(config, common=None)) | shared_parameters(config)
        candidates, pictures = list[Candidate[WaveletConfig]](), list[Floats]()
        for file in self._run_networks(data, tensors, config):
            candidates.append(self._assemble_candidate(*file))
            pictures[1:] = [file[-1]]  # the first and the last: all would fill memory
        return Networks(candidates, tensors["colours"], pictures[-1] - pictures[0])

    def _run_networks(
        self, data: bytes, tensors: Tensors, config: WaveletConfig
    ) -> Iterator[tuple[bytes, WaveletConfig, Tensors, Floats]]:
        """Payload, architecture, tensors and picture of a file, with more and more networks."""
        colours = tensors["colours"]
        if config.common is None:
            yield data, config, tensors, reconstruct(tensors, config)
            return
        features = Features(tensors, config)
        yield data, replace(config, common=None), tensors, features.picture @ colours
        filtered = apply_postfilter(tensors, config, features)
        yield data, replace(config, common=1), tensors, filtered @ colours
        inputs = Inputs(tensors, config, features.picture, filtered)
        error = self.pixels @ invert_axes(colours) - filtered
        for name, found in fit_last_layer(inputs, tensors, error):
            data = payload.join(data, weights.pack({name: found}))
            tensors = tensors | {name: found.dequantise()}
        adapted = replace(config, adapted="adaptation" in tensors or None)
        yield data, adapted, tensors, correct_blocks(inputs, tensors) @ colours

    def _count_rounds(self) -> int:
        """How often latents are rounded anew; a search over steps has less time for each."""
        plan, effort = self.prepared.plan, self.prepared.settings.effort
        count = ROUNDS[effort]
        return count if plan.goal is None and plan.target_size is None else min(count, 1)

    def _is_late(self) -> bool:
        """Whether more than a third of the time is gone, where time is bounded."""
        most = self.prepared.plan.max_time
        return most is not None and time.monotonic() - self._start > most / 3

    def _refine_within(
        self, size: int | None, plain: Candidate[WaveletConfig], search: StepSearch[WaveletConfig]
    ) -> Candidate[WaveletConfig]:
        """``plain`` with refined latents; where its size is bounded, at as fine a step as fits.

        Refined latents take fewer bytes. By how much is seen at the step of ``plain``.
        """
        step = plain.config.step
        refined = self._refine(step) if size is None else self._refine(step, 1 / FIRST_TRY)
        if refined is None:
            return plain
        if size is None:
            return refined
        if len(refined.data) > size:
            return plain
        room = round(size * len(plain.data) / len(refined.data) * REFINED_ROOM)
        finest = min(search.find_finest_within(room), FINEST_LATENT_STEP)
        again = self._refine(max(finest, step))
        return refined if again is None or len(again.data) > size else again

    def _refine(self, step: int, share: float = 1.0) -> Candidate[WaveletConfig] | None:
        """The file at a step whose latents were refined for the eye; None where none are.

        In this ``share`` of the steps, and of the time where that is bounded.
        """
        prepared, plan = self.prepared, self._plan_training(round(1 / share))
        signal, settings = prepared.signal, prepared.settings
        if plan is None:
            return None
        from .refinement import can_refine, refine

        steps = settings.steps or refinement_steps(settings.effort, signal.n)
        config = replace(prepared.config, step=step)
        self.too_large = not steps
        if not steps or not can_refine(config):
            return None
        steps = math.ceil(steps * share)
        quantised = payload.quantise(self.exact, config)
        networks = self._apply_networks(config, quantised)
        found = refine(
            self.exact, networks.colours, quantised.coarsest, quantised.levels, config, self.pixels,
            added=networks.added, steps=steps, seconds=plan.max_time,
            on_progress=self.hooks.progress,
        )  # fmt: skip
        refined = self._apply_networks(
            config, payload.code(quantised.coarsest, found.levels, config)
        )
        best = min(refined.candidates, key=self._compute_cost)
        self._refined[best.data] = found.steps
        return best

    def count_refining_steps(self, candidate: Candidate[WaveletConfig]) -> int:
        """The steps in which the latents of a file were refined; 0 where they were not."""
        return self._refined.get(candidate.data, 0)

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
