"""Built-in pictures by name; everything is on the machine already, the network is never used.

The photographs are files inside the installed scikit-image, read from its folder because some
of its own functions would download what they miss. The artworks are painted by our own code.
"""

import difflib
import functools
import importlib.util
import inspect
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ARTWORK, LARGEST = 512, 2048  # pixels of an artwork's long side; more would take many GiB to paint

# name: (file in skimage/data, what it shows to somebody who cannot see it)
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "astronaut": ("astronaut.png", "Smiling astronaut in an orange suit, a flag behind her."),
    "brick": ("brick.png", "Grey brick wall, its narrow courses running downwards."),
    "camera": ("camera.png", "Black and white: a man in a dark coat films from a tripod."),
    "chelsea": ("chelsea.png", "Face of a ginger tabby cat with yellow-green eyes."),
    "coffee": ("coffee.png", "Espresso in a red and white cup on a wooden table."),
    "coins": ("coins.png", "Four rows of ancient Greek coins, grey on a dark ground."),
    "colour-wheel": ("color.png", "All hues round a disc, white in the middle, on black."),
    "grass": ("grass.png", "Grey close-up of grass and small leaves."),
    "gravel": ("gravel.png", "Grey close-up of angular gravel stones."),
    "hubble-deep-field": ("hubble_deep_field.jpg", "Thousands of small bright galaxies on black."),
    "ihc": ("ihc.png", "Microscope slide: glands stained brown, cell nuclei blue."),
    "moon": ("moon.png", "Grey surface of the Moon with small craters."),
    "motorcycle-left": ("motorcycle_left.png", "Red motorcycle in a cluttered garage, left eye."),
    "motorcycle-right": ("motorcycle_right.png", "The same motorcycle seen by the right eye."),
    "retina": ("retina.jpg", "Back of a human eye: a red disc with branching vessels."),
    "rocket": ("rocket.jpg", "White rocket at dusk between the towers of its launch pad."),
}


class SampleNames(list[str]):
    """All names, photographs first; `.photographs` and `.artworks` are the two kinds."""

    def __init__(self, photographs: list[str], artworks: list[str]) -> None:
        super().__init__(photographs + artworks)
        self.photographs = photographs
        self.artworks = artworks

    def __repr__(self) -> str:
        return f"photographs: {', '.join(self.photographs)}\nartworks: {', '.join(self.artworks)}"


def sample_names() -> SampleNames:
    """The names that `load_image` knows: photographs, then artworks, each sorted."""
    return SampleNames(sorted(PHOTOGRAPHS), sorted(_artworks()))


def describe_sample(name: str) -> str:
    """What a sample shows, in one line (alt text). Raises ValueError for an unknown name."""
    if name in PHOTOGRAPHS:
        return PHOTOGRAPHS[name][1]
    if name in _artworks():
        return " ".join((inspect.getdoc(_artworks()[name]) or name).split())
    raise ValueError(f"{name!r} is not a sample; {nearest_samples(name)}")


def find_sample(name: str, size: int = ARTWORK) -> str | Tensor | None:
    """A photograph's file or an artwork (1, 3, H, W) in [0, 1]; None if no sample has that name.

    An artwork's long side is 512 pixels, or as many times that as `size` takes, 2048 at most.
    """
    name = name.replace("_", "-")  # as scikit-image spells its own
    if name in PHOTOGRAPHS:
        return _photograph_path(name)
    times = max(1, min(-(-size // ARTWORK), LARGEST // ARTWORK))
    return _paint(name, times) if name in _artworks() else None


def nearest_samples(name: str) -> str:
    """What to say about a name that no sample has."""
    names = sample_names()
    near = difflib.get_close_matches(Path(name).stem.lower(), names, n=3, cutoff=0.5)
    if near:
        return f"the nearest samples are {', '.join(near)}."
    return f"the samples are {', '.join(names)}."


def _photograph_path(name: str) -> str:
    # Finding the package without importing it saves the seconds that its import takes.
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("scikit-image is missing; run: pip install scikit-image")
    return os.path.join(spec.submodule_search_locations[0], "data", PHOTOGRAPHS[name][0])


def _artworks() -> dict[str, Callable[[], np.ndarray]]:
    from styletutor.pictures.artworks import ARTWORKS  # imports scipy, so only when it is asked for

    return ARTWORKS


@functools.lru_cache(maxsize=16)
def _paint(name: str, times: int) -> Tensor:
    from styletutor.pictures.artworks import larger

    with larger(times):
        picture = torch.from_numpy(np.asarray(_artworks()[name](), dtype=np.float32))
    return picture.permute(2, 0, 1)[None].contiguous()
