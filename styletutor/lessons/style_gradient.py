"""The last exercise of lesson 3: the gradient of the style loss."""

from __future__ import annotations

import torch
from torch import Tensor

from styletutor.lessons.content_reconstruction import SHAPES, sizes
from styletutor.lessons.exercise import Exercise
from styletutor.lessons.style_reconstruction import gram, gram_by_loops, rows


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
    cases=lambda random: [
        (torch.randn(shape, generator=random), gram(torch.randn(shape, generator=random)))
        for shape in SHAPES
    ],
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
        "A is missing: the gradient is that of G − A, not of G.": (
            lambda f, a: (gram(f) @ rows(f)).view_as(f) / f[0].numel()
        ),
        "this is the derivative with respect to G, ½ (G − A); go on to F, which G is made of.": (
            lambda f, a: 0.5 * (gram(f) - a)
        ),
        "this is G − A, on the way to the gradient; multiply it with F.": lambda f, a: gram(f) - a,
        "divided by C·H·W twice: G is divided already, and its derivative is once.": (
            lambda f, a: _product(f, a) / f[0].numel() ** 2
        ),
        "divided by H·W only: the number of channels is missing.": (
            lambda f, a: _product(f, a) / f[0, 0].numel()
        ),
        "G is not divided by C·H·W, as A is.": (
            lambda f, a: ((rows(f) @ rows(f).mT - a) @ rows(f)).view_as(f) / f[0].numel()
        ),
        "set to 0 where F is not above zero. That belongs to the ReLU, the paper's second case; "
        "here the gradient with respect to F itself is asked for.": (
            lambda f, a: _product(f, a) * (f > 0) / f[0].numel()
        ),
        "a ReLU is over F; here F may be below zero.": (
            lambda f, a: _product(f.relu(), a) / f[0].numel()
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
