"""Exercises of lesson 1: what a layer sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.exercise import Exercise

GROWS = {"conv": 2, "relu": 0, "pool": 1}


def _one_feature(patch: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Σ kernel · patch + bias over colours, rows and columns; (C, 3, 3) twice → a number."""
    total = bias.cpu().double()
    for c in range(patch.shape[0]):
        for u in range(3):
            for v in range(3):
                total = total + kernel[c, u, v].cpu().double() * patch[c, u, v].cpu().double()
    return total


def _patches(random: torch.Generator) -> list[tuple[Any, ...]]:
    """Of which one feature is negative, so that a ReLU shows."""
    cases = []
    for channels, aim in [(3, 2.0), (5, -3.0), (8, 4.0)]:
        patch, kernel = (torch.randn(channels, 3, 3, generator=random) for _ in range(2))
        feature = aim + torch.rand((), generator=random)
        cases.append((patch, kernel, feature - (patch * kernel).sum()))
    return cases


check_one_feature = Exercise(
    name="one_feature",
    spec=_one_feature,
    cases=_patches,
    mistakes={
        "the bias is missing: it is added once, after the sum.": (
            lambda patch, kernel, bias: (patch * kernel).sum()
        ),
        "the bias is added at every pixel; it is added once, after the sum.": (
            lambda patch, kernel, bias: (patch * kernel + bias).sum()
        ),
        "this is the mean of the products; a convolution adds them up.": (
            lambda patch, kernel, bias: (patch * kernel).mean() + bias
        ),
        "the template is turned by half a circle, as in the convolution of mathematics. "
        "Networks lay it on as it is.": (
            lambda patch, kernel, bias: (patch * kernel.flip(1, 2)).sum() + bias
        ),
        "rows and columns of the template are exchanged.": (
            lambda patch, kernel, bias: (patch * kernel.mT).sum() + bias
        ),
        "the bias is added for each channel; it is added once, after the sum.": (
            lambda patch, kernel, bias: (patch * kernel).sum() + len(patch) * bias
        ),
        "these are sums for each channel; one feature adds up all of them.": (
            lambda patch, kernel, bias: (patch * kernel).sum((1, 2)) + bias
        ),
        "patch @ kernel multiplies rows with columns; a template is laid on, number by number.": (
            lambda patch, kernel, bias: (patch @ kernel).sum() + bias
        ),
        "a ReLU is in it already; the convolution itself may be negative.": (
            lambda patch, kernel, bias: ((patch * kernel).sum() + bias).clamp(min=0)
        ),
        "only a part of the template is laid on. range(2) counts 0 and 1: three rows and columns "
        "need range(3).": (lambda patch, kernel, bias: (patch * kernel)[:, :2, :2].sum() + bias),
        "the template's first row and column are left out: indices begin with 0.": (
            lambda patch, kernel, bias: (patch * kernel)[:, 1:, 1:].sum() + bias
        ),
        "only the first two of three rows are counted: range(2) is 0 and 1.": (
            lambda patch, kernel, bias: (patch * kernel)[:, :2].sum() + bias
        ),
        "only three colours are counted; a layer may have any number of channels.": (
            lambda patch, kernel, bias: (patch * kernel)[:3].sum() + bias
        ),
        "only the first colour is counted; add up over all channels.": (
            lambda patch, kernel, bias: (patch[0] * kernel[0]).sum() + bias
        ),
        "only the last colour is counted: does the sum begin anew inside the loop?": (
            lambda patch, kernel, bias: (patch[-1] * kernel[-1]).sum() + bias
        ),
        "only the last row is counted: does the sum begin anew inside the loop?": (
            lambda patch, kernel, bias: (patch * kernel)[-1, -1].sum() + bias
        ),
        "the bias is subtracted; it is added.": (
            lambda patch, kernel, bias: (patch * kernel).sum() - bias
        ),
        "patch and template are added; each number is multiplied with the one it lies on.": (
            lambda patch, kernel, bias: (patch + kernel).sum() + bias
        ),
        "two sums are multiplied; multiply number by number first, and then add up.": (
            lambda patch, kernel, bias: patch.sum() * kernel.sum() + bias
        ),
        "a mean is taken off, that of the patch or of the template; both stay as they are.": (
            lambda patch, kernel, bias: ((patch - patch.mean()) * kernel).sum() + bias
        ),
    },
    praise="right for 3, 5 and 8 channels: products, added up, and the bias once.",
)


