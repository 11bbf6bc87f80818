"""The class gallery: a folder of photographs × styles, and a page to show them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import mimetypes
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from styletutor.pictures.images import resample, save_image
from styletutor.pictures.loading import load_image
from styletutor.pictures.writing import PathLike, try_writing, write_file
from styletutor.runs.words import as_options
from styletutor.sweeps.folder import Painted
from styletutor.sweeps.grid import Point, Style, defaults
from styletutor.sweeps.sweep import Sweep, sweep

STATIC = Path(__file__).with_name("static")
SIZE = 512  # pixels of the long side: phones make pictures that no computer would paint in time
SMALL = 360  # pixels of a thumbnail
CAMERA = (".heic", ".heif", ".avif", ".webp")  # which not every Python knows as pictures
IN_THE_WAY = re.compile(r"[^\w./:=+,@-]")  # of a shell, in some system


def find_photographs(folder: PathLike) -> list[Path]:
    """The picture files in a folder, in the order of their names; hidden ones are left out.

    Raises FileNotFoundError, NotADirectoryError, or ValueError if there is none.
    """
    path = Path(os.path.expanduser(folder))
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {folder}; check the name")
    if not path.is_dir():
        raise NotADirectoryError(f"{folder} is a file, expected a folder of photographs")
    found = [each for each in path.iterdir() if _is_picture(each)]
    if not found:
        raise ValueError(f"there are no pictures in {folder}; put .jpg or .png files there")
    return sorted(found, key=lambda each: _in_order(each.name))


def gallery(
    photographs: PathLike, styles: Style | Sequence[Style], output: PathLike, **how: Any
) -> Sweep:
    """Paint all pictures of a folder in all styles, and make a page of them in `output`.

    `index.html` opens from disk and fetches nothing; what it shows is beside it in `pictures`,
    which is the folder of a `sweep` that takes all else that is given (`how`). Cameras' notes are
    not copied there. Raises as `sweep`, and ValueError for a folder without pictures.
    """
    found = find_photographs(photographs)
    folder = Path(os.path.expanduser(output))
    swept = sweep(found, styles, folder / "pictures", **how)
    try_writing(folder / "index.html")
    write_file(folder / "index.html", _page(swept).encode("utf-8"))
    return swept


def command_line(point: Point, report: Mapping[str, Any], output: str) -> str:
    """The `styletutor transfer` that makes a picture of a sweep again; "" if only Python can."""
    recorded = report["settings"]
    names = {name for name, value in point.settings.items() if value is not defaults().get(name)}
    names = [name for name in recorded if name in names | {"styles", "style_at", "weights"}]
    settings = {name: recorded[name] for name in names}
    if "tensor with sha256" in json.dumps(settings):
        return ""
    words = ["styletutor", "transfer", *as_options(settings), f"--output={output}"]
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """As every system's shell takes it, if that can be; else as those of Unix do."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if IN_THE_WAY.search(value):
        odd = re.search(r'["$`\\!%]', value)
        value = shlex.quote(value) if odd else f'"{value}"'
    return option + equals + value


def _is_picture(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0] or ""
    known = kind.startswith("image/") or path.suffix.lower() in CAMERA
    return known and path.is_file() and not path.name.startswith(".")


def _in_order(name: str) -> list[Any]:
    """So that "photo 2" comes before "photo 10"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [[int(part), ""] if part.isdecimal() else [0, part] for part in parts]


def _page(swept: Sweep) -> str:
    shown = [point for point in swept.points if point.place in swept.pictures]
    photographs = dict.fromkeys(point.place[0] for point in shown)
    sections = "\n".join(
        _section(swept, [point for point in shown if point.place[0] == at]) for at in photographs
    )
    faults = "".join(
        f"<li>{html.escape(f'{swept.named(place)}: {reason}')}</li>"
        for place, reason in sorted(swept.failed.items())
    )
    reports = [_report(swept.pictures[point.place]) for point in shown]
    networks = ", ".join(dict.fromkeys(report["backbone"]["name"] for report in reports))
    about = f"{len(shown)} pictures of {len(photographs)} photographs; weights: {networks}"
    style, script = (
        (STATIC / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}"
    )
    return (
        (STATIC / "page.html")
        .read_text(encoding="utf-8")
        .replace("{policy}", policy)
        .replace("{style}", style)
        .replace("{script}", script)
        .replace("{about}", html.escape(about))
        .replace("{faults}", f"<h2>Not painted</h2><ul>{faults}</ul>" if faults else "")
        .replace("{sections}", sections)  # last: names in it are anybody's
    )


def _section(swept: Sweep, points: Sequence[Point]) -> str:
    """A photograph and what was made of it."""
    photograph = points[0].settings["content"]
    name = swept.axes[0].labels[points[0].place[0]]
    cards, original = [], ""
    for point in points:
        painted = swept.pictures[point.place]
        before, size = _before(photograph, painted)
        rest = zip(swept.axes[1:], point.place[1:], strict=True)
        title = ", ".join(a.caption(at) for a, at in rest if a.matters or a.is_pictures)
        command = command_line(point, _report(painted), painted.path.name)
        data = {"before": _link(before), "title": f"{name}: {title}", "command": command}
        given = " ".join(f'data-{key}="{html.escape(value)}"' for key, value in data.items())
        alt = f"{name} in the manner of {title}"
        picture = _thumbnail(painted.path, size, alt)
        cards.append(
            f'<a class="card" href="{_link(painted.path)}" {given}>{picture}'
            f"<span>{html.escape(title)}</span></a>"
        )
        original = original or (
            f'<figure class="card">{_thumbnail(before, size, f"{name}, the photograph")}'
            "<figcaption>photograph</figcaption></figure>"
        )
    inside = "\n".join([original, *cards])
    return f'<section><h2>{html.escape(name)}</h2>\n<div class="cards">\n{inside}\n</div></section>'


def _before(photograph: Path, painted: Painted) -> tuple[Path, tuple[int, int]]:
    """The photograph at the size of what was painted, as a file beside it, and that size."""
    with Image.open(painted.path) as picture:
        size = picture.size
    stem = hashlib.sha256(f"{photograph} {size}".encode()).hexdigest()[:10]
    path = painted.path.with_name(f"before-{stem}.jpg")
    picture = resample(load_image(photograph, max(size)), size[::-1])
    save_image(picture, path, quality=90)
    return path, size


def _thumbnail(path: Path, size: tuple[int, int], alt: str) -> str:
    small = path.with_name(f"{path.stem}-small.jpg")
    save_image(load_image(path, SMALL), small, quality=85)
    width, height = size
    return (
        f'<img src="{_link(small)}" width="{width}" height="{height}" alt="{html.escape(alt)}" '
        'loading="lazy">'
    )


def _link(path: Path) -> str:
    return f"{path.parent.name}/{quote(path.name)}"


def _report(painted: Painted) -> dict[str, Any]:
    return json.loads(painted.report.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
