"""`styletutor studio` as its visitors meet it: a page in a browser, without code."""

import re
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil
import pytest
from browser import Server, Tab, serving
from conftest import random_pictures
from PIL import Image

from styletutor.pictures.images import save_image
from styletutor.widgets.kiosk import Kiosk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

COMMAND = "from styletutor.cli import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("empty")
    program = ("-c", COMMAND, "studio", "--ip=127.0.0.1", "--theme=dark")
    with serving(folder, home, *program) as server:
        yield server


@pytest.fixture
def studio(chromium: "Browser", served: Server) -> Iterator[Tab]:
    """The page at the address that the terminal shows, for small pictures and many evaluations."""
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", (served.home / "log").read_text())
    with chromium.new_context(viewport={"width": 1280, "height": 720}) as context:
        tab = Tab(context.new_page(), served)
        tab.page.goto(address[0], timeout=120_000)
        tab.page.get_by_role("tab", name="Settings").click()
        for name, key in (("size", "Home"), ("evaluations", "End")):
            tab.page.get_by_role("slider", name=name).press(key)
        yield tab
        assert not tab.errors + tab.foreign_requests
        tab.page.close(run_before_unload=True)
        _, alive = psutil.wait_procs(served.kernels(), timeout=30)
        assert not alive, "a closed page leaves its kernel"


def press(studio: Tab, name: str) -> None:
    studio.page.get_by_role("button", name=name).click()


def picture(studio: Tab) -> "Locator":
    return studio.page.locator(".st-picture img.st-after")


def upload(studio: Tab, tab: str, file: Path) -> "Locator":
    """Choose a file under that tab, which is brought to the front; where the page answers."""
    studio.page.get_by_role("tab", name=tab).click()
    zone = studio.page.locator(".st-drop:visible")
    zone.locator("input").set_input_files(file)
    return zone.get_by_role("status")


def test_paint_turn_stop_and_download(studio: Tab) -> None:
    page = studio.page
    assert page.title() == "Transfer studio"
    expect(page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("TransferStudio")).to_have_count(0)
    expect(page.locator(".jp-InputArea-editor")).to_have_count(0)

    press(studio, "Start")
    expect(picture(studio)).to_be_visible()
    expect(picture(studio)).not_to_have_attribute("src", picture(studio).get_attribute("src"))
    fader = page.get_by_role("slider", name="fader of style")
    before = fader.get_attribute("aria-valuetext")
    fader.press("ArrowUp")
    expect(fader).not_to_have_attribute("aria-valuetext", before)
    press(studio, "Stop")
    expect(page.get_by_text("stopped; Continue goes on")).to_be_visible()

    press(studio, "Save")
    for name in ("transfer.png", "transfer.json"):
        with page.expect_download() as download:
            page.get_by_text(name).click()
        assert download.value.suggested_filename == name
        if name == "transfer.png":
            with Image.open(download.value.path()) as saved:
                saved.load()
                assert saved.format == "PNG" and max(saved.size) == 64
    assert not list(studio.server.folder.iterdir()), "nothing is written where it was started"


def test_own_pictures(studio: Tab, tmp_path: Path) -> None:
    file = tmp_path / "from-home.png"
    save_image(random_pictures(1, 96, 64), file)
    said = upload(studio, "Content", file)
    expect(said).to_have_text("from-home.png is there")
    thumbnail = studio.page.get_by_role("button", name="from-home.png")
    expect(thumbnail).to_have_attribute("aria-pressed", "true")
    expect(studio.page.locator(".st-tile[aria-pressed=true]:visible")).to_have_count(1)

    text = tmp_path / "text.png"
    text.write_text("I am no picture")
    said = upload(studio, "Style", text)
    expect(said).to_contain_text("text.png is not a picture")

    press(studio, "Start")
    expect(picture(studio)).to_have_attribute("alt", re.compile("the picture after"))
    size = picture(studio).evaluate("async img => (await img.decode(), img.naturalHeight)")
    assert size == 64, "the upload is upright, unlike the sample"
    assert picture(studio).evaluate("img => img.naturalWidth") < size
    press(studio, "Stop")
    expect(studio.page.get_by_text("stopped; Continue goes on")).to_be_visible()


def test_without_the_token_there_is_no_studio(served: Server) -> None:
    before = served.kernels()
    for query in ("", "?token=wrong"):
        assert "/login" in urlopen(f"{served.address}/{query}", timeout=30).url
    assert served.kernels() == before, "a page would have started one"


def test_the_browser_is_opened_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    kiosk = Kiosk(port=8899)
    for generated in (True, False):
        kiosk.identity_provider = SimpleNamespace(token="a b", token_generated=generated)
        kiosk.launch_browser().join()
    assert opened == ["http://localhost:8899/?token=a%20b"] * 2
