"""INT's schedules and draws, against the paper's text and by their statistics."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from conftest import photo, png

from intfit.api import prepare
from intfit.networks.siren import Siren
from intfit.schedules import interval_at, ratio_at
from intfit.settings import Settings
from intfit.teachers import Evos, Full, Nint, ProportionalInt, TopInt, Uniform
from intfit.training.examples import examples_of
from intfit.training.loop import REPORT_SECONDS, Progress, fit
from intfit.training.scoring import Scorer


@pytest.fixture(autouse=True)
def on_cpu(in_empty_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run on the CPU, also where there is a GPU."""
    monkeypatch.setenv("INTFIT_DEVICE", "cpu")


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
    assert [interval_at("linear:100:50", p) for p in (0.0, 0.5, 1.0)] == [100, 75, 50]


@pytest.mark.parametrize("name", ["every:0", "every:", "linear:1", "linear:1:0", "every:1:2", "x"])
def test_an_interval_schedule_that_means_nothing_is_refused(name):
    with pytest.raises(ValueError, match="not an interval schedule"):
        interval_at(name, 0.5)


def test_greedy_int_takes_exactly_the_worst_examples():
    errors = torch.rand(100, generator=generator())
    indices = top(100).select(0, 0.0, lambda indices: errors[indices])
    assert set(indices.tolist()) == set(errors.topk(20).indices.tolist())


def test_greedy_int_learns_from_the_same_subset_between_selections():
    scored = []

    def score(indices: torch.Tensor) -> torch.Tensor:
        scored.append(len(indices))
        return torch.rand(len(indices))

    teacher = top(100, interval_schedule="every:5")
    subsets = [teacher.select(step, 0.0, score) for step in range(10)]
    assert scored == [100, 100]
    assert torch.equal(subsets[0], subsets[4])
    assert not torch.equal(subsets[4], subsets[5])


def test_greedy_int_on_a_large_signal_covers_every_example_once_an_epoch():
    teacher = top(100, batch=25, start=1.0)
    epoch = torch.cat([teacher.select(step, 0.0, no_score) for step in range(4)])
    assert sorted(epoch.tolist()) == list(range(100))


def test_draws_are_in_proportion_to_the_error_over_a_uniform_floor():
    teacher = proportional(4, batch=100_000, start=0.5)
    teacher.observe(torch.arange(4), torch.tensor([0.0, 1.0, 1.0, 2.0]))
    counts = torch.bincount(teacher.select(0, 0.0, no_score), minlength=4) / 100_000
    expected = 0.5 * torch.tensor([0.0, 0.25, 0.25, 0.5]) + 0.5 * 0.25
    assert torch.allclose(counts, expected, atol=1e-3)


def test_what_is_drawn_more_often_counts_less_until_nothing_is_biased():
    teacher = proportional(50, batch=20_000, start=0.2)
    teacher.observe(torch.arange(50), torch.rand(50, generator=generator()) ** 4)
    values = torch.arange(50.0)
    teacher.select(0, 0.0, no_score)
    assert (teacher.weights() == 1).all()
    indices = teacher.select(1, 1.0, no_score)
    assert torch.bincount(indices).max() > 3 * torch.bincount(indices).min()
    assert (values[indices] * teacher.weights()).mean() == pytest.approx(24.5, rel=0.01)


def test_examples_of_more_importance_are_drawn_more_and_count_most_in_the_end():
    importance = torch.tensor([0.5, 0.5, 1.0, 2.0])
    teacher = proportional(4, batch=100_000, start=0.5, importance=importance, importance_power=4.0)
    teacher.observe(torch.arange(4), torch.tensor([0.0, 2.0, 1.0, 1.0]))
    indices = teacher.select(0, 0.0, no_score)  # not before all else is roughly right
    expected = 0.5 * torch.tensor([0.0, 0.5, 0.25, 0.25]) + 0.5 / 4
    assert torch.allclose(torch.bincount(indices) / 100_000, expected, atol=1e-3)
    teacher.observe(torch.arange(4), torch.tensor([0.0, 2.0, 1.0, 1.0]))
    indices = teacher.select(1, 0.25, no_score)
    expected = 0.5 * torch.tensor([0.0, 0.25, 0.25, 0.5]) + 0.5 * importance / 4
    assert torch.allclose(torch.bincount(indices) / 100_000, expected, atol=1e-3)
    indices = teacher.select(2, 1.0, no_score)
    counted = torch.bincount(indices, weights=teacher.weights()) / 100_000
    # to the fourth power, but no less than a fiftieth of the largest: what counts for nothing in
    # the end would go wrong
    sharpened = torch.tensor([0.02, 0.02, 0.5**4, 1.0])
    assert torch.allclose(counted.float(), sharpened / sharpened.sum(), atol=1e-3)


def test_draws_without_selection_take_every_example_once_between_two_selections():
    teacher = proportional(200, batch=20, start=1.0, interval_schedule="every:10")
    drawn = torch.cat([teacher.select(step, 0.0, no_score) for step in range(10)])
    assert len(drawn.unique()) == 200


def test_steps_refresh_the_errors_of_the_examples_they_drew():
    teacher = proportional(10)
    for step in range(3):
        indices = teacher.select(step, 0.0, no_score)
        teacher.observe(indices, torch.where(indices == 3, 1.0, 0.0))
    assert set(teacher.select(3, 0.0, no_score).tolist()) == {3}


