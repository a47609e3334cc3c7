"""Files fitted at once, as one computation: on the CPU, where they come out to the bit as alone."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
import trimesh
from conftest import photo, png, tone
from PIL import Image
from test_graph import taped

from intfit import Settings
from intfit.api import prepare
from intfit.codecs.siren import together as codec
from intfit.jobs import parallelism
from intfit.jobs import together as jobs
from intfit.training import together

FIT = "--field", "siren", "--width", 16, "--depth", 3, "--batch", 256, "--json"


@pytest.fixture(autouse=True)
def _as_on_cuda(monkeypatch):
    monkeypatch.setattr(parallelism, "has_cuda", lambda device: True)


@pytest.fixture
def groups(monkeypatch):
    """The groups that are trained at once, and the steps that each has made."""
    groups = []

    class Watched(together.JointTraining):
        def __init__(self, sessions, plan):
            groups.append(self)
            self.steps = 0
            super().__init__(sessions, plan)

        def make_step(self):
            self.steps += 1
            super().make_step()

    monkeypatch.setattr(codec, "JointTraining", Watched)
    return groups


def write_pictures():
    sizes = (48, 32), (40, 32), (32, 48)
    for number, size in enumerate(sizes):
        Path(f"{number}.png").write_bytes(png(photo(*size)))
    return [f"{number}.png" for number in range(len(sizes))]


def encode(intfit, names, *options, jobs="auto", code=0):
    """The files by name, and the JSON lines."""
    run = intfit("encode", *names, *FIT, *options, "--output-dir", f"to-{jobs}", "--jobs", jobs)
    assert run.code == code, run.err
    files = {path.name: path.read_bytes() for path in Path(f"to-{jobs}").glob("*")}
    return files, [json.loads(line) for line in run.out.splitlines()]


@pytest.mark.parametrize("options", [("--profile", "packed"), ("--profile", "open")])
def test_pictures_fitted_at_once_make_the_files_that_they_make_alone(intfit, groups, options):
    names = write_pictures()
    alone, _ = encode(intfit, names, "--steps", 60, *options, jobs=1)
    assert not groups
    files, lines = encode(intfit, names, "--steps", 60, *options)
    assert [group.steps for group in groups] == [60]
    assert files == alone
    assert [(line["input"], line["steps"]) for line in lines] == [(name, 60) for name in names]


def test_so_do_surfaces_and_recordings_each_in_a_group_of_their_own(intfit, groups, small_pools):
    for number in (1, 2):
        trimesh.creation.box(extents=(number, 2, 2)).export(f"{number}.obj")
        soundfile.write(f"{number}.wav", tone(seconds=0.25 * number), 8000, subtype="PCM_16")
    names = "1.obj", "1.wav", "2.obj", "2.wav"
    options = "--steps", 120, "--omega-first", 20
    alone, _ = encode(intfit, names, *options, jobs=1)
    assert encode(intfit, names, *options)[0] == alone
    assert [len(group.sessions) for group in groups] == [2, 2]


def test_steps_replayed_for_all_at_once_make_the_same_files(intfit, monkeypatch):
    names, tapes = write_pictures(), []
    alone, _ = encode(intfit, names, "--steps", 60, jobs=1)
    monkeypatch.setattr(together, "choose_recorder", lambda device: taped(tapes))
    assert encode(intfit, names, "--steps", 60)[0] == alone
    assert len(tapes) == 2  # one more once parameters are rounded


def test_a_fit_that_starts_over_beside_others_is_what_it_is_alone(intfit, monkeypatch):
    names = write_pictures()
    noise = torch.randint(256, (32, 48, 3), generator=torch.Generator().manual_seed(0))
    Path("1.png").write_bytes(png(Image.fromarray(noise.byte().numpy())))
    monkeypatch.setattr("intfit.training.loop.STALL_AT", 0.45)  # at step 54, of no refresh of bases
    alone, _ = encode(intfit, names, "--steps", 120, jobs=1)
    restart, restarted = together._Trainer.restart, []

    def note(trainer, lr):
        restarted.append(trainer.turn)
        restart(trainer, lr)

    monkeypatch.setattr(together._Trainer, "restart", note)
    assert encode(intfit, names, "--steps", 120)[0] == alone
    assert restarted == [1]


def test_what_one_file_fails_for_ends_neither_its_group_nor_the_others(intfit, groups, monkeypatch):
    names = write_pictures()
    alone, _ = encode(intfit, names, "--steps", 60, jobs=1)
    Path("bad.png").write_bytes(Path("0.png").read_bytes()[:99])
    make_step = together.JointTraining.make_step

    def ruin(joint):
        make_step(joint)
        with torch.no_grad():
            for parameter in joint.sessions[1].network.parameters():
                parameter.fill_(float("nan"))

    monkeypatch.setattr(together.JointTraining, "make_step", ruin)
    files, lines = encode(intfit, [names[0], "bad.png", *names[1:]], "--steps", 60, code=1)
    assert [line["ok"] for line in lines] == [True, False, False, True]
    assert "diverged" in lines[2]["error"]
    assert set(alone) - set(files) == {"1.png.safetensors"}
    assert files.items() <= alone.items()


def test_where_files_cannot_be_fitted_at_once_they_are_one_by_one_and_it_is_said(
    intfit, monkeypatch
):
    names = write_pictures()
    alone, _ = encode(intfit, names, "--steps", 60, jobs=1)

    def fail(*_):
        raise RuntimeError("CUDA out of memory.\nMore")

    monkeypatch.setattr(together.JointTraining, "make_step", fail)
    with pytest.warns(UserWarning, match="slower, since 3 files .*out of memory.$"):
        files, _ = encode(intfit, names, "--steps", 60)
    assert files == alone


def test_groups_are_of_one_architecture_and_not_too_large(intfit, groups, monkeypatch):
    monkeypatch.setattr(jobs, "GROUP", 2)
    Path("grey.png").write_bytes(png(photo().convert("L")))
    encode(intfit, ["grey.png", *write_pictures()], "--steps", 20)
    assert [len(group.sessions) for group in groups] == [2]  # and two alone


@pytest.mark.parametrize(
    "other", [{"max_time": 1.0}, {"target_psnr": 20.0}, {"teacher": "uniform"}, {"field": "latent"}]
)
def test_fits_by_time_to_a_goal_or_by_another_teacher_are_made_alone(other):
    def kin(**settings):
        settings = {"field": "siren", "width": 16, "device": "cpu"} | settings
        return codec.kin(prepare(png(photo()), Settings(**settings)))

    assert kin() is not None
    assert kin() != kin(steps=77)
    assert kin(**other) is None


def test_an_interrupt_ends_the_group_and_says_what_is_written(intfit, groups, monkeypatch):
    def interrupt(joint):
        raise KeyboardInterrupt

    monkeypatch.setattr(together.JointTraining, "make_step", interrupt)
    encode(intfit, write_pictures(), "--steps", 60, code=130)
    assert not list(Path("to-auto").glob("*"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("width", [16, 40, 144])  # by each kind of kernel
def test_on_cuda_networks_fitted_at_once_are_as_good_as_alone(intfit, groups, width):
    options = "--device", "cuda", "--width", width, "--steps", 300
    names = write_pictures()
    _, alone = encode(intfit, names, *options, jobs=1)
    _, lines = encode(intfit, names, *options)
    assert [group.steps for group in groups] == [300]
    for one, other in zip(alone, lines, strict=True):
        assert other["device"].startswith("cuda")
        assert other["distortion"] == pytest.approx(one["distortion"], abs=1.5)
