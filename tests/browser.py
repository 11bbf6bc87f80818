"""A real JupyterLab and a real Voilà in a real Chromium, as fixtures for tests of the panels."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TOKEN = "for-the-tests-only"
LAB = (
    *("-m", "jupyterlab", "--ip=127.0.0.1", "--allow-root", "--expose-app-in-browser"),
    f"--IdentityProvider.token={TOKEN}",
)
PROGRAMS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # A panel that fetches something shall fail here as it would for somebody without a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
FOLDERS = (
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"),
    *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"),
)
# JupyterLab keeps cells out of sight out of the page, where no locator finds them.
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
PANEL = """const panel = [...window.jupyterapp?.shell.widgets('main') ?? []]
    .find(widget => widget.context?.path === given.path);"""
STUDIO = ("-c", "from styletutor.cli import main; raise SystemExit(main())", "studio")
TEXT = """cell => cell.model.outputs.toJSON().map(output =>
    output.text ?? output.traceback?.join('\\n') ?? output.data['text/plain'] ?? '').join('')"""


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def write_notebook(path: Path, *sources: str) -> Path:
    """A notebook of these code cells, not executed."""
    import nbformat  # here, so that tests without a browser need it not

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


class Server:
    """A running program with its address; `folder` is what it serves, `home` holds its settings."""

    def __init__(self, process: subprocess.Popen, port: int, folder: Path, home: Path) -> None:
        self.process, self.folder, self.home = process, folder, home
        self.address = f"http://127.0.0.1:{port}"

    def kernels(self) -> list[psutil.Process]:
        # Voilà does not list its kernels in the REST API.
        there = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                there += [child] if child.status() != psutil.STATUS_ZOMBIE else []
        return there

    def comes_to(self, kernels: int, seconds: float) -> bool:
        """Has it so many kernels before that time is over?"""
        until = time.monotonic() + seconds
        while len(self.kernels()) != kernels and time.monotonic() < until:
            time.sleep(0.2)
        return len(self.kernels()) == kernels

    @property
    def studio(self) -> str:
        """The address with its token that `styletutor studio` shows in the terminal."""
        shown = rf"{re.escape(self.address)}/\?token=\w+"
        return re.search(shown, (self.home / "log").read_text())[0]

    def api(self, path: str, method: str = "GET") -> Any:
        """Jupyter's REST API, as `api("kernels")`."""
        url = f"{self.address}/api/{path}?token={TOKEN}"
        with urlopen(Request(url, method=method), timeout=30) as answer:
            return json.loads(answer.read() or "null")


