"""Which pictures of a batch need which layers, so that none goes deeper than it has to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Structure:
    """What an evaluation of a batch consists of.

    The pictures go through the network in an `order` in which those that need the deepest layers
    come first; each part, such as "style relu1_1", is for the pictures at certain `places` in that
    order. `tv` says whether the total variation counts at all.
    """

    order: tuple[int, ...]
    places: dict[str, tuple[int, ...]]
    tv: bool

    @classmethod
    def of(cls, uses: Mapping[str, Sequence[bool]], layers: Sequence[str], tv: bool) -> Structure:
        """From which of the B pictures use each part; `layers` are the network's, in order."""
        batch = len(next(iter(uses.values())))
        depth = {part: layers.index(part.split()[1]) + 1 for part in uses}
        deepest = [max(depth[p] if uses[p][b] else 0 for p in uses) for b in range(batch)]
        order = sorted(range(batch), key=lambda b: -deepest[b])
        places = {
            part: tuple(place for place, b in enumerate(order) if used[b])
            for part, used in uses.items()
        }
        return cls(tuple(order), places, tv)

    @property
    def layers(self) -> dict[str, int]:
        """How many of the first pictures each layer is needed for; no layer that none needs."""
        first: dict[str, int] = {}
        for part, places in self.places.items():
            if places:
                layer = part.split()[1]
                first[layer] = max(places[-1] + 1, first.get(layer, 0))
        return first

    def in_order(self, images: Tensor) -> Tensor:
        """A batch's pictures (B, …) in this order."""
        return _take(images, self.order)

    def pick(self, part: str, values: Tensor) -> Tensor:
        """The values (B, …) of the pictures that use a part; a single one serves all of them."""
        if len(values) == 1:
            return values
        return _take(values, tuple(self.order[place] for place in self.places[part]))

    def put_back(self, part: str, losses: Tensor) -> Tensor:
        """The losses (n,) of the pictures that use a part as (B,) in the batch's own order."""
        where = tuple(self.order[place] for place in self.places[part])
        if where == tuple(range(len(self.order))):
            return losses
        return losses.new_zeros(len(self.order)).index_copy(0, _index(where, losses.device), losses)

    def read(self, part: str, features: Tensor) -> Tensor | None:
        """Features, in this order, of the pictures that use a part; None if it is not in use."""
        places = self.places.get(part)
        return _take(features, places) if places else None


def leading(values: Tensor, n: int) -> Tensor:
    """The first n."""
    return _take(values, tuple(range(n)))


def _take(values: Tensor, places: tuple[int, ...]) -> Tensor:
    return values if places == tuple(range(len(values))) else _Take.apply(values, places)


class _Take(torch.autograd.Function):
    """Some pictures of a batch, whose gradient is written once, in the layout of the batch."""

    @staticmethod
    def forward(ctx, values: Tensor, places: tuple[int, ...]) -> Tensor:
        ctx.places, ctx.shape, ctx.strides = places, values.shape, values.stride()
        if places == tuple(range(len(places))):
            return values[: len(places)]
        return values.index_select(0, _index(places, values.device))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        whole = torch.empty_strided(
            ctx.shape, ctx.strides, dtype=gradient.dtype, device=gradient.device
        )
        taken = dict(zip(ctx.places, gradient, strict=True))
        for place, picture in enumerate(whole):
            picture.copy_(taken[place]) if place in taken else picture.zero_()
        return whole, None


@lru_cache(maxsize=256)
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(places, device=device)
