"""What a style is: statistics of features that forget where, and how far apart two of them are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from styletutor.loss.losses import or_one, squared_distance

EPSILON = 1e-4  # added to the variances before a square root
ITERATIONS = 12
BINS = 64  # numbers for each direction of `quantiles`
NORMALISATIONS = ("chw", "hw", "none")
SLAB, MANY_SLABS = 1024, 16


@dataclass(frozen=True)
class Statistic:
    """`measure(features, weights)` (B, C, H, W) → (B, C, …), weights as `gram_matrix` has them.

    `blend(values, shares)` is the statistic of a mixture of styles, `aim` makes of one what
    `distance` compares with: (…, C, D) twice → (…). `within(value, whole)` is what a part of the
    positions gives to the statistic of all of them, where that is the sum of such gifts, each times
    its share of the positions; None where it is not.
    """

    measure: Callable[[Tensor, Tensor | None], Tensor]
    blend: Callable[[Sequence[Tensor], Sequence[float | Tensor]], Tensor]
    aim: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]
    within: Callable[[Tensor, Tensor], Tensor] | None


def gram_matrix(features: Tensor, normalise: str = "chw", weights: Tensor | None = None) -> Tensor:
    """Gram matrix of each picture: which features occur together, wherever they are (Eq. 3).

    `features` is (B, C, H, W); the result (B, C, C) is G_ij = Σ_k F_ik F_jk, summed over the
    positions k and divided by C·H·W (`normalise="chw"`), by H·W ("hw", the mean over positions)
    or by nothing ("none", the paper's Eq. 3). Symmetric and positive semi-definite; the pictures
    of a batch are never mixed. For bfloat16 features it is float32.

    With `weights` w ≥ 0, (1 or B, 1, H, W), position k counts w_k times, in the sum and in H·W:
    the guided Gram matrix of Gatys et al., "Controlling Perceptual Factors in Neural Style
    Transfer" (CVPR 2017), Eq. 3, whose guidance channel is √w. Raises ValueError for another shape
    or normalisation.
    """
    if features.ndim != 4:
        raise ValueError(f"expected features of shape (B, C, H, W), got {tuple(features.shape)}")
    if normalise not in NORMALISATIONS:
        raise ValueError(f"normalise={normalise!r} is unknown; choose one of {NORMALISATIONS}")
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    if weights is not None:
        features = features * weights.sqrt().to(features.dtype)
        positions = or_one(weights.flatten(1).sum(1)).view(-1, 1, 1)
    divisor = {"chw": channels * positions, "hw": positions, "none": 1}[normalise]
    if isinstance(divisor, Tensor):
        return _Gram.apply(features, 1.0) / divisor
    return _Gram.apply(features, 1 / divisor)


class _Gram(torch.autograd.Function):
    """s · F Fᵀ with its derivative written by hand: ∂/∂F of ⟨D, s F Fᵀ⟩ is s (D + Dᵀ) F.

    Autograd would form D F and Dᵀ F in two products, and copy channels-last features for them.
    """

    @staticmethod
    def forward(ctx, features: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(features)
        ctx.scale = scale
        rows = _positions_by_channels(features)
        if features.dtype != torch.bfloat16:
            return _product(rows.mT, rows, scale)
        if features.is_cuda:
            return torch.bmm(rows.mT, rows, out_dtype=torch.float32).mul_(scale)
        return _sum_of_slabs(rows, scale)

    @staticmethod
    def backward(ctx, d: Tensor) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        if d.requires_grad or d.is_mps:  # a second derivative is wanted; or see `vgg._Enter`
            both = (d + d.mT).to(features.dtype)
        else:
            both = torch.add(d, d.mT, out=torch.empty_like(d, dtype=features.dtype))
        gradient = _product(_positions_by_channels(features), both, ctx.scale)
        return gradient.unflatten(1, features.shape[2:]).permute(0, 3, 1, 2), None


def _product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """scale · one @ other of two batches of matrices, in one pass."""
    if one.is_mps:  # there an addend that counts 0 times may be looked at
        return one @ other * scale
    return torch.baddbmm(one.new_empty(()), one, other, beta=0, alpha=scale)


def _positions_by_channels(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H·W, C): for channels-last features a view, no copy."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def _sum_of_slabs(rows: Tensor, scale: float) -> Tensor:
    """scale · Fᵀ F in float32 of bfloat16 features (B, positions, C) on a CPU.

    There a product of bfloat16 matrices is rounded to bfloat16. Slab by slab, most of the rounding
    cancels in the float32 sum (about 3e-4 is left with trained features); where slabs would be few,
    the features are widened first.
    """
    if rows.shape[1] < SLAB * MANY_SLABS:
        rows = rows.float()
        return _product(rows.mT, rows, scale)
    whole = rows.shape[1] // SLAB * SLAB
    slabs = rows[:, :whole].unflatten(1, (-1, SLAB)).flatten(0, 1)
    gram = (slabs.mT @ slabs).unflatten(0, (len(rows), -1)).sum(1, dtype=torch.float32)
    rest = rows[:, whole:].float()
    return torch.baddbmm(gram, rest.mT, rest, beta=scale, alpha=scale)


def moments(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Covariance and mean of the channels, side by side: (B, C, H, W) → (B, C, C + 1).

    Σ_k w_k (F_ik - μ_i) (F_jk - μ_j) / Σ_k w_k in the first C columns, and in the last
    μ_i = Σ_k w_k F_ik / Σ_k w_k. The mean is taken off before the squares are summed: afterwards,
    rounding would leave more than there is where features hardly vary. bfloat16 features are
    widened first.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    if weights is None:
        mean = features.mean((2, 3), keepdim=True)
    else:
        count = or_one(weights.sum((2, 3), keepdim=True))
        mean = (features * weights).sum((2, 3), keepdim=True) / count
    return torch.cat([gram_matrix(features - mean, "hw", weights), mean.flatten(2)], 2)


def blend_moments(values: Sequence[Tensor], shares: Sequence[float | Tensor]) -> Tensor:
    """Covariance and mean of a mixture: what blending the raw moments gives."""
    mean = _sum([value[..., -1:] for value in values], shares)
    return _sum([about(value, mean) for value in values], shares)


def about(value: Tensor, whole: Tensor) -> Tensor:
    """`moments` with the covariance taken about the mean of `whole` in place of its own."""
    off = value[..., -1:] - whole[..., -1:]
    return torch.cat([value[..., :-1] + off @ off.mT, value[..., -1:]], -1)


def wasserstein(value: Tensor, aim: Tensor) -> Tensor:
    """The squared 2-Wasserstein distance between two normal distributions: (…, C, C + 1) → (…).

    ‖μ - μ*‖² + tr(Σ + Σ* - 2 (Σ*^½ Σ Σ*^½)^½), after Dowson & Landau, "The Fréchet Distance between
    Multivariate Normal Distributions" (1982). `value` holds `moments`, `aim` Σ*^½ and μ*; 1e-4 is
    added to all variances.
    """
    sigma, root = _widened(value[..., :-1]), aim[..., :-1]
    traces = _trace(sigma) + root.square().sum((-2, -1))
    means = (value[..., -1] - aim[..., -1]).square().sum(-1)
    return means + traces - 2 * trace_of_root(root @ sigma @ root)


def quantiles(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """What values a layer has along random directions, and how often: (B, C, H, W) → (B, C, BINS).

    Features, points of C numbers, are projected on C directions, orthonormal and the same for every
    picture, and the projections sorted; row d holds their means over the lowest 64th of all
    positions, the next, and so on, position k counting `weights` w_k times. The squared difference
    of two such rows, over BINS, is the squared 2-Wasserstein distance of the projections (up to
    what differs within a 64th), and its sum over directions that of Heitz, Vanhoey, Chambon &
    Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis" (CVPR 2021), Eq. 5, who draw
    new directions at each step. bfloat16 features are widened first.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    along = _positions_by_channels(features) @ _directions(
        features.shape[1], features.device, features.dtype
    )
    values, order = along.mT.sort(-1)
    if weights is None:
        counts = torch.ones_like(values)
    else:
        counts = weights.to(values).flatten(2).expand(values.shape).gather(2, order)
    counts = counts / counts.sum(-1, keepdim=True)
    # The integral of the sorted values is linear between positions: read it at the bins' edges.
    ends, integral = counts.cumsum(-1), (values * counts).cumsum(-1)
    edges = torch.arange(1, BINS, dtype=values.dtype, device=values.device) / BINS
    edges = edges.expand(*values.shape[:2], BINS - 1).contiguous()
    at = torch.searchsorted(ends, edges).clamp(max=values.shape[2] - 1)
    inner = integral.gather(2, at) - (ends.gather(2, at) - edges) * values.gather(2, at)
    whole = torch.cat([torch.zeros_like(inner[..., :1]), inner, integral[..., -1:]], -1)
    return BINS * whole.diff(dim=-1)


@cache
def _directions(
    channels: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
) -> Tensor:
    """The columns are orthonormal, in random directions, the same on every machine."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.to(dtype).to(device)


def trace_of_root(matrices: Tensor) -> Tensor:
    """tr(A^½) of symmetric, positive definite matrices (…, C, C) → (…).

    By `square_roots`, and with the derivative ½ A^(-½), which the same iteration gives: a second
    one, as for the derivative of the root itself, is not needed.
    """
    return _TraceOfRoot.apply(matrices)


def square_roots(matrices: Tensor, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
    """A^½ and A^(-½) of symmetric, positive definite matrices (…, C, C), by products only.

    The coupled Newton-Schulz iteration (Higham, "Functions of Matrices", 2008, Eq. 6.35). It
    converges quadratically once an eigenvalue is near the largest; twelve iterations reach those
    down to about 1e-4 of the norm, and leave smaller ones' roots too small.
    """
    scale = torch.linalg.matrix_norm(matrices, keepdim=True)
    one = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    root, inverse = matrices / scale, one.expand_as(matrices)
    for _ in range(iterations):
        step = 1.5 * one - 0.5 * inverse @ root
        root, inverse = root @ step, step @ inverse
    return root * scale.sqrt(), inverse / scale.sqrt()


class _TraceOfRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrices: Tensor) -> Tensor:
        root, inverse = square_roots(matrices)
        ctx.save_for_backward(inverse)
        return _trace(root)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        return 0.5 * gradient[..., None, None] * inverse.mT


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _widened(covariances: Tensor) -> Tensor:
    size = covariances.shape[-1]
    one = torch.eye(size, dtype=covariances.dtype, device=covariances.device)
    return covariances + EPSILON * one


def _sum(values: Sequence[Tensor], shares: Sequence[float | Tensor]) -> Tensor:
    return sum(share * value for share, value in zip(shares, values, strict=True))


def _root_of_moments(values: Tensor) -> Tensor:
    roots, _ = square_roots(_widened(values[..., :-1]))
    return torch.cat([roots, values[..., -1:]], -1)


def _squares(value: Tensor, aim: Tensor) -> Tensor:
    return squared_distance(value, aim, (-2, -1))


def _itself(value: Tensor, *_: Tensor) -> Tensor:
    return value


def _gram(features: Tensor, weights: Tensor | None) -> Tensor:
    return gram_matrix(features, weights=weights)


STATISTICS = {
    "gram": Statistic(_gram, _sum, _itself, _squares, _itself),
    "covariance": Statistic(moments, blend_moments, _itself, _squares, about),
    "wasserstein": Statistic(moments, blend_moments, _root_of_moments, wasserstein, about),
    "sliced": Statistic(quantiles, _sum, _itself, _squares, None),
}
