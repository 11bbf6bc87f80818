"""The site and the slides: built from notebooks that nobody runs, to be opened from disk."""

import base64
import importlib.util
import io
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import styletutor as st

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = Path(__file__).parents[1] / "docs"
NEEDED = ("sphinx", "myst_nb", "furo", "math_core", "ziamath", "sphinx_revealjs")
missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")

FRONT = "# Front\n\n[first](notebooks/01_first.ipynb), [reference](docs/reference/styletutor.md).\n"
FIRST = r"""# First

Inline $G = F F^{\mathsf T}$, and

$$\mathcal{L} = \begin{cases} \tfrac{1}{2} \sum_{i,j} F_{ij}^2 & \text{if } F > 0 \\ 0 \end{cases}$$

<details><summary>Hint</summary>

A *word* and $x_1$.

</details>

**Predict, then run.** Next: [second](02_second.ipynb), and [a paper](https://arxiv.org/abs/1508.06576).
"""
TEACHING = """# Teaching

## Plans

### 10 minutes: a square

| | | |
|---|---|---|
| 0 | show | The square. Which *colour* has it? |
| 7 | | A break. |
"""
PLAN = """# A plan

{{ minute 0 }}

## The square, in [lesson 1](01_first.ipynb)

{{ 01 square }}

## Break

{{ minute 7 }}
"""
LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "src"}
# What says what a page is, and is not fetched.
ABOUT = {"canonical", "index", "search", "next", "prev", "author"}