def _receptive_field(kinds: Sequence[str]) -> tuple[int, int]:
    """Side of what a position sees, and distance of neighbours, in pixels, after these layers."""
    field, stride = 1, 1
    for kind in kinds:
        field += GROWS[kind] * stride
        stride *= 2 if kind == "pool" else 1
    return field, stride


def _walk(
    conv: int = 2,
    pool: int = 1,
    start: int = 1,
    strides: str = "pool",
    adds: int = 0,
    widens: int = 1,
    relu: int = 0,
) -> Any:
    """A wrong way of going down the layers."""
    grows = {"conv": conv, "relu": relu, "pool": pool}

    def go(kinds: Sequence[str]) -> tuple[int, int]:
        field, stride = start, 1
        for kind in kinds:
            field += grows[kind] * stride
            field *= widens if kind == "pool" else 1
            if kind == strides:
                stride = stride + adds if adds else 2 * stride
        return field, stride

    return go


check_receptive_field = Exercise(
    name="receptive_field",
    spec=_receptive_field,
    cases=lambda random: [
        (["conv", "relu"],),
        (["conv", "relu", "conv", "relu", "pool"],),
        (["conv", "relu", "pool", "conv", "relu", "conv", "relu", "pool", "conv"],),
        (["pool", "pool", "conv"],),
    ],
    mistakes={
        "a pooling adds one step of the stride that was there before it. You have added two, or "
        "doubled the stride first.": _walk(pool=2),
        "each layer adds the same, wherever it is. Behind a pooling, neighbours are further apart: "
        "what a layer adds is multiplied with the stride there.": (
            lambda kinds: (1 + sum(GROWS[kind] for kind in kinds), 2 ** kinds.count("pool"))
        ),
        "a convolution of side 3 adds 2 steps, one on each side, not 3.": _walk(conv=3),
        "a convolution of side 3 adds 2 steps, one on each side, not 1.": _walk(conv=1),
        "a pooling, too, widens the field: by one step.": _walk(pool=0),
        "a pooling doubles the stride, not the field; the field grows by one step of the stride "
        "before it.": _walk(pool=0, widens=2),
        "a pooling adds one step to the field and doubles the stride. It does not double the field "
        "as well.": _walk(widens=2),
        "before the first layer a position sees one pixel: start with 1.": _walk(start=0),
        "a ReLU looks at its own position alone: it widens nothing.": _walk(relu=2),
        "only the first layer counts: is the `return` inside the loop?": lambda kinds: (
            _receptive_field(kinds[:1])
        ),
        "k in place of k − 1: a convolution adds 2 steps and a pooling 1.": _walk(conv=3, pool=2),
        "a pooling makes the stride twice as long; you have added 2.": _walk(adds=2),
        "the stride doubles at a pooling, and only there.": _walk(strides="conv"),
        "a pooling makes the stride twice as long, not longer by one.": _walk(adds=1),
        "both numbers are right, but in the other order: field first, then stride.": (
            lambda kinds: _receptive_field(kinds)[::-1]
        ),
        "a convolution adds 2 steps of the stride there, not 2 pixels.": lambda kinds: (
            1 + sum(2 if kind == "conv" else 2 ** kinds[:i].count("pool") * GROWS[kind]
                    for i, kind in enumerate(kinds)),
            2 ** kinds.count("pool"),
        ),
        "a pooling adds one step of the stride there, not one pixel.": lambda kinds: (
            1 + sum(1 if kind == "pool" else 2 ** kinds[:i].count("pool") * GROWS[kind]
                    for i, kind in enumerate(kinds)),
            2 ** kinds.count("pool"),
        ),
        "a ReLU is taken for a pooling: is there an `else` that both fall into?": lambda kinds: (
            _receptive_field([k if k == "conv" else "pool" for k in kinds])
        ),
        "a pooling is taken for a convolution, which does not double the stride.": lambda kinds: (
            _receptive_field(["conv" if k == "pool" else k for k in kinds])
        ),
        "from the last layer to the first; the stride grows from the picture on, so walk forward.":
            lambda kinds: _receptive_field(kinds[::-1]),
        "the last layer is left out.": lambda kinds: _receptive_field(kinds[:-1]),
        "this is the field alone; the stride is asked for as well: return field, stride.": (
            lambda kinds: _receptive_field(kinds)[0]
        ),
    },
    praise="right for four chains of layers: the field grows with the stride.",
)  # fmt: skip


