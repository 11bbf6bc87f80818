"""Grading of handed-in notebooks: what they define is run, and nothing else of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import nbformat
import pytest

from styletutor.cli import main
from styletutor.lessons import grading

RIGHT = """
def my_gram(features):
    flat = features.flatten(2)
    return flat @ flat.mT / features[0].numel()


lessons.check_gram(my_gram)
"""
IMPORTS = "%matplotlib inline\nimport torch\nfrom styletutor import lessons"


def notebook(path: Path, *cells: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, path)
    return path


def marks(folder: Path, seconds: float = 120) -> dict[str, grading.Marks]:
    return {row.path.stem: row for row in grading.grade(folder, seconds)}


def test_each_notebook_gets_its_marks(tmp_path: Path) -> None:
    wrong = RIGHT.replace(" / features[0].numel()", "")
    dots = "def my_mirror(images):\n    ...\n\n\nlessons.check_mirror(my_mirror)"
    notebook(tmp_path / "a.ipynb", IMPORTS, RIGHT, dots)
    notebook(tmp_path / "deeper/b.ipynb", IMPORTS, wrong)
    notebook(tmp_path / "deeper/c.ipynb", IMPORTS, RIGHT, wrong)  # what stands last counts
    found = marks(tmp_path)
    assert list(found) == ["a", "b", "c"]
    assert found["a"].verdicts["gram"] == "✓" and found["a"].verdicts["mirror"][0] == "○"
    assert found["b"].verdicts["gram"].startswith("✗ not divided yet")
    assert found["c"].passed == 0 and found["a"].passed == 1
    rows = list(csv.DictReader(io.StringIO(grading.to_csv(list(found.values())))))
    assert list(rows[0]) == ["notebook", "passed", "of", "gram", "mirror", "notes"]
    assert [row["passed"] for row in rows] == ["1", "0", "0"] and rows[1]["mirror"] == ""


def test_only_definitions_and_checks_are_run(tmp_path: Path) -> None:
    """A painting of hours and a mistake beside the exercises cost nothing; helpers are there."""
    helper = "HALF = 0.5\n\n\ndef twice(x):\n    return HALF * 4 * x"
    uses = "def my_mirror(images):\n    return twice(images.flip(3)) / 2\n\n\nlessons.check_mirror(my_mirror)"  # noqa: E501
    slow = "while True:\n    pass"
    notebook(tmp_path / "a.ipynb", IMPORTS, slow, helper, "1 / 0", "!ls", uses, "def (")
    (found,) = marks(tmp_path).values()
    assert found.verdicts == {"mirror": "✓"}
    assert len(found.notes) == 1 and "code cell 7 is no Python" in found.notes[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("while True: pass", "stopped after 10 seconds"),
        ("raise SystemExit", "has ended Python itself"),
        ("import os; os._exit(0)", "has ended Python itself"),
    ],
)
def test_none_runs_for_ever_or_ends_the_others(body: str, words: str, tmp_path: Path) -> None:
    bad = f"def my_mirror(images):\n    {body}\n\n\nlessons.check_mirror(my_mirror)"
    notebook(tmp_path / "a.ipynb", IMPORTS, bad)
    (found,) = marks(tmp_path, 10).values()
    assert not found.verdicts and words in found.notes[0]


@pytest.mark.parametrize(
    "body",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "open('written.txt', 'w')",
        "import os; os.remove('dear.txt')",
    ],
)
def test_accidents_are_kept_away(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dear.txt").write_text("dear")
    bad = f"def my_mirror(images):\n    {body}\n\n\nlessons.check_mirror(my_mirror)"
    notebook(tmp_path / "a.ipynb", IMPORTS, bad)
    (found,) = marks(tmp_path).values()
    assert "is not allowed while grading" in found.verdicts["mirror"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ipynb", "dear.txt"]


def test_the_command_writes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook(tmp_path / "in/=2+3.ipynb", IMPORTS, RIGHT)
    (tmp_path / "in/broken.ipynb").write_text("{}")
    table = tmp_path / "marks.csv"
    assert main(["grade", str(tmp_path / "in"), "--output", str(table)]) == 0
    said = capsys.readouterr().out
    assert "=2+3.ipynb: 1 of 1 passed" in said and "this is no notebook (KeyError)" in said
    assert len(list(csv.reader(io.StringIO(table.read_text("utf-8-sig"))))) == 3


def test_a_cell_of_the_table_is_no_formula() -> None:
    row = grading.Marks(Path("=1+1"), {"gram": "✓"}, ["@x"])
    assert grading.to_csv([row]).splitlines()[1] == "'=1+1,1,1,✓,'@x"


def test_a_folder_without_notebooks_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["grade", str(tmp_path)]) == 2
    assert "there is no notebook in" in capsys.readouterr().err
