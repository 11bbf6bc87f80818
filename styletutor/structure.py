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
    come first; each part, such as "style relu1_1", is for the first so many of them. `tv` says
    whether the total variation counts at all.
    """

    order: tuple[int, ...]
    counts: dict[str, int]
    tv: bool

    @classmethod
    def of(cls, uses: Mapping[str, Sequence[bool]], layers: Sequence[str], tv: bool) -> Structure:
        """From which of the B pictures use each part; `layers` are the network's, in order."""
        batch = len(next(iter(uses.values())))
        depth = {part: layers.index(part.split()[1]) + 1 for part in uses}
        deepest = [max(depth[p] if uses[p][b] else 0 for p in uses) for b in range(batch)]
        order = sorted(range(batch), key=lambda b: -deepest[b])
        counts = {
            part: max((n for n, b in enumerate(order, 1) if used[b]), default=0)
            for part, used in uses.items()
        }
        return cls(tuple(order), counts, tv)

    @property
    def layers(self) -> dict[str, int]:
        """How many of the first pictures each layer is needed for; no layer that none needs."""
        first: dict[str, int] = {}
        for part, n in self.counts.items():
            if n:
                layer = part.split()[1]
                first[layer] = max(n, first.get(layer, 0))
        return first

    def pick(self, values: Tensor, n: int | None = None) -> Tensor:
        """The first n (or all) of B values in this order; one value serves all pictures."""
        if len(values) == 1:
            return values
        if not self._is_sorted:
            values = values[_index(self.order, values.device)]
        return values if n is None else leading(values, n)

    def put_back(self, part: Tensor) -> Tensor:
        """A loss (n,) of the first n pictures as one (B,) in the batch's own order, else 0."""
        batch = len(self.order)
        if len(part) == batch and self._is_sorted:
            return part
        index = _index(self.order, part.device)[: len(part)]
        return part.new_zeros(batch).index_copy(0, index, part)

    @property
    def _is_sorted(self) -> bool:
        return self.order == tuple(range(len(self.order)))


def leading(values: Tensor, n: int) -> Tensor:
    """The first n; without a slice, whose gradient is a copy, where that is all."""
    return values if n == len(values) else values[:n]


@lru_cache(maxsize=64)
def _index(order: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(order, device=device)
