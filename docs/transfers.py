"""Draw docs/transfers.jpg: what the default recipe makes of some photographs and artworks.

    python docs/transfers.py [--output docs/transfers.jpg]

Every result with the photograph and the artwork that it was made of beside it. What is painted is
kept in build/transfers, so that a second call goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import styletutor as st
from styletutor.network.vgg import VGG
from styletutor.pictures.images import to_uint8

ROWS = (
    (("astronaut", "swirling-strokes"), ("chelsea", "impasto-field")),
    (("coffee", "stained-glass"), ("motorcycle-left", "marbled-paper")),
)
SIZE, GAP, WIDTH = 512, 6, 1900
KEPT = Path("build/transfers")


def paint(vgg: VGG, photo: str, art: str) -> list[Image.Image]:
    """Result, photograph and artwork; the three at their sizes on the sheet but for a factor."""
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{photo}-{art}-{SIZE}.png"
    if not kept.exists():
        result = st.transfer(photo, art, vgg=vgg, size=SIZE)
        print(f"{photo} × {art}: {result}", flush=True)
        result.save(kept)
    pictures = [st.load_image(kept), *(st.load_image(name, SIZE) for name in (photo, art))]
    return [Image.fromarray(to_uint8(picture)) for picture in pictures]


def cell(pictures: list[Image.Image], height: int) -> Image.Image:
    """The result at full height, the other two one above the other beside it."""
    result, *originals = pictures
    width = round(height * result.width / result.height)
    half = (height - GAP) // 2
    column = max(round(half * p.width / p.height) for p in originals)
    sheet = Image.new("RGB", (width + GAP + column, height), "white")
    sheet.paste(result.resize((width, height), Image.Resampling.LANCZOS), (0, 0))
    for place, picture in enumerate(originals):
        scale = min(column / picture.width, half / picture.height)
        size = (round(picture.width * scale), round(picture.height * scale))
        small = picture.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(small, (width + GAP, place * (half + GAP)))
    return sheet


def row(cells: list[list[Image.Image]]) -> Image.Image:
    """Cells side by side, as high as makes them WIDTH wide together."""
    tall = [cell(pictures, 600) for pictures in cells]
    height = round(600 * (WIDTH - 2 * GAP * (len(cells) - 1)) / sum(c.width for c in tall))
    sheet, left = Image.new("RGB", (WIDTH, height), "white"), 0
    for pictures in cells:
        drawn = cell(pictures, height)
        sheet.paste(drawn, (left, 0))
        left += drawn.width + 2 * GAP
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/transfers.jpg")
    arguments = parser.parse_args()
    vgg = st.load_vgg("vgg19")
    rows = [row([paint(vgg, *pair) for pair in pairs]) for pairs in ROWS]
    height = sum(r.height for r in rows) + 2 * GAP * (len(rows) - 1)
    sheet, top = Image.new("RGB", (WIDTH, height), "white"), 0
    for each in rows:
        sheet.paste(each, (0, top))
        top += each.height + 2 * GAP
    sheet.save(arguments.output, quality=86, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
