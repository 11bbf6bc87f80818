"""Saving what a panel made: the picture, and the settings that make it again."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from torch import Tensor

from styletutor.files import write_file
from styletutor.images import save_image, to_png
from styletutor.inputs import Picture, source
from styletutor.result import Result


def save_run(
    result: Result, pictures: Iterable[Picture], folder: str | Path = ".", name: str = "transfer"
) -> list[Path]:
    """Write NAME-1.png and NAME-1.json, or the next free number; what was written.

    `styletutor transfer --settings NAME-1.json --output again.png` makes the picture again.
    Of the pictures that it was made of, those without a file of their own are written beside it,
    in 8 bits, and named in the settings. Nothing is overwritten.
    """
    folder = Path(folder)
    for number in count(1):
        stem = folder / f"{name}-{number}"
        if not list(folder.glob(f"{stem.name}[.-]*")):
            break
    written = []
    text = json.dumps(result.report(), indent=1)
    named = {source(picture): picture for picture in pictures if isinstance(picture, Tensor)}
    for place, (digest, picture) in enumerate(named.items(), start=1):
        path = stem.with_name(f"{stem.name}-source-{place}.png")
        save_image(picture, path)
        written.append(path)
        text = text.replace(json.dumps(digest)[1:-1], json.dumps(str(path))[1:-1])
    picture, report = stem.with_suffix(".png"), stem.with_suffix(".json")
    result.save(picture)
    write_file(report, text.encode("utf-8"))
    return [picture, report, *written]


def as_links(result: Result, name: str = "transfer") -> str:
    """HTML with the same two files as links to download them, for a page without a folder."""
    files = {
        f"{name}.png": ("image/png", to_png(result.image)),
        f"{name}.json": ("application/json", json.dumps(result.report()).encode()),
    }
    links = [
        f'<a download="{file}" href="data:{kind};base64,{b64encode(data).decode()}">{file}</a>'
        for file, (kind, data) in files.items()
    ]
    return f'<div class="st-links">Download {" and ".join(links)}</div>'
