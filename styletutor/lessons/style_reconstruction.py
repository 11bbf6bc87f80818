"""Exercises of lesson 3: the style loss, and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.content_reconstruction import SHAPES, pairs, sizes
from styletutor.lessons.exercise import Exercise
from styletutor.lessons.gram import gram, gram_by_loops, rows


def _grams(random: torch.Generator) -> list[tuple[Any, ...]]:
    """Features of a picture and of a style of another size, with as many channels."""
    return [
        (torch.randn(batch, c, h, w, generator=random).relu(),
         torch.randn(1, c, h + 2, w + 1, generator=random).relu())
        for batch, c, h, w in SHAPES
    ]  # fmt: skip


def _style_loss(features: Tensor, style: Tensor) -> Tensor:
    """E = Σ (G − A)² / (4 N² M²), where A comes from a picture of another size, (B,).

    Each Gram matrix is divided by its own N·M, which makes it ¼ Σ (G/NM − A/NM')².
    """
    difference = gram_by_loops(features) - gram_by_loops(style)
    total = features.new_zeros(len(features))
    for i in range(features.shape[1]):
        for j in range(features.shape[1]):
            total = total + difference[:, i, j] ** 2
    return total / 4


def _unlike(features: Tensor, style: Tensor) -> Tensor:
    return (gram(features) - gram(style)).square().flatten(1)


def _with_one_size(features: Tensor, style: Tensor) -> Tensor:
    a = rows(style) @ rows(style).mT / features[0].numel()
    return 0.25 * (gram(features) - a).square().flatten(1).sum(1)


def _raw(features: Tensor, style: Tensor) -> Tensor:
    g, a = (rows(f) @ rows(f).mT for f in (features, style))
    return 0.25 * (g - a).square().flatten(1).sum(1)


check_style_loss = Exercise(
    name="style_loss",
    spec=_style_loss,
    cases=_grams,
    mistakes={
        "four times too large: the ¼ of Eq. 4 is missing.": lambda f, s: _unlike(f, s).sum(1),
        "both matrices are divided by the picture's size. The style picture has a size of its own: "
        "divide each by its own C·H·W.": _with_one_size,
        "the matrices are not divided by C·H·W.": _raw,
        "this mixes the pictures of the batch; keep the first axis.": (
            lambda f, s: 0.25 * _unlike(f, s).sum()
        ),
        "this is a quarter of the mean; Eq. 4 is a sum over all pairs of channels.": (
            lambda f, s: 0.25 * _unlike(f, s).mean(1)
        ),
        "this is the mean; Eq. 4 is a quarter of the sum over all pairs of channels.": (
            lambda f, s: _unlike(f, s).mean(1)
        ),
        "the differences are not squared.": (
            lambda f, s: 0.25 * (gram(f) - gram(s)).abs().flatten(1).sum(1)
        ),
        "the result is divided by N²M², but so were the Gram matrices: once is enough.": (
            lambda f, s: 0.25 * _unlike(f, s).sum(1) / f[0].numel() ** 2
        ),
    },
    praise="right on three random shapes with a style of another size, and so is the gradient.",
    gradient=True,
    sizes=sizes,
)


def _same_size(random: torch.Generator) -> list[tuple[Any, ...]]:
    return [(f, gram(s)) for f, s in pairs(random)]


def _style_gradient(features: Tensor, target: Tensor) -> Tensor:
    """Eq. 6 in our units: ∂E/∂F = (G − A) F / (N·M) where G is divided by N·M, by loops."""
    _, channels, height, width = features.shape
    difference = gram_by_loops(features) - target
    gradient = torch.zeros_like(features)
    for i in range(channels):
        for j in range(channels):
            gradient[:, i] += difference[:, i, j, None, None] * features[:, j]
    return gradient / (channels * height * width)


def _product(features: Tensor, target: Tensor) -> Tensor:
    return ((gram(features) - target) @ rows(features)).view_as(features)


check_style_gradient = Exercise(
    name="style_gradient",
    spec=_style_gradient,
    cases=_same_size,
    mistakes={
        "the sign is the other way round: G − A, not A − G.": (
            lambda f, a: -_product(f, a) / f[0].numel()
        ),
        "the ¼ does not stay: a square gives 2, and each F stands in G twice.": (
            lambda f, a: 0.25 * _product(f, a) / f[0].numel()
        ),
        "half of it: each F stands in G twice, once for its row and once for its column.": (
            lambda f, a: 0.5 * _product(f, a) / f[0].numel()
        ),
        "a factor is missing: G itself was divided by C·H·W, and so its derivative is.": _product,
        "G is not divided by C·H·W, as A is.": (
            lambda f, a: ((rows(f) @ rows(f).mT - a) @ rows(f)).view_as(f) / f[0].numel()
        ),
        "set to 0 where F is not above zero. That belongs to the ReLU, the paper's second case; "
        "here the gradient with respect to F itself is asked for.": (
            lambda f, a: _product(f, a) * (f > 0) / f[0].numel()
        ),
        "still flat, (B, C, H·W); the gradient has the shape of the features.": (
            lambda f, a: _product(f, a).flatten(2) / f[0].numel()
        ),
        "this is Fᵀ (G − A) with positions before channels; transpose it, and bring it back to "
        "(B, C, H, W).": lambda f, a: _product(f, a).flatten(2).mT / f[0].numel(),
    },
    praise="right on three random shapes: what autograd would give, in one product.",
    sizes=sizes,
)
