"""Exercises of lesson 3: the Gram matrix, a shuffle, the style loss, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from styletutor.lessons.comparing import alike
from styletutor.lessons.content_reconstruction import SHAPES, sizes
from styletutor.lessons.exercise import Answer, Exercise


def by_pairs(features: Tensor, entry: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """(B, C, C): of each picture, `entry` of each channel (H, W) with each."""
    entries = [entry(one, other) for picture in features for one in picture for other in picture]
    return torch.stack(entries).view(len(features), features.shape[1], features.shape[1])


def gram_by_loops(features: Tensor) -> Tensor:
    """G_ij = Σ over positions of F_i F_j, divided by C·H·W, for each picture: (B, C, C)."""
    _, channels, height, width = features.shape

    def together(one: Tensor, other: Tensor) -> Tensor:
        total = one.new_zeros(())
        for y in range(height):
            for x in range(width):
                total = total + one[y, x] * other[y, x]
        return total / (channels * height * width)

    return by_pairs(features, together)


def rows(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, H·W)."""
    return features.flatten(2)


def gram(features: Tensor) -> Tensor:
    """The same in one line."""
    return rows(features) @ rows(features).mT / features[0].numel()


def _symmetric(answer: Answer, features: Tensor) -> bool:
    return alike(answer(features), answer(features).mT)


def _semidefinite(answer: Answer, features: Tensor) -> bool:
    values = torch.linalg.eigvalsh(answer(features).detach().cpu().double())
    return bool(values.min() >= -1e-4 * values.abs().max())


def _blind(answer: Answer, features: Tensor) -> bool:
    return alike(answer(features), answer(features.flip(2, 3)))


check_gram = Exercise(
    name="gram",
    spec=gram_by_loops,
    cases=lambda random: [(torch.randn(shape, generator=random),) for shape in SHAPES],
    mistakes={
        "this mixes the pictures of a batch: all of their channels lie in one matrix. Keep the "
        "first axis and flatten from the third on.": lambda f: gram(f.flatten(0, 1)[None])[0],
        "this sums over the pictures of the batch: each should have a matrix of its own.": (
            lambda f: gram(f.transpose(0, 1).flatten(1, 2)[None])[0]
        ),
        "the transpose of what was expected: Fᵀ F compares positions, F Fᵀ compares channels.": (
            lambda f: rows(f).mT @ rows(f) / f[0].numel()
        ),
        "not divided yet: by C·H·W, so that the matrix does not grow with picture and layer.": (
            lambda f: rows(f) @ rows(f).mT
        ),
        "divided by H·W only: the number of channels is missing.": (
            lambda f: rows(f) @ rows(f).mT / rows(f).shape[2]
        ),
        "divided by C·H·W twice.": lambda f: gram(f) / f[0].numel(),
        "divided by B·C·H·W: the number of pictures has nothing to do with it.": (
            lambda f: rows(f) @ rows(f).mT / f.numel()
        ),
        "this is the covariance: the means are taken off. A Gram matrix keeps them.": (
            lambda f: gram(f - f.mean((2, 3), keepdim=True))
        ),
        "rows are multiplied with rows, (B, C, H, H): flatten rows and columns into positions "
        "first.": lambda f: f @ f.mT / f[0].numel(),
        "channels and pictures are exchanged, (C, B, B): .mT or .transpose(1, 2) turns the last "
        "two axes.": lambda f: gram(f.transpose(0, 1)) * f.shape[0] / f.shape[1],
        "a reshape has torn the channels apart: .view(C, -1) of a tensor with a batch in front "
        "takes numbers from the wrong places.": (
            lambda f: f.reshape(f.shape[1], -1) @ f.reshape(f.shape[1], -1).T / f[0].numel()
        ),
        "* multiplies number by number; a product of matrices is @.": (
            lambda f: rows(f) * rows(f) / f[0].numel()
        ),
        "these are cosines, with ones on the diagonal: each channel is brought to length 1. A Gram "
        "matrix keeps how strong they are.": (
            lambda f: torch.cosine_similarity(rows(f)[:, :, None], rows(f)[:, None], dim=3)
        ),
        "channels and positions are in one row, and pictures are multiplied with pictures, (B, B): "
        "flatten from axis 2 on, .flatten(2).": (
            lambda f: f.flatten(1) @ f.flatten(1).mT / f[0].numel()
        ),
    },
    praise="the loops and your lines agree on three random shapes, so it is symmetric, positive "
    "semi-definite and blind to positions; the gradient is right, too.",
    gradient=True,
    sizes=sizes,
    properties={
        "not symmetric: channels i and j are together as often as j and i.": _symmetric,
        "it changes when positions change their places, and a sum over positions cannot.": _blind,
        "not positive semi-definite, as every F Fᵀ is: something was taken away.": _semidefinite,
    },
)


