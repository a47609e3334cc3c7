"""The defaults of each medium, and what a training step costs.

Where they come from: docs/results. Photographs' were tuned on kodim04, kodim08 and kodim20,
recordings' on bach.wav, surfaces' on bunny.obj, and their batch on spot.obj and fandisk.obj.
"""

from dataclasses import dataclass

from .coding.header import SMALL_DEPTH, SMALL_OMEGA, SMALL_OMEGA_FIRST
from .schedules import RatioSchedule
from .settings import OptimizerName


@dataclass(frozen=True, kw_only=True)
class MediumDefaults:
    """How a medium is fitted unless the settings say otherwise.

    Network: ``weights`` parameters for ``per`` examples, growing with the number of examples to
    the ``power``, in layers of ``widths[0]`` to ``widths[1]`` neurons. ``omega_first`` is that
    frequency, or where ``follows_length`` the frequency for each example.

    Training: the ``optimizer``, and the learning rate ``lr``, which suits layers of ``lr_width``
    neurons. It falls as they get wider, and rises as they get narrower, by at most what ``lr_most``
    times fewer neurons give it. Weight decay comes in where a fit has more steps than
    ``steps_without_decay``. ``beta2`` is Adam's; ``batch`` the examples of a step. The teacher
    rebuilds the table that it draws from after ``redraw`` times as many draws as there are
    examples. Where examples differ in importance, that is raised to a power, which grows from 1 to
    ``importance_power`` as the fit goes on.

    Rate: ``rd_lambda`` is the relative gain in distortion that a bit for every weight must bring
    (nepers a bit a weight), or it is not spent.

    Search for a width: doubling the weights gains about ``octave_gain`` dB; what a trial leaves
    out of a fit would gain ``late_gain`` dB.
    """

    depth: int
    weights: int
    per: int
    power: float
    widths: tuple[int, int]
    omega: float
    omega_first: float
    follows_length: bool
    optimizer: OptimizerName = "adam"
    lr: float
    lr_width: int
    lr_most: float
    steps_without_decay: int = 17_000
    beta2: float
    batch: int
    redraw: float
    importance_power: float = 1.0
    rd_lambda: float
    octave_gain: float
    late_gain: float


MEDIUM_DEFAULTS = {
    "image": MediumDefaults(
        depth=6,
        weights=21_000,
        per=393_216,
        power=0.5,
        widths=(16, 512),
        omega=30.0,
        omega_first=60.0,
        follows_length=False,
        optimizer="soap",
        lr=7.5e-4,
        lr_width=64,
        lr_most=4.0,
        steps_without_decay=0,
        beta2=0.99,
        batch=2048,
        redraw=1.0,
        rd_lambda=0.09,
        octave_gain=1.7,
        late_gain=2.5,
    ),
    "audio": MediumDefaults(
        depth=4,
        weights=15_500,
        per=308_000,
        power=1.0,
        widths=(24, 512),
        omega=30.0,
        omega_first=0.01,
        follows_length=True,
        lr=1e-3,
        lr_width=72,
        lr_most=1.0,
        beta2=0.999,
        batch=2048,
        redraw=0.1,
        rd_lambda=0.09,
        octave_gain=4.0,
        late_gain=1.4,
    ),
    "mesh": MediumDefaults(
        depth=5,
        weights=9_600,
        per=1,
        power=0.0,
        widths=(12, 512),
        omega=30.0,
        omega_first=30.0,
        follows_length=False,
        lr=1.5e-3,
        lr_width=48,
        lr_most=1.0,
        steps_without_decay=7_500,
        beta2=0.999,
        batch=2048,
        redraw=1.0,
        importance_power=4.0,
        rd_lambda=0.1,
        octave_gain=4.3,
        late_gain=3.6,
    ),
    # of a surface, beside its distances: see COLOUR_WEIGHTS
    "colours": MediumDefaults(
        depth=4,
        weights=4_000,
        per=1,
        power=0.0,
        widths=(4, 512),
        omega=30.0,
        omega_first=30.0,
        follows_length=False,
        lr=1.2e-3,
        lr_width=64,
        lr_most=4.0,
        beta2=0.99,
        batch=4096,
        redraw=1.0,
        rd_lambda=0.09,
        octave_gain=1.7,
        late_gain=2.5,
    ),
    # what a surface's latents correct: see codecs.levelset
    "base": MediumDefaults(
        depth=SMALL_DEPTH,
        weights=600,
        per=1,
        power=0.0,
        widths=(4, 64),
        omega=SMALL_OMEGA,
        omega_first=SMALL_OMEGA_FIRST,
        follows_length=False,
        optimizer="soap",
        lr=1.5e-3,
        lr_width=48,
        lr_most=4.0,
        beta2=0.999,
        batch=2048,
        redraw=1.0,
        rd_lambda=0.1,
        octave_gain=4.3,
        late_gain=3.6,
    ),
    # of a surface with holes: see codecs.trim
    "trim": MediumDefaults(
        depth=SMALL_DEPTH,
        weights=300,
        per=1,
        power=0.0,
        widths=(4, 512),
        omega=SMALL_OMEGA,
        omega_first=SMALL_OMEGA_FIRST,
        follows_length=False,
        lr=4e-3,
        lr_width=12,
        lr_most=1.0,
        beta2=0.99,
        batch=2048,
        redraw=1.0,
        rd_lambda=0.1,
        octave_gain=1.7,
        late_gain=2.5,
    ),
}

#: The weights of the network of a surface's colours, and the seconds of its fit, in those of the
#: network of distances. A bit then gains about as much in either, relative to the error that it
#: has: the gains of twice the weights have this ratio.
COLOUR_WEIGHTS, COLOUR_SECONDS = 0.4, 0.5

