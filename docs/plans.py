"""A deck for each of the teacher's plans: what is on the wall, and what is said to it.

`docs/plans/50_minutes.md` holds the slides as Markdown. There `{{ 03 nested }}` stands for a cell
of lesson 3, a picture without its code, and `{{ minute 8 }}` for what the plan of 50 minutes in
docs/teaching.md says at that minute: it becomes the note of the slide that it stands on.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from offline import picture_kind

HEADING = re.compile(r"^(?=## )", re.MULTILINE)
PIECE = re.compile(r"^\{\{ (\w+) ([\w-]+) \}\}$", re.MULTILINE)
ROW = re.compile(r"^\| (\d+) \| *(\w*) *\| (.*) \|$", re.MULTILINE)


def compose(plan: Path, lessons: Path, guide: Path) -> NotebookNode:
    """The deck's cells in order; each note is in the metadata of the cell that it belongs to.

    Raises ValueError if a cell or a minute does not exist, or a minute of the plan has no slide.
    """
    notes, cells = script(guide, plan.stem.replace("_", " ")), []
    text, *pieces = PIECE.split(plan.read_text(encoding="utf-8"))
    cells += texts(text)
    for what, which, after in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        if what != "minute":
            cells.append(lesson_cell(lessons, what, which))
        elif which not in notes:
            raise ValueError(f"{plan.name}: the plan in {guide.name} has no minute {which}")
        else:
            cells[-1].metadata["notes"] = notes.pop(which)
        cells += texts(after)
    if notes:
        raise ValueError(f"{plan.name}: no slide has minute {next(iter(notes))} of the plan")
    return new_notebook(cells=cells)


def texts(text: str) -> list[NotebookNode]:
    return [new_markdown_cell(part) for part in HEADING.split(text) if part.strip()]


def script(guide: Path, name: str) -> dict[str, str]:
    """What to do and say, by minute: the rows of the table under the heading `### name`."""
    sections = re.split(r"^#{2,3} ", guide.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        if re.match(rf"{name}\b", section):
            rows = ROW.findall(section)
            return {at: f"**Minute {at}{how and ', '}{how}.** {text}" for at, how, text in rows}
    raise ValueError(f"{guide.name} has no plan of {name}")


def lesson_cell(lessons: Path, prefix: str, name: str) -> NotebookNode:
    """A copy of one cell; nobody wants to see the code of a picture from the back of a room."""
    for path in lessons.glob(f"{prefix}_*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.id == name:
                if any(picture_kind(output) for output in cell.get("outputs", ())):
                    cell.source = ""
                return cell
    raise ValueError(f"no lesson {prefix} in {lessons} has a cell {name}")