def _shuffle(features: Tensor, order: Tensor) -> Tensor:
    """Position k of every channel takes what stood at position order[k]."""
    shuffled = torch.empty_like(features)
    width = features.shape[3]
    for k, old in enumerate(order.tolist()):
        shuffled[:, :, k // width, k % width] = features[:, :, old // width, old % width]
    return shuffled


def _in_itself(features: Tensor, order: Tensor) -> Tensor:
    flat = features.flatten(2).clone()
    for k, old in enumerate(order.tolist()):
        flat[:, :, k] = flat[:, :, old]
    return flat.view_as(features)


def _moved(order: Tensor, axis: int) -> Tensor:
    """The order of one axis only, made from an order of positions."""
    return order[order < axis]


def _all_there(answer: Answer, features: Tensor, order: Tensor) -> bool:
    moved = answer(features, order)
    return alike(moved.flatten(2).sort(2).values, features.flatten(2).sort(2).values)


def _together(answer: Answer, features: Tensor, order: Tensor) -> bool:
    moved = answer(features, order).flatten(2).mT.tolist()
    return all(
        position in picture
        for picture, there in zip(features.flatten(2).mT.tolist(), moved, strict=True)
        for position in there
    )


check_shuffle = Exercise(
    name="shuffle",
    spec=_shuffle,
    cases=lambda random: [
        (torch.randn(shape, generator=random),
         torch.randperm(shape[2] * shape[3], generator=random))
        for shape in [(2, 3, 4, 5), (1, 5, 3, 7), (3, 4, 6, 2)]
    ],
    mistakes={
        "positions are counted from 1, but `order` counts from 0.": (
            lambda f, order: f.flatten(2)[:, :, order - 1].view_as(f)
        ),
        "positions are counted column by column; here they are counted row by row.": (
            lambda f, order: f.mT.flatten(2)[:, :, order].view_as(f.mT).mT
        ),
        "values are overwritten before they are read: put them into a new tensor.": (
            _in_itself
        ),
        "only one channel is there: gather needs the order for every channel.": (
            lambda f, order: f[:, :1].flatten(2)[:, :, order].view_as(f[:, :1])
        ),
        "every value goes to the place that it should come from: F[..., order] takes, "
        "out[..., order] = F puts.": (
            lambda f, order: f.flatten(2)[:, :, order.argsort()].view_as(f)
        ),
        "still flat: bring it back to (B, C, H, W).": lambda f, order: f.flatten(2)[:, :, order],
        "only rows change their places; positions are pairs of a row and a column.": (
            lambda f, order: f[:, :, _moved(order, f.shape[2])]
        ),
        "only columns change their places; positions are pairs of a row and a column.": (
            lambda f, order: f[:, :, :, _moved(order, f.shape[3])]
        ),
        "channels change their places. They have to stay: positions are shuffled.": (
            lambda f, order: f[:, _moved(order, f.shape[1])]
        ),
        "nothing has moved: indexing gives a new tensor and leaves the old one as it was.": (
            lambda f, order: f
        ),
        ".view or .reshape to (B, H·W, C) exchanges no axes, so that channels are mixed. Flatten, "
        ".flatten(2), and index the last axis.": lambda f, order: (
            f.reshape(len(f), -1, f.shape[1])[:, order].reshape(f.shape)
        ),
        "channels are taken by `order`; it counts positions, the last axis of what is flat.": (
            lambda f, order: f[:, order % f.shape[1]]
        ),
        "pictures, channels and positions are in one row; flatten the positions only, .flatten(2).":
            lambda f, order: f.flatten()[order].view(f.shape[2:]),
        "each picture's first channel is shuffled, the others stay: every channel needs the same "
        "order.": lambda f, order: torch.cat(
            [f[:, :1].flatten(2)[:, :, order].view_as(f[:, :1]), f[:, 1:]], 1
        ),
    },
    praise="every channel is shuffled in the same way, on three random shapes.",
    sizes=sizes,
    properties={
        "some values are lost or there twice: every one should be there once, at another position.":
            _all_there,
        "each channel is shuffled in its own way. Position k of every channel takes what stood at "
        "the same place, order[k].": _together,
        "all channels move together, but not to where `order` says: position k takes what stood "
        "at order[k].": lambda *_: False,
    },
)  # fmt: skip


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
    return _between(features, style).square().flatten(1)


def _between(features: Tensor, style: Tensor) -> Tensor:
    return gram(features) - gram(style)


def _resized(features: Tensor, style: Tensor, mode: str) -> Tensor:
    same = interpolate(style, size=features.shape[2:], mode=mode)
    return 0.25 * _unlike(features, same).sum(1)


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
        "the squares are subtracted, G² − A², where the difference is to be squared, (G − A)².": (
            lambda f, s: 0.25 * (gram(f).square() - gram(s).square()).flatten(1).sum(1)
        ),
        "only the diagonals are compared; every pair of channels counts.": (
            lambda f, s: 0.25 * _between(f, s).diagonal(dim1=1, dim2=2).square().sum(1)
        ),
        "each pair of channels counts once, the upper triangle; the sum goes over i and j, so it "
        "counts twice.": lambda f, s: 0.25 * _between(f, s).triu().square().flatten(1).sum(1),
        "the pictures of the batch are averaged to one matrix first; each has a loss of its own.": (
            lambda f, s: (
                0.25 * (gram(f).mean(0, keepdim=True) - gram(s)).square().sum((1, 2)).expand(len(f))
            )
        ),
        "the style's features are brought to our size. Gram matrices need no equal sizes.": (
            lambda f, s: _resized(f, s, "bilinear")
        ),
        "the style's features are brought to the size of ours. Gram matrices need no equal sizes: "
        "leave them.": lambda f, s: _resized(f, s, "nearest"),
        "the differences are not squared.": (
            lambda f, s: 0.25 * (gram(f) - gram(s)).abs().flatten(1).sum(1)
        ),
        "this is a share, divided by the sum of A². Eq. 4 is not divided by it.": (
            lambda f, s: _unlike(f, s).sum(1) / gram(s).square().sum()
        ),
        "the differences are added up before they are squared, so that they cancel.": (
            lambda f, s: 0.25 * _between(f, s).sum((1, 2)).square()
        ),
        "this is the sum over the pictures of the batch; sum over both axes of channels, (1, 2).": (
            lambda f, s: 0.25 * _between(f, s).square().sum((0, 1))
        ),
        "the root of the sum is taken; leave it out.": (
            lambda f, s: 0.25 * _unlike(f, s).sum(1).sqrt()
        ),
        "the result is divided by N²M², but so were the Gram matrices: once is enough.": (
            lambda f, s: 0.25 * _unlike(f, s).sum(1) / f[0].numel() ** 2
        ),
    },
    praise="right on three random shapes with a style of another size, and so is the gradient.",
    gradient=True,
    sizes=sizes,
)
