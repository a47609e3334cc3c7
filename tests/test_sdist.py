"""The source distribution: all that it takes to build, install and test intfit is in it."""

import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: What is needed besides the code: by the tests, by `make` and by the site.
FOLDERS = ("intfit", "tests", "samples", "docs", "tools")
FILES = (
    "constraints.txt", "pyproject.toml", "Makefile", "mkdocs.yml", "README.md", "CHANGELOG.md",
    "LICENSE", ".gitignore",
)  # fmt: skip


def sources(*folders: str) -> set[str]:
    """The files in folders of the repository, but for caches, relative to its root."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built and unpacked."""
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("sdist")
    (archive,) = sdist.SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def test_it_holds_what_the_build_the_tests_and_the_site_need(unpacked):
    wanted = sources(*FOLDERS) | set(FILES)
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert wanted <= held, wanted - held
    for name in wanted:
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes(), name
    # and little else: no demo, no caches, no environment
    assert held - wanted == {"PKG-INFO"}


def test_a_wheel_built_from_it_holds_the_whole_package(unpacked, tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    (archive,) = wheel.WheelBuilder(str(unpacked)).build(
        directory=str(tmp_path), versions=["standard"]
    )
    with zipfile.ZipFile(archive) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in file.namelist() if name.endswith("entry_points.txt"))
        assert "intfit = intfit.__main__:main" in file.read(entry_points).decode()
    assert names == sources("intfit")
