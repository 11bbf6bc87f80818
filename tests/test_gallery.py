"""The class gallery: whatever photographs are called and hold, a page that opens from disk."""

from __future__ import annotations

import html
import json
import logging
import re
import shlex
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import torch
from PIL import Image
from test_cli import refused

import styletutor as st
from styletutor.cli import main
from styletutor.sweeps.gallery import find_photographs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

distributed = pytest.importorskip("distributed", reason="dask is not installed: extra `cluster`")
pytest.importorskip("cryptography", reason="cryptography is not installed: extra `cluster`")

NAMES = ["Zoë & <b>Max.jpg", "李小龍 10.jpg", "李小龍 2.jpg", "it's $HOME.png"]
LAYERS = ["--content-layers", "relu2_2", "--style-layers", "relu1_1", "relu2_1=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photographs, and a gallery of them in `out`."""
    folder = tmp_path_factory.mktemp("class")
    photos = folder / "our photos"
    photos.mkdir()
    for name in NAMES:
        picture = Image.new("RGB", (400, 200), "white")
        picture.paste("red", (0, 0, 200, 200))  # the left half
        notes = Image.Exif()
        notes[0x0112], notes[0x010F] = 6, "a camera"  # it was held upright: red is above
        picture.save(photos / name, exif=notes)
    (photos / "half.jpg").write_bytes((photos / NAMES[0]).read_bytes()[:900])
    (photos / ".hidden.jpg").write_bytes(b"")
    (photos / "notes.txt").write_text("no picture")
    how = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0}
    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**how, **quiet) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["gallery", "our photos", "--styles", "coins", "grass", "--output", "out"]
        words += ["--size", "64", "--evaluations", "2", "--weights", "pocket", *LAYERS]
        where = ["--device", "cpu", "--scheduler", cluster.scheduler_address]
        assert main([*words, *where]) == 2  # of the half picture
    yield folder


class Page(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(made: Path) -> Page:
    return Page((made / "out" / "index.html").read_text("utf-8"))


def cards(page: Page) -> list[dict[str, str]]:
    return [attrs for tag, attrs in page.tags if tag == "a"]


def test_photographs_are_found_in_the_order_of_their_names(made: Path) -> None:
    found = [path.name for path in find_photographs(made / "our photos")]
    assert found == ["half.jpg", "it's $HOME.png", "Zoë & <b>Max.jpg", "李小龍 2.jpg",
                     "李小龍 10.jpg"]  # fmt: skip


def test_names_are_text(made: Path) -> None:
    page = read(made)
    assert "b" not in {tag for tag, _ in page.tags}
    for name in NAMES:
        assert Path(name).stem in page.text and Path(name).name not in page.text
    assert "half, coins: cannot read" in page.text


def test_all_that_it_shows_is_beside_it(made: Path) -> None:
    page = read(made)
    links = [a.get(n) for _, a in page.tags for n in ("src", "href", "data-before") if a.get(n)]
    files = {unquote(link) for link in links}
    assert len(cards(page)) == 8 and len(files) == 8 + 8 + 4 + 4
    for name in files:
        assert name.startswith("pictures/") and (made / "out" / name).is_file()
    text = (made / "out" / "index.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)


def test_photographs_are_upright_and_say_nothing_of_the_camera(made: Path) -> None:
    for card in cards(read(made)):
        before, after = (
            Image.open(made / "out" / unquote(card[name])) for name in ("data-before", "href")
        )
        assert before.size == after.size == (32, 64)
        above, below = (before.convert("RGB").getpixel((16, y)) for y in (10, 54))
        assert above[1] < 60 and below[1] > 200
    for path in (made / "out" / "pictures").iterdir():
        if path.suffix in (".jpg", ".png"):
            assert not Image.open(path).getexif(), path
        assert b"a camera" not in path.read_bytes()


def test_the_command_makes_the_picture_again(
    made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(made)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for card in cards(read(made))[::3]:
            program, *words = shlex.split(card["data-command"])
            words[-1] = f"--output={tmp_path / 'again.png'}"
            assert program == "styletutor" and main([*words, "--device", "cpu"]) == 0
            painted = made / "out" / unquote(card["href"])
            assert torch.equal(st.load_image(painted), st.load_image(tmp_path / "again.png"))
    finally:
        torch.set_num_threads(before)


def test_a_contact_sheet_and_reports_are_there_too(made: Path) -> None:
    pictures = made / "out" / "pictures"
    assert (pictures / "contact-sheet.png").is_file()
    reports = [json.loads(path.read_text("utf-8")) for path in pictures.glob("*.json")]
    assert len(reports) == 8
    names = {Path(report["settings"]["content"]).name for report in reports}
    assert names == set(NAMES)


def test_a_folder_without_pictures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    words = ["--styles", "coins", "--output", str(tmp_path / "out")]
    assert "there are no pictures in" in refused(capsys, ["gallery", str(tmp_path), *words])
    said = refused(capsys, ["gallery", str(tmp_path / "notes.txt"), *words])
    assert "is a file, expected a folder" in said
    assert "there is no folder" in refused(capsys, ["gallery", str(tmp_path / "no"), *words])
    assert not (tmp_path / "out").exists()


def wait_until(page: Any, condition: str) -> None:
    """Asked from here: the page lets nothing be evaluated in it again and again."""
    until = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(20)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1920, "dark")])
def test_in_a_browser(chromium: Browser, made: Path, width: int, scheme: str) -> None:
    """From disk, without asking anybody for anything, and without a fault."""
    faults: list[str] = []
    with chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme
    ) as context:
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
        page.goto((made / "out" / "index.html").as_uri())
        assert page.locator("a.card").count() == 8
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (dark == "rgb(22, 22, 24)") == (scheme == "dark")
        page.locator("a.card").nth(2).click()
        stage = page.locator(".stage")
        loaded = "[...document.querySelectorAll('.stage img')].every(i => i.naturalWidth === 32)"
        wait_until(page, loaded)
        box = stage.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800
        clip = "document.querySelector('.before').style.clipPath"
        assert page.evaluate(clip) == "inset(0px 50% 0px 0px)"
        page.keyboard.press("ArrowRight")  # the divider has the focus
        assert page.evaluate(clip) == "inset(0px 49% 0px 0px)"
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
        assert re.fullmatch(r"inset\(0px ([6-9]|1[0-4])% 0px 0px\)", page.evaluate(clip))
        title = page.locator("dialog h2").text_content()
        page.keyboard.press("PageDown")
        assert page.locator("dialog h2").text_content() != title
        command = page.locator("dialog code").text_content()
        assert command == html.unescape(cards(read(made))[3]["data-command"])
        page.locator(".copy").click()
        wait_until(page, "document.querySelector('.copy').textContent === 'Copied'")
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
    assert not faults
