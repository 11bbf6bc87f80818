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

from styletutor.pictures.images import PathLike, read_image, resize_image

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
    raise ValueError(f"{name!r} is not a sample; {_suggestion(name)}")


def load_image(name_or_path: PathLike, size: int | None = None, enlarge: bool = False) -> Tensor:
    """A sample or a picture file: float32 RGB in [0, 1], shape (1, 3, H, W), on the CPU.

    `size` is the long side in pixels; a smaller picture stays as it is unless `enlarge`.
    A bare word such as "astronaut" means the sample if there is one; with a folder or a suffix
    ("./astronaut", "astronaut.png"), or as a `Path`, it always means a file.

    Raises FileNotFoundError for what is neither, and otherwise as `read_image`.
    """
    name = os.fspath(name_or_path)
    bare = name_or_path is name and Path(name).name == name and not Path(name).suffix
    sample = name.replace("_", "-")  # as scikit-image spells its own
    if bare and sample in PHOTOGRAPHS:
        return read_image(_photograph_path(sample), size, enlarge)
    if bare and sample in _artworks():
        picture = _paint(sample)
        return picture.clone() if size is None else resize_image(picture, size, enlarge).clone()
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name!r} is neither a sample nor a file; {_suggestion(name)}")
    return read_image(name, size, enlarge)


def _photograph_path(name: str) -> str:
    # Finding the package without importing it saves the seconds that its import takes.
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("scikit-image is missing; run: pip install scikit-image")
    return os.path.join(spec.submodule_search_locations[0], "data", PHOTOGRAPHS[name][0])


def _artworks() -> dict[str, Callable[[], np.ndarray]]:
    from styletutor.pictures.artworks import ARTWORKS  # imports scipy, so only when it is asked for

    return ARTWORKS


@functools.cache
def _paint(name: str) -> Tensor:
    picture = torch.from_numpy(np.asarray(_artworks()[name](), dtype=np.float32))
    return picture.permute(2, 0, 1)[None].contiguous()


def _suggestion(name: str) -> str:
    names = sample_names()
    near = difflib.get_close_matches(Path(name).stem.lower(), names, n=3, cutoff=0.5)
    if near:
        return f"the nearest samples are {', '.join(near)}."
    return f"the samples are {', '.join(names)}."
