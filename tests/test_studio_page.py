"""`styletutor studio` as its visitors meet it: a page in a browser, without code."""

import gc
import re
import time
import webbrowser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
import websocket
from browser import FLAGS, STUDIO, Server, Tab, find_chromium, serving
from conftest import random_pictures
from PIL import Image

from styletutor.pictures.images import save_image
from styletutor.widgets.kiosk import Kiosk, VoilaShutdownKernelHandler, serve, visitors
from styletutor.widgets.kiosk.visitors import PROTOCOL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("empty")
    soon = ("--Kiosk.left=5", "--Kiosk.unseen=15")
    program = (*STUDIO, "--ip=127.0.0.1", "--theme=dark", *soon)
    with serving(folder, home, *program) as server:
        yield server


@pytest.fixture
def studio(chromium: "Browser", served: Server) -> Iterator[Tab]:
    """The page at the address that the terminal shows, for small pictures and many evaluations."""
    with chromium.new_context(viewport={"width": 1280, "height": 720}) as context:
        tab = Tab(context.new_page(), served)
        tab.page.goto(served.studio, timeout=120_000)
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


# --- visitors who do as they please


def test_rubbish_from_one_visitor_does_not_hold_up_the_others(served: Server) -> None:
    token = served.studio.partition("=")[2]
    with urlopen(served.studio, timeout=120) as answer:
        kernel = re.search(r'"kernelId": "([\w-]+)"', answer.read().decode())[1]
    address = f"ws://127.0.0.1:{urlsplit(served.address).port}/api/kernels/{kernel}/channels"
    address += f"?token={token}&session_id=rubbish"
    rubbish = (b"\xff" * 50, b"", b"\0" * 50, (100).to_bytes(8, "little"), "{}", "é", "[" * 9999)
    for protocols in ([PROTOCOL], [], ["no-such-protocol"]):
        for each in rubbish:
            # A closed connection is what such a visitor has earned.
            with suppress(websocket.WebSocketException, OSError):
                visitor = websocket.create_connection(address, 10, subprotocols=protocols)
                (visitor.send if isinstance(each, str) else visitor.send_binary)(each)
                visitor.settimeout(0.3)
                visitor.recv()
            began = time.monotonic()
            assert urlopen(f"{served.address}/login", timeout=5).status == 200
            assert time.monotonic() - began < 1, (protocols, each)
    # What comes after the message for which a visitor is shown out is not read in another protocol.
    visitor = websocket.create_connection(address, 10, subprotocols=[PROTOCOL])
    visitor.recv()  # of the kernel, which is therefore connected
    with suppress(websocket.WebSocketException, OSError):
        for each in (b"\xff" * 50, *[(6).to_bytes(8, "little")] * 5):
            visitor.send_binary(each)
            time.sleep(0.1)
    began = time.monotonic()
    assert urlopen(f"{served.address}/login", timeout=60).status == 200
    assert time.monotonic() - began < 1
    assert served.comes_to(0, 30), "the kernel of a page that was left stays"


def test_a_browser_that_is_killed_ends_its_run(served: Server, chromium: "Browser") -> None:
    """It says no goodbye, and its picture would go on forming for nobody."""
    mark = "--to-be-killed"
    program = {"executable_path": find_chromium(), "args": [*FLAGS, mark]}
    page = chromium.browser_type.launch(**program).new_page()
    page.goto(served.studio, timeout=120_000)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".st-picture img.st-after")).to_be_visible()
    assert len(served.kernels()) == 1
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if mark in process.cmdline():
                process.kill()
    assert served.comes_to(0, 30), "the kernel of a killed browser stays"


class Kernels:
    """As jupyter_server's manager tells of its kernels: name → connections, state."""

    def __init__(self) -> None:
        self.there: dict[str, tuple[int, str]] = {}

    def list_kernels(self) -> list[dict[str, object]]:
        names = ("id", "connections", "execution_state")
        return [dict(zip(names, (k, *said), strict=True)) for k, said in self.there.items()]

    async def shutdown_kernel(self, name: str, now: bool) -> None:
        del self.there[name]


def test_who_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, clock = Kernels(), SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(visitors, "time", clock)
    leavers = visitors.Leavers(kernels, left=20, unseen=45)
    for now, told, expected in (
        (0, {"a": (1, "idle"), "slow": (0, "busy"), "curl": (0, "idle")}, {"a", "slow", "curl"}),
        (10, {"a": (0, "busy")}, {"a", "slow", "curl"}),  # another network, for a moment
        (25, {"a": (1, "busy")}, {"a", "slow", "curl"}),
        (44, {"a": (0, "idle")}, {"a", "slow", "curl"}),
        (46, {}, {"a", "slow"}),  # no page ever came for curl's
        (63, {"a": (0, "busy")}, {"a", "slow"}),
        (65, {}, {"slow"}),  # a's has gone and does not come back
        (300, {"slow": (0, "idle")}, {"slow"}),  # now only can its page come
        (344, {"slow": (2, "idle")}, {"slow"}),
        (999, {}, {"slow"}),
    ):
        kernels.there |= told
        with pytest.raises(StopIteration):  # a loop is running already, for the browser
            leavers.check().send(None)
        assert set(kernels.there) == expected, now


def test_options_of_jupyter_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(Kiosk, "launch_instance", told.extend)
    monkeypatch.setattr(VoilaShutdownKernelHandler, "check_xsrf_cookie", None)
    monkeypatch.setenv("JUPYTER_PATH", "")
    given = ["--template=lab", "--MappingKernelManager.cull_idle_timeout=25"]
    serve(given)
    assert told[-2:] == given and "--token" in told and "--template=studio" not in told
    assert gc.get_freeze_count() > len(gc.get_objects()), "all that is loaded is looked at again"
    gc.unfreeze()
