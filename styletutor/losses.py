"""The losses of neural style transfer, as pure functions of tensors, one value per picture.

Notation of Gatys, Ecker & Bethge, "Image Style Transfer Using Convolutional Neural Networks"
(CVPR 2016): at a layer with N channels and M = H·W positions, F is the picture's N × M feature
matrix, P the content's, G = F Fᵀ the picture's Gram matrix and A the style's.
"""

from __future__ import annotations

import torch
from torch import Tensor

NORMALISATIONS = ("chw", "hw", "none")
SLAB, MANY_SLABS = 1024, 16


def gram_matrix(features: Tensor, normalise: str = "chw") -> Tensor:
    """Gram matrix of each picture: which features occur together, wherever they are (Eq. 3).

    `features` is (B, C, H, W); the result (B, C, C) is G_ij = Σ_k F_ik F_jk, summed over the
    positions k and divided by C·H·W (`normalise="chw"`), by H·W ("hw", the mean over positions)
    or by nothing ("none", the paper's Eq. 3). Symmetric and positive semi-definite; the pictures
    of a batch are never mixed. For bfloat16 features it is float32. Raises ValueError for another
    shape or normalisation.
    """
    if features.ndim != 4:
        raise ValueError(f"expected features of shape (B, C, H, W), got {tuple(features.shape)}")
    if normalise not in NORMALISATIONS:
        raise ValueError(f"normalise={normalise!r} is unknown; choose one of {NORMALISATIONS}")
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    divisor = {"chw": channels * positions, "hw": positions, "none": 1}[normalise]
    return _Gram.apply(features) / divisor


class _Gram(torch.autograd.Function):
    """F Fᵀ with its derivative written by hand: ∂/∂F of ⟨D, F Fᵀ⟩ is (D + Dᵀ) F.

    Autograd would form D F and Dᵀ F in two products, and copy channels-last features for them.
    """

    @staticmethod
    def forward(ctx, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _positions_by_channels(features)
        if features.dtype != torch.bfloat16:
            return rows.mT @ rows
        if features.is_cuda:
            return torch.bmm(rows.mT, rows, out_dtype=torch.float32)
        return _sum_of_slabs(rows)

    @staticmethod
    def backward(ctx, d: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        gradient = _positions_by_channels(features) @ (d + d.mT).to(features.dtype)
        return gradient.unflatten(1, features.shape[2:]).permute(0, 3, 1, 2)


def _positions_by_channels(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H·W, C): for channels-last features a view, no copy."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _sum_of_slabs(rows: Tensor) -> Tensor:
    """Fᵀ F in float32 of bfloat16 features (B, positions, C) on a CPU.

    There a product of bfloat16 matrices is rounded to bfloat16. Slab by slab, most of the rounding
    cancels in the float32 sum (about 3e-4 is left with trained features); where slabs would be few,
    the features are widened first.
    """
    if rows.shape[1] < SLAB * MANY_SLABS:
        rows = rows.float()
        return rows.mT @ rows
    whole = rows.shape[1] // SLAB * SLAB
    slabs = rows[:, :whole].unflatten(1, (-1, SLAB)).flatten(0, 1)
    gram = (slabs.mT @ slabs).unflatten(0, (len(rows), -1)).sum(1, dtype=torch.float32)
    rest = rows[:, whole:].float()
    return gram + rest.mT @ rest


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """½ Σ (F - P)², the paper's Eq. 1. (B, C, H, W) twice (the target may have B = 1) → (B,)."""
    return 0.5 * (features - target).square().flatten(1).sum(1)


def style_loss(gram: Tensor, target: Tensor) -> Tensor:
    """One layer's E = Σ (G - A)² / (4 N² M²), the paper's Eq. 4 → (B,).

    Takes Gram matrices (B, C, C) that `gram_matrix` has already divided by C·H·W = N·M, which
    also lets the style picture have a size of its own (its A is divided by its own N·M).
    """
    return 0.25 * (gram - target).square().flatten(1).sum(1)


def relative_error(value: Tensor, target: Tensor) -> Tensor:
    """Σ (value - target)² / Σ target² per picture → (B,): 0 when equal, 1 for value = 0.

    The share of the target that is missing has no unit, so that one set of weights serves every
    layer, network and picture size. Up to a factor that is fixed for a given target it is Eq. 1
    (for features) or Eq. 4 (for Gram matrices). A target that is zero everywhere counts as 1.
    """
    squares = target.square().flatten(1).sum(1)
    squares = torch.where(squares > 0, squares, torch.ones_like(squares))
    return (value - target).square().flatten(1).sum(1) / squares


def total_variation(images: Tensor) -> Tensor:
    """How rough each picture is: mean of dy² plus mean of dx² over neighbouring pixels → (B,).

    The squared form (β = 2) of the total variation in Mahendran & Vedaldi, "Understanding Deep
    Image Representations by Inverting Them" (CVPR 2015), as a mean so that it does not grow with
    the size. Zero for a flat picture, 2 for a checkerboard of single pixels 0 and 1.
    """
    rows = (images[:, :, 1:] - images[:, :, :-1]).square().flatten(1)
    columns = (images[:, :, :, 1:] - images[:, :, :, :-1]).square().flatten(1)
    zero = images.new_zeros(len(images))
    return sum((d.mean(1) for d in (rows, columns) if d.shape[1]), zero)
