"""Widgets in a real browser: what the tests of the panels rely on."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Lab, Tab, write_notebook
from PIL import Image, ImageStat

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

COUNTER = """
import threading
import ipywidgets

button, label = ipywidgets.Button(description="Count"), ipywidgets.Label("ready")

def count():
    for number in range(10_000):
        label.value = f"step {number}"
        threading.Event().wait(0.02)

button.on_click(lambda _: threading.Thread(target=count, daemon=True).start())
ipywidgets.VBox([button, label])
"""
DIAL = '''
import anywidget
import traitlets

class Dial(anywidget.AnyWidget):
    _esm = """
    export default { render({ model, el }) {
        const knob = document.createElement("button");
        const show = () => knob.textContent = `turned ${model.get("turns")}`;
        knob.onclick = () => { model.set("turns", model.get("turns") + 1); model.save_changes(); };
        model.on("change:turns", show);
        show();
        el.append(knob);
    } };
    """
    turns = traitlets.Int(0).tag(sync=True)

dial = Dial()
dial
'''
STEP = re.compile(r"step (\d+)")


@pytest.fixture
def notebook(lab: Lab) -> Path:
    return write_notebook(lab.server.folder / "widgets.ipynb", COUNTER, DIAL)


def step(lab: Lab) -> int:
    shown = lab.cell_output(0).get_by_text(STEP)
    return int(STEP.search(shown.inner_text()).group(1))


def test_widgets_live_through_a_reload(lab: Lab, notebook: Path) -> None:
    lab.open(notebook)
    lab.run_all()
    lab.cell_output(0).get_by_role("button", name="Count").click()
    first = step(lab)
    lab.cell_output(1).get_by_text("turned 0").click()
    expect(lab.cell_output(1).get_by_text("turned 1")).to_be_visible()

    assert lab.run_cell("dial.turns, label.value != 'ready'") == "(1, True)", (
        "a cell runs meanwhile"
    )
    lab.run_cell("dial.turns = 7")
    expect(lab.cell_output(1).get_by_text("turned 7")).to_be_visible()

    lab.save()
    lab.reload()
    assert step(lab) > first
    lab.cell_output(1).get_by_text("turned 7").click()
    expect(lab.cell_output(1).get_by_text("turned 8")).to_be_visible()
    assert lab.run_cell("dial.turns") == "8"
    assert not lab.errors + lab.foreign_requests


def test_a_failing_cell_is_told(lab: Lab) -> None:
    lab.open(write_notebook(lab.server.folder / "fails.ipynb", "1 / 0"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run_all()
    assert "NameError" in lab.run_cell("print(never_defined)")


def test_a_notice_of_what_a_page_fetches(lab: Lab) -> None:
    """The oracle of `foreign_requests`: it would notice."""
    source = "from IPython.display import HTML\nHTML('<img src=\"https://example.org/a.png\">')"
    lab.open(write_notebook(lab.server.folder / "fetches.ipynb", source))
    with lab.page.expect_console_message(lambda said: said.type == "error"):
        lab.run_all()
    assert set(lab.foreign_requests) == {"https://example.org/a.png"}
    assert "NAME_NOT_RESOLVED" in lab.errors[0]


@pytest.mark.parametrize("name", ["JupyterLab Dark", "JupyterLab Light"])
def test_theme_size_and_screenshot(lab: Lab, notebook: Path, name: str, tmp_path: Path) -> None:
    lab.open(notebook)
    assert lab.page.locator("[data-jp-theme-name='JupyterLab Light']").count(), "first light"
    lab.theme(name)
    lab.size(800, 600)
    lab.run_all()
    lab.screenshot(tmp_path / "page.png")
    lab.screenshot(tmp_path / "cell.png", lab.cell_output(1))
    page, cell = (Image.open(tmp_path / f"{shot}.png").convert("L") for shot in ("page", "cell"))
    assert page.size == (800, 600) > cell.size
    # The splash of JupyterLab would darken a light page and show in a dark one.
    (middle,) = ImageStat.Stat(page).median
    assert middle > 230 if name == "JupyterLab Light" else middle < 50


def test_voila(voila: Callable[..., Tab], tmp_path: Path) -> None:
    tab = voila(write_notebook(tmp_path / "widgets.ipynb", COUNTER, DIAL), "--theme=dark")
    expect(tab.page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Dark")
    tab.page.get_by_role("button", name="Count").click()
    expect(tab.page.get_by_text(STEP)).to_be_visible()
    tab.page.get_by_text("turned 0").click()
    expect(tab.page.get_by_text("turned 1")).to_be_visible()
    # The page of Voilà itself asks for the font of its icons.
    assert not [url for url in tab.foreign_requests if "fontawesome" not in url]
    assert len(tab.server.kernels()) == 1
