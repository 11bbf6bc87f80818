"""Exercises of lesson 3: the Gram matrix, and a shuffle that it does not feel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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


def _all_in_one(features: Tensor) -> Tensor:
    flat = features.flatten(0, 1).flatten(1)
    return flat @ flat.T / features.numel()


def _through_batch(features: Tensor) -> Tensor:
    flat = features.transpose(0, 1).flatten(1)
    return flat @ flat.T / features.numel()


def _symmetric(answer: Answer, features: Tensor) -> bool:
    return alike(answer(features), answer(features).mT)


def _semidefinite(answer: Answer, features: Tensor) -> bool:
    values = torch.linalg.eigvalsh(answer(features).detach().double())
    return bool(values.min() >= -1e-4 * values.abs().max())


def _blind(answer: Answer, features: Tensor) -> bool:
    return alike(answer(features), answer(features.flip(2, 3)))


check_gram = Exercise(
    name="gram",
    spec=gram_by_loops,
    cases=lambda random: [(torch.randn(shape, generator=random),) for shape in SHAPES],
    mistakes={
        "this mixes the pictures of a batch: all of their channels lie in one matrix. Keep the "
        "first axis and flatten from the third on.": _all_in_one,
        "this sums over the pictures of the batch: each should have a matrix of its own.": (
            _through_batch
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
        "a reshape has torn the channels apart: .view(C, -1) of a tensor with a batch in front "
        "takes numbers from the wrong places.": (
            lambda f: f.reshape(f.shape[1], -1) @ f.reshape(f.shape[1], -1).T / f[0].numel()
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


def _moved(order: Tensor, axis: int) -> Tensor:
    """The order of one axis only, made from an order of positions."""
    return order[order < axis]


check_shuffle = Exercise(
    name="shuffle",
    spec=_shuffle,
    cases=lambda random: [
        (torch.randn(shape, generator=random),
         torch.randperm(shape[2] * shape[3], generator=random))
        for shape in [(2, 3, 4, 5), (1, 5, 3, 7), (3, 4, 6, 2)]
    ],
    mistakes={
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
        "each picture's first channel is shuffled, the others stay: every channel needs the same "
        "order.": lambda f, order: torch.cat(
            [f[:, :1].flatten(2)[:, :, order].view_as(f[:, :1]), f[:, 1:]], 1
        ),
    },
    praise="every channel is shuffled in the same way, on three random shapes.",
    sizes=sizes,
)  # fmt: skip
