"""Every panel of every lesson, used in a real JupyterLab in a real Chromium."""

import base64
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
import torch
from browser import Lab, write_notebook
from PIL import Image

import styletutor as st

if TYPE_CHECKING:
    from playwright.sync_api import Locator

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
WIDTHS = (1280, 800)
expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect


def lesson(lab: Lab, name: str, parameters: str) -> None:
    """Open a lesson with other parameters and run all of it, which opens what is folded."""
    (source,) = NOTEBOOKS.glob(f"{name}*.ipynb")
    notebook = nbformat.read(source, as_version=4)
    tagged = [
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell(parameters))
    path = lab.server.folder / source.name
    nbformat.write(notebook, path)
    lab.open(path)
    folded = lab.page.locator(".jp-OutputPlaceholder")
    expect(folded).not_to_have_count(0)
    lab.run_all()
    expect(folded).to_have_count(0)


def panel_with(lab: Lab, part: str) -> "Locator":
    """The output with the panel that has this part, a CSS selector."""
    cell = lab.page.locator(".jp-CodeCell", has=lab.page.locator(part))
    output = cell.locator(".jp-Cell-outputArea").last
    output.scroll_into_view_if_needed()
    return output


def button(panel: "Locator", name: str) -> "Locator":
    # An icon of ipywidgets is a letter before its name.
    return panel.get_by_role("button", name=re.compile(f"(^|\\W){re.escape(name)}$"))


def press(panel: "Locator", name: str) -> None:
    button(panel, name).click()


def described(layer: str, network: str = "auto") -> str:
    """As the map of a network says it."""
    row = st.load_vgg(network, device="cpu").layer(layer)
    side = f"{row.receptive_field} × {row.receptive_field}"
    return (
        f"{layer}: {row.channels} channels, one position sees {side} pixels, "
        f"positions are {row.stride} apart"
    )


def source_of(image: "Locator") -> str:
    expect(image).to_have_attribute("src", re.compile("blob:"))
    return image.get_attribute("src")


def fits(lab: Lab, panel: "Locator") -> None:
    """Nothing sticks out at the side, on a projector and in a narrow window, in both themes."""
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.theme(theme)
        for width in WIDTHS:
            lab.size(width, 720)
            wide, room = panel.evaluate("e => [e.scrollWidth, e.clientWidth]")
            assert wide <= room + 1, f"{wide} pixels in {room} at {width} in {theme}"
    lab.size(1280, 900)
    unnamed = panel.evaluate(
        """e => [...e.querySelectorAll('button, input, select, [tabindex="0"]')].filter(part =>
            part.offsetParent && !(part.textContent.trim() || part.ariaLabel || part.title ||
            part.labels?.length || part.closest('.widget-inline-hbox, .jupyter-widgets')
            ?.querySelector('label')?.textContent)).map(part => part.outerHTML)"""
    )
    assert not unnamed, "controls without a name"


def is_well(lab: Lab) -> None:
    assert not lab.errors
    assert not lab.foreign_requests


def test_lesson_1_the_explorer(lab: Lab) -> None:
    lesson(lab, "01", "SIZE = 96")
    panel = panel_with(lab, ".st-map")
    press(panel, described("relu3_1"))
    channels = described("relu3_1").split(",")[0]
    expect(panel.get_by_text(f"{channels} of 24×24")).to_be_visible()
    lab.page.keyboard.press("ArrowDown")
    channels = described("conv3_2").split(",")[0]
    expect(panel.get_by_text(f"{channels} of 24×24")).to_be_visible()
    large = panel.locator(".st-stage img.st-after").first
    before = source_of(large)
    panel.get_by_role("group", name="channels, the strongest first").get_by_role("button").nth(
        3
    ).click()
    expect(large).not_to_have_attribute("src", before)
    large.click(position={"x": 100, "y": 100})
    expect(panel.get_by_text(re.compile(r"row \d+, column \d+: .* the thick box"))).to_be_visible()
    place = panel.get_by_text(re.compile(r"row \d+, column"))
    row = place.inner_text()
    lab.page.keyboard.press("ArrowDown")
    expect(place).not_to_have_text(row)
    cells = lab.page.locator(".jp-Cell").count()
    for part in (button(panel, "What survives?"), panel.locator(".st-tile").first):
        part.focus()
        for key in "xmdd00":
            lab.page.keyboard.press(key)
    expect(panel).to_be_visible()
    assert lab.page.locator(".jp-Cell").count() == cells, "a letter is no command here"
    expect(lab.page.locator(".jp-Dialog")).to_have_count(0)
    press(panel, "What survives?")
    expect(panel.get_by_text("what survives in conv3_2: error")).to_be_visible()
    fits(lab, panel)
    is_well(lab)


