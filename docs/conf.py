"""The site: `sphinx-build -c docs . site` from the stored notebooks, running none of them.

The root of the repository is Sphinx' source, so that a link which works there works here.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from offline import MATH_FONT, mathml, prepare  # noqa: E402

project = "styletutor"
html_title = "styletutor"
html_theme = "furo"
root_doc = "README"
extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings"]
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "training/README.md", "benchmarks/RESULTS.md"),
    *("docs/*.md", "docs/reference/*.md", "docs/worksheets/*.md"),
    *("notebooks/*.ipynb", "notebooks/solutions/*.ipynb"),
]
# Folders are named so that Sphinx does not walk through them.
exclude_patterns = [".*", "build", "site", "styletutor", "tests"]
if not find_spec("styletutor.lessons"):
    exclude_patterns.append("docs/reference/lessons.md")

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
html_static_path = ["web/mathematics.css", "web/site.css", str(MATH_FONT)]
html_css_files = ["mathematics.css", "site.css"]
# A page that is read from disk may not fetch others to quote from them.
html_show_search_summary = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

# Docstrings write `name` as notebooks do.
default_role = "py:obj"
# `set` is what matplotlib adds to each of its classes.
autodoc_default_options = {"members": True, "exclude-members": "set"}
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_type_aliases = {name: name for name in ("Picture", "Styles", "LayerWeights", "OnStep")}

CONTENTS = {
    "The lessons": ["notebooks/*"],
    "Solutions": ["notebooks/solutions/*"],
    "For teachers": ["docs/teaching", "docs/assessing", "docs/cluster", "docs/worksheets/*"],
    "The module": ["docs/reference/styletutor", "docs/reference/*", "docs/recipes", "docs/large"],
    "For developers": [
        "CONTRIBUTING",
        "docs/core",
        "training/README",
        "benchmarks/RESULTS",
        "docs/changelog",
    ],
}


def add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    """End the front page, which is also read elsewhere, with the table of contents of the site."""
    if name != root_doc:
        return
    for caption, patterns in CONTENTS.items():
        pages = sorted(app.env.found_docs)
        found = dict.fromkeys(page for p in patterns for page in pages if fits(page, p))
        if found:
            entries = "\n".join(found)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"


def fits(page: str, pattern: str) -> bool:
    """Here a star is for one part of a path only."""
    return Path(page).match(pattern) and page.count("/") == pattern.count("/")


def link_studio(app: Sphinx, name: str, source: list[str]) -> None:
    """Where the studio's page has been made, open it from the front page."""
    if name == root_doc and (app.outdir / "studio" / "index.html").exists():
        link = (
            '<a href="studio/index.html">Open the studio in this browser</a>, without installing.'
        )
        source[0] = source[0].replace("\n\n", f"\n\n{link}\n\n", 1)


def link_plans(app: Sphinx, name: str, source: list[str]) -> None:
    """Where the plans have been made into slides, lead from each plan to its own."""
    if name == "docs/teaching":
        for deck in (app.outdir / "slides").glob("*_minutes.html"):
            link = f'<a href="../slides/{deck.name}">As slides</a>; S opens the speaker\'s notes.'
            heading = rf"^### {deck.stem.replace('_', ' ')}\b.*$"
            source[0] = re.sub(heading, rf"\g<0>\n\n{link}", source[0], flags=re.MULTILINE)


def read_notebook(app: Sphinx, name: str, source: list[str]) -> None:
    """Make a lesson ready for a page, with a link to its slides where they have been made."""
    if app.env.doc2path(name).suffix != ".ipynb":
        return
    notebook = prepare(nbformat.reads(source[0], as_version=4))
    deck = f"slides/{Path(name).name}.html"
    if (app.outdir / deck).exists() and name == f"notebooks/{Path(name).name}":
        notebook.cells[0].source += f'\n\n<a href="../{deck}">The same as slides</a>'
    source[0] = nbformat.writes(notebook)


def keep_pictures_inside(app: Sphinx) -> None:
    """Let myst-nb lay the notebooks' pictures beside Sphinx' own files, not beside the site."""
    folder = str(app.doctreedir / "notebooks")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=folder)


def lead_to_the_front_page(app: Sphinx, error: Exception | None) -> None:
    """`index.html` is the file that people look for."""
    if not error:
        page = f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={root_doc}.html">'
        link = f'<title>{project}</title><a href="{root_doc}.html">{project}</a>'
        (app.outdir / "index.html").write_text(f"{page}{link}\n", encoding="utf-8")


def show_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def show_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
    app.connect("source-read", add_contents)
    app.connect("source-read", read_notebook)
    app.connect("source-read", link_studio)
    app.connect("source-read", link_plans)
    app.connect("builder-inited", keep_pictures_inside, priority=900)
    app.connect("build-finished", lead_to_the_front_page)