class Page(HTMLParser):
    """What a page leads to and what it loads, its formulas, pictures and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.inside = path, ""
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.css = self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        about = dict(attrs)
        self.tags.append((tag, about))
        self.css += f" {about.get('style') or ''}"
        url = about.get(LINKS.get(tag, ""))
        if url:
            leads = tag == "a" or (tag == "link" and set((about.get("rel") or "").split()) & ABOUT)
            (self.links if leads else self.loads).append(url)

    def handle_data(self, data: str) -> None:
        if self.inside == "style":
            self.css += data
        elif self.inside != "script":
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def all_with(self, tag: str, **about: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and about.items() <= a.items()]


def loaded_by_css(css: str) -> list[str]:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    return re.findall(r"""(?:@import\s+(?:url\()?|url\()\s*["']?([^"')\s;]+)""", css)


def picture(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "orange").save(buffer, "jpeg")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with its site and slides."""
    root = tmp_path_factory.mktemp("repository")
    (root / "notebooks" / "solutions").mkdir(parents=True)
    (root / "docs" / "reference").mkdir(parents=True)
    (root / "README.md").write_text(FRONT)
    shutil.copyfile(DOCS / "reference/styletutor.md", root / "docs/reference/styletutor.md")
    (root / "docs/recipes.md").write_text("# Recipes\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    figure = {"image/jpeg": picture(400, 300), "text/plain": "<figure: an orange square>"}
    panel = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "0", "version_major": 2},
        "text/plain": "TransferStudio(nothing started)",
    }
    stored = {"text/plain": "[GramLab: run this cell to use the panel]"}
    shown = [new_output("display_data", data) for data in (figure, panel, stored)]
    code = "raise RuntimeError('executed')"
    first = [
        new_markdown_cell(FIRST),
        new_code_cell(code, outputs=shown[:1], execution_count=1),
        new_markdown_cell("The square is orange."),
        new_code_cell(code, outputs=shown[1:], execution_count=2),
        new_markdown_cell("A long text.\n\n" + "\n\n".join(["Many words. " * 40] * 4)),
    ]
    first[1].id = "square"
    lessons = {
        "01_first": first,
        "02_second": [new_markdown_cell("# Second\n\nBack to [the first](01_first.ipynb).")],
        "solutions/01_first": [new_markdown_cell("# Solved\n\n[first](../01_first.ipynb)")],
    }
    for name, cells in lessons.items():
        nbformat.write(new_notebook(cells=cells), root / f"notebooks/{name}.ipynb")
    shutil.copytree(DOCS / "worksheets", root / "docs/worksheets")
    (root / "docs/teaching.md").write_text(TEACHING)
    (root / "docs/plans").mkdir()
    (root / "docs/plans/10_minutes.md").write_text(PLAN)
    (root / "site/studio").mkdir(parents=True)
    (root / "site/studio/index.html").write_text("<title>made by make page</title>")
    options = ("--quiet", "--fail-on-warning", "-c", str(DOCS), "-d", "build/site", ".", "site")
    for program in (
        [str(DOCS / "slides.py"), "notebooks", "site/slides", "docs/plans"],
        ["-m", "sphinx", *options],
    ):
        done = subprocess.run([sys.executable, *program], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, Page]:
    """By their place in the site."""
    site = root / "site"
    return {path.relative_to(site).as_posix(): Page(path) for path in site.glob("**/*.html")}


def test_nothing_is_loaded_from_elsewhere(root: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for url in page.loads + loaded_by_css(page.css):
            parts = urlsplit(url)
            assert parts.scheme in ("", "data") and not parts.netloc, f"{name} loads {url}"
            if not parts.scheme:
                assert (page.path.parent / unquote(parts.path)).is_file(), f"{name} lacks {url}"
    for path in (root / "site").glob("**/*.css"):
        for url in loaded_by_css(path.read_text(encoding="utf-8")):
            parts = urlsplit(url)
            assert parts.scheme in ("", "data") and not parts.netloc, f"{path} loads {url}"
            assert parts.scheme or (path.parent / parts.path).is_file(), f"{path} lacks {url}"


def test_links_lead_to_pages(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for url in page.links:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = page.path.parent / unquote(parts.path) if parts.path else page.path
            assert not parts.scheme and target.is_file(), f"{name} leads to {url}"
    links = [(name, url.partition("#")[0]) for name, page in pages.items() for url in page.links]
    for link in [
        ("README.html", "notebooks/01_first.html"),
        ("README.html", "studio/index.html"),
        ("notebooks/01_first.html", "02_second.html"),
        ("notebooks/01_first.html", "../slides/01_first.html"),
        ("notebooks/solutions/01_first.html", "../01_first.html"),
        ("slides/01_first.html", "02_second.html"),
        ("slides/10_minutes.html", "01_first.html"),
        ("docs/teaching.html", "../slides/10_minutes.html"),
    ]:
        assert link in links


@pytest.mark.parametrize("name", ["notebooks/01_first.html", "slides/01_first.html"])
def test_a_lesson_says_all(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert len(page.all_with("math")) == 3 and len(page.all_with("math", display="block")) == 1
    assert page.all_with("mtable") and "\\" not in page.text and "$" not in page.text
    assert [a["alt"] for a in page.all_with("img")] == ["an orange square"]
    panels = [tag for tag, about in page.tags if about.get("class") == "panel"]
    assert len(panels) == 2 and "TransferStudio" in page.text and "GramLab" in page.text
    assert "*word*" not in page.text and page.all_with("summary")
    assert "executed" in page.text and "Traceback" not in page.text


def test_the_public_face_is_in_the_reference(pages: dict[str, Page]) -> None:
    page = pages["docs/reference/styletutor.html"]
    ids = {about.get("id") for _, about in page.tags}
    assert {f"styletutor.{name}" for name in st.__all__} <= ids
    assert "evaluations: int | None = None" in page.text


def test_every_module_has_its_reference() -> None:
    names = {path.stem for path in (DOCS / "reference").glob("*.md")}
    assert {"styletutor", "widgets", "plots", "lessons"} <= names


def test_opens_from_disk_without_requests(chromium: "Browser", pages: dict[str, Page]) -> None:
    asked, errors = [], []
    for scheme in ("light", "dark"):
        with chromium.new_context(color_scheme=scheme) as context:
            tab = context.new_page()
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("console", lambda said: said.type == "error" and errors.append(said.text))
            tab.on("pageerror", lambda error: errors.append(str(error)))
            folder = pages["README.html"].path.parent
            tab.goto((folder / "index.html").as_uri())
            tab.wait_for_url("**/README.html")  # else its own way there meets the next one
            for name in ("notebooks/01_first", "slides/01_first", "slides/10_minutes"):
                tab.goto((folder / f"{name}.html").as_uri())
            tab.goto((pages["search.html"].path).as_uri() + "?q=orange")
            tab.locator("#search-results a", has_text="First").wait_for()
    assert not [url for url in asked if urlsplit(url).scheme not in ("file", "data")]
    assert not errors


def test_formulas_stand_in_their_font_and_hints_open(
    chromium: "Browser", pages: dict[str, Page]
) -> None:
    with chromium.new_page() as tab:
        tab.goto(pages["notebooks/01_first.html"].path.as_uri())
        assert tab.evaluate("document.fonts.ready.then(f => f.check('16px \"STIX Two Math\"'))")
        brace, table = tab.locator("mo", has_text="{"), tab.locator("mtable")
        assert brace.bounding_box()["height"] > 0.9 * table.bounding_box()["height"]
        word = tab.locator("details em")
        assert not word.is_visible()
        tab.locator("summary", has_text="Hint").click()
        assert word.is_visible()


def test_slides_hold_what_stands_on_them(chromium: "Browser", pages: dict[str, Page]) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 720}) as context:
        tab = context.new_page()
        tab.goto(pages["slides/01_first.html"].path.as_uri())
        tab.wait_for_function("window.Reveal?.isReady()")
        seen = []
        for _ in range(tab.evaluate("Reveal.getTotalSlides()")):
            slide = tab.locator("section.present section.present")
            seen.append(slide.inner_text())
            box = slide.bounding_box()
            assert box["height"] <= 721 and box["width"] <= 1281
            assert tab.evaluate("Number(Reveal.getCurrentSlide().style.zoom)") > 0.8
            tab.evaluate("Reveal.next()")
    question, answer, *_, last = seen
    assert "Predict" in question and "Code" not in question, "an answer shares its question's slide"
    assert "The square is orange." in answer and "TransferStudio" not in answer
    assert "A long text." not in last, "a text that is longer than a slide is divided"


def test_a_plan_is_on_the_wall_and_its_words_are_the_speakers(
    chromium: "Browser", pages: dict[str, Page]
) -> None:
    page = pages["slides/10_minutes.html"]
    assert [a["alt"] for a in page.all_with("img")] == ["an orange square"]
    assert "executed" not in page.text
    with chromium.new_context(viewport={"width": 1280, "height": 720}) as context:
        tab = context.new_page()
        tab.goto(page.path.as_uri())
        tab.wait_for_function("window.Reveal?.isReady()")
        assert tab.evaluate("Reveal.getTotalSlides()") == 3
        assert "colour" not in tab.locator("body").inner_text()
        with context.expect_page() as opened:
            tab.keyboard.press("s")
        opened.value.get_by_text("Which colour has it?").wait_for()
        tab.keyboard.press("End")
        opened.value.get_by_text("Minute 7. A break.").wait_for()


def test_a_plan_without_its_cell_or_minute_says_so(root: Path, tmp_path: Path) -> None:
    for old, new, error in (
        ("{{ 01 square }}", "{{ 01 circle }}", "no lesson 01 in notebooks has a cell circle"),
        ("{{ minute 0 }}", "{{ minute 3 }}", "the plan in teaching.md has no minute 3"),
        ("{{ minute 7 }}", "", "10_minutes.md: no slide has minute 7 of the plan"),
    ):
        (tmp_path / "teaching.md").write_text(TEACHING)
        (tmp_path / "plans").mkdir(exist_ok=True)
        (tmp_path / "plans/10_minutes.md").write_text(PLAN.replace(old, new))
        program = [str(DOCS / "slides.py"), "notebooks", str(tmp_path / "out"), tmp_path / "plans"]
        done = subprocess.run([sys.executable, *program], cwd=root, capture_output=True, text=True)
        assert done.returncode and error in done.stderr


def test_every_plan_of_the_guide_has_a_deck() -> None:
    plans = re.findall(r"^### (\d+ minutes)", (DOCS / "teaching.md").read_text(), re.MULTILINE)
    decks = {path.stem for path in (DOCS / "plans").glob("*.md")}
    assert decks == {name.replace(" ", "_") for name in plans} and len(decks) == 4


def test_each_worksheet_is_one_sheet_of_paper(chromium: "Browser", pages: dict[str, Page]) -> None:
    sheets = [name for name in pages if re.search(r"worksheets/\d", name)]
    lessons = (DOCS.parent / "notebooks").glob("*.ipynb")
    assert [Path(name).stem[0] for name in sorted(sheets)] == sorted(p.stem[1] for p in lessons)
    for name in sheets:
        with chromium.new_page() as tab:
            tab.goto(pages[name].path.as_uri())
            sheet = tab.pdf(prefer_css_page_size=True)
            assert len(re.findall(rb"/Type\s*/Page\b", sheet)) == 1, name
            tab.emulate_media(media="print")
            tab.set_viewport_size({"width": 673, "height": 1000})  # A4 within its margins
            wide = "[...document.querySelectorAll('article, table')].map(e => e.scrollWidth)"
            assert max(tab.evaluate(wide)) <= 673, name
