"""Saving what a panel made: the picture, and the settings that make it again."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.pictures.images import to_png
from styletutor.pictures.writing import write_file
from styletutor.runs.inputs import source
from styletutor.runs.result import Result

KINDS = {".png": "image/png", ".json": "application/json"}


def save_run(
    result: Result, pictures: Iterable[Any], folder: str | Path = ".", name: str = "transfer"
) -> list[Path]:
    """Write NAME-1.png and NAME-1.json, or the next free number; what was written.

    `styletutor transfer --settings NAME-1.json --output again.png` makes the picture again.
    Of the `pictures` that it was made of, also in lists and mappings, those without a file of their
    own are written beside it, in 8 bits, and named in the settings. Nothing is overwritten.
    """
    folder = Path(folder)
    stems = (f"{name}-{number}" for number in count(1))
    stem = next(stem for stem in stems if not list(folder.glob(f"{escape(stem)}[.-]*")))
    files = _files(result, pictures, stem, folder)
    for path, data in files.items():
        write_file(path, data)
    return list(files)


def as_links(result: Result, pictures: Iterable[Any], name: str = "transfer") -> str:
    """HTML with the same files as links to download them, for a page without a folder."""
    links = [
        f'<a download="{path}" href="data:{KINDS[path.suffix]};base64,{b64encode(data).decode()}">'
        f"{path}</a>"
        for path, data in _files(result, pictures, name, Path()).items()
    ]
    return f'<div class="st-links">Download {" · ".join(links)}</div>'


def _files(result: Result, pictures: Iterable[Any], stem: str, folder: Path) -> dict[Path, bytes]:
    text = json.dumps(result.report(), indent=1)
    named = {source(picture): picture for picture in _tensors(pictures)}
    sources = {}
    for place, (digest, picture) in enumerate(named.items(), start=1):
        path = folder / f"{stem}-source-{place}.png"
        sources[path] = to_png(picture)
        text = text.replace(json.dumps(digest)[1:-1], json.dumps(str(path))[1:-1])
    own = {folder / f"{stem}.png": to_png(result.image), folder / f"{stem}.json": text.encode()}
    return own | sources


def _tensors(pictures: Any) -> Iterator[Tensor]:
    if isinstance(pictures, Tensor):
        yield pictures
    elif isinstance(pictures, Mapping):
        yield from _tensors(pictures.values())
    elif isinstance(pictures, Iterable) and not isinstance(pictures, str | Path):
        for each in pictures:
            yield from _tensors(each)
