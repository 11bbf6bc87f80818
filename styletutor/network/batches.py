"""Some pictures of a batch, taken out and put back, with gradients in the layout of the batch."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def leading(values: Tensor, n: int) -> Tensor:
    """The first n."""
    return take(values, tuple(range(n)))


def take(values: Tensor, places: tuple[int, ...]) -> Tensor:
    """Those at `places`."""
    return values if places == tuple(range(len(values))) else _Take.apply(values, places)


class _Take(torch.autograd.Function):
    """Some pictures of a batch, whose gradient is written once, in the layout of the batch."""

    @staticmethod
    def forward(ctx, values: Tensor, places: tuple[int, ...]) -> Tensor:
        ctx.places, ctx.shape, ctx.strides = places, values.shape, values.stride()
        if places == tuple(range(len(places))):
            return values[: len(places)]
        return values.index_select(0, index(places, values.device))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        whole = torch.empty_strided(
            ctx.shape, ctx.strides, dtype=gradient.dtype, device=gradient.device
        )
        taken = dict(zip(ctx.places, gradient, strict=True))
        for place, picture in enumerate(whole):
            picture.copy_(taken[place]) if place in taken else picture.zero_()
        return whole, None


@cache
def index(places: tuple[int, ...], device: torch.device) -> Tensor:
    """Places as a tensor on a device, where it stays: a recorded step reads it there."""
    return torch.tensor(places, device=device)
