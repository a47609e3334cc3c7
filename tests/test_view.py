"""`intfit view`: the page it makes, in a real browser where there is one."""

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from conftest import photo, tone
from PIL import Image

import intfit as library
from intfit.cli.view import match_originals
from intfit.limits import Limits
from intfit.media.formats import paint
from intfit.view import Item, make_item, make_page, pictures, surfaces

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Levels of 8 bits by which what a browser draws may differ from what decode writes.
SAME = 2


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window, which computes WebGL on the processor."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    switches = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=path, args=[*switches, "--no-sandbox", "--mute-audio"]
        )
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Show a page, wait until all of it is drawn, and fail if it complains or loads anything."""
    heard: list[str] = []
    opened = []

    def listen(name: str) -> None:
        if not name.startswith(("file:", "blob:", "data:")):
            heard.append(f"it loads {name}")

    def complain(message: Any) -> None:
        # reading pixels back, as these tests do, is slow, and Chromium says so
        if message.type in ("error", "warning") and "ReadPixels" not in message.text:
            heard.append(message.text)

    def open_page(path: Path, width: int = 420, height: int = 400) -> Any:
        page = chromium.new_page(viewport={"width": width, "height": height})
        opened.append(page)
        page.on("console", complain)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: listen(request.url))
        page.emulate_media(reduced_motion="reduce")
        page.goto(path.resolve().as_uri())
        wait(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert heard == []


def wait(page: Any) -> None:
    """Wait until everything in a page is drawn."""
    page.wait_for_function(
        "() => shown.length && [...document.querySelectorAll('.stage canvas, .solid canvas')]"
        ".every((canvas) => canvas.dataset.state === 'drawn')"
    )


def canvas_pixels(page: Any, selector: str = ".stage canvas") -> np.ndarray:
    """The pixels ``[H, W, 4]`` of a canvas."""
    url = page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(image.convert("RGBA"), np.int16)


def decoded(name: Path, **asked: Any) -> np.ndarray:
    """What decode writes, as RGBA pixels."""
    image = Image.open(io.BytesIO(library.decode(str(name), suffix=".png", **asked).data))
    if image.mode == "I;16":  # a page shows 8 bits, from the least value to the greatest
        low, high = (library.info(name)["facts"][end] for end in ("low", "high"))
        levels = (np.asarray(image, float) - low) * (255 / (high - low))
        image = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGBA"), np.int16)


def make_files() -> list[Path]:
    """A file of each kind of pixels: as a SIREN whose width is no multiple of four, and latents."""
    colours = photo()
    clear = colours.convert("RGBA")
    clear.putalpha(colours.convert("L"))
    deep = Image.fromarray(np.asarray(colours.convert("L")).astype(np.uint16) * 257)
    sources = {
        "rgb": colours, "grey": colours.convert("L"), "clear": clear, "greys": clear.convert("LA"),
        "few": colours.quantize(5), "bits": colours.convert("1"), "deep": deep,
        "one": Image.new("RGB", (9, 5), (10, 200, 30)),
    }  # fmt: skip
    siren = library.Settings(field="siren", width=13, depth=3, steps=40)
    for name, image in sources.items():
        image.save(f"{name}.png")
        settings = siren if name in ("rgb", "few") else library.Settings(effort=1, quality=90)
        library.encode(f"{name}.png", settings, path=f"{name}.safetensors")
    return [Path(f"{name}.safetensors") for name in sources]


# --- pictures ------------------------------------------------------------------------------------


def test_the_shader_gives_the_pixels_that_decode_writes(show):
    files = [GOLDEN / f"{name}.safetensors" for name in ("image", "latent")] + make_files()
    Path("page.html").write_text(make_page([make_item(file) for file in files]))
    page = show(Path("page.html"))
    for number, file in enumerate(files):
        facts = library.info(file)["facts"]
        width, height = facts["width"], facts["height"]
        part = (width / 3, height / 5, width / 2, height / 3)
        for region, size in (
            ((0, 0, width, height), (width, height)),  # as it is
            (part, (97, 41)),  # enlarged
            ((0, 0, width, height), (width // 2, height // 3)),  # averaged over each pixel
        ):
            asked = [number, list(region), *size]
            drawn = page.evaluate(
                "([n, region, w, h]) => [...shown[n].render(region, w, h)]", asked
            )
            wanted = decoded(file, region=region, size=size)
            off = np.abs(np.array(drawn).reshape(wanted.shape) - wanted).max(axis=2)
            if facts["mode"] in ("P", "1"):  # a level more or less may choose another colour
                assert (off > SAME).mean() < 0.03, (file.name, size)
            else:
                assert off.max() <= SAME, (file.name, size)


def test_the_original_ends_at_the_slider(show, intfit, picture):
    intfit("encode", picture, "-e", "1", "-q", "0", "-o", "a.safetensors")
    assert intfit("view", "a.safetensors", "--against", picture, "-o", "page.html").code == 0
    page = show(Path("page.html"))
    slider = page.get_by_role("slider")
    original = canvas_pixels_at(page, slider, 100)
    ours = canvas_pixels_at(page, slider, 0)
    assert np.abs(original - ours)[..., :3].max() > 8
    half = canvas_pixels_at(page, slider, 50)
    middle = half.shape[1] // 2
    left, right = slice(middle - 2), slice(middle + 2, None)
    for part, whole in ((left, original), (right, ours)):
        # where a pixel ends may be drawn a little differently
        assert (half[:, part] != whole[:, part]).mean() < 0.02
    assert (half[:, left] != ours[:, left]).mean() > 0.3
    # by keyboard, and by dragging the line
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > 50
    box = page.locator(".handle").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] - 60, box["y"] + 20)
    page.mouse.up()
    assert float(slider.input_value()) < 45


def canvas_pixels_at(page: Any, slider: Any, value: int) -> np.ndarray:
    """The pixels of a picture with the slider there."""
    slider.fill(str(value))
    return canvas_pixels(page)


def test_a_picture_is_zoomed_and_moved_by_keyboard_and_what_is_seen_is_what_decode_gives(show):
    file = GOLDEN / "image.safetensors"
    Path("page.html").write_text(make_page([make_item(file)]))
    page = show(Path("page.html"))
    page.locator(".stage canvas").focus()
    frame = "() => getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("+")  # from here on the focus is the keyboard's
    assert page.evaluate(frame) == "solid"
    for key in ("+", "+", "+", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    wait(page)
    view = page.evaluate("() => shown[0].view")
    seen = canvas_pixels(page)
    height, width = seen.shape[:2]
    region = (view["left"], view["top"], width * view["across"], height * view["down"])
    assert region[2] < 48 / 4
    wanted = decoded(file, region=region, size=(width, height))
    assert np.abs(seen - wanted).max() <= SAME
    page.keyboard.press("0")
    wait(page)
    assert page.evaluate("() => shown[0].view.left") == pytest.approx(0, abs=0.05)


def test_large_pictures_and_networks_are_cut_down_and_the_caption_says_so(monkeypatch, picture):
    monkeypatch.setattr(pictures, "LONGEST_SIDE", 20)
    item = make_item(GOLDEN / "latent.safetensors")
    assert (item.picture["width"], item.picture["height"]) == (20, 13)
    assert "20 x 13" in item.notes[0]
    assert make_item(GOLDEN / "image.safetensors").picture["width"] == 48  # of which none is stored
    monkeypatch.setattr(pictures, "WIDEST", 8)
    item = make_item(GOLDEN / "image.safetensors")
    assert item.picture["field"]["type"] == "pixels"
    assert "too large for a page" in item.notes[0]


# --- all media -----------------------------------------------------------------------------------


def test_recordings_are_heard_in_turn_and_surfaces_turned(
    show, intfit, recording, ball, small_pools
):
    intfit("encode", recording, "-e", "1", "-o", "sound.safetensors")
    shutil.copy(GOLDEN / "mesh.safetensors", "ball.safetensors")
    run = intfit("view", "sound.safetensors", "--against", recording, "ball.safetensors",
                 "--against", ball, "-o", "page.html")  # fmt: skip
    assert run.code == 0, run.err
    page = show(Path("page.html"))
    # the recording
    page.evaluate("() => shown[0].seek(0.1)")
    page.get_by_label("original").first.check()
    assert page.evaluate("() => shown[0].now()") == pytest.approx(0.1, abs=0.01)
    assert page.evaluate("() => shown[0].heard") == "original"
    page.get_by_role("button", name="play").click()
    page.wait_for_function("() => shown[0].now() > 0.12")
    played = page.evaluate("() => Object.values(shown[0].tracks).map((t) => t.samples.duration)")
    assert played == pytest.approx([0.25, 0.25], abs=0.01)
    page.wait_for_function("() => shown[0].started === undefined")  # it has come to its end
    assert page.evaluate("() => shown[0].now()") == 0.25
    page.locator(".wave").first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => shown[0].now()") == pytest.approx(0.245)
    waves = canvas_pixels(page, ".wave")
    assert 0 < (waves[..., 3] > 0).mean() < 1
    # the surface, lit, turned, and by its normals
    lit = canvas_pixels(page, ".solid canvas")
    assert 0.1 < (lit[..., 3] > 0).mean() < 0.9
    page.locator(".solid canvas").first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.get_by_label("normals").check()
    wait(page)
    normals = canvas_pixels(page, ".solid canvas")
    middle = normals[normals.shape[0] // 2, normals.shape[1] // 2]
    assert middle[3] == 255
    assert np.ptp(middle[:3]) > 40


def test_a_surface_with_colours_is_shown_in_them(show, monkeypatch):
    field = library.load(GOLDEN / "mesh.safetensors")

    def evaluate(coords: np.ndarray) -> np.ndarray:
        """The distance, and after it one colour: red 1, green 0, blue -1 of [-1, 1]."""
        colours = np.tile(np.float32([1, 0, -1]), (len(coords), 1))
        return np.hstack([field.evaluate(coords)[:, :1], colours])

    monkeypatch.setattr(type(field), "out_features", 4)
    monkeypatch.setattr(surfaces, "RESOLUTION", 48)
    coloured = dataclasses.replace(field, evaluate=evaluate)
    original = trimesh.creation.icosphere(subdivisions=2)
    original.visual.vertex_colors = [0, 200, 0, 255]
    values, _ = surfaces.describe(coloured, {}, original.export(file_type="ply"), ".ply", Limits())
    item = Item("ball", "mesh", [], [], surface=values)
    Path("page.html").write_text(make_page([item]))
    page = show(Path("page.html"))
    assert page.get_by_label("colours").is_checked()
    pixels = canvas_pixels(page, ".solid canvas")
    red, green, blue, _ = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert red > 60
    assert abs(green - red / 2) < 4
    assert blue < 4
    pixels = canvas_pixels(page, ".pair > :nth-child(2) canvas")
    red, green, blue, _ = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert green > 60
    assert max(red, blue) < 4
    page.get_by_label("lit").check()
    wait(page)
    pixels = canvas_pixels(page, ".solid canvas")
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, 2] > 60


def test_an_original_is_cut_until_it_shows_its_texture():
    """One triangle, whose texture is red to the left and blue to the right."""
    picture = np.zeros((8, 64, 3), np.uint8)
    picture[:, :32, 0], picture[:, 32:, 2] = 255, 255
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    face, none = np.array([[0, 1, 2]]), np.array([0])
    drawn = paint.Paint(face, np.ones((3, 3)), corners[:, :2], none, (picture,))
    vertices, faces, colours = surfaces.colour_corners(corners, face, drawn)
    assert len(faces) == surfaces.TEXTURE_PARTS**2
    sides = vertices[faces] - vertices[faces[:, :1]]
    areas = np.linalg.norm(np.cross(sides[:, 1], sides[:, 2]), axis=1) / 2
    assert areas.sum() == pytest.approx(0.5, abs=1e-3)
    inside = (vertices[:, 0] > 0.02) & (vertices[:, 0] < 0.98)
    assert (colours[inside & (vertices[:, 0] < 0.48)] == [1, 0, 0]).all()
    assert (colours[inside & (vertices[:, 0] > 0.52)] == [0, 0, 1]).all()
    fewer = surfaces.reduce_faces(vertices, faces, 500, colours)
    assert 100 < len(fewer[1]) <= 500
    assert len(fewer[2]) == len(fewer[0])


def test_a_gallery_fits_a_phone_and_names_cannot_break_out(show):
    name = Path("</script><b>&{{data}}.safetensors")
    files = [GOLDEN / f"{name}.safetensors" for name in ("image", "audio", "mesh")]
    shutil.copy(files[0], str(name).replace("/", "∕"))
    items = [make_item(file) for file in (str(name).replace("/", "∕"), *files)]
    items[0] = type(items[0])(**{**vars(items[0]), "name": str(name)})
    Path("page.html").write_text(make_page(items))
    page = show(Path("page.html"), width=360)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert page.locator("h2").first.inner_text() == str(name)
    assert page.locator("b").count() == 0
    assert page.locator("article").count() == len(page.locator("nav a").all()) == 4
    unnamed = "() => [...document.querySelectorAll('input, button, canvas')].filter((e) =>"
    unnamed += " !e.closest('label') && !e.textContent && !e.getAttribute('aria-label')).length"
    assert page.evaluate(unnamed) == 0


def test_large_surfaces_are_made_of_fewer_triangles(monkeypatch, ball, small_pools):
    monkeypatch.setattr(surfaces, "MOST_FACES", 1000)
    monkeypatch.setattr(surfaces, "FEWEST", 8)
    item = make_item(GOLDEN / "mesh.safetensors", ball)
    cells = int(re.search(r"extracted in (\d+) cells", item.notes[0])[1])
    assert cells < 128
    assert "of its" in item.notes[1]
    for which in ("decoded", "original"):
        count = int(item.surface[which]["text"].split()[0])
        assert 100 < count <= 1000


def test_long_recordings_are_cut_off_and_the_caption_says_so(monkeypatch):
    from intfit.view import recordings

    monkeypatch.setattr(recordings, "MOST_SECONDS", 0.1)
    library.encode(tone(channels=3), library.Settings(effort=1), rate=6000, path="a.safetensors")
    item = make_item("a.safetensors")
    assert item.recording["seconds"] == 0.1
    assert [note.split(":")[0] for note in item.notes] == [
        "the first 0 s of 0 s", "its 3 channels are mixed into one",
        "played at 8000 Hz, not at its 6000 Hz",
    ]  # fmt: skip


# --- the command ---------------------------------------------------------------------------------


def test_without_an_output_a_temporary_page_is_opened_and_its_path_printed(intfit, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    run = intfit("view", GOLDEN / "image.safetensors")
    page = Path(run.out.strip())
    try:
        assert opened == [page.as_uri()]
        assert "image.safetensors" in page.read_text()
    finally:
        page.unlink()


def test_one_bad_file_does_not_keep_others_from_being_shown(intfit, picture):
    run = intfit("view", picture, GOLDEN / "image.safetensors", "-o", "page.html")
    assert run.code == 1
    assert "not an intfit file" in run.err
    data = re.search(r'id="data">(.*?)</script>', Path("page.html").read_text(), re.DOTALL)[1]
    assert [item["name"] for item in json.loads(data)] == ["image.safetensors"]
    assert intfit("view", picture, "-o", "other.html").code == 1
    assert not Path("other.html").exists()
    run = intfit("view", GOLDEN / "image.safetensors", "-o", "page.html")
    assert run.code == 1
    assert "-f overwrites" in run.err


def test_originals_are_one_for_all_one_for_each_or_found_by_name(tmp_path):
    for name in ("a.png", "b.jpg", "b.safetensors"):
        Path(name).touch()
    names = ["x/a.png.safetensors", "b.safetensors"]
    assert match_originals(names, []) == [None, None]
    assert match_originals(names, [Path("a.png")]) == [Path("a.png")] * 2
    assert match_originals(names, [tmp_path]) == [tmp_path / "a.png", tmp_path / "b.jpg"]
    with pytest.raises(library.IntfitError, match="no originals of 'c'"):
        match_originals(["c"], [tmp_path])
    with pytest.raises(library.IntfitError, match="2 times for 3 files"):
        match_originals([*names, "c"], [Path("a.png"), Path("b.jpg")])