def _strongest(features: Tensor, count: int) -> Tensor:
    """The `count` channels of (C, H, W) with the largest mean |activation|, strongest first."""
    channels, height, width = features.shape
    strength = []
    for c in range(channels):
        total = 0.0
        for y in range(height):
            for x in range(width):
                total += abs(features[c, y, x].item())
        strength.append(total / (height * width))
    order = sorted(range(channels), key=lambda c: -strength[c])
    return torch.tensor(order[:count])


def _maps(random: torch.Generator) -> list[tuple[Any, ...]]:
    """Maps that differ in mean, in mean size and in maximum, in different orders."""
    cases = []
    for channels, height, width, count in [(6, 4, 5, 3), (9, 3, 7, 4), (12, 5, 4, 5)]:
        maps = torch.randn(channels, height, width, generator=random)
        maps = maps * torch.rand(channels, 1, 1, generator=random).exp()
        maps[torch.randperm(channels, generator=random)[0]] *= -4
        maps[torch.randperm(channels, generator=random)[0], 0, 0] = 30.0
        cases.append((maps - 0.3, count))
    return cases


check_strongest_channels = Exercise(
    name="strongest_channels",
    spec=_strongest,
    cases=_maps,
    mistakes={
        "sorted by the mean. Before a ReLU a channel may be strong and negative: take the mean of "
        "the sizes, .abs().": lambda f, count: f.mean((1, 2)).topk(count).indices,
        "sorted by the largest number. One bright spot is not a strong channel: take the mean.": (
            lambda f, count: f.abs().amax((1, 2)).topk(count).indices
        ),
        "these are numbers of positions: average over rows and columns, axes 1 and 2, so that one "
        "number is left for each channel.": (
            lambda f, count: f.abs().mean(0).flatten().topk(count).indices
        ),
        "these are the weakest channels; topk gives the largest.": (
            lambda f, count: f.abs().mean((1, 2)).topk(count, largest=False).indices
        ),
        "these are the strengths; asked for are the channels' numbers, .indices.": (
            lambda f, count: f.abs().mean((1, 2)).topk(count).values
        ),
        "the right channels, but the strongest should come first.": (
            lambda f, count: f.abs().mean((1, 2)).topk(count).indices.flip(0)
        ),
        "the size of the mean, not the mean of the sizes: take .abs() first, so that what is "
        "below zero does not cancel what is above.": (
            lambda f, count: f.mean((1, 2)).abs().topk(count).indices
        ),
        "sorted by the standard deviation, which takes the mean off. Strong is what is large: the "
        "mean of the sizes.": lambda f, count: f.std((1, 2)).topk(count).indices,
        "sorted by the smallest number.": lambda f, count: f.amin((1, 2)).topk(count).indices,
        "all channels are there; `count` says how many are asked for.": (
            lambda f, count: f.abs().mean((1, 2)).argsort(descending=True)
        ),
    },
    praise="right on three random layers, with channels that are strong and negative.",
)
