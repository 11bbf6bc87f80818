"""Where the slides of a lesson begin, and how large its pictures stand on them.

No cell is marked by hand. A heading begins a slide, to the right or, if it is a small one, below;
what follows stands on it as long as it fits and else below. A question and its answer never share
a slide. A picture and the words after it do, one above the other or side by side, whichever leaves
the picture larger.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from itertools import zip_longest

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from offline import picture_kind
from PIL import Image

# In the pixels of a slide of 1280 × 720, as in slides.css: the room between its margins, lines of
# text and of code, and how many letters they hold.
WIDTH, HEIGHT = 1160, 630
LINE, LETTERS = 38, 82
CODE_LINE, CODE_LETTERS = 27, 92
SUMMARY, GAP = 44, 20
# Small pictures are not blown up further than this; beside words a picture has this share.
LARGER, SHARE = 1.8, 0.6

HEADING = re.compile(r"#{1,3} ")
ANSWER = re.compile(r"<details><summary>What came out</summary>\s*(.*?)\s*</details>", re.DOTALL)
HIDDEN = re.compile(r"<details>(.*?</summary>).*?</details>", re.DOTALL)
QUESTION = re.compile(r"\*\*Predict")
SET_UP = re.compile(r"(import|from) ")
WHOLE = re.compile(r"^```|<details|^ *[-*|] |^ *\d+\. ", re.MULTILINE)


@dataclass(frozen=True)
class Placed:
    """A picture's factor of size, where the words after it stand, and the height it takes."""

    scale: float
    height: float
    words: str  # "below", "beside" or, if they are on another slide, ""


def arrange(notebook: NotebookNode) -> NotebookNode:
    """Mark in the cells' metadata where slides begin, and size the pictures; in place."""
    cells = [part for cell in notebook.cells if not is_set_up(cell) for part in split(cell)]
    room, asked = 0.0, False
    for cell in cells:  # code without an output, and what is to be written or mended
        cell.metadata["open"] = not cell.get("outputs") or "lessons.check_" in cell.source
    for cell, after in zip_longest(cells, cells[1:]):
        heading = is_text(cell) and HEADING.match(cell.source)
        right = heading and not cell.source.startswith("###")
        words = after.source if is_text(after) and not HEADING.match(after.source) else ""
        output = next((o for o in cell.get("outputs", ()) if picture_kind(o)), None)
        size = picture_size(output) if output else None
        fixed = height_without_picture(cell)
        placed = place(size, fixed, words, room) if size else Placed(1, 0, "")
        best = place(size, fixed, words, HEIGHT) if size else placed
        poor = placed.scale < 0.8 * best.scale or (best.words and not placed.words)
        if heading or asked or poor or fixed + placed.height > room:
            cell.metadata["slideshow"] = {"slide_type": "slide" if right else "subslide"}
            room, placed = HEIGHT, best
        if output:
            about = output.metadata.setdefault(picture_kind(output), {})
            about["width"] = round(placed.scale * size[0])
            about["beside"] = placed.words == "beside"
        room -= fixed + placed.height
        if placed.words == "beside":
            room = text_height(words)  # They do stay here, and nothing else does.
        asked = is_text(cell) and bool(QUESTION.search(cell.source))
    notebook.cells = cells
    return notebook


def is_text(cell: NotebookNode | None) -> bool:
    return cell is not None and cell.cell_type == "markdown"


def is_set_up(cell: NotebookNode) -> bool:
    """Sizes and imports, which nobody wants to see on a wall."""
    if cell.cell_type != "code" or any(picture_kind(output) for output in cell.outputs):
        return False
    return "parameters" in cell.metadata.get("tags", ()) or bool(SET_UP.match(cell.source))


def split(cell: NotebookNode) -> list[NotebookNode]:
    """A text at its headings, and plain paragraphs also where they are higher than a slide."""
    if not is_text(cell):
        return [cell]
    texts: list[str] = []
    open_text = ANSWER.sub(r"\1", cell.source)  # a question has a slide of its own anyway
    for block in re.split(r"\n\s*\n", open_text.strip()):
        longer = f"{texts[-1]}\n\n{block}" if texts else block
        fits = text_height(longer) <= HEIGHT or WHOLE.search(longer)
        if texts and fits and not HEADING.match(block):
            texts[-1] = longer
        else:
            texts.append(block)
    return [
        new_markdown_cell(text, metadata=cell.metadata if text is texts[0] else {})
        for text in texts
    ]


def picture_size(output: NotebookNode) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(output.data[picture_kind(output)]))).size


def place(size: tuple[int, int], fixed: float, words: str, room: float) -> Placed:
    """As large as it can stand in `room` under `fixed` pixels, with the words if it may."""
    width, height = size
    free = max(room - fixed - GAP, 1)
    alone = min(WIDTH / width, free / height, LARGER)
    above = min(WIDTH / width, (free - text_height(words)) / height, LARGER)
    beside = min(SHARE * WIDTH / width, free / height, LARGER)
    left = 1 - (beside * width + 2 * GAP) / WIDTH
    if text_height(words, left) > free:
        beside = 0
    if not words or max(above, beside) < 0.7 * alone:
        return Placed(alone, alone * height + GAP, "")
    if above >= beside:
        return Placed(above, above * height + GAP, "below")
    return Placed(beside, beside * height + GAP, "beside")


def height_without_picture(cell: NotebookNode) -> float:
    if cell.cell_type != "code":
        return text_height(cell.source)
    height = SUMMARY if cell.source else 0
    height += code_height(cell.source) if cell.metadata.get("open") else 0
    for output in cell.outputs:
        if not picture_kind(output):
            words = output.get("text", "") or output.get("data", {}).get("text/plain", "")
            height += GAP + code_height("".join(words))
    return height


def code_height(text: str) -> float:
    return CODE_LINE * sum(1 + len(line) // CODE_LETTERS for line in text.splitlines())


def text_height(text: str, share: float = 1) -> float:
    """About how high a text stands in that share of the slide's width; 0 for none."""
    lines = 0.0
    for block in filter(None, re.split(r"\n\s*\n", HIDDEN.sub(r"\1", text))):
        if block.startswith("$$"):
            lines += 3
        elif HEADING.match(block):
            lines += 2
        else:
            lines += 0.5 + sum(1 + len(row) // (share * LETTERS) for row in block.splitlines())
    return LINE * lines
