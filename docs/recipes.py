"""Draw docs/recipes.jpg: one photograph and one artwork under every recipe.

    python docs/recipes.py [--output docs/recipes.jpg]

With the published network, each recipe with its own budget, but no more than 500 evaluations.
"""

from __future__ import annotations

import argparse

import styletutor as st
from styletutor.plots import picture_grid

PHOTO, ART, SIZE, MOST = "astronaut", "swirling-strokes", 384, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/recipes.jpg")
    arguments = parser.parse_args()
    vgg = st.load_vgg("vgg19")
    pictures = {"content": st.load_image(PHOTO, SIZE), "style": st.load_image(ART, SIZE)}
    for name, recipe in st.recipes.items():
        evaluations = min(recipe.evaluations, MOST)
        result = st.transfer(PHOTO, ART, vgg=vgg, recipe=name, size=SIZE, evaluations=evaluations)
        print(f"{name}: {result}", flush=True)
        pictures[f"{name} ({evaluations} of {recipe.evaluations})"] = result.image
    title = f"{SIZE} pixels, {vgg.name}; in brackets: evaluations"
    picture_grid(pictures, 4, title).save(arguments.output)


if __name__ == "__main__":
    main()
