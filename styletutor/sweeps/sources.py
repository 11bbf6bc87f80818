"""The pictures of a sweep: what tells them apart, and how they travel.

A worker may be on another machine, so it is sent the bytes of a file, and keeps them no longer than
it paints.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styletutor.network.weightfiles import sha256_of
from styletutor.pictures.images import pixels_sha256
from styletutor.pictures.loading import is_sample, load_image, spelt
from styletutor.runs.inputs import Picture, source


@dataclass(frozen=True)
class File:
    """The bytes of a picture file under the name that was given for it."""

    name: str
    data: bytes = field(repr=False)


class Sources:
    """What is known of the pictures that were named. Raises FileNotFoundError for unknown names."""

    def __init__(self) -> None:
        self._sha256: dict[str, str] = {}

    def digest(self, picture: Picture) -> str:
        """SHA-256 of a file's bytes, or of the pixels of what is no file, in hexadecimal."""
        if not isinstance(picture, str | Path):
            return source(picture)
        name = spelt(picture)
        if name not in self._sha256:
            if is_sample(picture):
                self._sha256[name] = f"pixels {pixels_sha256(load_image(picture))}"
            else:
                self._sha256[name] = _file_digest(name)
        return self._sha256[name]

    def packed(self, picture: Picture) -> Picture | File:
        """What to send of it; a file that has changed since it was looked at raises ValueError."""
        if not isinstance(picture, str | Path) or is_sample(picture):
            return picture
        name, path = spelt(picture), Path(os.path.expanduser(spelt(picture)))
        if not path.is_file():
            raise ValueError(f"{name} is not a regular file; save the picture to a file first")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.digest(picture):
            raise ValueError(f"{name} has changed since the sweep began; give the command again")
        return File(name, data)


def _file_digest(name: str) -> str:
    path = Path(os.path.expanduser(name))
    try:
        return sha256_of(path) if path.is_file() else "no regular file"
    except OSError:  # fails later, for itself alone: it may be one of a hundred
        return "may not be read"


class Unpacked:
    """Files that have arrived, in a `folder`, and their names in what is said about them."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self._paths = Path(folder), dict[str, Path]()

    def __call__(self, picture: Picture | File) -> Picture:
        if not isinstance(picture, File):
            return picture
        if picture.name not in self._paths:
            path = self.folder / f"{len(self._paths)}.picture"
            path.write_bytes(picture.data)
            self._paths[picture.name] = path
        return self._paths[picture.name]

    def renamed(self, said: Any) -> Any:
        """The same with the names that were given in place of the paths here."""
        if isinstance(said, Mapping):
            return {name: self.renamed(value) for name, value in said.items()}
        if isinstance(said, list):
            return [self.renamed(value) for value in said]
        if isinstance(said, str):
            for name, path in self._paths.items():
                said = said.replace(str(path), name)
        return said
