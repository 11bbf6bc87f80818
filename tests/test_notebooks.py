"""The lessons run top to bottom in a real kernel, at a smaller size, and are stored executed."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import execute as maker  # noqa: E402

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
NAMES = [
    "00_start_here",
    "01_inside_vgg",
    "02_content_reconstruction",
    "03_style_reconstruction",
    "04_style_transfer",
    "05_recipes_and_bugs",
    "06_going_further",
]
SMALLER = "SIZE = LARGE = 64\nEVALUATIONS = 6"
PLACES = re.compile(r"/[\w.-]+/|site-packages|[A-Z]:\\\\")  # any path from a root
TIMES = re.compile(r"\b\d+(\.\d+)? ?(s|ms|seconds|minutes)\b")


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=LESSONS + SOLUTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def stored(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def kinds(notebook: nbformat.NotebookNode) -> dict[str, list[list[str]]]:
    """What each cell has given, without the contents."""
    return {
        cell.id: [sorted(o.get("data", {o.get("name", ""): 0})) for o in cell.outputs]
        for cell in code_cells(notebook)
    }


def test_the_lessons_and_their_solutions() -> None:
    assert [path.stem for path in LESSONS] == NAMES
    assert [path.stem for path in SOLUTIONS] == NAMES


def test_runs_top_to_bottom(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    """Any error fails it; the lessons wait for their threads, so one in a thread does too.

    Every cell gives outputs of the kinds that are stored: the stored ones are of this source.
    """
    before = kinds(notebook)
    places = [
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(places) == 1
    notebook.cells.insert(places[0] + 1, nbformat.v4.new_code_cell(SMALLER))
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", coalesce_streams=True,
        resources={"metadata": {"path": tmp_path}},
    )  # fmt: skip
    client.execute()
    assert not list(tmp_path.iterdir()), "a lesson leaves nothing behind"
    del notebook.cells[places[0] + 1]
    maker.clean(notebook)
    assert kinds(notebook) == before


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


def test_is_stored_executed(stored: nbformat.NotebookNode) -> None:
    """`make notebooks` mends it."""
    cells = code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert stored.metadata["styletutor"]["source_sha256"] == maker.source_sha256(stored)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr" and "Warning" in o.text]


def test_another_source_is_noticed(notebook: nbformat.NotebookNode) -> None:
    code_cells(notebook)[-1].source += "\n# changed"
    assert notebook.metadata["styletutor"]["source_sha256"] != maker.source_sha256(notebook)


def test_outputs_say_nothing_of_a_machine(stored: nbformat.NotebookNode) -> None:
    for cell in code_cells(stored):
        if "machine" in cell.metadata.get("tags", []):
            assert not cell.outputs
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text", "")})
            assert maker.VIEW not in data
            words = data.get("text/plain", "") + data.get("text/html", "")
            assert not PLACES.search(words), words
            assert not TIMES.search(words), words


def test_pictures_are_compact_and_described(notebook: nbformat.NotebookNode) -> None:
    pictures = [o for cell in code_cells(notebook) for o in cell.outputs if "data" in o]
    pictures = [o.data for o in pictures if any(kind.startswith("image/") for kind in o.data)]
    assert len(pictures) >= 2
    for data in pictures:
        assert "image/jpeg" in data and "image/png" not in data
        assert re.fullmatch(r"<figure: .{10,}>", data["text/plain"], flags=re.DOTALL)


def test_every_notebook_is_small() -> None:
    for path in LESSONS + SOLUTIONS:
        assert path.stat().st_size < 1_000_000, path


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    assert 30 <= len(notebook.cells) <= 60
    lengths = sorted(len(cell.source.splitlines()) for cell in code_cells(notebook))
    assert lengths[len(lengths) // 2] <= 6
    assert lengths[-1] <= 25


def test_a_lesson_has_all_its_parts(notebook: nbformat.NotebookNode) -> None:
    text, code = prose(notebook), "\n".join(cell.source for cell in code_cells(notebook))
    first = notebook.cells[0].source
    assert "After this lesson you will be able to" in first
    assert re.search(r"\*\*Time: about \d+ minutes", first)
    for part in ("**Predict, then run", "## Summary", "## Further reading", "<summary>Hint"):
        assert part in text, part
    assert "lessons.check_" in code
    folded = text.count("<summary>Hint") + text.count("<summary>What came out")
    assert text.count("<details>") == text.count("</details>") == folded


def test_no_answer_stands_open_below_its_question(notebook: nbformat.NotebookNode) -> None:
    """Stored outputs of what is to be predicted are folded, and so is what is said of them."""
    asked = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if asked:
                assert cell.source.startswith(("<details><summary>What came out", "#")), cell.id
            asked = "**Predict, then run" in cell.source
        elif asked and not re.search(r"^lessons\.check_", cell.source, re.MULTILINE):
            assert cell.metadata["jupyter"]["outputs_hidden"], cell.id
            assert "hide-output" in cell.metadata["tags"], cell.id


def test_a_panel_or_a_quiz_in_every_lesson(notebook: nbformat.NotebookNode) -> None:
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert "widgets." in code or "lessons.quiz(" in code


def test_links_between_notebooks_lead_somewhere() -> None:
    for path in LESSONS + SOLUTIONS:
        notebook = nbformat.read(path, as_version=4)
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose(notebook)):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
