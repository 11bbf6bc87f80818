"""From what a user names, a built-in sample or a file, to a picture."""

import os
from pathlib import Path

from torch import Tensor

from styletutor.pictures.images import is_whole, resize_image
from styletutor.pictures.reading import read_image, read_mask
from styletutor.pictures.samples import find_sample, nearest_samples
from styletutor.pictures.writing import PathLike


def load_image(name_or_path: PathLike, size: int | None = None, enlarge: bool = False) -> Tensor:
    """A sample or a picture file: float32 RGB in [0, 1], shape (1, 3, H, W), on the CPU.

    `size` is the long side in pixels; a smaller picture stays as it is unless `enlarge`, which
    paints an artwork anew, up to 2048 pixels.
    A bare word such as "astronaut" means the sample if there is one; with a folder or a suffix
    ("./astronaut", "astronaut.png"), or as a `Path`, it always means a file.

    Raises FileNotFoundError for what is neither, and otherwise as `read_image`.
    """
    name, sample = _find(name_or_path, size if enlarge and is_whole(size) else 1)
    if isinstance(sample, Tensor):
        return (sample if size is None else resize_image(sample, size, enlarge)).clone()
    return read_image(sample or name, size, enlarge)


def load_mask(name_or_path: PathLike) -> Tensor:
    """A sample or a picture file as a mask: (1, 1, H, W) in [0, 1]; as `reading.read_mask`."""
    name, sample = _find(name_or_path)
    if isinstance(sample, Tensor):
        return sample.mean(1, keepdim=True)
    return read_mask(sample or name)


def is_sample(name_or_path: PathLike) -> bool:
    """Is a sample meant, and no file? Raises FileNotFoundError for what is neither."""
    return _find(name_or_path)[1] is not None


def spelt(name_or_path: PathLike) -> str:
    """A name that means the same as text: `Path("coffee")` is "./coffee", no sample."""
    name = os.fspath(name_or_path)
    return os.path.join(os.curdir, name) if name_or_path is not name and _is_word(name) else name


def _is_word(name: str) -> bool:
    """Has it neither a folder nor a suffix?"""
    return Path(name).name == name and not Path(name).suffix


def _find(name_or_path: PathLike, size: int = 1) -> tuple[str, str | Tensor | None]:
    name = os.fspath(name_or_path)
    sample = find_sample(name, size) if name_or_path is name and _is_word(name) else None
    if sample is None and not os.path.exists(os.path.expanduser(name)):
        raise FileNotFoundError(f"{name!r} is neither a sample nor a file; {nearest_samples(name)}")
    return name, sample