def test_lesson_2_the_reconstruction_lab(lab: Lab) -> None:
    lesson(lab, "02", "SIZE = 96\nEVALUATIONS = 6")
    panel = panel_with(lab, ".st-map")
    expect(panel.get_by_text(re.compile("done: content"))).to_be_visible()
    press(panel, described("relu4_1", "pocket"))
    panel.get_by_role("slider", name="evaluations").focus()
    lab.page.keyboard.press("End")
    press(panel, "Start")
    tiles = panel.locator(".st-tile img")
    expect(tiles).to_have_count(2)
    before = source_of(tiles.first)
    expect(tiles.first).not_to_have_attribute("src", before)
    assert lab.run_cell("print(panel.run.state)") == "running", "the kernel is free meanwhile"
    assert lab.run_cell("first = panel.run\nprint(first.state)") == "running"
    lab.page.evaluate(
        """() => { const panel = [...window.jupyterapp.shell.widgets('main')][0];
        panel.content.activeCellIndex = panel.content.widgets.findIndex(
            cell => cell.model.sharedModel.source.includes('panel.start()')); }"""
    )
    lab._command("notebook:run-cell", 60)
    assert lab.run_cell("print(first.wait(30).interrupted, panel.run is first)") == "True False"
    panel = panel_with(lab, ".st-map")
    expect(panel.get_by_text(re.compile("done: content"))).to_be_visible()
    fits(lab, panel)
    is_well(lab)


