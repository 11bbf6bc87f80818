"""What a loss needs to know of a picture: looked at whole, or tile by tile for less memory.

All that a loss asks of features is a sum over positions: Σ (F - P)², Gram matrices, covariances.
So it can be added up from tiles, and so can its gradient, exactly, in two rounds: the first adds up
the values; from them follows how the loss depends on each, which is all that a tile has to be told
for its share of the gradient. Only one tile's features are there at a time. After Galerne, Raad,
Lezama & Morel, "Scaling Painting Style Transfer" (Computer Graphics Forum, 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from styletutor.loss.losses import or_one
from styletutor.loss.needs import Needs
from styletutor.loss.parts import Part
from styletutor.loss.statistics import Statistic
from styletutor.network.tiles import Tile, cut
from styletutor.network.vgg import VGG


class Gauge(Protocol):
    """What says how parts of a loss are read off features: see `targets.Targets`."""

    statistic: Statistic

    def measure(
        self, part: str, features: Tensor, pick: Callable[[Tensor], Tensor], tile: Tile | None
    ) -> Tensor: ...

    def share(self, part: str, tile: Tile) -> float | Tensor: ...

    def adds_up(self, part: str) -> bool: ...


def look(
    gauge: Gauge, network: VGG, images: Tensor, needs: Needs, tile: int | None
) -> dict[str, Tensor]:
    """The values, as `gauge.measure` gives them, of all parts that a batch (B, 3, H, W) needs.

    Differentiable. With tiles of so many pixels `images` may be on another device than the network.
    """
    layers = needs.layers
    if not layers:
        return {}
    images = needs.in_order(images)
    tiles = cut(network, images.shape[2:], layers, tile)
    if len(tiles) == 1:
        return _read(gauge, network, images, needs, None)
    found = dict(
        zip(_parts(needs), _ByTiles.apply(images, gauge, network, needs, tiles), strict=True)
    )
    for part, value in found.items():
        if not gauge.adds_up(part):
            found[part] = gauge.measure(
                part, value.to(network.device), partial(needs.pick, part), None
            )
    return found


def _parts(needs: Needs) -> list[str]:
    return [part for part, places in needs.places.items() if places]


def _read(
    gauge: Gauge, network: VGG, images: Tensor, needs: Needs, tile: Tile | None
) -> dict[str, Tensor]:
    """Read on the way in, features are forgotten on the way back as soon as they have served."""
    values: dict[str, Tensor] = {}

    def read(name: str, features: Tensor) -> None:
        if tile is not None:
            features = tile.own(network.layer(name), features)
        for part in (f"content {name}", f"style {name}"):
            chosen = needs.read(part, features)
            if chosen is not None:
                pick = partial(needs.pick, part)
                values[part] = gauge.measure(part, chosen, pick, tile)

    network(images, needs.layers, needs.layers, read)
    return values


class _ByTiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        images: Tensor,
        gauge: Gauge,
        network: VGG,
        needs: Needs,
        tiles: Sequence[Tile],
    ) -> tuple[Tensor, ...]:
        totals: dict[str, Tensor] = {}
        done: dict[str, float | Tensor] = {}
        for tile in tiles:
            seen = tile.seen(images).to(network.device)
            for part, value in _read(gauge, network, seen, needs, tile).items():
                before = totals.get(part)
                if not gauge.adds_up(part):
                    totals[part] = _lay(value, part, before, network, tile, images)
                elif Part.of(part).term == "content":
                    totals[part] = value if before is None else before + value
                else:
                    share = gauge.share(part, tile)
                    if before is None:
                        totals[part], done[part] = value, share
                        continue
                    whole = done[part] + share
                    shares = [_fraction(one, whole) for one in (done[part], share)]
                    totals[part] = gauge.statistic.blend([before, value], shares)
                    done[part] = whole
        ctx.how = gauge, network, needs, tiles
        values = tuple(totals[part] for part in _parts(needs))
        ctx.save_for_backward(images, *values)
        return values

    @staticmethod
    def backward(ctx, *gradients: Tensor | None):
        gauge, network, needs, tiles = ctx.how
        images, *values = ctx.saved_tensors
        totals = dict(zip(_parts(needs), values, strict=True))
        pulls = dict(zip(_parts(needs), gradients, strict=True))
        whole = torch.zeros_like(images)
        for tile in tiles:
            seen = tile.seen(images).detach().to(network.device).requires_grad_()
            ends, weights = [], []
            with torch.enable_grad():
                for part, value in _read(gauge, network, seen, needs, tile).items():
                    pull = pulls[part]
                    if not gauge.adds_up(part):
                        pull = tile.of(network.layer(Part.of(part).layer), pull).to(value.device)
                    elif Part.of(part).term == "style":
                        value = gauge.statistic.within(value, totals[part])
                        pull = pull * gauge.share(part, tile)
                    ends.append(value)
                    weights.append(pull)
                (gradient,) = torch.autograd.grad(ends, seen, weights)
            tile.seen(whole).add_(gradient.to(whole.device))
        return whole, None, None, None, None


def _lay(
    value: Tensor, part: str, whole: Tensor | None, network: VGG, tile: Tile, images: Tensor
) -> Tensor:
    """A tile's features (n, C, h, w) put where they belong in those of the whole."""
    layer = network.layer(Part.of(part).layer)
    if whole is None:
        grid = network.grid(layer.name, tile.size)
        whole = value.new_empty(*value.shape[:2], *grid, device=images.device)
        whole = whole.contiguous(memory_format=torch.channels_last)
    tile.of(layer, whole).copy_(value)
    return whole


def _fraction(share: float | Tensor, whole: float | Tensor) -> float | Tensor:
    return share / (or_one(whole) if isinstance(whole, Tensor) else whole)
