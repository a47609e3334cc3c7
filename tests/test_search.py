"""Goals: the smallest network that reaches a distortion asked for."""

import json
import math
import re

import pytest

from intfit.codecs.siren.width_search import COST, NEAR, TRIAL, search


class Medium:
    """Fits that behave as real ones do: each doubling of the weights gains less, trials lag."""

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
    medium = Medium(goal, bend=bend, late=late)
    search(medium.score, start=40, widest=400, octave_gain=1.7, late_gain=2.0)
    assert medium.cost <= COST
    assert any(-0.1 <= above <= NEAR + 0.4 for _, above in medium.whole), medium.whole


def test_a_search_that_guesses_well_takes_one_whole_fit():
    medium = Medium(33)
    search(medium.score, start=40, widest=400, octave_gain=2.0, late_gain=2.0)
    assert len(medium.whole) == 1
    assert medium.cost <= 1 + 2 * TRIAL


def test_a_goal_out_of_reach_takes_the_widest_network():
    medium = Medium(60)
    search(medium.score, start=40, widest=100, octave_gain=2.0, late_gain=2.0)
    assert [width for width, _ in medium.whole] == [100]


def test_a_target_psnr_is_reached_by_a_smaller_network_the_lower_it_is(intfit, picture):
    found = {}
    for wanted in (20, 23):
        run = intfit("encode", picture, "-f", "--steps", 300, "--target-psnr", wanted, "--json")
        assert run.code == 0, run.err
        found[wanted] = json.loads(run.out)
        assert found[wanted]["distortion"] >= wanted
    assert found[20]["bytes_out"] < found[23]["bytes_out"]


def test_a_target_snr_and_a_target_distance_are_searched_for_too(intfit, recording, ball):
    run = intfit("encode", recording, "--steps", 200, "--target-snr", 8, "--json")
    assert json.loads(run.out)["distortion"] >= 8
    run = intfit("encode", ball, "--effort", 1, "--depth", 3, "--target-distance", 0.5, "-v")
    assert run.code == 0
    reached = re.search(r"note: ([\d.]+) % mean distance", run.err)
    assert reached, run.err
    assert float(reached[1]) <= 0.5
    assert 3 <= run.err.count("SIREN") <= 4  # every fit of the search says what it tries


def test_a_goal_that_is_missed_is_said(intfit, picture):
    run = intfit("encode", picture, "--steps", 20, "--width", 8, "--target-psnr", 50)
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
