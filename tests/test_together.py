"""Files fitted at once, as one computation: on the CPU, where they come out to the bit as alone."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
import trimesh
from conftest import photo, png, tone
from test_graph import taped

from intfit.jobs import parallelism, together
from intfit.training import loop, optimizers
from intfit.training import together as training
from intfit.training.gradients import choice

FIT = "--field", "siren", "--width", 16, "--depth", 3, "--batch", 256, "--device", "auto", "--json"


@pytest.fixture(autouse=True)
def _as_on_cuda(monkeypatch):
    monkeypatch.setattr(parallelism, "has_cuda", lambda device: True)


@pytest.fixture
def groups(monkeypatch):
    """The sizes of the groups that are trained at once."""
    sizes = []

    class Counted(training.JointTraining):
        def __init__(self, sessions, plan):
            sizes.append(len(sessions))
            super().__init__(sessions, plan)

    monkeypatch.setattr("intfit.codecs.siren.together.JointTraining", Counted)
    return sizes


def write_pictures():
    sizes = (48, 32), (40, 32), (32, 48)
    for number, size in enumerate(sizes):
        Path(f"{number}.png").write_bytes(png(photo(*size)))
    return [f"{number}.png" for number in range(len(sizes))]


def encoded(intfit, names, *options, jobs, code=0):
    run = intfit("encode", *names, *FIT, *options, "--output-dir", jobs, "--jobs", jobs)
    assert run.code == code, run.err
    return {path.name: path.read_bytes() for path in Path(str(jobs)).iterdir()}, run


@pytest.mark.parametrize("options", [("--profile", "packed"), ("--profile", "open")])
def test_pictures_fitted_at_once_make_the_files_that_they_make_alone(intfit, groups, options):
    names = write_pictures()
    alone, _ = encoded(intfit, names, "--steps", 60, *options, jobs=1)
    assert not groups
    at_once, run = encoded(intfit, names, "--steps", 60, *options, jobs="auto")
    assert groups == [3]
    assert at_once == alone
    assert [json.loads(line)["input"] for line in run.out.splitlines()] == names
