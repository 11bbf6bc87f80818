"""Which pictures of a batch need which layers, so that none goes deeper than it has to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from styletutor.loss.parts import Part
from styletutor.network.batches import index, take


@dataclass(frozen=True)
class Needs:
    """What an evaluation of a batch consists of.

    The pictures go through the network in an `order` in which those that need the deepest layers
    come first; each part, such as "style relu1_1", is for the pictures at certain `places` in that
    order. `tv` says whether the total variation counts at all.
    """

    order: tuple[int, ...]
    places: dict[str, tuple[int, ...]]
    tv: bool

    @classmethod
    def of(cls, uses: Mapping[str, Sequence[bool]], layers: Sequence[str], tv: bool) -> Needs:
        """From which of the B pictures use each part; `layers` are the network's, in order."""
        batch = len(next(iter(uses.values())))
        depth = {part: layers.index(Part.of(part).layer) + 1 for part in uses}
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
                layer = Part.of(part).layer
                first[layer] = max(places[-1] + 1, first.get(layer, 0))
        return first

    def in_order(self, images: Tensor) -> Tensor:
        """A batch's pictures (B, …) in this order."""
        return take(images, self.order)

    def pick(self, part: str, values: Tensor) -> Tensor:
        """The values (B, …) of the pictures that use a part; a single one serves all of them."""
        if len(values) == 1:
            return values
        return take(values, tuple(self.order[place] for place in self.places[part]))

    def put_back(self, part: str, losses: Tensor) -> Tensor:
        """The losses (n,) of the pictures that use a part as (B,) in the batch's own order."""
        where = tuple(self.order[place] for place in self.places[part])
        if where == tuple(range(len(self.order))):
            return losses
        return losses.new_zeros(len(self.order)).index_copy(0, index(where, losses.device), losses)

    def read(self, part: str, features: Tensor) -> Tensor | None:
        """Features, in this order, of the pictures that use a part; None if it is not in use."""
        places = self.places.get(part)
        return take(features, places) if places else None
