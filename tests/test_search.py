"""Goals: the smallest network that reaches a distortion asked for."""

import json
import math
from dataclasses import replace

import pytest

from intfit import Settings
from intfit.api import prepare
from intfit.codecs.protocol import Encoding, Hooks, goal_notes
from intfit.codecs.siren import width_search
from intfit.codecs.siren.width_search import NEAR, SEARCH_COST, TRIAL_SHARE, search
from intfit.defaults import MEDIUM_DEFAULTS
from intfit.settings import Goal, goal_of

#: Training steps of a whole fit.
STEPS = 1000


@pytest.fixture(autouse=True)
def on_cpu(in_empty_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run on the CPU, also where there is a GPU."""
    monkeypatch.setenv("INTFIT_DEVICE", "cpu")


class Fits:
    """Results of fits, as real ones are: each doubling of the weights gains less, trials lag."""

    def __init__(self, goal: float, *, bend: float = 0.0, late: float = 2.0) -> None:
        self.goal, self.bend, self.late = goal, bend, late
        self.whole: list[tuple[int, float]] = []
        self.cost = 0.0

    def score(self, width: int, share: float) -> float:
        octaves = 2 * math.log2(width / 40)
        value = 30 + 2 * octaves - self.bend * octaves**2 - (self.late if share < 1 else 0)
        self.cost += share
        if share == 1:
            self.whole.append((width, value - self.goal))
        return value - self.goal


@pytest.mark.parametrize("goal", [24, 28, 30, 31.5, 35])
@pytest.mark.parametrize("bend", [0.0, 0.08])
@pytest.mark.parametrize("late", [1.0, 2.0, 3.5])
def test_a_goal_is_met_closely_in_little_more_than_two_fits(goal, bend, late):
    fits = Fits(goal, bend=bend, late=late)
    search(fits.score, start=40, widest=400, octave_gain=1.7, late_gain=2.0)
    assert fits.cost <= SEARCH_COST
    assert any(-0.1 <= above <= NEAR + 0.4 for _, above in fits.whole), fits.whole


def test_a_search_that_guesses_well_takes_one_whole_fit():
    fits = Fits(33)
    search(fits.score, start=40, widest=400, octave_gain=2.0, late_gain=2.0)
    assert len(fits.whole) == 1
    assert fits.cost <= 1 + 2 * TRIAL_SHARE


def test_a_goal_out_of_reach_takes_the_widest_network():
    fits = Fits(60)
    search(fits.score, start=40, widest=100, octave_gain=2.0, late_gain=2.0)
    assert [width for width, _ in fits.whole] == [100]


@pytest.fixture
def instant_fits(monkeypatch):
    """Fits of no time, whose quality grows with the number of weights; their plans."""
    plans = []

    def fit(prepared, hooks):
        plans.append(prepared.plan)
        decibels = 8 + 3 * math.log2(prepared.config.count() / 500)
        if prepared.plan.steps < STEPS:  # a trial
            decibels -= MEDIUM_DEFAULTS[prepared.kind].late_gain
        distance = prepared.plan.goal.metric == "mean_distance"
        return Encoding(
            data=bytes(prepared.config.count()),
            config=prepared.config,
            network="",
            distortion=decibels,
            reached=10 ** (-decibels / 20) if distance else decibels,
            steps=prepared.plan.steps,
            seconds=1.0,
            teacher="",
            notes=(),
        )

    monkeypatch.setattr(width_search, "fit", fit)
    return plans


@pytest.mark.usefixtures("small_pools")
@pytest.mark.parametrize(
    ("medium", "goals"),
    [
        ("picture", [{"target_psnr": 18.0}, {"target_psnr": 14.0}]),
        ("recording", [{"target_snr": 20.0}, {"target_snr": 16.0}]),
        ("ball", [{"target_distance": 0.08}, {"target_distance": 0.16}]),
    ],
)
def test_a_lower_goal_is_reached_by_a_smaller_network(medium, goals, instant_fits, request):
    path = request.getfixturevalue(medium)
    asked = Settings(field="siren", steps=STEPS, device="cpu", **goals[0])
    prepared = prepare(path.read_bytes(), asked, suffix=path.suffix)
    sizes = []
    for goal in goals:
        settings = replace(asked, **goal)
        plan = replace(prepared.plan, goal=goal_of(settings))
        encoding = width_search.search_width(
            replace(prepared, settings=settings, plan=plan), Hooks()
        )
        assert -0.001 <= plan.goal.margin(encoding.reached) <= NEAR + 0.4
        sizes.append(len(encoding.data))
        assert encoding.seconds == len(instant_fits) <= 4
        assert instant_fits[0].steps == round(TRIAL_SHARE * STEPS)
        assert instant_fits[-1].steps == STEPS
        instant_fits.clear()
    assert sizes[0] > sizes[1]


def test_the_file_that_a_search_ends_with_reaches_the_goal_as_stored(intfit, picture):
    run = intfit(
        "encode",
        picture,
        "--field",
        "siren",
        "--steps",
        150,
        "--depth",
        3,
        "--target-psnr",
        12,
        "--json",
        "-v",
    )
    assert run.code == 0, run.err
    assert json.loads(run.out)["distortion"] >= 12
    assert 3 <= run.err.count("SIREN") <= 4  # every fit of the search says what it tries


def test_a_distance_that_is_reached_is_noted_for_the_summary_has_another_metric():
    goal = Goal("mean_distance", 0.5)
    assert goal_notes(goal, 0.25) == ("0.25 % mean distance",)
    (note,) = goal_notes(goal, 0.75)
    assert note.startswith("0.75 % mean distance as stored, not the 0.5 asked for")
    assert goal_notes(Goal("psnr", 30), 31) == ()


def test_a_goal_that_is_missed_is_said(intfit, picture):
    run = intfit(
        "encode", picture, "--field", "siren", "--steps", 20, "--width", 8, "--target-psnr", 50
    )
    assert run.code == 0
    assert "not the 50 asked for" in run.err


def test_goals_must_suit_the_medium_and_each_other(intfit, picture):
    run = intfit("encode", picture, "--target-snr", 20)
    assert run.code == 2
    assert "--target-snr is not for" in run.err
    assert intfit("encode", picture, "--target-snr", 20, "--target-psnr", 20).code == 2
    run = intfit("encode", picture, "--target-psnr", 20, "--save-selection", "maps")
    assert run.code == 2
    assert "--width" in run.err
