"""Draw docs/control.jpg: one photograph painted under different kinds of control.

python docs/control.py [--output docs/control.jpg]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

import styletutor as st
from styletutor.descent import descend
from styletutor.loss.units import Units
from styletutor.plots import picture_grid

PHOTO, GLASS, SWIRLS = "coffee", "stained-glass", "swirling-strokes"
SIZE, EVALUATIONS, COLUMNS, PIXELS = 512, 100, 3, 512
EARLY, LATE = ("relu1_1", "relu2_1"), ("relu3_1", "relu4_1", "relu5_1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/control.jpg")
    arguments = parser.parse_args()
    vgg = st.load_vgg("vgg19")
    photo, art = (st.load_image(name, SIZE).to(vgg.device) for name in (PHOTO, GLASS))

    def paint(style: object = GLASS, **control: object) -> torch.Tensor:
        how = {"vgg": vgg, "size": SIZE, "evaluations": EVALUATIONS}
        result = st.transfer(PHOTO, style, **how, **control)
        print(result, flush=True)
        return result.image

    height, width = photo.shape[2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    disc = ((0.8 - (x**2 + y**2).sqrt()) * 6).clamp(0, 1)  # with a soft edge
    pictures = {
        "a window as the style": paint(),
        "early layers window, late swirls": paint(
            dict.fromkeys(EARLY, GLASS) | dict.fromkeys(LATE, SWIRLS)
        ),
        "early layers swirls, late window": paint(
            dict.fromkeys(EARLY, SWIRLS) | dict.fromkeys(LATE, GLASS)
        ),
        "masks: window inside, swirls outside": paint([GLASS, SWIRLS], masks=[disc, 1 - disc]),
        "colours='content'": paint(colours="content"),
        "colours='match'": paint(colours="match"),
        "colours='histogram'": paint(colours="histogram"),
        "style_scale=0.4": paint(style_scale=0.4),
        "style_scale=2": paint(style_scale=2),
    }
    for statistic in ("covariance", "wasserstein"):
        recipe = replace(st.recipes["default"], units=Units(statistic=statistic))
        objective = recipe.objective(vgg, content=photo, styles=[art])
        *_, last = descend(objective, photo, EVALUATIONS, method=recipe.method(precision="auto"))
        pictures[f"statistic '{statistic}'"] = last.best.cpu()
    sheet = picture_grid({"content": photo.cpu(), **pictures}, COLUMNS)
    dpi = PIXELS * COLUMNS / sheet.get_size_inches()[0]
    how = {"quality": 82, "optimize": True, "progressive": True}
    sheet.savefig(arguments.output, dpi=dpi, pil_kwargs=how)


if __name__ == "__main__":
    main()
