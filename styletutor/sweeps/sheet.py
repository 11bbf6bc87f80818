"""Contact sheets: the pictures of a sweep along its axes."""

from __future__ import annotations

import itertools
import json
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.patches import Rectangle
from PIL import Image

from styletutor.plots import Sheet
from styletutor.sweeps.folder import Painted
from styletutor.sweeps.grid import Axis

Place = tuple[int, ...]
COLUMNS, ROWS = 8, 20  # of one block
CELL, GAP, LEFT, TITLE, HEAD = 2.0, 0.08, 1.55, 0.34, 0.46  # inches
TALLEST = 40.0  # inches of a page, at 120 dots each
SIDE = 240  # dots of a cell
NARROWEST = 4.5  # inches, for what is said above
# DejaVu, which comes with matplotlib, has no Chinese, Japanese or Korean; a system's own may.
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Microsoft YaHei", "Yu Gothic",
         "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Arial Unicode MS")  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A part of a sheet: places in a `grid` under a title, with captions of rows and columns.

    `heights` are the rows', in inches.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    grid: Sequence[Sequence[Place]]
    heights: Sequence[float]

    @property
    def height(self) -> float:
        head = TITLE * bool(self.title) + HEAD * any(self.columns)
        return head + sum(self.heights) + GAP * len(self.heights) + GAP


def save_sheets(
    axes: Sequence[Axis],
    pictures: Mapping[Place, Painted],
    failed: Mapping[Place, str],
    folder: Path,
) -> list[Path]:
    """Write contact-sheet.png, and contact-sheet-2.png and so on where one page is too tall.

    The last two settings that are varied are rows and columns; each value of the others is a block.
    """
    if not pictures:
        return []
    tall = {place: _tall(painted.path) for place, painted in pictures.items()}
    about, saved = _made_by(pictures.values()), []
    for number, blocks in enumerate(_pages(_blocks(axes, tall)), start=1):
        path = folder / ("contact-sheet.png" if number == 1 else f"contact-sheet-{number}.png")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph|Matplotlib currently")  # of a name
            _draw(blocks, pictures, failed, about).save(path)
        saved.append(path)
    return saved


def _blocks(axes: Sequence[Axis], tall: Mapping[Place, float]) -> Iterator[Block]:
    varied = [at for at, axis in enumerate(axes) if axis.matters]
    *others, row, column = [None] * max(0, 2 - len(varied)) + varied
    for fixed in itertools.product(*(range(len(axes[at].values)) for at in others)):
        here = dict(zip(others, fixed, strict=True))
        title = ", ".join(axes[at].caption(value) for at, value in here.items())
        for rows in _parts(axes, row, ROWS):
            for columns in _parts(axes, column, COLUMNS):
                grid = [[_place(axes, {**here, row: r, column: c}) for c in columns] for r in rows]
                captions = [[_caption(axes, at, value) for value in values]
                            for at, values in ((row, rows), (column, columns))]  # fmt: skip
                heights = [max((tall[p] for p in row if p in tall), default=1.0) for row in grid]
                yield Block(title, *captions, grid, heights)


def _parts(axes: Sequence[Axis], at: int | None, most: int) -> list[list[int]]:
    values = [0] if at is None else list(range(len(axes[at].values)))
    return [values[k : k + most] for k in range(0, len(values), most)]


def _caption(axes: Sequence[Axis], at: int | None, value: int) -> str:
    return "" if at is None else axes[at].caption(value)


def _place(axes: Sequence[Axis], here: Mapping[int | None, int]) -> Place:
    return tuple(here.get(at, 0) for at in range(len(axes)))


def _pages(blocks: Iterable[Block]) -> list[list[Block]]:
    pages: list[list[Block]] = []
    room = 0.0
    for block in blocks:
        if block.height > room:
            pages.append([])
            room = TALLEST
        pages[-1].append(block)
        room -= block.height
    return pages


def _draw(
    blocks: Sequence[Block],
    pictures: Mapping[Place, Painted],
    failed: Mapping[Place, str],
    about: str,
) -> Sheet:
    left = LEFT if any(any(block.rows) for block in blocks) else GAP
    width = max(left + max(len(block.columns) for block in blocks) * (CELL + GAP), NARROWEST)
    height = sum(block.height + GAP for block in blocks) + TITLE
    sheet = Sheet(figsize=(width, height))
    fonts = [name for name in FONTS if name in set(font_manager.get_font_names())]

    def say(x: float, y: float, words: str, size: int, letters: int, **how: str) -> None:
        lines = textwrap.wrap(words, letters, max_lines=3, placeholder=" …")
        how = {"fontfamily": fonts, "fontsize": size, "parse_math": False, "va": "center", **how}
        sheet.text(x / width, 1 - y / height, "\n".join(lines), **how)

    say(GAP, TITLE / 2, about, 8, int(15 * width), color="0.3")
    y = TITLE
    for block in blocks:
        if block.title:
            say(GAP, y + TITLE / 2, block.title, 11, int(11 * width), fontweight="bold")
            y += TITLE
        if any(block.columns):
            for at, words in enumerate(block.columns):
                middle = left + at * (CELL + GAP) + CELL / 2
                say(middle, y + HEAD / 2, words, 9, 26, ha="center")
            y += HEAD
        for words, places, cell in zip(block.rows, block.grid, block.heights, strict=True):
            say(GAP, y + cell / 2, words, 9, 17)
            for at, place in enumerate(places):
                x = left + at * (CELL + GAP)
                axes = sheet.add_axes(
                    (x / width, 1 - (y + cell) / height, CELL / width, cell / height)
                )
                axes.axis("off")
                if place in pictures:
                    axes.imshow(_thumbnail(pictures[place].path), interpolation="lanczos")
                    continue
                axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="0.93", edgecolor="0.6"))
                missing = "failed" if place in failed else "not painted yet"
                say(x + CELL / 2, y + cell / 2, missing, 9, 26, ha="center", color="0.3")
            y += cell + GAP
        y += GAP
    sheet.alt = f"contact sheet of {len(pictures)} pictures"
    return sheet


def _made_by(pictures: Iterable[Painted]) -> str:
    """With which network and how many evaluations, or between how many."""
    reports = [json.loads(painted.report.read_text(encoding="utf-8")) for painted in pictures]
    names = dict.fromkeys(report["backbone"]["name"] for report in reports)
    counts = sorted({report["evaluations"] for report in reports})
    budget = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"weights: {', '.join(names)}; {budget} evaluations"


def _tall(path: Path) -> float:
    """How tall a cell for that picture is, in inches."""
    with Image.open(path) as picture:
        return min(2 * CELL, CELL * picture.height / picture.width)


def _thumbnail(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        picture.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
        return np.asarray(picture.convert("RGB"))
