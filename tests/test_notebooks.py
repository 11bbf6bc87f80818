"""The lessons run top to bottom in a real kernel, at a smaller size, and are stored executed."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SMALLER = "SIZE = 64\nEVALUATIONS = 6"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_four() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_inside_vgg",
        "02_content_reconstruction",
        "03_style_reconstruction",
        "04_style_transfer",
    ]


def test_runs_top_to_bottom(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    """Any error fails it; the lessons wait for their threads, so one in a thread does too."""
    places = [
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(places) == 1
    notebook.cells.insert(places[0] + 1, nbformat.v4.new_code_cell(SMALLER))
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert not list(tmp_path.iterdir()), "a lesson leaves nothing behind"


def test_an_error_in_a_thread_fails_a_notebook(tmp_path: Path) -> None:
    """The oracle of the test above: it would notice."""
    code = (
        "import styletutor as st\n"
        "from styletutor import widgets\n"
        "photo = st.load_image('astronaut', 8)\n"
        "panel = widgets.ReconstructionLab(st.load_vgg('pocket'), photo, layers=('relu5_1',))\n"
        "panel.start()\n"
        "panel.wait()"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    with pytest.raises(Exception, match="too small for relu5_1"):
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()


def test_is_stored_executed(notebook: nbformat.NotebookNode) -> None:
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = [o for o in outputs if {"image/jpeg", "image/png"} & set(o.get("data", {}))]
    assert len(pictures) >= 3
    assert not [o for o in outputs if o.get("name") == "stderr" and "Warning" in o.text]


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    lengths = sorted(len(cell.source.splitlines()) for cell in code_cells(notebook))
    assert lengths[len(lengths) // 2] <= 6
    assert lengths[-1] <= 25


def test_has_a_control_and_is_small(
    notebook: nbformat.NotebookNode, request: pytest.FixtureRequest
) -> None:
    source = "\n".join(cell.source for cell in code_cells(notebook))
    assert "widgets." in source
    path = next(p for p in NOTEBOOKS if p.stem in request.node.callspec.id)
    assert path.stat().st_size < 1_000_000
