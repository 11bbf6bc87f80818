"""What ipywidgets lacks, as anywidgets: map, picture, gallery, drop zone, mixing board, curves.

Each is a plain ES module of `static/` that fetches nothing. Python sets traits, the browser shows
them, and the other way round.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from styletutor.network.layers import Layer
from styletutor.pictures.images import to_jpeg, to_png
from styletutor.pictures.reading import UPLOADED, decode_image

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 6_000_000  # a notebook's connection closes at a message of 10 MB
MOST_SIDE = 2048  # pixels of an uploaded picture


class Element(anywidget.AnyWidget):
    """An anywidget whose traits may be set from any thread, by `show`."""

    _css = STATIC / "style.css"

    def __init__(self, **traits: Any) -> None:
        self._lock = threading.RLock()
        super().__init__(**traits)

    def show(self, **traits: Any) -> None:
        """Set traits, sent as one message."""
        with self._lock, self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # without the bytes of its pictures

    def set_state(self, sync_data: dict[str, Any]) -> None:
        with self._lock:
            super().set_state(sync_data)


def synced(kind: type[traitlets.TraitType], *args: Any) -> traitlets.TraitType:
    return kind(*args).tag(sync=True)


class Guard(Element):
    """Keeps the keys that are pressed in a panel from being commands for the notebook around it.

    To be put anywhere into a box of the class `st-panel`; nothing of it is seen.
    """

    _esm = STATIC / "guard.js"


class LayerMap(Element):
    """Layers as columns of buttons, a block in each; `selected` has up to `most` names."""

    _esm = STATIC / "map.js"
    layers = synced(traitlets.List)
    selected = synced(traitlets.List)
    most = synced(traitlets.Int, 1)
    label = synced(traitlets.Unicode, "layers of VGG-19")

    def __init__(self, layers: Iterable[Layer], selected: Iterable[str], **traits: Any) -> None:
        rows = [asdict(layer) for layer in layers]
        super().__init__(layers=rows, selected=list(selected), **traits)


class PictureView(Element):
    """A picture, JPEG or PNG bytes in `value`.

    With `other` there is a draggable `divider` (0 to 1), `other` on its left under the first of the
    `tags`. `boxes` (x, y, width, height in shares of the sides, and strong) are drawn on it. With
    the `tool` "point" a click sets `point` [x, y], with "paint" a `stroke` of points, which is
    `brush` wide (a share of the width). `nudge` is how far an arrow key moves the point.
    """

    _esm = STATIC / "picture.js"
    value, other = synced(traitlets.Bytes), synced(traitlets.Bytes)
    divider = synced(traitlets.Float, 0.5)
    tags = synced(traitlets.List, traitlets.Unicode(), ["A", "B"])
    alt, caption = synced(traitlets.Unicode), synced(traitlets.Unicode)
    boxes, point, stroke = (synced(traitlets.List) for _ in range(3))
    tool = synced(traitlets.Unicode)
    brush, brush_colour = synced(traitlets.Float, 0.06), synced(traitlets.Unicode, "#ffd92f")
    nudge = synced(traitlets.List, traitlets.Float(), [0.02, 0.02])
    width = synced(traitlets.Int, 420)
    pixelated = synced(traitlets.Bool, False)


class Gallery(Element):
    """Small pictures in rows, `items` as made by `tile`; up to `most` of them are `selected`, and
    with 0 none can be. A tile is `side` pixels wide."""

    _esm = STATIC / "gallery.js"
    items, selected = synced(traitlets.List), synced(traitlets.List)
    most, side = synced(traitlets.Int, 1), synced(traitlets.Int, 64)

    @property
    def chosen(self) -> list[int]:
        """What is selected, in that order, whatever a browser has sent."""
        places = [at for at in self.selected if type(at) is int and 0 <= at < len(self.items)]
        return list(dict.fromkeys(places))[: self.most]

    pixelated = synced(traitlets.Bool, False)
    label = synced(traitlets.Unicode)


class DropZone(Element):
    """Calls `take(name, picture)` with each file that is dropped or chosen, (1, 3, H, W) in [0, 1].

    What comes is not trusted: its size is bounded, and it is decoded as a picture or refused.
    """

    _esm = STATIC / "drop.js"
    label, says = synced(traitlets.Unicode), synced(traitlets.Unicode)
    most_bytes = synced(traitlets.Int, MOST_BYTES)
    most_pixels = synced(traitlets.Int, UPLOADED)

    def __init__(self, take: Callable[[str, Tensor], object], label: str) -> None:
        super().__init__(label=label, says="or drop a file here")
        self._take = take
        self.on_msg(self._receive)

    def _receive(self, _: object, content: dict[str, Any], buffers: list[Any]) -> None:
        name = str(content.get("name", "") if isinstance(content, dict) else "")[:80] or "the file"
        self.says = ""  # so that the same words are sent again
        try:
            if sum(map(len, buffers)) > MOST_BYTES:
                raise ValueError(f"{name} has more than {MOST_BYTES // 10**6} MB; make it smaller")
            self._take(name, decode_image(b"".join(buffers), name, MOST_SIDE))
            self.says = f"{name} is there"
        except ValueError as error:
            self.says = str(error)


class Slider(Element):
    """A slider with a name, for whole numbers if all that it is given are whole."""

    _esm = STATIC / "slider.js"
    value, min, max, step = (
        synced(traitlets.Union, [traitlets.Int(default), traitlets.Float()])
        for default in (0, 0, 100, 1)
    )
    label, unit = synced(traitlets.Unicode), synced(traitlets.Unicode)
    readout = synced(traitlets.Bool, True)

    @property
    def number(self) -> float:
        """The value within its bounds, whatever a browser has sent."""
        return within(self.value, self.min, self.max)


class Board(Element):
    """A mixing board, a fader for each of the `strips` (`desk.strips`).

    The browser changes `values` (strip → fader), `muted`, `solo` and `sources` (strip → number of a
    style, or -1); Python shows how strongly each strip pulls (`pulls`), how much of its loss is
    gone (`removed`), and the `terms` against each other, all of them shares.
    """

    _esm = STATIC / "board.js"
    strips, styles, muted, solo = (synced(traitlets.List) for _ in range(4))
    values, sources, pulls, removed, terms = (synced(traitlets.Dict) for _ in range(5))


class Curves(Element):
    """Lines of positive `values` over `x` on a logarithmic scale, each {name, values}; up to `most`
    on the x axis, with a mark `at` one place (0: none)."""

    _esm = STATIC / "curves.js"
    x, series = synced(traitlets.List), synced(traitlets.List)
    at, most = synced(traitlets.Int, 0), synced(traitlets.Int, 2)
    alt = synced(traitlets.Unicode)


def within(value: Any, low: float, high: float) -> float:
    """A number from the browser, kept in bounds; `low` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return low
    return max(low, min(high, value))


def tile(
    picture: Tensor, label: str, alt: str | None = None, sharp: bool = False
) -> dict[str, Any]:
    """A picture (1, 3, H, W) in [0, 1] for a `Gallery`; `sharp` if each pixel is to be seen."""
    image = to_png(picture) if sharp else to_jpeg(picture)
    return {"image": image, "label": label, "alt": alt or label}
