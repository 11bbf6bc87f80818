"""Each lesson as slides: `python docs/slides.py notebooks site/slides`.

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
from offline import MATH_FONT, file_of, mathml, prepare

WEB = Path(__file__).parent / "web"
REVEAL = file_of("sphinx_revealjs", "_static/revealjs/dist")
FILES = [
    *(REVEAL / name for name in ("reset.css", "reveal.css", "reveal.js")),
    *(WEB / name for name in ("mathematics.css", "slides.css", "slides.js")),
    MATH_FONT,
]


def main(lessons: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(file, output / file.name)
    paths = sorted(lessons.glob("*.ipynb"))
    for path in paths:
        page = slides(nbformat.read(path, as_version=4), {other.stem for other in paths})
        (output / f"{path.stem}.html").write_text(page, encoding="utf-8")
        print(output / f"{path.stem}.html")


def slides(notebook: NotebookNode, decks: set[str]) -> str:
    """The page of one lesson; links to a notebook in `decks` lead to its slides."""
    exporter = SlidesExporter(template_name="deck", extra_template_basedirs=[str(WEB)])
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    markdown = reader(decks)
    exporter.register_filter("markdown2html", lambda text: markdown.render(text))
    title = re.search(r"^# (.*)", notebook.cells[0].source, re.MULTILINE)
    about = {"title": title[1]} if title else {}
    return exporter.from_notebook_node(arrange(prepare(notebook)), {"metadata": about})[0]


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
    main(Path(sys.argv[1]), Path(sys.argv[2]))
