"""Each lesson and plan as slides: `python docs/slides.py notebooks site/slides docs/plans`.

Made by nbconvert for reveal.js, which comes out of an installed package: the folder is complete.
Code that has an output is folded, so that a figure has the room; exercises are not.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import nbformat
from deck import arrange
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from offline import MATH_FONT, file_of, mathml, prepare
from plans import compose

WEB = Path(__file__).parent / "web"
REVEAL = file_of("sphinx_revealjs", "_static/revealjs")
FILES = [
    *(REVEAL / "dist" / name for name in ("reset.css", "reveal.css", "reveal.js")),
    REVEAL / "plugin/notes/notes.js",
    *(WEB / name for name in ("mathematics.css", "slides.css", "slides.js")),
    MATH_FONT,
]


def main(lessons: Path, output: Path, plans: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(file, output / file.name)
    paths = sorted(lessons.glob("*.ipynb"))
    decks = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    for plan in sorted(plans.glob("*.md")):
        decks[plan.stem] = compose(plan, lessons, plans.parent / "teaching.md")
    for name, deck in decks.items():
        page = output / f"{name}.html"
        kind = "lesson" if lessons / f"{name}.ipynb" in paths else "plan"
        page.write_text(slides(deck, set(decks), kind), encoding="utf-8")
        print(page)


def slides(notebook: NotebookNode, decks: set[str], kind: str) -> str:
    """The page of one lesson or plan; links to a notebook in `decks` lead to its slides."""
    exporter = SlidesExporter(template_name="deck", extra_template_basedirs=[str(WEB)])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    markdown = reader(decks)
    exporter.register_filter("markdown2html", lambda text: markdown.render(text))
    title = re.search(r"^# (.*)", notebook.cells[0].source, re.MULTILINE)
    about = {"kind": kind} | ({"title": title[1]} if title else {})
    deck = arrange(prepare(notebook))
    deck.cells = [part for cell in deck.cells for part in (cell, *speaker_notes(cell))]
    return exporter.from_notebook_node(deck, {"metadata": about})[0]


def speaker_notes(cell: NotebookNode) -> list[NotebookNode]:
    text = cell.metadata.get("notes")
    about = {"slideshow": {"slide_type": "notes"}}
    return [new_markdown_cell(text, metadata=about)] if text else []


def reader(decks: set[str]) -> MarkdownIt:
    """Markdown as on the site, with formulas as MathML."""

    def lead(url: str) -> str:
        if re.match(r"\w+:|#", url):
            return url
        page = re.sub(r"\.(ipynb|md)(?=$|#)", ".html", url)
        return page if page.split(".html")[0] in decks else f"../notebooks/{page}"

    markdown = MarkdownIt("commonmark").enable("table")
    markdown.use(dollarmath_plugin, renderer=lambda latex, how: mathml(latex, how["display_mode"]))
    markdown.normalizeLink = lead
    return markdown


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
