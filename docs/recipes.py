"""Draw docs/recipes.jpg: one photograph and one artwork under every recipe, at 256 pixels.

    python docs/recipes.py [--oxford FILE] [--output docs/recipes.jpg]

With the pocket network; and, where a file with the early blocks of Oxford's VGG-19 is given, with
those for each recipe whose layers it has.
"""

from __future__ import annotations

import argparse

import styletutor as st
from styletutor.plots import picture_grid

PHOTO, ART, SIZE, MOST = "astronaut", "swirling-strokes", 256, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oxford", metavar="FILE")
    parser.add_argument("--output", default="docs/recipes.jpg")
    arguments = parser.parse_args()
    pocket = st.load_vgg("pocket")
    oxford = st.load_vgg(arguments.oxford) if arguments.oxford else None
    pictures = {}
    for name, recipe in st.recipes.items():
        layers = {*recipe.content_layers, *recipe.style_layers}
        vgg = oxford if oxford and layers <= set(oxford.layer_names) else pocket
        evaluations = min(recipe.evaluations, MOST)
        result = st.transfer(
            PHOTO, ART, vgg=vgg, recipe=name, size=SIZE, evaluations=evaluations, precision="exact"
        )
        print(f"{name}: {result}", flush=True)
        pictures[f"{name} ({'pocket' if vgg is pocket else 'Oxford'})"] = result.image
    photo, art = st.load_image(PHOTO, SIZE), st.load_image(ART, SIZE)
    title = f"at {SIZE} pixels, at most {MOST} evaluations"
    picture_grid({"content": photo, "style": art, **pictures}, 5, title).save(arguments.output)


if __name__ == "__main__":
    main()
