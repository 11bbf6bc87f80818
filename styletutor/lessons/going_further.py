"""Exercises of lesson 6: Gram matrices of a region and of tiles, colours that stay, covariance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.content_reconstruction import SHAPES, sizes, stretched
from styletutor.lessons.exercise import Exercise
from styletutor.lessons.style_reconstruction import by_pairs, gram_by_loops, rows

LUMA = (0.2126, 0.7152, 0.0722)  # of R, G and B, ITU-R BT.709
OLDER_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def _guided_gram(features: Tensor, weights: Tensor) -> Tensor:
    """G_ij = Σ w F_i F_j / (C Σ w) over positions: (B, C, H, W), (1, 1, H, W) → (B, C, C)."""
    _, channels, height, width = features.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    area = sum(weights[0, 0, y, x] for y, x in places)
    return by_pairs(
        features,
        lambda one, other: (
            sum(weights[0, 0, y, x] * one[y, x] * other[y, x] for y, x in places)
            / (channels * area)
        ),
    )


def _regions(random: torch.Generator) -> list[tuple[Any, ...]]:
    """Features, and a region with a soft edge: about a third of its weights are 0."""
    return [
        (torch.randn(shape, generator=random),
         (1.5 * torch.rand((1, 1, *shape[2:]), generator=random) - 0.5).clamp(0, 1))
        for shape in SHAPES
    ]  # fmt: skip


def _products(features: Tensor, weights: Tensor) -> Tensor:
    """Σ w F_i F_j, not divided."""
    return (rows(features) * rows(weights)) @ rows(features).mT


def _divided(features: Tensor, weights: Tensor) -> Tensor:
    return _products(features, weights) / (features.shape[1] * weights.sum())


check_guided_gram = Exercise(
    name="guided_gram",
    spec=_guided_gram,
    cases=_regions,
    mistakes={
        "the weights are not used: this is the Gram matrix of the whole picture.": (
            lambda f, w: _divided(f, torch.ones_like(w))
        ),
        "the weights count twice. F stands in the product two times, so w F on both sides gives "
        "w²: weight one side only, or both with √w.": (
            lambda f, w: _products(f, w.square()) / (f.shape[1] * w.sum())
        ),
        "the weights count twice, in the sum and in what it is divided by: w F on both sides gives "
        "w². Weight one side only, or both with √w.": lambda f, w: _divided(f, w.square()),
        "divided by C·H·W, all positions: a small region then has a small matrix, whatever it "
        "shows. Divide by C·Σw.": lambda f, w: _products(f, w) / f[0].numel(),
        "divided by Σw only: the number of channels is missing.": (
            lambda f, w: _products(f, w) / w.sum()
        ),
        "not divided yet: by C·Σw.": _products,
        "divided by the number of positions inside, but a position on a soft edge counts only w "
        "of one: divide by C·Σw.": lambda f, w: _products(f, w) / (f.shape[1] * (w > 0).sum()),
        "the soft edge is gone: the weights are cut to 0 and 1. Let each position count w times.": (
            lambda f, w: _divided(f, (w > 0.5).to(w))
        ),
        "the soft edge is gone: every weight above 0 counts as 1. Let each position count w "
        "times.": lambda f, w: _divided(f, (w > 0).to(w)),
        "this is the other region: 1 − w in place of w.": lambda f, w: _divided(f, 1 - w),
        "the root is taken on one side only: √w has to stand on both, or w on one.": (
            lambda f, w: _products(f, w.sqrt()) / (f.shape[1] * w.sum())
        ),
        "this is the covariance of the region: the means are taken off. A Gram matrix keeps "
        "them.": (lambda f, w: _divided(f - (f * w).sum((2, 3), keepdim=True) / w.sum(), w)),
        "this is the mean over the batch: each picture should have a matrix of its own.": (
            lambda f, w: _divided(f, w).mean(0)
        ),
        "divided by the sum of √w; each position counts w, so it is C·Σw.": (
            lambda f, w: _products(f, w) / (f.shape[1] * w.sqrt().sum())
        ),
        "the transpose of what was expected: Fᵀ F compares positions, F Fᵀ compares channels.": (
            lambda f, w: (rows(f) * rows(w)).mT @ rows(f) / (f.shape[1] * w.sum())
        ),
    },
    praise="the loops and your lines agree on three random shapes and soft regions, and the "
    "gradient is right: positions of weight 0 are not pulled at.",
    gradient=True,
    sizes=lambda features, weights: {**sizes(features), "Σw": weights.sum().item()},
)


def _keep_colour(styled: Tensor, photo: Tensor) -> Tensor:
    """photo + (Y(styled) − Y(photo)), cut to [0, 1]: (B, 3, H, W) twice → (B, 3, H, W)."""
    kept = torch.empty_like(styled)
    batch, _, height, width = styled.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                pixel, colour = styled[b, :, y, x].tolist(), photo[b, :, y, x].tolist()
                light = sum(w * (p - c) for w, p, c in zip(LUMA, pixel, colour, strict=True))
                for c in range(3):
                    kept[b, c, y, x] = min(1.0, max(0.0, colour[c] + light))
    return kept


def _luma(pictures: Tensor, weights: tuple[float, ...] = LUMA) -> Tensor:
    """Brightness Y, (B, 1, H, W)."""
    return (pictures * pictures.new_tensor(weights).view(3, 1, 1)).sum(1, keepdim=True)


def _with_luma(weights: tuple[float, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda styled, photo: (photo + _luma(styled - photo, weights)).clamp(0, 1)


check_keep_colour = Exercise(
    name="keep_colour",
    spec=_keep_colour,
    cases=lambda random: [
        tuple(torch.rand(b, 3, h, w, generator=random) for _ in "sp")
        for b, h, w in [(2, 4, 5), (1, 3, 6), (3, 5, 2)]
    ],
    mistakes={
        "right, but no picture yet: some values are outside [0, 1], cut them.": (
            lambda styled, photo: photo + _luma(styled - photo)
        ),
        "the two are exchanged: this is the photo's brightness in the painting's colours.": (
            lambda styled, photo: (styled + _luma(photo - styled)).clamp(0, 1)
        ),
        "the eye finds green brighter than red, and red brighter than blue: weight the channels "
        "with 0.2126, 0.7152 and 0.0722, do not take their mean.": _with_luma((1 / 3,) * 3),
        "these weights, 0.299, 0.587 and 0.114, are the older ones of BT.601. Here those of "
        "BT.709 are asked for.": _with_luma(OLDER_LUMA),
        "the weights are in the order blue, green, red; our pictures are red, green, blue.": (
            _with_luma(LUMA[::-1])
        ),
        "this is the painting in grey: its brightness alone. The photo's colours are missing.": (
            lambda styled, photo: _luma(styled).expand_as(photo)
        ),
        "too bright: the photo brings its own brightness along. Take Y(photo) off.": (
            lambda styled, photo: (photo + _luma(styled)).clamp(0, 1)
        ),
        "the sign is the other way round: Y(styled) − Y(photo).": (
            lambda styled, photo: (photo - _luma(styled - photo)).clamp(0, 1)
        ),
        "the difference is cut to [0, 1], so that no pixel can become darker. Cut the picture.": (
            lambda styled, photo: photo + _luma(styled - photo).clamp(0, 1)
        ),
        "the difference is cut to [0, 1], so that no pixel can become darker. Cut only what comes "
        "out.": lambda styled, photo: (photo + _luma(styled - photo).clamp(0, 1)).clamp(0, 1),
        "the colours are multiplied by Y(styled) / Y(photo), which makes dark colours paler and "
        "bright ones stronger. Here the difference is added.": (
            lambda styled, photo: (photo * _luma(styled) / _luma(photo)).clamp(0, 1)
        ),
        "each channel gets a difference of its own: Y is one number for each pixel, so add the "
        "weighted channels up.": lambda styled, photo: (
            photo + torch.tensor(LUMA).view(3, 1, 1) * (styled - photo)
        ).clamp(0, 1),
        "one difference for the whole picture; Y belongs to each pixel.": lambda styled, photo: (
            photo + _luma(styled - photo).mean((2, 3), keepdim=True)
        ).clamp(0, 1),
        "the weights do not add up to 1: it is 0.0722 for blue.": lambda styled, photo: (
            photo + _luma(styled - photo, (0.2126, 0.7152, 0.722))
        ).clamp(0, 1),
        "a mean of the weighted channels; their weights sum to 1, so add them up.": (
            lambda styled, photo: (photo + _luma(styled - photo) / 3).clamp(0, 1)
        ),
        "brightness is added up over the pictures of the batch; colours are axis 1.": (
            lambda styled, photo: (
                photo + ((styled - photo) * styled.new_tensor(LUMA).view(3, 1, 1)).sum(0)
            ).clamp(0, 1)
        ),
        "stretched so that the darkest value is 0 and the brightest 1, which moves all: cut.": (
            lambda styled, photo: stretched(photo + _luma(styled - photo))
        ),
        "this is the painting itself: the difference is taken channel by channel. Take that of "
        "the brightness, the same number for all three.": lambda styled, photo: styled,
    },
    praise="right on three random pairs: the painting's brightness, the photo's colours, and "
    "still a picture.",
)


def _covariance(features: Tensor) -> Tensor:
    """Σ_ij = mean over positions of (F_i − μ_i)(F_j − μ_j), for each picture: (B, C, C)."""
    places = [(y, x) for y in range(features.shape[2]) for x in range(features.shape[3])]

    def together(one: Tensor, other: Tensor) -> Tensor:
        mean_one, mean_other = (sum(f[y, x] for y, x in places) / len(places) for f in (one, other))
        pairs = ((one[y, x] - mean_one) * (other[y, x] - mean_other) for y, x in places)
        return sum(pairs) / len(places)

    return by_pairs(features, together)


def _spread(features: Tensor, mean: Tensor | float, divisor: float | None = None) -> Tensor:
    off = rows(features - mean)
    return off @ off.mT / (divisor or off.shape[2])


def _centred(features: Tensor, divisor: float | None = None) -> Tensor:
    return _spread(features, features.mean((2, 3), keepdim=True), divisor)


check_covariance = Exercise(
    name="covariance",
    spec=_covariance,
    cases=lambda random: [(torch.randn(shape, generator=random) + 0.7,) for shape in SHAPES],
    mistakes={
        "the means are still in it: this is the Gram matrix, divided by H·W.": (
            lambda f: _spread(f, 0.0)
        ),
        "the means are still in it, and it is divided by C·H·W: this is our Gram matrix.": (
            lambda f: _spread(f, 0.0, f[0].numel())
        ),
        "divided by H·W − 1, as torch.cov does unless it is told correction=0. Here it is the "
        "mean over all positions.": lambda f: _centred(f, f[0, 0].numel() - 1),
        "divided by C·H·W; a covariance is a mean over positions, so divide by H·W.": (
            lambda f: _centred(f, f[0].numel())
        ),
        "not divided yet: by the number of positions, H·W.": lambda f: _centred(f, 1.0),
        "μμᵀ is added; a covariance has it taken off.": lambda f: _spread(f, 0.0) + (
            f.mean((2, 3))[:, :, None] * f.mean((2, 3))[:, None]
        ),
        "the product is divided by C·H·W and μμᵀ is not: both have to be means over positions.": (
            lambda f: _spread(f, 0.0, f[0].numel())
            - f.mean((2, 3))[:, :, None] * f.mean((2, 3))[:, None]
        ),
        "the squares of the means are taken off every column; it is the product μᵢ μⱼ that belongs "
        "to the pair i, j.": lambda f: _spread(f, 0.0) - f.mean((2, 3)).square()[:, None],
        "the squares of the means are taken off every row; it is the product μᵢ μⱼ that belongs to "
        "the pair i, j.": lambda f: _spread(f, 0.0) - f.mean((2, 3)).square()[:, :, None],
        "each column has a mean of its own taken off; average over rows and columns, (2, 3).": (
            lambda f: _spread(f, f.mean(2, keepdim=True))
        ),
        "each row has a mean of its own taken off; average over rows and columns, (2, 3).": (
            lambda f: _spread(f, f.mean(3, keepdim=True))
        ),
        "one mean for the whole picture is taken off. Each channel has a mean of its own: average "
        "over rows and columns only.": lambda f: _spread(f, f.mean((1, 2, 3), keepdim=True)),
        "one mean for everything is taken off. Each channel of each picture has its own: "
        ".mean((2, 3), keepdim=True).": lambda f: _spread(f, f.mean()),
        "the mean over channels is taken off at each position; take each channel's mean over the "
        "positions.": lambda f: _spread(f, f.mean(1, keepdim=True)),
        "the means go over the pictures of the batch, too; each picture has its own.": (
            lambda f: _spread(f, f.mean((0, 2, 3), keepdim=True))
        ),
        "these are correlations: the deviations are divided out. A covariance keeps them.": (
            lambda f: _centred(f / f.std((2, 3), keepdim=True, correction=0))
        ),
        "these are the variances alone, the diagonal; each pair of channels has a number.": (
            lambda f: f.var((2, 3), correction=0)
        ),
        "μμᵀ is taken off before the sum is divided. Σ F Fᵀ / M − μμᵀ is right, or Σ F Fᵀ − M μμᵀ "
        "and then divided.": lambda f: _spread(f, 0.0) - (
            f.mean((2, 3))[:, :, None] * f.mean((2, 3))[:, None] / f[0, 0].numel()
        ),
    },
    praise="right on three random shapes, whatever constant a channel has, and so is the gradient.",
    gradient=True,
    sizes=sizes,
)  # fmt: skip


def _joined_gram(left: Tensor, right: Tensor) -> Tensor:
    """G of the whole that was cut in two: (B, C, H, W₁), (B, C, H, W₂) → (B, C, C)."""
    return gram_by_loops(torch.cat([left, right], 3))


def _count(tile: Tensor) -> int:
    return tile[0].numel()


def _sums(tile: Tensor) -> Tensor:
    return rows(tile) @ rows(tile).mT


def _own(tile: Tensor) -> Tensor:
    """A tile's own Gram matrix."""
    return _sums(tile) / _count(tile)


