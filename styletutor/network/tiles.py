"""Pictures cut into tiles whose features are exactly those of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from styletutor.machine import zeros_on_disk
from styletutor.network.layers import Layer
from styletutor.network.vgg import VGG

LARGE = 2**30  # bytes: on a CPU a layer's features are in a file from here on, if there are tiles
SMALLEST_TILE = 2  # positions of the deepest layer: with fewer, a tile is hardly more than its edge


class Span(NamedTuple):
    """A tile along a side of so many pixels (`length`): its own ones, and those it has to see."""

    length: int
    start: int
    end: int
    low: int
    high: int

    def place(self, stride: int, low: int = 0) -> slice:
        """Its own positions among those of a layer, beginning at the pixel `low`.

        Where the picture ends, so do the features, however the layer's side was rounded.
        """
        end = None if self.end == self.length else (self.end - low) // stride
        return slice((self.start - low) // stride, end)


class Tile(NamedTuple):
    """A rectangle of a picture, and what is around it as far as its features depend on it."""

    rows: Span
    columns: Span

    def seen(self, images: Tensor) -> Tensor:
        """The pixels (B, 3, h, w) of `images` that it has to see; a view."""
        rows, columns = self
        return images[:, :, rows.low : rows.high, columns.low : columns.high]

    def own(self, layer: Layer, features: Tensor) -> Tensor:
        """Its own part of the features of what it sees; a view."""
        rows, columns = (span.place(layer.stride, span.low) for span in self)
        return features[:, :, rows, columns]

    def of(self, layer: Layer, whole: Tensor) -> Tensor:
        """Its own part of what is as large as the features of the whole picture; a view."""
        rows, columns = (span.place(layer.stride) for span in self)
        return whole[:, :, rows, columns]

    def share(self, layer: Layer, grid: Sequence[int]) -> float:
        """Which share of all positions of a layer, of so many rows and columns, are its own."""
        counts = zip(self, grid, strict=True)
        return prod(len(range(n)[span.place(layer.stride)]) / n for span, n in counts)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.rows.length, self.columns.length


def cut(vgg: VGG, size: Sequence[int], layers: Iterable[str], tile: int | None) -> list[Tile]:
    """A picture of `size` (H, W) in tiles of at most about `tile` pixels a side; None: in one.

    A tile begins where the deepest of `layers` has a position, so that all poolings take the same
    squares as in the whole, and sees as far beyond its edge as a position there does: half of what
    the receptive field has more than the stride. Where the picture ends, so does what it sees, and
    the padding is that of the whole picture.
    """
    rows, columns = _spans(vgg, size, layers, tile)
    return [Tile(row, column) for row in rows for column in columns]


def largest_seen(
    vgg: VGG, size: Sequence[int], layers: Iterable[str], tile: int | None
) -> tuple[int, int]:
    """Height and width of the most that one of these tiles sees."""
    rows, columns = _spans(vgg, size, layers, tile)
    return max(span.high - span.low for span in rows), max(s.high - s.low for s in columns)


def is_cut(vgg: VGG, size: Sequence[int], layers: Iterable[str], tile: int | None) -> bool:
    """Is it more than one tile?"""
    return any(len(spans) > 1 for spans in _spans(vgg, size, layers, tile))


def smallest_tile(vgg: VGG, layers: Iterable[str]) -> int:
    """The smallest tile, in pixels, that is worth its edge."""
    return SMALLEST_TILE * vgg.deepest(layers).stride


@torch.no_grad()
def features_by_tiles(
    vgg: VGG, images: Tensor, layers: Sequence[str], tile: int | None
) -> dict[str, Tensor]:
    """`vgg(images, layers)`, tile by tile: no more than one tile's features beside the result.

    What is large (`in_a_file`) is in a file, which goes when the tensor does; OSError if the disk
    has too little room for it.
    """
    tiles = cut(vgg, images.shape[2:], layers, tile)
    if len(tiles) == 1:
        return vgg(images, layers)
    whole: dict[str, Tensor] = {}
    for each in tiles:
        for name, features in vgg(each.seen(images).to(vgg.device), layers).items():
            row = vgg.layer(name)
            if name not in whole:
                shape = len(images), *vgg.grid(name, images.shape[2:]), row.channels
                filed = in_a_file(prod(shape) * features.itemsize, images.device)
                make = zeros_on_disk if filed else partial(torch.empty, device=images.device)
                whole[name] = make(*shape, dtype=features.dtype).permute(0, 3, 1, 2)
            each.of(row, whole[name]).copy_(each.own(row, features))
    return whole


def in_a_file(size: int, device: torch.device) -> bool:
    """Are a layer's features of a whole picture, so many bytes, kept in a file?"""
    return size >= LARGE and device.type == "cpu"


def _spans(
    vgg: VGG, size: Sequence[int], layers: Iterable[str], tile: int | None
) -> list[list[Span]]:
    deepest = vgg.deepest(layers)
    reach = (deepest.receptive_field - deepest.stride) // 2
    return [_along(side, tile or side, deepest.stride, reach) for side in size]


def _along(length: int, tile: int, stride: int, reach: int) -> list[Span]:
    """Tiles along a side, as equal as they can be in steps of `stride`."""
    units = max(1, length // stride)
    count = -(-units // max(1, tile // stride))
    cuts = [stride * (units * i // count) for i in range(count)] + [length]
    margin = -(-reach // stride) * stride
    return [
        Span(length, start, end, max(0, start - margin), min(length, end + reach))
        for start, end in pairwise(cuts)
    ]
