"""Draw docs/recipes.jpg: one photograph and one artwork under every recipe.

    python docs/recipes.py [--output docs/recipes.jpg]

With the published network, each recipe with its own budget, but no more than 500 evaluations. It
takes an hour on two cores; what is painted is kept in build/recipes, so that a second call goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import styletutor as st
from styletutor.plots import picture_grid

PHOTO, ART, SIZE, MOST = "astronaut", "swirling-strokes", 384, 500
KEPT = Path("build/recipes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/recipes.jpg")
    arguments = parser.parse_args()
    vgg = st.load_vgg("vgg19")
    KEPT.mkdir(parents=True, exist_ok=True)
    pictures = {"content": st.load_image(PHOTO, SIZE), "style": st.load_image(ART, SIZE)}
    for name, recipe in st.recipes.items():
        evaluations = min(recipe.evaluations, MOST)
        how = {"vgg": vgg, "recipe": name, "size": SIZE, "evaluations": evaluations}
        kept = KEPT / f"{name}-{SIZE}-{evaluations}.png"
        if not kept.exists():
            result = st.transfer(PHOTO, ART, **how)
            print(f"{name}: {result}", flush=True)
            result.save(kept)
        pictures[f"{name} ({evaluations} of {recipe.evaluations})"] = st.load_image(kept)
    title = f"{SIZE} pixels, {vgg.name}; in brackets: evaluations"
    picture_grid(pictures, 4, title).save(arguments.output)


if __name__ == "__main__":
    main()
