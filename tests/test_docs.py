"""README and docs: commands that work, links that lead somewhere, reference that is true."""

import ast
import hashlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference

ROOT = Path(__file__).resolve().parents[1]
DOCS, VECTORS = ROOT / "docs", ROOT / "docs" / "reference" / "vectors"
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FORMAT = (DOCS / "reference" / "file-format.md").read_text()
#: The networks that are part of the format.
DIGESTS = re.findall(r"`([0-9a-f]{64})`", FORMAT)


# --- README --------------------------------------------------------------------------------------


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next one of its rank."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_readme_fits_on_a_screen_and_names_the_test_command():
    assert len(README.splitlines()) < 150
    assert re.findall(r"^    (make test)\b.*", README, re.MULTILINE) == ["make test"]


def test_the_quick_start_works_as_it_stands(tmp_path, monkeypatch):
    """In a fresh copy of the samples, in order."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    environment = os.environ | {"INTFIT_DEVICE": "cpu", "INTFIT_THREADS": "1"}
    commands = re.findall(r"^    (intfit .*)", section(README, "Quick start"), re.MULTILINE)
    assert len(commands) > 8
    for command in commands:
        arguments = [sys.executable, "-m", "intfit", *shlex.split(command)[1:]]
        run = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert run.returncode == 0, f"{command}: {run.stderr.decode()}"
    outputs = {path.name for path in (tmp_path / "out").iterdir()}
    named = {Path(o).name for o in re.findall(r" -o (\S+)", section(README, "Quick start"))}
    assert outputs == named
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", section(README, "Quick start"), re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)
    assert str(found["png"])[2:].startswith("\\x89PNG")


# --- links ---------------------------------------------------------------------------------------


def prose(page: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^    .*", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`]*`", lambda code: code[0].replace("[", "").replace("]", ""), text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {re.sub(r" +", "-", heading.strip()) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if page.is_relative_to(DOCS):
            assert file.is_relative_to(DOCS), f"{target} is not part of the site"
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_files_that_the_format_names_are_there():
    for name in re.findall(r"`(?:tests|docs)/[\w./-]+`", FORMAT):
        assert (ROOT / name.strip("`")).exists(), name
    digests = {hashlib.sha256(f.read_bytes()).hexdigest(): f.name for f in shipped_files()}
    for name, digest in re.findall(r"`([\w-]+\.safetensors)`[^`]*`([0-9a-f]{64})`", FORMAT):
        assert digests[digest] == name
    assert len(DIGESTS) == 8


def shipped_files() -> list[Path]:
    return sorted((ROOT / "intfit").rglob("*.safetensors"))


# --- reference -----------------------------------------------------------------------------------


def test_the_command_line_reference_is_what_the_help_says():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_reference
    finally:
        sys.path.pop(0)
    written, now = make_reference.PAGE.read_text(), make_reference.page()
    assert written == now, "run python tools/make_reference.py"


@pytest.mark.parametrize("tool", sorted((ROOT / "tools").glob("*.py")), ids=lambda tool: tool.stem)
def test_every_tool_starts_and_says_what_it_does(tool, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", [str(tool), "--help"])
    monkeypatch.syspath_prepend(tool.parent)  # as if it were run by its path
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(tool), run_name="__main__")
    assert not left.value.code
    told = " ".join(capsys.readouterr().out.split())
    about = " ".join(ast.get_docstring(ast.parse(tool.read_text())).split())
    assert about[:20] in told


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify", "test", "export"])
def test_json_keys_are_documented(command, intfit):
    more = ("--against", "nothing.png") if command == "verify" else ()
    keys = json.loads(intfit(command, "nothing.safetensors", *more, "--json").out)
    documented = []
    for line in (DOCS / "reference" / "json.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and (cells[2] == "all" or command in cells[2].split(", ")):
            documented += re.findall(r"`(\w+)`", cells[1])
    assert sorted(documented) == sorted(keys)


def test_python_settings_are_documented():
    import dataclasses

    from intfit import Settings

    text = section((DOCS / "reference" / "python.md").read_text(), "intfit.Settings")
    rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    names = {setting.name for setting in dataclasses.fields(Settings)}
    assert set(re.findall(r"`(\w+)`", rows)) == names


# --- the file format, by a decoder that knows only its specification -----------------------------


def vector(name: str) -> tuple[dict, dict, dict]:
    """What must be found in a file; its header and its tensors."""
    expected = json.loads((VECTORS / f"{name}.json").read_text())
    data = (VECTORS / f"{name}.safetensors").read_bytes()
    assert len(data) < 3000
    header, tensors = reference.read_container(data)
    assert header == expected["header"]
    return expected, header, tensors


def check_integers(expected: dict, found: dict) -> None:
    assert expected
    for name, told in expected.items():
        flat = np.asarray(found[name]).astype("<i4").ravel()
        assert len(flat) == told["count"], name
        assert [[i, flat[i]] for i in np.flatnonzero(flat)[:12]] == told["first"], name
        assert hashlib.sha256(flat.tobytes()).hexdigest() == told["sha256"], name


def check_pixels(expected: dict, found: np.ndarray) -> None:
    told = expected["pixels"]
    wanted = np.frombuffer(bytes.fromhex(told["hex"]), np.uint8).reshape(told["shape"])
    found = found[:: expected["every"], :: expected["every"]]
    assert np.abs(found - wanted.astype(int)).max() <= 1


def check_values(expected: dict, found: list) -> None:
    assert np.abs(np.array(found) - expected["values"]).max() < 2e-4


def test_range_coder_vector():
    told = json.loads((VECTORS / "range-coder.json").read_text())
    decoder = reference.RangeDecoder(bytes.fromhex(told["hex"]))
    for part in told["parts"]:
        if "weights" in part:
            bounds = reference.cumulative(part["weights"])
            found = [decoder.symbol(bounds) for _ in part["symbols"]]
        else:
            found = [decoder.uniform(part["uniform"]) for _ in part["symbols"]]
        assert found == part["symbols"]


@pytest.mark.parametrize("name", ["siren-colours", "siren-neurons"])
def test_siren_vectors_of_surfaces_with_colours(name):
    expected, header, tensors = vector(name)
    networks = {"": (1, header["siren"][:4]), "colours.": (3, header["siren"][4:8])}
    own_steps, shapes = bool(header["siren"][9:]), {}
    for prefix, (outside, (width, depth, *_)) in networks.items():
        if own_steps:
            shapes[f"{prefix}steps"] = depth - 1, width
        for key, shape in reference.siren_shapes(3, outside, width, depth).items():
            shapes[prefix + key] = shape
    integers, parameters = reference.packed_parameters(tensors["payload"][2], shapes)
    check_integers(expected["integers"], integers)
    coordinates = np.array(expected["coordinates"])
    values = [
        reference.siren(reference.with_prefix(parameters, prefix), network, coordinates)
        for prefix, (_, network) in networks.items()
    ]
    check_values(expected, np.hstack(values))


def test_siren_vector_of_an_open_surface():
    expected, header, tensors = vector("siren-trim")
    (width, depth, *_), trim_width = header["siren"], header["mesh"][8]
    shapes = {"steps": (depth - 1, width), **reference.siren_shapes(3, 1, width, depth)}
    for key, shape in reference.siren_shapes(3, 1, trim_width, 3).items():
        shapes[f"trim.{key}"] = shape
    integers, parameters = reference.packed_parameters(tensors["payload"][2], shapes)
    check_integers(expected["integers"], integers)
    own = {key: value for key, value in parameters.items() if not key.startswith("trim.")}
    coordinates = np.array(expected["coordinates"])
    check_values(expected, reference.siren(own, header["siren"][:4], coordinates))
    trim = reference.with_prefix(parameters, "trim.")
    values = reference.siren(trim, (trim_width, 3, 15.0, 30.0), coordinates)
    check_values({"values": expected["trim"]}, values)
    assert values.min() < 0 < values.max()


@pytest.mark.parametrize(
    "name", ["siren-image", "siren-open", "siren-mesh", "siren-creases", "siren-metadata"]
)
def test_siren_vectors(name):
    expected, header, tensors = vector(name)
    width, depth, *_ = header["siren"]
    if "payload" in tensors:
        inside, outside = (2, 3) if "image" in header else (3, 1 + 2 * sum(header["siren"][8:]))
        shapes = reference.siren_shapes(inside, outside, width, depth)
        integers, parameters = reference.packed_parameters(tensors["payload"][2], shapes)
        check_integers(expected["integers"], integers)
    else:
        parameters = reference.open_parameters(tensors)
    coordinates = np.array(expected["coordinates"])
    check_values(expected, reference.siren(parameters, header["siren"], coordinates))
    if "image" in header:
        columns, rows, mode = header["image"]
        values = reference.siren(parameters, header["siren"], reference.grid(rows, columns))
        check_pixels(expected, reference.pixels(values, mode).reshape(rows, columns, -1))


@pytest.mark.parametrize(
    "name",
    [
        "latent-image",
        "latent-postfilter",
        "latent-decoder",
        "latent-modulated",
        "latent-two-scales",
        "latent-trellis",
        "latent-visual-trellis",
        "latent-visual",
        "latent-version-4",
    ],
)
def test_latent_image_vectors(name):
    expected, header, tensors = vector(name)
    first, *networks, second = (
        reference.shipped(ROOT / "intfit", digest) for digest in DIGESTS[:-2]
    )
    shipped = networks[: [*header["latent"], None, None][2] or 0]
    payload = tensors["payload"][2]
    *parts, integers = reference.image_latents(payload, header, 3, (first, second))
    check_integers(expected["integers"], integers)
    samples = reference.image_samples(header, *parts, shipped)
    check_pixels(expected, reference.pixels(samples, header["image"][2]))
    rows, columns, _ = samples.shape
    longest = max(rows, columns)
    places = [
        ((y * longest + rows - 1) / 2, (x * longest + columns - 1) / 2)
        for y, x in expected["coordinates"]
    ]
    check_values(expected, [reference.image_between(samples, *place) for place in places])


def test_palette_vector():
    expected, header, tensors = vector("palette-image")
    colours, indices = map(np.array, reference.palette_picture(tensors["payload"][2], header, 3))
    check_integers(expected["integers"], {"colours": colours, "indices": indices})
    samples = colours[indices] / 127.5 - 1
    check_pixels(expected, reference.pixels(samples, header["image"][2]))
    rows, columns = indices.shape
    places = [
        ((y * rows + rows - 1) / 2, (x * rows + columns - 1) / 2)
        for y, x in expected["coordinates"]
    ]
    check_values(expected, [reference.image_between(samples, *place) for place in places])


@pytest.mark.parametrize("name", ["latent-mesh", "latent-base"])
def test_latent_surface_vector(name):
    expected, header, tensors = vector(name)
    grid = reference.surface_latents(tensors["payload"][2], header)
    check_integers(expected["integers"], {"coefficients": grid})
    places = expected["coordinates"]
    values = [[reference.surface_between(grid, header, place)] for place in places]
    check_values(expected, values)
    if name == "latent-base":
        trim = reference.surface_trim(tensors["payload"][2], header, np.array(places))
        check_values({"values": expected["trim"]}, trim)


def test_latent_audio_vector():
    expected, header, tensors = vector("latent-audio")
    frames, channels, *_ = header["audio"]
    mixing, sizes, latents, noise = reference.audio_latents(tensors["payload"][2], channels, frames)
    blocks = np.repeat(sizes, np.array(sizes) // 256)
    check_integers(expected["integers"], {"latents": latents, "blocks": blocks})
    step = 2.0 ** (-header["latent"][0] / 24)
    samples = reference.audio_samples(mixing, sizes, latents, noise, step, frames)
    wanted = np.array(expected["samples"]).reshape(-1, channels)
    assert np.abs(samples[:: expected["every"]].clip(-1, 1) - wanted).max() < 1e-4
    places = [(t * frames + frames - 1) / 2 for (t,) in expected["coordinates"]]
    check_values(expected, [reference.audio_between(samples, place) for place in places])


@pytest.mark.parametrize("name", ["latent-envelope", "latent-bands"])
def test_envelope_audio_vector(name):
    expected, header, tensors = vector(name)
    frames, channels, *_ = header["audio"]
    networks = reference.shipped(ROOT / "intfit", DIGESTS[-2])
    parts = reference.envelope_latents(tensors["payload"][2], header, networks)
    blocks = np.repeat(parts[1], np.array(parts[1]) // 256)
    levels = np.concatenate(parts[3])
    check_integers(expected["integers"], {"latents": parts[2], "blocks": blocks, "levels": levels})
    samples = reference.envelope_samples(header, *parts)
    wanted = np.array(expected["samples"]).reshape(-1, channels)
    assert np.abs(samples[:: expected["every"]].clip(-1, 1) - wanted).max() < 1e-4
    places = [(t * frames + frames - 1) / 2 for (t,) in expected["coordinates"]]
    check_values(expected, [reference.audio_between(samples, place) for place in places])


def test_waveform_audio_vector():
    expected, header, tensors = vector("latent-waveform")
    frames, channels, *_ = header["audio"]
    network = reference.shipped(ROOT / "intfit", DIGESTS[-1])
    parts = reference.waveform_latents(tensors["payload"][2], header, network)
    blocks = np.repeat(parts[1], np.array(parts[1]) // 256)
    check_integers(expected["integers"], {"latents": parts[2], "blocks": blocks})
    samples = reference.waveform_samples(header, *parts)
    wanted = np.array(expected["samples"]).reshape(-1, channels)
    assert np.abs(samples[:: expected["every"]].clip(-1, 1) - wanted).max() < 1e-4
    places = [(t * frames + frames - 1) / 2 for (t,) in expected["coordinates"]]
    check_values(expected, [reference.audio_between(samples, place) for place in places])


def test_constants_of_the_second_decoder_are_those_of_the_page():
    """What the decoder is tested with is what the page says."""
    from reference_decoder import audio, image

    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in FORMAT.splitlines()
        if line.startswith("|")
    ]
    norms = list(zip(*image.NORMS, strict=True))
    for kinds, row in zip(("0, 1", "2"), norms, strict=True):
        assert [kinds, *map(str, row)] in rows
    names = (
        "pair(current, 0)", "pair(current, 0)", "before", "pair(before, 1)", "pair(before, 2)",
        "earlier", "pair(earlier, 1)", "mean", "pair(mean, 1)",
        "pair(mean, 2) + pair(mean, 3) + pair(mean, 4)", "other", "pair(other, 1)",
    )  # fmt: skip
    weights = {name: [0, 0, 0] for name in (*names, *(f"pair(current, {k})" for k in (1, 2, 3)))}
    for turn, (row, apart) in enumerate(zip(audio.WEIGHTS, audio.APART, strict=True)):
        near = [f"pair(current, {k})" for k in apart]
        for name, weight in zip((*near, *names[2:]), row, strict=True):
            weights[name][turn] += weight
    assert weights.pop("pair(current, 0)") == [0, 0, 0]
    for name, three in weights.items():
        assert [name, *map(str, three)] in rows
    for constant in (*image.STEPS, image.SCALE):
        assert str(abs(constant)) in FORMAT
    for share in image.BAND_STEPS[1]:
        assert f"{share}/16" in FORMAT
    flat = " ".join(FORMAT.split())
    assert ", ".join(map(str, audio.BANDS)) in flat
    assert ", ".join(map(str, image.NEIGHBOURS)) in flat
    for factor, shift in audio.SCRAMBLE:
        assert f"z = z * 0x{factor:X}; z ^= z >> {shift}" in flat


def test_the_second_decoder_is_independent():
    for file in (ROOT / "tests" / "reference_decoder").glob("*.py"):
        imports = re.findall(r"^\s*(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE)
        foreign = {name.split(".")[0] for name in imports if not name.startswith(".")}
        assert foreign <= {*sys.stdlib_module_names, "numpy"}, file
