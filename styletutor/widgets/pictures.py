"""Choosing pictures: the samples as thumbnails, and a place to drop a file on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import ipywidgets as widgets
import torch
from torch import Tensor

from styletutor.images import resize_image
from styletutor.inputs import Picture, source
from styletutor.samples import describe_sample, load_image, sample_names
from styletutor.widgets.elements import DropZone, Gallery, tile

THUMBNAIL = 72  # pixels
MOST_UPLOADS = 12


class Pictures(widgets.VBox):
    """Thumbnails of the samples, `first` those of this kind, and what was uploaded or given.

    `chosen` are the pictures as the verbs take them, a sample's name or a tensor, in the order in
    which they were chosen; `names` what to call them. `given` are chosen at first.
    """

    def __init__(self, what: str, first: str, given: Sequence[Picture], most: int = 1) -> None:
        names = sample_names()
        kinds = [names.photographs, names.artworks]
        order = [
            name for kind in (kinds if first == "photographs" else kinds[::-1]) for name in kind
        ]
        self.pictures: list[Picture] = list(order)
        self.gallery = Gallery(
            items=[self._tile(name) for name in order],
            most=most,
            side=56,
            label=f"{what} picture: choose {'one' if most == 1 else f'up to {most}'}",
        )
        self.drop = DropZone(self._upload, f"Upload {what} …")
        self.gallery.selected = [self._place(picture) for picture in given]
        scroll = widgets.Box([self.gallery])
        scroll.add_class("st-scroll")
        super().__init__([self.drop, scroll])
        threading.Thread(target=self._paint, name="thumbnails", daemon=True).start()

    @property
    def chosen(self) -> list[Picture]:
        places = self.gallery.selected
        return [self.pictures[at] for at in places if 0 <= at < len(self.pictures)]

    @property
    def names(self) -> list[str]:
        items = self.gallery.items
        return [items[at]["label"] for at in self.gallery.selected if 0 <= at < len(items)]

    def add(self, name: str, picture: Tensor) -> int:
        """Put a picture at the end; which place it has."""
        self.pictures.append(picture)
        small = tile(resize_image(picture.cpu(), THUMBNAIL), name[:24], name)
        self.gallery.show(items=[*self.gallery.items, small])
        return len(self.pictures) - 1

    def _upload(self, name: str, picture: Tensor) -> None:
        uploads = sum(isinstance(picture, Tensor) for picture in self.pictures)
        if uploads >= MOST_UPLOADS:
            raise ValueError(f"{uploads} pictures were uploaded already; start anew for others")
        place = self.add(name, picture)
        chosen = [*self.gallery.selected, place][-self.gallery.most :]
        self.gallery.show(selected=chosen)

    def _place(self, picture: Picture) -> int:
        if isinstance(picture, str) and picture in self.pictures:
            return self.pictures.index(picture)
        name = "yours" if isinstance(picture, Tensor) else source(picture)
        return self.add(name, picture if isinstance(picture, Tensor) else load_image(picture))

    def _tile(self, name: str, picture: Tensor | None = None) -> dict[str, object]:
        """Artworks are painted when they are first used, which takes a while: grey until then."""
        if picture is None:
            photograph = name in sample_names().photographs
            empty = torch.full((1, 3, THUMBNAIL * 3 // 4, THUMBNAIL), 0.5)
            picture = load_image(name, THUMBNAIL) if photograph else empty
        return tile(picture, name, f"{name}: {describe_sample(name)}")

    def _paint(self) -> None:
        for name in sample_names().artworks:
            made = self._tile(name, load_image(name, THUMBNAIL))
            items = list(self.gallery.items)
            items[self.pictures.index(name)] = made
            self.gallery.show(items=items)