@contextmanager
def serving(folder: Path, home: Path, *program: str) -> Iterator[Server]:
    """Start a Jupyter program that sees no settings of the user's, and end it with its kernels.

    `program` is what Python is told, as `"-m", "voila"` and options.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    overrides = home / "JUPYTER_CONFIG_DIR" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    overrides.write_text(json.dumps(SETTINGS))
    command = [sys.executable, *program, "--no-browser", f"--port={port}"]
    env = os.environ | {name: str(home / name) for name in FOLDERS}
    with (log := home / "log").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
    try:
        for _ in range(600):
            with socket.socket() as attempt:
                up = attempt.connect_ex(("127.0.0.1", port)) == 0
            if up or process.poll() is not None:
                break
            time.sleep(0.1)
        assert up, log.read_text()
        yield Server(process, port, folder, home)
    finally:
        process.terminate()
        process.wait(timeout=60)


class Tab:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, page: "Page", server: Server) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        self.foreign_requests: list[str] = []
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.on("websocket", lambda socket: self._asked(socket.url))
        page.context.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc not in ("", urlsplit(self.server.address).netloc):
            self.foreign_requests.append(url)

    def size(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def screenshot(self, path: Path, locator: "Locator | None" = None) -> None:
        (locator or self.page).screenshot(path=path)


class Lab(Tab):
    """A notebook in JupyterLab; waits take seconds and end in an error."""

    def open(self, notebook: Path, timeout: float = 60) -> None:
        self.path = notebook.relative_to(self.server.folder).as_posix()
        # A workspace of its own: what another test left open stays closed.
        place = f"lab/workspaces/{time.time_ns()}/tree/{self.path}"
        self.page.goto(f"{self.server.address}/{place}?token={TOKEN}")
        self._wait_until_connected(timeout)

    def reload(self, timeout: float = 60) -> None:
        self.page.reload()
        self._wait_until_connected(timeout)

    def run_all(self, timeout: float = 120) -> None:
        self._command("notebook:run-all-cells", timeout)
        self._wait_until("panel.sessionContext.session.kernel.status === 'idle'", timeout)
        broken = "panel.content.widgets.filter(c => c.model.outputs?.toJSON().some(o => o.ename))"
        errors = self._evaluate(f"{broken}.map({TEXT})")
        assert not errors, "\n".join(errors)

    def run_cell(self, source: str, timeout: float = 60) -> str:
        """What a new last cell prints or shows as text; a traceback where it fails."""
        cell = "{cell_type: 'code', source: given.source}"
        added = f"panel.content.model.sharedModel.addCell({cell}), panel.content.widgets.length - 1"
        self._evaluate(f"panel.content.activeCellIndex = ({added})", source=source)
        self._command("notebook:run-cell", timeout)
        return self._evaluate(f"({TEXT})(panel.content.activeCell)").strip()

    def cell_output(self, number: int) -> "Locator":
        """The output of the code cell of that number, from 0."""
        return self.page.locator(f".jp-CodeCell >> nth={number} >> .jp-Cell-outputArea")

    def save(self, timeout: float = 30) -> None:
        self._command("docmanager:save", timeout)

    def theme(self, name: str, timeout: float = 30) -> None:
        """`name` is "JupyterLab Light" or "JupyterLab Dark"."""
        self._command("apputils:change-theme", timeout, theme=name)
        self._wait_until(f"document.body.dataset.jpThemeName === '{name}'", timeout)
        self._wait_for_splash(timeout)

    def _wait_until_connected(self, timeout: float) -> None:
        connected = "panel?.sessionContext.session?.kernel?.connectionStatus === 'connected'"
        self._wait_until(f"{connected} && panel.context.isReady", timeout)
        self._evaluate("window.jupyterapp.restored.then(() => null)", timeout)
        self._evaluate("window.jupyterapp.shell.collapseLeft() ?? null")
        self._wait_for_splash(timeout)

    def _wait_for_splash(self, timeout: float) -> None:
        # It darkens the page for a second and would be in the pictures.
        self._wait_until("!document.getElementById('jupyterlab-splash')", timeout)

    def _wait_until(self, condition: str, timeout: float) -> None:
        script = f"given => {{ {PANEL} return {condition}; }}"
        self.page.wait_for_function(script, arg={"path": self.path}, timeout=1000 * timeout)

    def _command(self, name: str, timeout: float, **options: str) -> None:
        run = "window.jupyterapp.commands.execute(given.name, given.options).then(() => null)"
        self._evaluate(run, timeout, name=name, options=options)

    def _evaluate(self, expression: str, timeout: float = 30, **given: Any) -> Any:
        # Playwright itself would wait for a promise for ever.
        late = "setTimeout(() => fail(Error(`no end of ${given.name}`)), given.timeout)"
        race = f"Promise.race([({expression}), new Promise((_, fail) => {late})])"
        given |= {"path": self.path, "timeout": 1000 * timeout}
        return self.page.evaluate(f"given => {{ {PANEL} return {race}; }}", given)


@contextmanager
def open_lab() -> Iterator[Lab]:
    """JupyterLab in a browser, for a script; its notebooks lie in `lab.server.folder`."""
    from playwright.sync_api import sync_playwright

    program = find_chromium()
    if program is None:
        raise FileNotFoundError("there is no Chromium on this machine; install it first")
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), Path(home), *LAB) as server,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=program, args=FLAGS) as browser,
    ):
        yield Lab(browser.new_page(viewport={"width": 1280, "height": 900}), server)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """One per module: as long as it is there, an event loop is running, which others may mind."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = find_chromium() or pytest.skip("neither Chromium nor Chrome is installed")
    playwright.expect.set_options(timeout=30_000)
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=program, args=FLAGS) as browser,
    ):
        yield browser


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on an empty folder; write notebooks into `jupyter.folder`."""
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    with serving(folder, home, *LAB) as server:
        yield server


@pytest.fixture
def lab(chromium: "Browser", jupyter: Server) -> Iterator[Lab]:
    """A fresh tab, whose kernels end with the test."""
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield Lab(context.new_page(), jupyter)
    for session in jupyter.api("sessions"):
        jupyter.api(f"sessions/{session['id']}", "DELETE")
    shutil.rmtree(jupyter.home / "JUPYTERLAB_SETTINGS_DIR", ignore_errors=True)


@pytest.fixture
def voila(chromium: "Browser", tmp_path: Path) -> Iterator[Callable[..., Tab]]:
    """`voila(notebook, "--theme=dark")` starts Voilà and opens the page, every cell run."""
    with ExitStack() as running:

        def start(notebook: Path, *options: str) -> Tab:
            options = (notebook.name, "--Voila.ip=127.0.0.1", f"--token={TOKEN}", *options)
            program = serving(notebook.parent, tmp_path / "voila", "-m", "voila", *options)
            server = running.enter_context(program)
            tab = Tab(running.enter_context(chromium.new_context()).new_page(), server)
            tab.page.goto(f"{server.address}/?token={TOKEN}", timeout=120_000)
            tab.page.locator("#rendered_cells").wait_for()
            return tab

        yield start