#: Seconds of a fit at each effort, on two cores of a 2023 server. The number of steps follows from
#: them by :func:`step_seconds`, so that a command gives the same bytes on every machine.
SECONDS = {1: 4, 2: 8, 3: 16, 4: 32, 5: 64, 6: 128, 7: 300, 8: 900, 9: 2700}
#: Seconds of a step there: by itself, for each example and neuron (sines), and for each example and
#: weight (multiply-adds), forward and backward (tools/measure_steps.py).
PER_STEP, PER_NEURON, PER_WEIGHT = 1.05e-3, 3.4e-9, 2.6e-11
#: A wider network gets no further than a narrower one if it has fewer steps than this.
ENOUGH_STEPS = 200
#: The fewest and the most steps that an effort stands for.
STEP_RANGE = (100, 1_000_000)

#: The post-filter of an image: steps at each effort, examples of a step, learning rate. A picture
#: of fewer pixels than POSTFILTER_PIXELS has fewer steps in proportion.
POSTFILTER_STEPS = {1: 0, 2: 0, 3: 1000, 4: 2000, 5: 4000, 6: 6000, 7: 10000, 8: 18000, 9: 32000}
#: Steps in which a picture's latents are refined for the eye, by effort, in pictures of up to so
#: many pixels: larger ones get fewer in proportion, but no less than this share, so that time grows
#: no faster than the picture; and none where that leaves too few to gain anything.
REFINEMENT_STEPS = {1: 0, 2: 0, 3: 8, 4: 14, 5: 24, 6: 36, 7: 54, 8: 80, 9: 120}
REFINEMENT_PIXELS, LEAST_REFINEMENT, FEWEST_REFINEMENT_STEPS = 1 << 20, 0.25, 6
POSTFILTER_BATCH, POSTFILTER_LR, POSTFILTER_PIXELS = 4096, 6e-3, 100_000

#: A network of a recording's envelope: steps at each effort, examples of a step, learning rate.
ENVELOPE_STEPS = {1: 200, 2: 400, 3: 600, 4: 800, 5: 1000, 6: 2000, 7: 4000, 8: 8000, 9: 16000}
ENVELOPE_BATCH, ENVELOPE_LR = 1024, 4e-3

#: Steps of the fit of the base of a surface's latents.
BASE_STEPS = {1: 500, 2: 1000, 3: 2000, 4: 3000, 5: 5000, 6: 8000, 7: 15000, 8: 30000, 9: 60000}
#: Steps of the fit of a surface's trim.
TRIM_STEPS = {1: 500, 2: 700, 3: 1000, 4: 1250, 5: 1500, 6: 2500, 7: 4000, 8: 8000, 9: 12000}

#: The quality at which a network has its medium's ``weights``; so many more double them.
MIDDLE_QUALITY, DOUBLING_QUALITY = 50.0, 12.5
#: Bits that a packed weight usually takes, and the fewest that leave anything of the medium; the
#: narrowest network to fit into a given size; bytes of a packed tensor besides its integers.
USUAL_BITS, FEWEST_BITS, NARROWEST, TENSOR_BYTES = 6.2, 3.0, 4, 4
#: The learning rate falls with the width to this power.
LR_POWER = 0.85
#: The widest network that has its medium's optimizer; Adam trains wider ones. The decompositions of
#: SOAP grow as the third power of the width.
WIDEST_MATRICES = 256

#: Noise moves each weight by about the learning rate a step, in any direction. Weight decay stops
#: that where a hidden layer's weights have grown by this factor since their initialisation.
WEIGHT_GROWTH = 2.5

#: Activations of a layer, of all of a batch, from which a second thread pays for itself: below, it
#: takes less than a third off the time of an idle machine, and adds to that of a busy one.
WORK_OF_TWO_THREADS = 1 << 19

#: The share of INT's proportional draws that is uniform.
UNIFORM_SHARE = 0.2
#: Ratio, its schedule and the intervals' of teachers that rank all examples, as published.
PUBLISHED_SCHEDULES: dict[str, tuple[float, RatioSchedule, str]] = {
    "int": (0.2, "step", "incremental"),
    "evos": (0.5, "constant", "linear:100:50"),
    "nint": (0.2, "step", "incremental"),
}


def step_seconds(width: int, depth: int, batch: float) -> float:
    """Seconds of a step of a SIREN of these sizes, on the machine of :data:`SECONDS`."""
    neurons, weights = width * depth, width * width * (depth - 1)
    return PER_STEP + batch * (neurons * PER_NEURON + weights * PER_WEIGHT)


def worthwhile_threads(width: int, batch: int) -> int:
    """The CPU threads that a fit of these sizes can feed: of the fit alone, not of the machine.

    A few sums depend on the number of threads, in their last digits: a file must not depend on how
    many cores there are, or on what else they do.
    """
    return 2 if width * batch >= WORK_OF_TWO_THREADS else 1


def widest_network(defaults: MediumDefaults, depth: int, seconds: float) -> int:
    """The width of the widest network that has :data:`ENOUGH_STEPS` steps in ``seconds``."""
    narrowest, width = defaults.widths
    while width > narrowest and ENOUGH_STEPS * step_seconds(width, depth, defaults.batch) > seconds:
        width -= 2
    return width


def refinement_steps(effort: int, n: int) -> int:
    """The steps in which the latents of a picture of ``n`` pixels are refined; 0 for none."""
    share = min(1.0, max(REFINEMENT_PIXELS / n, LEAST_REFINEMENT))
    steps = round(REFINEMENT_STEPS[effort] * share)
    return 0 if steps < FEWEST_REFINEMENT_STEPS else steps
