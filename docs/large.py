"""Draw docs/large.jpg: a picture of 4096 pixels, and a part of it as it is.

    python docs/large.py [--output docs/large.jpg]

It takes half an hour on two cores that multiply bfloat16 numbers; what is painted is kept in
build/large, so that a second call only draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import styletutor as st
from styletutor.pictures.images import to_uint8

PHOTO, ART, PIXELS = "chelsea", "impasto-field", 4096
HOW = {"width": PIXELS, "style_scale": 0.4, "tile": 1024, "precision": "fast"}
KEPT = Path("build/large")
WIDTH, HEIGHT, GAP = 1900, 720, 6
CORNER = 1180, 690  # of the part that is shown as it is: an eye


def painted() -> Image.Image:
    kept = KEPT / f"{PHOTO}-{ART}-{PIXELS}.png"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        result = st.transfer(PHOTO, ART, vgg=st.load_vgg("vgg19"), **HOW)
        print(result, flush=True)
        result.save(kept)
    return Image.fromarray(to_uint8(st.load_image(kept)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/large.jpg")
    arguments = parser.parse_args()
    picture = painted()
    scale = HEIGHT / picture.height
    whole = picture.resize((round(picture.width * scale), HEIGHT), Image.Resampling.LANCZOS)
    left, top = CORNER
    box = left, top, left + WIDTH - GAP - whole.width, top + HEIGHT
    frame = [round(side * scale) for side in box]
    ImageDraw.Draw(whole).rectangle(frame, outline="white", width=2)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    sheet.paste(whole, (0, 0))
    sheet.paste(picture.crop(box), (whole.width + GAP, 0))
    sheet.save(arguments.output, quality=86, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
