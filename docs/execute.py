"""Executes the lessons in place: `python docs/execute.py [notebooks/…]` (`make notebooks`).

What is stored belongs to the source beside it and to no machine: every notebook keeps the SHA-256
of the code that made its outputs, widgets are left as the words that stand for them, and outputs of
cells tagged `machine`, which say how fast a computer is, are not kept.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
LESSONS = ROOT / "notebooks"
VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def find_notebooks() -> list[Path]:
    """The lessons and their solutions."""
    return sorted(LESSONS.glob("*.ipynb")) + sorted(LESSONS.glob("solutions/*.ipynb"))


def source_sha256(notebook: NotebookNode) -> str:
    """Of the code of all cells, in order."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n%%\n".join(code).encode()).hexdigest()


def clean(notebook: NotebookNode) -> None:
    """Leave nothing of the machine that executed it."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if "machine" in cell.metadata.get("tags", []):
            cell.outputs = []
        for output in cell.outputs:
            if VIEW in output.get("data", {}):
                del output.data[VIEW]
                name, bracket, _ = output.data["text/plain"].partition("(")
                if bracket and name.isidentifier():  # how far a panel has come by now
                    output.data["text/plain"] = f"[{name}: run this cell to use the panel]"
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "styletutor": {"source_sha256": source_sha256(notebook)},
    }


def execute(path: Path) -> None:
    """Run all cells from top to bottom in a new kernel, and write the notebook if none failed."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=resources,
        record_timing=False, store_widget_state=False, coalesce_streams=True,
    ).execute()  # fmt: skip
    clean(notebook)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def main() -> None:
    chosen = [Path(name) for name in sys.argv[1:]] or find_notebooks()
    for path in tqdm(chosen, unit="notebook"):
        tqdm.write(path.name)
        execute(path)


if __name__ == "__main__":
    main()
