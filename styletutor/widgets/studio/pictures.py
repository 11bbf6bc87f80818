"""Choosing pictures: the samples as thumbnails, and a place to drop a file on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import ipywidgets as widgets
import torch
from torch import Tensor

from styletutor.pictures.images import resize_image
from styletutor.pictures.loading import load_image
from styletutor.pictures.samples import describe_sample, sample_names
from styletutor.runs.inputs import Picture, source
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
        photographs, artworks = names.photographs, names.artworks
        order = photographs + artworks if first == "photographs" else artworks + photographs
        self.pictures: list[Picture] = list(order)
        self._order, self._lock = order, threading.Lock()
        words = f"{what} picture: choose {'one' if most == 1 else f'up to {most}'}"
        tiles = [self._tile(name) for name in order]
        self.gallery = Gallery(items=tiles, most=most, side=54, label=words)
        self.drop = DropZone(self._upload, f"Upload {what} …")
        self.gallery.selected = [self._place(picture) for picture in given]
        scroll = widgets.Box([self.gallery])
        scroll.add_class("st-scroll")
        super().__init__([self.drop, scroll])
        # No daemon: Python has to wait for it, as PyTorch does not survive the end of the rest.
        threading.Thread(target=self._paint, name="thumbnails").start()

    @property
    def chosen(self) -> list[Picture]:
        return [self.pictures[at] for at in self.gallery.chosen if at < len(self.pictures)]

    @property
    def names(self) -> list[str]:
        return [self.gallery.items[at]["label"] for at in self.gallery.chosen]

    def add(self, name: str, picture: Picture) -> int:
        """Put a picture at the end; which place it has."""
        if isinstance(picture, Tensor):
            small = resize_image(picture[:1].cpu().float(), THUMBNAIL)
        else:
            small = load_image(picture, THUMBNAIL)
        with self._lock:
            self.pictures.append(picture)
            self.gallery.show(items=[*self.gallery.items, tile(small, name[:24], name)])
            return len(self.pictures) - 1

    def _upload(self, name: str, picture: Tensor) -> None:
        uploads = sum(isinstance(picture, Tensor) for picture in self.pictures)
        if uploads >= MOST_UPLOADS:
            raise ValueError(f"{uploads} pictures were uploaded already; start anew for others")
        place = self.add(name, picture)
        chosen = [*self.gallery.chosen, place][-self.gallery.most :]
        self.gallery.show(selected=chosen)

    def _place(self, picture: Picture) -> int:
        if isinstance(picture, str) and picture in self.pictures:
            return self.pictures.index(picture)
        return self.add("yours" if isinstance(picture, Tensor) else source(picture), picture)

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
            with self._lock:
                items = list(self.gallery.items)
                items[self._order.index(name)] = made
                self.gallery.show(items=items)
