"""Runs the checks of handed-in notebooks again: `styletutor grade FOLDER`.

Only definitions, imports and constants of a notebook are taken, and its calls of checks; nothing
else of it is run. They run in a Python of their own that may open no connection, start no program
and write no file, and that is stopped after a while. That keeps accidents away, and is no jail.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from styletutor.lessons import exercises
from styletutor.lessons.exercise import MARKS

NOT_HERE = ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.fork",
            "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree")  # fmt: skip
MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)
COLUMNS = [*(name.removeprefix("check_") for name in exercises), "transfer"]


@dataclass(frozen=True)
class Marks:
    """What the checks say of one notebook: by exercise a mark and a sentence."""

    path: Path
    verdicts: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def passed(self) -> int:
        return sum(verdict.startswith(MARKS[True][0]) for verdict in self.verdicts.values())


def grade(folder: Path, seconds: float = 120) -> Iterator[Marks]:
    """Each notebook in `folder` and below, in the order of names.

    Raises FileNotFoundError if there is none.
    """
    paths = [p for p in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    if not paths:
        raise FileNotFoundError(f"there is no notebook in {folder}; give the folder that has them")
    for path in paths:
        yield _marks(path, seconds)


def to_csv(marks: Sequence[Marks]) -> str:
    """A table with a row for each notebook and a column for each exercise that any of them has."""
    there = {name for row in marks for name in row.verdicts}
    columns = [name for name in COLUMNS if name in there]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["notebook", "passed", "of", *columns, "notes"])
    for row in marks:
        cells = [_harmless(row.verdicts.get(name, "")) for name in columns]
        notes = _harmless("; ".join(row.notes))
        writer.writerow([_harmless(str(row.path)), row.passed, len(row.verdicts), *cells, notes])
    return table.getvalue()


def _harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _marks(path: Path, seconds: float) -> Marks:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        return Marks(path, notes=[f"this is no notebook ({type(error).__name__})"])
    code, notes = [], []
    for number, source in enumerate(sources, start=1):
        try:
            code.append(_definitions_and_checks(source))
        except (SyntaxError, ValueError, RecursionError) as error:
            notes.append(f"code cell {number} is no Python ({error})".replace("\n", " "))
    words = [sys.executable, "-m", "styletutor.lessons.grading"]
    try:
        done = subprocess.run(
            words, input=json.dumps(code), capture_output=True, text=True, encoding="utf-8",
            timeout=seconds,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Marks(path, notes=[*notes, f"stopped after {seconds:g} seconds"])
    except (ValueError, IndexError):
        return Marks(path, notes=[*notes, "its code has ended Python itself"])
    return Marks(path, found["verdicts"], [*notes, *found["notes"]])


def _definitions_and_checks(source: str) -> str:
    kept = []
    for node in ast.parse(MAGIC.sub("", source)).body:
        defines = isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
        constant = isinstance(node, ast.Assign) and _is_constant(node.value)
        checks = isinstance(node, ast.Expr) and ast.unparse(node).startswith("lessons.check_")
        if defines or constant or checks:
            kept.append(node)
    return ast.unparse(ast.Module(kept, type_ignores=[]))


def _is_constant(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _run(cells: Sequence[str]) -> dict[str, object]:
    """In the Python of its own: what the checks say, and which cells have failed."""
    import torch

    from styletutor.lessons.exercise import tries

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and set(str(arguments[1])) & set("wax+")
        if event in NOT_HERE or writes:
            raise PermissionError(f"{event} is not allowed while grading")

    torch.set_num_threads(1)
    sys.addaudithook(refuse)
    space: dict[str, object] = {"__name__": "__main__"}
    notes = []
    for number, cell in enumerate(cells, start=1):
        try:
            exec(compile(cell, f"cell {number}", "exec"), space)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            notes.append(f"cell {number}: {type(error).__name__}: {said}"[:200])
    last = {name: verdicts[-1] for name, verdicts in tries.items()}
    marks = {
        n: f"{MARKS[v.right][0]} {'' if v.right else v.words}".strip() for n, v in last.items()
    }
    return {"verdicts": marks, "notes": notes}


def main() -> None:
    """Read a list of cells, write one line of JSON; what the cells print goes nowhere."""
    cells, out = json.load(sys.stdin), sys.stdout
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        found = _run(cells)
    print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()
