"""INT's schedules and draws, against the paper's text and by their statistics."""

import pytest
import torch

from intfit.schedules import interval_at, ratio_at
from intfit.teachers import Full, ProportionalInt, TopInt, Uniform


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def no_score(indices: torch.Tensor) -> torch.Tensor:
    raise AssertionError("this teacher needs no scoring pass")


def top(n: int, **knobs: object) -> TopInt:
    defaults = {
        "batch": n,
        "start": 0.2,
        "ratio_schedule": "constant",
        "interval_schedule": "dense",
    }
    return TopInt(n, **(defaults | knobs), generator=generator())


def proportional(n: int, **knobs: object) -> ProportionalInt:
    defaults = {
        "batch": 1000,
        "start": 0.0,
        "ratio_schedule": "constant",
        "interval_schedule": "every:1",
    }
    return ProportionalInt(n, **(defaults | knobs), generator=generator())


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("constant", (0.2, 0.2, 0.2, 0.2)),
        ("step", (0.2, 0.2 + 0.8 * 0.2, 0.2 + 0.8 * 0.5, 0.2 + 0.8 * 0.9)),
        ("linear", (0.2, 0.4, 0.6, 1.0)),
        ("cosine", (0.2, 0.3172, 0.6, 1.0)),
        ("reverse-cosine", (0.2, 0.2, 0.2, 0.2)),
    ],
)
def test_ratio_schedules_follow_the_paper(schedule, values):
    for progress, expected in zip((0.0, 0.25, 0.5, 1.0), values, strict=True):
        assert ratio_at(schedule, progress, start=0.2) == pytest.approx(expected, abs=1e-4)


def test_the_reverse_cosine_falls_from_its_start():
    ratios = [ratio_at("reverse-cosine", p / 10, start=1.0) for p in range(11)]
    assert ratios[0] == 1.0
    assert ratios[-1] == pytest.approx(0.2)
    assert ratios == sorted(ratios, reverse=True)


def test_interval_schedules_follow_the_paper():
    assert interval_at("dense", 0.9) == 1
    phases = [interval_at("incremental", p) for p in (0.1, 0.24, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)]
    assert phases == [1, 1, 10, 20, 30, 40, 50, 50]
    assert [interval_at("decremental", p) for p in (0.0, 0.5, 0.95, 1.0)] == [90, 40, 1, 1]
    assert interval_at("every:7", 0.5) == 7


def test_greedy_int_takes_exactly_the_worst_examples():
    errors = torch.rand(100, generator=generator())
    chosen = top(100).choose(0, 0.0, lambda indices: errors[indices])
    assert set(chosen.tolist()) == set(errors.topk(20).indices.tolist())


def test_greedy_int_learns_from_the_same_subset_between_selections():
    scored = []

    def score(indices: torch.Tensor) -> torch.Tensor:
        scored.append(len(indices))
        return torch.rand(len(indices))

    teacher = top(100, interval_schedule="every:5")
    subsets = [teacher.choose(step, 0.0, score) for step in range(10)]
    assert scored == [100, 100]
    assert torch.equal(subsets[0], subsets[4])
    assert not torch.equal(subsets[4], subsets[5])


def test_greedy_int_on_a_large_signal_covers_every_example_once_an_epoch():
    teacher = top(100, batch=25, start=1.0)
    epoch = torch.cat([teacher.choose(step, 0.0, no_score) for step in range(4)])
    assert sorted(epoch.tolist()) == list(range(100))


def test_draws_are_in_proportion_to_the_error_over_a_uniform_floor():
    teacher = proportional(4, batch=100_000, start=0.5)
    teacher.observe(torch.arange(4), torch.tensor([0.0, 1.0, 1.0, 2.0]))
    counts = torch.bincount(teacher.choose(0, 0.0, no_score), minlength=4) / 100_000
    expected = 0.5 * torch.tensor([0.0, 0.25, 0.25, 0.5]) + 0.5 * 0.25
    assert torch.allclose(counts, expected, atol=1e-3)


def test_steps_refresh_the_errors_of_the_examples_they_drew():
    teacher = proportional(10)
    for step in range(3):
        chosen = teacher.choose(step, 0.0, no_score)
        teacher.observe(chosen, torch.where(chosen == 3, 1.0, 0.0))
    assert set(teacher.choose(3, 0.0, no_score).tolist()) == {3}


def test_a_signal_larger_than_the_pool_is_still_drawn_from_everywhere(monkeypatch):
    monkeypatch.setattr("intfit.teachers.proportional.POOL", 64)
    teacher = proportional(1000, batch=200, start=1.0)
    drawn = torch.cat([teacher.choose(step, 0.0, no_score) for step in range(60)])
    assert len(drawn.unique()) > 900


def test_full_takes_everything_and_uniform_draws_evenly():
    assert torch.equal(
        Full(5, device=torch.device("cpu")).choose(0, 0.0, no_score), torch.arange(5)
    )
    drawn = Uniform(4, batch=40_000, generator=generator()).choose(0, 0.0, no_score)
    assert torch.bincount(drawn).min() > 9_700
