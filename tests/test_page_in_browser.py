"""The studio's page in a real Chromium: from disk, from a server, without a network."""

import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import torch
from browser import FLAGS, find_chromium
from conftest import random_pictures
from PIL import Image
from torch import Tensor

import styletutor as st
from styletutor.cli import main
from styletutor.cookbook.published import recipes
from styletutor.descent import descend
from styletutor.descent.method import Method
from styletutor.pictures.images import save_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
RUN = 30  # evaluations


class Studio:
    """The page in a tab, and what went wrong there."""

    def __init__(self, page: "Page", host: str = "") -> None:
        self.page, self.errors, self.foreign = page, [], []
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

        def asked(url: str) -> None:
            parts = urlsplit(url)
            own = parts.scheme in ("file", "data", "blob") or parts.netloc == host
            self.foreign.extend([] if own else [url])

        page.context.on("request", lambda request: asked(request.url))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.is_("idle")

    def is_(self, state: str) -> None:
        expect(self.page.locator("body")).to_have_attribute("data-state", state, timeout=60_000)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def slide(self, name: str, *keys: str) -> None:
        for key in keys:
            self.page.get_by_role("slider", name=name, exact=True).press(key)

    def budget(self, evaluations: int) -> None:
        self.slide("evaluations", "Home", *["ArrowRight"] * (evaluations // 5 - 1))

    def note(self, text: str | re.Pattern) -> None:
        expect(self.page.locator(".note")).to_have_text(text)

    @property
    def done(self) -> int:
        return int(self.page.locator("progress").evaluate("bar => bar.value"))

    def reaches(self, evaluation: int) -> None:
        reached = "least => document.querySelector('progress').value >= least"
        self.page.wait_for_function(reached, arg=evaluation, timeout=60_000)

    def choose(self, row: str, file: Path) -> None:
        section = self.page.locator("section", has=self.page.get_by_role("heading", name=row))
        section.locator("input").set_input_files(file)
        expect(section.get_by_role("status")).to_have_text(f"{file.name} is there")

    def save(self, folder: Path) -> dict[str, Any]:
        """Every file of a run into `folder`; the report."""
        self.press("Save")
        links = self.page.locator(".st-links a")
        links.first.wait_for()
        for link in links.all():
            with self.page.expect_download() as download:
                link.click()
            download.value.save_as(folder / download.value.suggested_filename)
        (report,) = folder.glob("*.json")
        return json.loads(report.read_text())


@pytest.fixture
def studio(chromium: "Browser", page_folder: Path) -> Iterator[Studio]:
    """From disk, for small pictures."""
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        tab = Studio(context.new_page())
        tab.open((page_folder / "index.html").as_uri())
        tab.slide("size", "Home")
        yield tab
        assert not tab.errors + tab.foreign


def write(path: Path, picture: Tensor) -> Path:
    save_image(picture, path)
    return path


def test_the_loss_falls_as_in_descend_and_what_is_saved_makes_it_again(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = write(tmp_path / "mine.png", st.load_image("chelsea", 96))
    art = write(tmp_path / "art.png", st.load_image("stained-glass", 90))
    studio.choose("Content", photo)
    studio.choose("Style", art)
    studio.budget(RUN)
    studio.press("Start")
    studio.note("done")
    folder = tmp_path / "saved"
    report = studio.save(folder)
    assert {path.name for path in folder.iterdir()} == {
        *("transfer.png", "transfer.json", "transfer-source-1.png", "transfer-source-2.png")
    }
    vgg, recipe = st.load_vgg("pocket"), recipes["default"]
    content, style = st.load_image(photo), st.load_image(art)
    assert torch.equal(st.load_image(folder / "transfer-source-1.png"), content)
    objective = recipe.objective(vgg, content=content, styles=[style])
    method = Method(wavelength=recipe.wavelength)
    steps = [step.losses for step in descend(objective, content, RUN, method=method)]
    totals = [row["total"] for row in report["history"]]
    assert len(totals) == RUN
    assert totals[0] == pytest.approx(steps[0]["total"], rel=1e-4)
    assert totals[-1] == pytest.approx(steps[-1]["total"], rel=0.02)
    assert totals[-1] < 0.2 * totals[0]

    monkeypatch.chdir(folder)
    assert main(["transfer", "--settings", "transfer.json", "--output", "again.png"]) == 0
    again, saved = (st.load_image(folder / name) for name in ("again.png", "transfer.png"))
    # What rounding makes of it grows on the way; it stays the same picture.
    assert (again - saved).abs().mean() < 0.2 * (saved - content).abs().mean()


def test_turn_pause_go_on_stop_and_look_back(studio: Studio, tmp_path: Path) -> None:
    page = studio.page
    studio.slide("evaluations", "End")
    studio.press("Start")
    studio.is_("running")
    studio.reaches(3)
    fader = page.get_by_role("slider", name="fader of style")
    before = fader.get_attribute("aria-valuetext")
    fader.press("ArrowUp")
    expect(fader).not_to_have_attribute("aria-valuetext", before)
    studio.press("mute relu5_1")
    studio.press("Pause")
    studio.is_("paused")
    page.wait_for_timeout(500)  # an evaluation may have been under way
    at = studio.done
    page.wait_for_timeout(500)
    assert studio.done == at
    studio.press("Continue")
    studio.reaches(at + 2)
    studio.press("Stop")
    studio.is_("idle")
    studio.note(re.compile(r"stopped after \d+ evaluations"))
    report = studio.save(tmp_path)
    assert report["interrupted"] and len(report["history"]) == report["evaluations"] < 300
    names = {name for row in report["turned"] for name in row["weights"]}
    assert {"style", "style relu5_1"} <= names
    assert "style relu5_1" in report["history"][0]["parts"]
    assert "style relu5_1" not in report["history"][-1]["parts"]
    again = tmp_path / "again.json"
    replay = ["transfer", "--settings", str(tmp_path / "transfer.json"), "--report", str(again)]
    assert main([*replay, "--output", str(tmp_path / "again.png")]) == 0
    repeated = json.loads(again.read_text())
    assert repeated["evaluations"] == report["evaluations"]
    assert [row["evaluation"] for row in repeated["turned"]] == [
        row["evaluation"] for row in report["turned"]
    ]

    divider = page.get_by_role("slider", name="divider between the two pictures")
    divider.press("End")
    shown = page.locator(".st-before").evaluate("e => getComputedStyle(e).clipPath")
    assert shown == "inset(0px 0% 0px 0px)", "the photograph, whole"
    figures = page.locator(".figures")
    expect(figures).to_have_text(
        re.compile(r"evaluation \d+ of 300 · [\d.]+ per second · \d+ s left")
    )
    kept = page.get_by_role("group", name="Shelf").get_by_role("button")
    expect(kept).to_have_count(1)
    page.get_by_role("button", name="coffee").click()
    expect(page.locator(".st-after")).to_have_attribute("alt", "the picture coffee")
    kept.click()
    expect(page.locator(".st-after")).to_have_attribute("alt", re.compile("after .* evaluations"))


@pytest.mark.parametrize("kind", ["content", "style"])
def test_what_a_layer_keeps(studio: Studio, tmp_path: Path, kind: str) -> None:
    page = studio.page
    studio.press("What does a layer keep?")
    page.get_by_role("combobox", name="keeps").select_option(kind)
    expect(page.get_by_role("heading", name="Style", exact=True)).to_be_visible(
        visible=kind == "style"
    )
    studio.press("relu2_1: 48 channels, one position sees 10 × 10 pixels, positions are 2 apart")
    studio.budget(20)
    studio.press("Start")
    studio.note("done")
    report = studio.save(tmp_path)
    assert report["command"] == f"reconstruct {kind}"
    layers = ["relu2_1"] if kind == "content" else ["relu1_1", "relu2_1"]
    assert report["settings"]["layers"] == layers
    assert report["loss"]["end"]["total"] < 0.2 * report["loss"]["start"]["total"]
    vgg, size = st.load_vgg("pocket"), report["size"]
    with Image.open(tmp_path / f"{kind}.png") as saved:
        assert [saved.height, saved.width] == size
    # The noise of a seed is the module's own, so that the start has the module's loss.
    target = st.load_image(report["settings"]["image"], 96)
    rebuild = st.reconstruct_content if kind == "content" else st.reconstruct_style
    how = {"vgg": vgg, "evaluations": 1, "precision": "exact", "progress": False}
    start = rebuild(target, layers, **how).loss["start"]["total"]
    assert report["loss"]["start"]["total"] == pytest.approx(start, rel=0.05)
    settings, again = (str(tmp_path / name) for name in (f"{kind}.json", "again.png"))
    assert main(["reconstruct", kind, "--settings", settings, "--output", again]) == 0
    saved = st.load_image(tmp_path / f"{kind}.png")
    assert (st.load_image(again) - saved).abs().mean() < 0.05


def test_a_file_that_is_no_picture_is_refused(studio: Studio, tmp_path: Path) -> None:
    for name, data in (("text.png", b"I am no picture"), ("cut.jpg", b"\xff\xd8\xff\xe0 cut")):
        (tmp_path / name).write_bytes(data)
        section = studio.page.locator(
            "section", has=studio.page.get_by_role("heading", name="Content")
        )
        section.locator("input").set_input_files(tmp_path / name)
        expect(section.get_by_role("status")).to_contain_text(f"{name} is no picture")
    expect(section.locator("[aria-pressed=true]")).to_have_text("chelsea")
    studio.choose("Content", write(tmp_path / "narrow.png", random_pictures(1, 200, 20)))
    studio.press("Start")
    studio.note(re.compile("narrow.png is too narrow"))
    studio.is_("idle")


# There is no camera here.
CAMERA = """navigator.mediaDevices.getUserMedia = async () => {
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d");
    setInterval(() => { pen.fillStyle = "orange"; pen.fillRect(0, 0, 300, 150); }, 30);
    return (window.stream = canvas.captureStream());
};"""
DROP = """async ([target, name]) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 70, height: 90 });
    canvas.getContext("2d").fillRect(0, 0, 70, 90);
    const blob = await new Promise(done => canvas.toBlob(done));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([blob], name));
    const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector(target).dispatchEvent(drop);
    return drop.defaultPrevented;
}"""


def test_camera_and_dropped_files(chromium: "Browser", page_folder: Path) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        studio = Studio(context.new_page())
        page = studio.page
        page.add_init_script(CAMERA)
        studio.open((page_folder / "index.html").as_uri())
        contents, styles = page.locator(".sources").all()
        contents.get_by_role("button", name="Camera …").click()
        page.wait_for_function("document.querySelector('video')?.videoWidth")
        studio.press("Take the picture")
        expect(contents.locator("[aria-pressed=true]")).to_have_text("from the camera")
        expect(page.locator("dialog")).to_have_count(0)
        assert page.evaluate("stream.getTracks().map(track => track.readyState)") == ["ended"]
        for target, name, row in (
            (".st-picture", "on-the-stage.png", contents),
            ("body", "beside.png", contents),
            (".sources:nth-child(2) .st-gallery", "art.png", styles),
            (".sources:nth-child(2) .st-drop", "art-too.png", styles),
        ):
            assert page.evaluate(DROP, [target, name]), "the file would open in place of the page"
            expect(row.locator("[aria-pressed=true]")).to_have_text(name)
            expect(row.get_by_role("button", name=name)).to_have_count(1)
        assert not studio.errors + studio.foreign


def test_a_browser_without_simd_says_so(chromium: "Browser", page_folder: Path) -> None:
    with chromium.new_context() as context:
        studio = Studio(context.new_page())
        refuse = "WebAssembly.validate = () => false;"
        page = (page_folder / "index.html").read_text("utf-8")
        other = page.replace('id="worker">', f'id="worker">{refuse}', 1)
        assert other != page
        (page_folder / "old.html").write_text(other, "utf-8")
        studio.page.goto((page_folder / "old.html").as_uri())
        studio.note(re.compile("too old"))
        expect(studio.page.get_by_role("button", name="Start")).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_and_named(chromium: "Browser", page_folder: Path, scheme: str) -> None:
    size = {"width": 360, "height": 740}
    with chromium.new_context(viewport=size, color_scheme=scheme) as context:
        studio = Studio(context.new_page())
        studio.open((page_folder / "index.html").as_uri())
        page = studio.page
        for mode in ("Paint a picture", "What does a layer keep?"):
            studio.press(mode)
            assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
            unnamed = """[...document.querySelectorAll("button, input, select, img")]
                .filter(e => e.checkVisibility() && !(e.labels?.length || e.textContent.trim()
                    || e.getAttribute("aria-label") || e.alt)).map(e => e.outerHTML)"""
            assert page.evaluate(unnamed) == []
        ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        assert (sum(page.evaluate(ground)) > 380) == (scheme == "light")
        studio.press("Dark" if scheme == "light" else "Light")
        assert (sum(page.evaluate(ground)) > 380) == (scheme == "dark")


def test_a_graphics_card_finds_the_same(
    chromium: "Browser", page_folder: Path, tmp_path: Path
) -> None:
    """WebGPU on a card that the processor plays: the page offers it, but does not choose it."""
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    flags += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    program = {"executable_path": find_chromium(), "args": flags}
    with chromium.browser_type.launch(**program) as browser:
        studio = Studio(browser.new_page())
        studio.open((page_folder / "index.html").as_uri())
        if not studio.page.evaluate("navigator.gpu?.requestAdapter().then(card => !!card)"):
            pytest.skip("this Chromium has no software adapter for WebGPU")
        for row, name in (("Content", "photo.png"), ("Style", "art.png")):
            studio.choose(row, write(tmp_path / name, random_pictures(1, 33, 41, seed=len(row))))
        studio.slide("fader of tv", "ArrowUp")
        studio.budget(5)
        found = []
        shelf = studio.page.get_by_role("group", name="Shelf").get_by_role("button")
        for number, machine in enumerate(("processor", "graphics"), start=1):
            choice = studio.page.get_by_role("combobox", name="computed by")
            choice.select_option(machine)
            studio.press("Start")
            expect(shelf).to_have_count(number, timeout=120_000)
            found.append(studio.save(tmp_path / machine)["history"])
    ours, theirs = ([row["parts"] for row in rows] for rows in found)
    assert theirs[0] == pytest.approx(ours[0], rel=1e-4)
    assert theirs[-1] == pytest.approx(ours[-1], rel=0.02)


class Quiet(SimpleHTTPRequestHandler):
    """Any static server: no headers of its own."""

    def log_message(self, *_: object) -> None:
        pass


def test_from_a_server_again_with_threads_and_without_a_network(
    chromium: "Browser", page_folder: Path
) -> None:
    handler = partial(Quiet, directory=str(page_folder))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        chromium.new_context() as context,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        studio = Studio(context.new_page(), host)
        page = studio.page
        studio.open(f"http://{host}/index.html")
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        page.reload()
        studio.is_("idle")
        assert page.evaluate("crossOriginIsolated")
        cores = page.evaluate("navigator.hardwareConcurrency")
        threads = "1 thread " if cores == 1 else f"{min(cores, 8)} threads "
        expect(page.locator("footer")).to_contain_text(threads)
        server.shutdown()
        server.server_close()
        page.reload()
        studio.is_("idle")
        studio.slide("size", "Home")
        studio.budget(10)
        studio.press("Start")
        studio.note("done")
        assert not studio.foreign