def test_lesson_3_the_gram_lab(lab: Lab) -> None:
    lesson(lab, "03", "SIZE = 96\nEVALUATIONS = 6")
    panel = panel_with(lab, ".st-active .st-pixels")
    expect(panel.get_by_text("no entry has moved")).to_be_visible()
    press(panel, "Shuffle positions")
    expect(
        panel.get_by_text(re.compile(r"content loss\): [1-9].*style loss\): 0 %"))
    ).to_be_visible()
    press(panel, "Back in order")
    expect(panel.get_by_text(re.compile(r"content loss\): 0 %"))).to_be_visible()
    box = panel.locator(".st-stage").first.bounding_box()
    at = [(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"]) for share in (0.3, 0.6)]
    lab.page.mouse.move(*at[0])
    lab.page.mouse.down()
    lab.page.mouse.move(*at[1], steps=5)
    lab.page.mouse.up()
    expect(panel.get_by_text(re.compile("moved most: channels"))).to_be_visible()
    press(panel, "Clean picture")
    expect(panel.get_by_text("no entry has moved")).to_be_visible()
    panel.locator(".st-stage").first.focus()
    lab.page.keyboard.press(" ")
    expect(panel.get_by_text(re.compile("moved most: channels"))).to_be_visible()
    fits(lab, panel)
    is_well(lab)


def test_lesson_4_the_studio(lab: Lab, tmp_path: Path) -> None:
    lesson(lab, "04", "SIZE = LARGE = 128\nEVALUATIONS = 12")
    panel = panel_with(lab, ".st-board")
    panel.get_by_role("tab", name="Settings").click()
    panel.get_by_role("slider", name="evaluations").focus()
    lab.page.keyboard.press("End")
    press(panel, "Start")
    picture = panel.locator(".st-stage img.st-after")
    figures = panel.get_by_text(re.compile("evaluation .* of 1000"))
    expect(figures).to_contain_text("style removed")
    before = source_of(picture)
    expect(picture).not_to_have_attribute("src", before)
    assert lab.run_cell("print(panel.run.state)") == "running", "a cell runs while it optimises"

    fader = panel.get_by_role("slider", name="fader of style")
    fader.focus()
    lab.page.keyboard.press("End")
    expect(panel.locator(".st-strip[data-name=style] output")).to_have_text("× 100")
    turned = "while not panel.run.record.turned: pass\nr = panel.run.record\n"
    more = "k = r.turned[-1]['evaluation']\nwhile len(r.history()) < k + 3: pass\n"
    show = "print([round(row['parts']['style relu1_1'], 9) for row in r.rows[k - 2 : k]])"
    old, new = map(float, lab.run_cell(turned + more + show).strip("[]").split(","))
    assert new > 20 * old, "the loss counts style a hundredfold at the next evaluation"

    expect(panel.locator(".st-tug")).to_contain_text("style")
    press(panel, "mute relu5_1")
    expect(panel.locator(".st-strip[data-name=relu5_1]")).to_have_class(re.compile("st-silent"))
    press(panel, "Pause")
    expect(button(panel, "Continue")).to_be_enabled()
    held = "import time\ntime.sleep(.5)\na = panel.run.step.evaluation\ntime.sleep(.5)\n"
    assert lab.run_cell(held + "print(panel.run.step.evaluation - a)") == "0"
    press(panel, "Continue")
    moving = "while panel.run.step.evaluation == a: time.sleep(.05)\nprint('moved')"
    assert lab.run_cell(moving) == "moved"
    press(panel, "Stop")
    expect(panel.get_by_text("stopped; Continue goes on")).to_be_visible()
    press(panel, "Save")
    expect(panel.get_by_text(re.compile(r"saved transfer-1\.png"))).to_be_visible()
    saved = lab.server.folder / "transfer-1.png"
    assert max(st.load_image(saved).shape) == 128

    press(panel, "Keep as A")
    divider = panel.get_by_role("slider", name="divider between the two pictures")
    divider.focus()
    lab.page.keyboard.press("Home")
    assert lab.run_cell("print(panel.view.divider)") == "0.0"
    lab.save()
    lab.reload()
    panel = panel_with(lab, ".st-board")
    expect(panel.locator(".st-strip[data-name=style] output")).to_have_text("× 100")
    assert source_of(panel.locator(".st-stage img.st-after"))
    press(panel, "Continue")
    expect(panel.get_by_text("running; the faders count at once")).to_be_visible()
    panel.get_by_role("slider", name="frame").focus()
    lab.page.keyboard.press("Home")
    press(panel, "Fork here")
    expect(panel.get_by_text("running; the faders count at once")).to_be_visible()
    press(panel, "Stop")
    expect(panel.get_by_text(re.compile("stopped; Continue goes on"))).to_be_visible()

    st.save_image(torch.rand(1, 3, 40, 60), tmp_path / "mine.png")
    panel.get_by_role("tab", name="Content").click()
    panel.locator("input[type=file]").first.set_input_files(tmp_path / "mine.png")
    expect(panel.get_by_text("mine.png is there")).to_be_visible()
    expect(panel.get_by_title("mine.png")).to_have_attribute("aria-pressed", "true")
    fits(lab, panel)
    is_well(lab)
    for path in lab.server.folder.glob("transfer-*"):
        path.unlink()
    shutil.rmtree(lab.server.folder / ".ipynb_checkpoints", ignore_errors=True)


def test_a_photograph_is_dropped(lab: Lab, tmp_path: Path) -> None:
    """A small file comes as it is, a large one is made smaller before it is sent."""
    code = "from styletutor.widgets.studio.pictures import Pictures\n"
    code += "chooser = Pictures('content', 'photographs', ['coffee'])\nchooser"
    lab.open(write_notebook(lab.server.folder / "drop.ipynb", code))
    lab.run_all()
    zone = lab.cell_output(0).locator(".st-drop")
    st.save_image(torch.rand(1, 3, 30, 40), tmp_path / "small.png")
    file = base64.b64encode((tmp_path / "small.png").read_bytes()).decode()
    transfer = lab.page.evaluate_handle(
        """file => { const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
        data.items.add(new File([bytes], 'dropped.png', {type: 'image/png'})); return data; }""",
        file,
    )
    zone.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(zone).to_have_class(re.compile("st-over"))
    zone.dispatch_event("drop", {"dataTransfer": transfer})
    expect(zone.get_by_text("dropped.png is there")).to_be_visible()
    assert lab.run_cell("print(tuple(chooser.chosen[0].shape))") == "(1, 3, 30, 40)"

    st.save_image(torch.rand(1, 3, 1200, 2400), tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 6_000_000
    zone.locator("input").set_input_files(tmp_path / "large.png")
    expect(zone.get_by_text("large.png is there")).to_be_visible()
    assert lab.run_cell("print(tuple(chooser.chosen[0].shape))") == "(1, 3, 1024, 2048)"

    Image.new("1", (6000, 6000)).save(tmp_path / "many.png")  # in 6 kB
    zone.locator("input").set_input_files(tmp_path / "many.png")
    expect(zone.get_by_text("many.png is there")).to_be_visible()
    assert lab.run_cell("print(tuple(chooser.chosen[0].shape))") == "(1, 3, 2048, 2048)"
    is_well(lab)


def test_a_quiz_is_answered_with_the_keys(lab: Lab) -> None:
    code = "from styletutor import lessons\nquiz = lessons.quiz('inside_vgg')\nquiz"
    lab.open(write_notebook(lab.server.folder / "quiz.ipynb", code))
    lab.run_all()
    panel = lab.cell_output(0)
    cells = lab.page.locator(".jp-Cell").count()
    panel.get_by_label("New channels").focus()
    lab.page.keyboard.press("Space")
    expect(panel.get_by_text("Not quite. A ReLU has no parameters")).to_be_visible()
    lab.page.keyboard.press("ArrowDown")
    expect(panel.get_by_text("✓ Right. It keeps what is positive")).to_be_visible()
    lab.page.keyboard.press("x")
    assert lab.page.locator(".jp-Cell").count() == cells, "a letter is no command here"
    is_well(lab)
