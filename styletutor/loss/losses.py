"""The losses of neural style transfer, as pure functions of tensors, one value per picture.

Notation of Gatys, Ecker & Bethge, "Image Style Transfer Using Convolutional Neural Networks"
(CVPR 2016): at a layer with N channels and M = H·W positions, F is the picture's N × M feature
matrix, P the content's, G = F Fᵀ the picture's Gram matrix and A the style's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

HALF, QUARTER = 0.5, 0.25  # of the sums of squares in the paper's Eqs. 1 and 4
VARIATIONS = ("mean-squares", "sum-absolute", "mean-absolute", "half-sum-squares", "nine-point")


def squared_error(value: Tensor, target: Tensor) -> Tensor:
    """Σ (value - target)², per picture: (B, …) twice (the target may have B = 1) → (B,)."""
    return (value - target).square().flatten(1).sum(1)


def squared_distance(value: Tensor, target: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Σ (value - target)² over `dims`, for a target that is fixed; float32 for bfloat16 values.

    Its derivative is written by hand: autograd would take the square apart again.
    """
    return _SquaredDistance.apply(value, target, dims)


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, target: Tensor, dims: tuple[int, ...]) -> Tensor:
        difference = value - target
        squares = difference.square().sum(dims, keepdim=True)
        ctx.shape, ctx.dtype = squares.shape, value.dtype
        alike = difference.dtype == value.dtype == target.dtype and not value.is_mps
        ctx.save_for_backward(*([value, target] if alike else [difference]))
        return squares.squeeze(dims)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        value, *target = ctx.saved_tensors
        gradient = gradient.view(ctx.shape)
        if target:  # 2 (value - target) · gradient in one pass, whose name is not well known
            return torch.ops.aten.mse_loss_backward(gradient, value, *target, 0), None, None
        return (value * (2 * gradient)).to(ctx.dtype), None, None


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """½ Σ (F - P)², the paper's Eq. 1. (B, C, H, W) twice (the target may have B = 1) → (B,)."""
    return HALF * squared_error(features, target)


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """One layer's E = Σ (G - A)² / (4 N² M²), the paper's Eq. 4 → (B,).

    Takes Gram matrices (B, C, C) that `gram_matrix` has already divided by C·H·W = N·M, which
    also lets the style picture have a size of its own (its A is divided by its own N·M).
    """
    return QUARTER * squared_error(gram, target)


def relative_error(value: Tensor, target: Tensor) -> Tensor:
    """Σ (value - target)² / Σ target² per picture → (B,): 0 when equal, 1 for value = 0.

    The share of the target that is missing has no unit, so that one set of weights serves every
    layer, network and picture size. Up to a factor that is fixed for a given target it is Eq. 1
    (for features) or Eq. 4 (for Gram matrices). A target that is zero everywhere counts as 1.
    """
    squares = target.square().flatten(1).sum(1)
    return squared_error(value, target) / or_one(squares)


def or_one(squares: Tensor) -> Tensor:
    """Sums of squares to divide by, with 1 in place of 0."""
    return torch.where(squares > 0, squares, torch.ones_like(squares))


def total_variation(images: Tensor, kind: str = "mean-squares") -> Tensor:
    """How rough each picture (B, C, H, W) is, from differences of neighbouring pixels → (B,).

    dx and dy go over all pairs of neighbours in a row and in a column. `kind` is
    - "mean-squares": mean dy² + mean dx², which does not grow with the size: the squared form
      (β = 2) of Mahendran & Vedaldi, "Understanding Deep Image Representations by Inverting Them"
      (CVPR 2015). Zero for a flat picture, 2 for a checkerboard of single pixels 0 and 1;
    - "sum-absolute": Σ|dy| + Σ|dx|, as Rudin, Osher & Fatemi (1992) summed over axes;
    - "mean-absolute": (mean |dy| + mean |dx|) / 2, of d2l.ai;
    - "half-sum-squares": ½ Σ (dy² + dx²), without the dy of the last column and the dx of the last
      row: what jcjohnson's neural-style is the gradient of;
    - "nine-point": neighbours in a row and a column and, with a quarter of the weight, diagonal
      ones, over a picture whose edge is repeated: mean squares, of crowsonkb's style-transfer.

    Raises ValueError for another kind.
    """
    if kind not in VARIATIONS:
        raise ValueError(f"unknown variation {kind!r}; choose one of {', '.join(VARIATIONS)}")
    rows, columns = images.diff(dim=2), images.diff(dim=3)
    if kind == "mean-squares":
        return _mean(rows.square()) + _mean(columns.square())
    if kind == "sum-absolute":
        return rows.abs().flatten(1).sum(1) + columns.abs().flatten(1).sum(1)
    if kind == "mean-absolute":
        return 0.5 * (_mean(rows.abs()) + _mean(columns.abs()))
    if kind == "half-sum-squares":
        inner = rows[:, :, :, :-1].square() + columns[:, :, :-1].square()
        return 0.5 * inner.flatten(1).sum(1)
    padded = F.pad(images, (1, 1, 1, 1), "replicate")
    straight = padded[:, :, 1:-1, 1:].diff(dim=3), padded[:, :, 1:, 1:-1].diff(dim=2)
    diagonal = padded[:, :, 1:, 1:] - padded[:, :, :-1, :-1]
    other = padded[:, :, 1:, :-1] - padded[:, :, :-1, 1:]
    sides = sum(_mean(d.square()) for d in straight) / 3
    return 2 * (sides + (_mean(diagonal.square()) + _mean(other.square())) / 12)


def _mean(values: Tensor) -> Tensor:
    """The mean of each picture's values, (B,); 0 where there are none."""
    values = values.flatten(1)
    return values.mean(1) if values.shape[1] else values.sum(1)
