"""What the site and the slides share: stored lessons made ready for pages without a kernel.

Both open from a folder, without a network: formulas become MathML here and not by a script in the
page, and what a page needs is copied out of installed packages.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from execute import clean
from math_core import LatexToMathML
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

PICTURES = ("image/jpeg", "image/png")
PANEL = (
    '<p class="panel"><strong>{}</strong> is a panel to play with. It needs a running notebook: '
    "<code>make lab</code> opens one.</p>"
)
LATEX = LatexToMathML()


def file_of(package: str, path: str) -> Path:
    """A file that an installed package brings along; the package itself is not imported."""
    return Path(find_spec(package).submodule_search_locations[0]) / path


# Without a font that knows how to stretch braces and place limits, MathML looks ragged.
MATH_FONT = file_of("ziamath", "fonts/STIXTwoMath-Regular.ttf")


def mathml(latex: str, display: bool) -> str:
    """A formula as MathML; an error in it is raised, with the formula."""
    try:
        return LATEX.convert_with_local_state(latex.strip(), displaystyle=display)
    except Exception as error:
        raise ValueError(f"cannot be read as a formula: {latex.strip()}") from error


def prepare(notebook: NotebookNode) -> NotebookNode:
    """The same notebook with words for what a page cannot show, changed in place.

    What was printed piece by piece becomes one output. A figure gets the words of its text form,
    `<figure: words>`, as its alternative text, where myst-nb and our slides look for it. A panel,
    which needs a kernel, is replaced by its name.
    """
    # Nothing else is of use on a page, and this is not in it before the first run.
    clean(notebook)
    language = {"name": "python", "pygments_lexer": "ipython3"}
    notebook.metadata = NotebookNode(language_info=NotebookNode(language))
    notebook = CoalesceStreamsPreprocessor().preprocess(notebook, {})[0]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            words = "".join(data.get("text/plain", ""))
            if name := re.match(r"\[(\w+): run this cell", words):
                output.data = NotebookNode({"text/html": PANEL.format(name[1])})
            elif kind := picture_kind(output):
                alt = re.sub(r"^<(figure: )?(.*?)>$", r"\2", words, flags=re.DOTALL)
                output.metadata.setdefault(kind, {})["alt"] = alt
                cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = alt
    return notebook


def picture_kind(output: NotebookNode) -> str | None:
    """The type of the picture that an output shows, if it does."""
    return next((kind for kind in PICTURES if kind in output.get("data", {})), None)