check_joined_gram = Exercise(
    name="joined_gram",
    spec=_joined_gram,
    cases=lambda random: [
        tuple(torch.randn(b, c, h, w, generator=random).relu() for w in widths)
        for b, c, h, widths in [(2, 3, 4, (5, 2)), (3, 5, 2, (3, 4)), (1, 4, 3, (1, 6))]
    ],
    mistakes={
        "this is the mean of the two matrices, as if both tiles were as wide. A tile counts by its "
        "positions: add up sums, then divide once.": lambda a, b: (_own(a) + _own(b)) / 2,
        "each tile's sum is divided by its own number of positions before they are added. Add the "
        "sums, and divide by C times all positions.": lambda a, b: _own(a) + _own(b),
        "not divided yet: by C times the positions of both tiles.": (
            lambda a, b: _sums(a) + _sums(b)
        ),
        "divided by all positions, but not by the number of channels.": (
            lambda a, b: (_sums(a) + _sums(b)) * a.shape[1] / (_count(a) + _count(b))
        ),
        "divided by the positions of the left tile only.": (
            lambda a, b: (_sums(a) + _sums(b)) / _count(a)
        ),
        "divided by the positions of the right tile only.": (
            lambda a, b: (_sums(a) + _sums(b)) / _count(b)
        ),
        "this is the left tile's matrix alone; the right one belongs to it as well.": (
            lambda a, b: _own(a)
        ),
        "this is the right tile's matrix alone; the left one belongs to it as well.": (
            lambda a, b: _own(b)
        ),
        "the weights are exchanged: the left tile has its own share of the positions.": (
            lambda a, b: (_own(a) * _count(b) + _own(b) * _count(a)) / (_count(a) + _count(b))
        ),
        "the sum is divided twice, by the positions of each tile.": (
            lambda a, b: (_sums(a) + _sums(b)) / (_count(a) * _count(b))
        ),
    },
    praise="two tiles of any width give the matrix of the whole, and the gradient of the whole.",
    gradient=True,
    sizes=lambda left, right: {**sizes(left), "W₂": right.shape[3]},
)