def test_a_signal_larger_than_the_pool_is_still_drawn_from_everywhere(monkeypatch):
    monkeypatch.setattr("intfit.teachers.proportional.POOL", 64)
    teacher = proportional(1000, batch=200, start=1.0)
    drawn = torch.cat([teacher.select(step, 0.0, no_score) for step in range(60)])
    assert len(drawn.unique()) > 900


def test_full_takes_everything_and_uniform_draws_evenly():
    assert torch.equal(
        Full(5, device=torch.device("cpu")).select(0, 0.0, no_score), torch.arange(5)
    )
    drawn = Uniform(4, batch=40_000, generator=generator()).select(0, 0.0, no_score)
    assert torch.bincount(drawn).min() > 9_700


def evos(shape: tuple[int, ...], n: int = 100) -> Evos:
    return Evos(
        n, shape=shape, batch=n, start=0.4, ratio_schedule="constant",
        interval_schedule="every:10", generator=generator(),
    )  # fmt: skip


class FixedScore:
    """Answers a teacher's questions from given residuals ``[n, c]``."""

    def __init__(self, residuals: torch.Tensor) -> None:
        self._residuals = residuals

    def residuals(self, indices: torch.Tensor) -> torch.Tensor:
        return self._residuals[indices]

    def tangent_kernel_response(self, indices: torch.Tensor) -> torch.Tensor:
        return self._residuals[indices].abs().sum(dim=1)


def test_evos_keeps_the_fittest_and_draws_the_rest_afresh():
    errors = torch.rand((100, 3), generator=generator())
    teacher = evos(())
    assert len(teacher.select(0, 0.0, FixedScore(errors))) == 100
    first, second = (set(teacher.select(step, 0.0, no_score).tolist()) for step in (1, 2))
    fittest = set(errors.sum(dim=1).topk(20).indices.tolist())
    assert len(first) == len(second) == 40
    assert fittest < first
    assert fittest < second
    assert first != second


def test_evos_on_a_grid_crosses_the_largest_errors_with_the_worst_edges():
    errors = torch.zeros(10, 10)
    errors[:, :4] = 1.0 + torch.arange(10)[:, None] / 100  # large and smooth
    errors[5, 8] = 0.9  # smaller, and all edge
    teacher = evos((10, 10))
    teacher.select(0, 0.0, FixedScore(errors.reshape(100, 1)))
    survivors = set(teacher.select(1, 0.0, no_score)[:20].tolist())
    assert {58, 90, 91} < survivors


def test_nint_ranks_by_the_response_of_the_tangent_kernel_and_draws_the_rest():
    responses = torch.rand((100, 1), generator=generator())
    teacher = Nint(
        100, batch=100, start=0.5, ratio_schedule="constant", interval_schedule="dense",
        generator=generator(),
    )  # fmt: skip
    indices = teacher.select(0, 0.0, FixedScore(responses)).tolist()
    assert len(set(indices)) == 50
    assert set(indices[:15]) == set(responses[:, 0].topk(15).indices.tolist())


def test_the_response_is_the_tangent_kernel_times_the_residuals():
    prepared = prepare(png(photo(4, 3)), Settings(field="siren", width=8, depth=2, device="cpu"))
    network = Siren(prepared.config, generator=generator())
    everything = torch.arange(12)
    examples = examples_of(prepared.signal, torch.device("cpu"))
    coords, targets = examples.gather(everything)
    parameters = list(network.parameters())
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
        for value in network(coords).flatten()
    ]
    jacobian = torch.stack(rows)
    residuals = (network(coords) - targets).detach().flatten()
    exact = (jacobian @ (jacobian.T @ residuals)).reshape(12, 3).norm(dim=1)
    before = [p.clone() for p in parameters]
    ratios = Scorer(network, examples, chunk=5).tangent_kernel_response(everything) / exact
    assert ratios.std() < 0.02 * ratios.mean()
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


def fit_by_a_clock(look: Callable[[Progress], float]) -> list[Progress]:
    """A fit of 8 s by a clock that advances at each reading, and by ``look`` at each report."""
    time = 0.0

    def now() -> float:
        nonlocal time
        time += 1 / 64  # exact, whatever it is added to
        return time

    settings = Settings(field="siren", width=8, depth=2, max_time=8, device="cpu")
    prepared = prepare(png(photo()), settings)
    network = Siren(prepared.config, generator=generator())
    examples = examples_of(prepared.signal, torch.device("cpu"))
    teacher = Uniform(examples.n, batch=64, generator=generator())
    reports = []
    for progress in fit(network, examples, teacher, prepared.plan, generator=generator(), now=now):
        if progress is not None:
            reports.append(progress)
            time += look(progress)
    return reports


def test_the_clock_of_a_fit_stands_still_while_the_caller_looks():
    brief, long = fit_by_a_clock(lambda _: 0.0), fit_by_a_clock(lambda _: 100.0)
    assert [progress.step for progress in brief] == [progress.step for progress in long]
    assert long[-1].seconds == pytest.approx(8, abs=0.1)
    assert len(long) > 10
    for before, after in pairwise(long[:-1]):
        assert after.seconds - before.seconds == pytest.approx(REPORT_SECONDS, abs=0.05)


@pytest.mark.parametrize("teacher", ["evos", "nint"])
def test_a_published_teacher_can_be_asked_for(intfit, picture, teacher):
    run = intfit(
        "encode", picture, "--field", "siren", "--teacher", teacher, "--steps", 40, "--width", 12,
        "--json", "--ratio", 0.4, "-f",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert f'"teacher": "{teacher}"' in run.out
    assert (
        intfit(
            "encode", picture, "--field", "siren", "--teacher", teacher, "--selection", "top"
        ).code
        == 2
    )
