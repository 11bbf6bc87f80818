"""What a loss needs to know of a picture: looked at whole, or tile by tile for less memory.

All that a loss asks of features is a sum over positions: Σ (F - P)², Gram matrices, covariances.
So it can be added up from tiles, and so can its gradient, exactly, in two rounds: the first adds up
the values; from them follows how the loss depends on each, which is all that a tile has to be told
for its share of the gradient. Only one tile's features are there at a time. After Galerne, Raad,
Lezama & Morel, "Scaling Painting Style Transfer" (Computer Graphics Forum, 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from styletutor.loss.losses import or_one
from styletutor.loss.needs import Needs
from styletutor.loss.parts import Part
from styletutor.loss.statistics import Statistic
from styletutor.machine import give_back
from styletutor.network.tiles import Tile, cut
from styletutor.network.vgg import VGG


class Gauge(Protocol):
    """What says how parts of a loss are read off features: see `targets.Targets`."""

    statistic: Statistic

    def measure(self, part: str, features: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor: ...

    def at(self, tile: Tile) -> Gauge: ...

    def share(self, part: str, tile: Tile) -> float | Tensor: ...

    def adds_up(self, part: str) -> bool: ...


# What does the same with each of many jobs, the arguments of a function, and gives the number of
# each job with what came of it, in any order.
Hands = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[tuple[int, Any]]]


def one_after_another(
    function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[int, Any]]:
    """The hands of one process."""
    for number, job in enumerate(jobs):
        yield number, function(*job)
        give_back()  # or what a C library keeps of each tile grows from one to the next


def look(
    gauge: Gauge,
    network: VGG,
    images: Tensor,
    needs: Needs,
    tile: int | None,
    hands: Hands = one_after_another,
) -> dict[str, Tensor]:
    """The values, as `gauge.measure` gives them, of all parts that a batch (B, 3, H, W) needs.

    Differentiable. With tiles of so many pixels `images` may be on another device than the network,
    and the work in other `hands`.
    """
    layers = needs.layers
    if not layers:
        return {}
    images = needs.in_order(images)
    tiles = cut(network, images.shape[2:], layers, tile)
    if len(tiles) == 1:
        return _read(network, gauge, needs, None, images)
    values = _ByTiles.apply(images, gauge, network, needs, tiles, hands)
    found = dict(zip(_parts(needs), values, strict=True))
    for part, value in found.items():
        if not gauge.adds_up(part):
            pick = partial(needs.pick, part)
            found[part] = gauge.measure(part, value.to(network.device), pick)
    return found


def _parts(needs: Needs) -> list[str]:
    return [part for part, places in needs.places.items() if places]


def _read(
    network: VGG, gauge: Gauge, needs: Needs, tile: Tile | None, images: Tensor
) -> dict[str, Tensor]:
    """Read on the way in, features are forgotten on the way back as soon as they have served."""
    values: dict[str, Tensor] = {}

    def read(name: str, features: Tensor) -> None:
        if tile is not None:
            features = tile.own(network.layer(name), features)
        for part in (f"content {name}", f"style {name}"):
            chosen = needs.read(part, features)
            if chosen is not None:
                values[part] = gauge.measure(part, chosen, partial(needs.pick, part))

    network(images, needs.layers, needs.layers, read)
    return values


@torch.no_grad()
def values_of(
    network: VGG, gauge: Gauge, needs: Needs, tile: Tile, seen: Tensor
) -> dict[str, Tensor]:
    """The first round's job: what is to be added up of a tile."""
    return _read(network, gauge, needs, tile, seen.to(network.device))


def gradient_of(
    network: VGG,
    gauge: Gauge,
    needs: Needs,
    tile: Tile,
    seen: Tensor,
    totals: Mapping[str, Tensor],
    pulls: Mapping[str, Tensor],
) -> Tensor:
    """The second round's job: the gradient of all that a tile sees, (B, 3, h, w).

    `totals` are the whole picture's values, `pulls` how the loss depends on what the tile gives to
    each of them.
    """
    seen = seen.detach().to(network.device).requires_grad_()
    with torch.enable_grad():
        ends = _read(network, gauge, needs, tile, seen)
        for part, value in ends.items():
            if Part.of(part).term == "style" and gauge.adds_up(part):
                ends[part] = gauge.statistic.within(value, totals[part])
        weights = [pulls[part] for part in ends]
        (gradient,) = torch.autograd.grad(list(ends.values()), seen, weights)
    return gradient


class _ByTiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        images: Tensor,
        gauge: Gauge,
        network: VGG,
        needs: Needs,
        tiles: Sequence[Tile],
        hands: Hands,
    ) -> tuple[Tensor, ...]:
        totals: dict[str, Tensor] = {}
        done: dict[str, float | Tensor] = {}
        jobs = ((network, gauge.at(tile), needs, tile, tile.seen(images)) for tile in tiles)
        for number, values in hands(values_of, jobs):
            tile = tiles[number]
            for part, value in values.items():
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
        ctx.how = gauge, network, needs, tiles, hands
        values = tuple(totals[part] for part in _parts(needs))
        ctx.save_for_backward(images, *values)
        return values

    @staticmethod
    def backward(ctx, *gradients: Tensor | None):
        gauge, network, needs, tiles, hands = ctx.how
        images, *values = ctx.saved_tensors
        added = {part: gauge.adds_up(part) for part in _parts(needs)}
        totals = {p: v for p, v in zip(added, values, strict=True) if added[p]}
        pulls = dict(zip(added, gradients, strict=True))

        def pull(part: str, tile: Tile) -> Tensor:
            """How the loss depends on what a tile gives."""
            if not added[part]:
                layer = network.layer(Part.of(part).layer)
                return tile.of(layer, pulls[part]).to(network.device)
            return pulls[part] * (gauge.share(part, tile) if part in styles else 1)

        styles = [part for part in added if Part.of(part).term == "style"]
        jobs = (
            (network, gauge.at(tile), needs, tile, tile.seen(images), totals,
             {part: pull(part, tile) for part in added})
            for tile in tiles
        )  # fmt: skip
        whole = torch.zeros_like(images)
        for number, gradient in hands(gradient_of, jobs):
            tiles[number].seen(whole).add_(gradient.to(whole.device))
        return whole, None, None, None, None, None


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
