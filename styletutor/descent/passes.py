"""What L-BFGS does to each number and to each picture by itself, in plain operations.

`launched` has the same, each in one pass over memory, for where there is Triton. What is known is
changed in place, for a recorded step knows addresses only. Pictures are rows, (B, N), and what
there is one of for each of them is (B, 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

SHORTER, LONGER, SHORTEST = 0.25, 2.0, 1e-6  # steps after a failure, after another; at the least
CURVATURE = 1e-5  # the least cosine between s and y (measured by P) of a pair
ROUNDING = 1e-6  # of the first loss: rises as small as that are not explosions


def judge(
    f: Tensor, slope: Tensor, known: Tensor, noise: Tensor, trust: Tensor, fresh: Tensor,
    masks: Tensor,
) -> None:  # fmt: skip
    """Judge losses `f` and lengths of gradients `slope` beside the losses `known` before.

    Bad is what is not finite or has exploded, risen by half or more. Into `masks`, (3, B, 1), go
    which pictures failed, bad ones that have a point before; which are bad; and which give no pair
    of points, being bad or `fresh`. Losses of those that did not fail are known from now on.
    """
    failed, bad, no_pair = masks
    # Of two masks a > b is "a and not b", a >= b is "a or not b"; f - f is 0 or NaN.
    finite = (f - f).add_(slope) < torch.inf
    exploded = (f > known.abs().mul_(0.5).add_(known).add_(noise)) > fresh
    torch.ge(exploded, finite, out=bad)
    torch.gt(bad, fresh, out=failed)
    torch.logical_or(bad, fresh, out=no_pair)
    torch.where(fresh > bad, f.abs().mul_(ROUNDING), noise, out=noise)
    torch.where(failed, known, f, out=known)
    trust.mul_(LONGER)
    torch.where(failed, trust * (SHORTER / LONGER), trust, out=trust).clamp_(SHORTEST, 1)
    fresh.logical_and_(bad)


def take_in(
    x: Tensor, g: Tensor, masks: Tensor, known_x: Tensor, known_g: Tensor, free: Tensor,
    new: Tensor, box: Tensor | None,
) -> None:  # fmt: skip
    """Take in points x and their gradients g; of a picture that failed, what is known stays.

    Into the first N of each row of `new`, (3, B, ≥ N), go the differences s and y to what was known
    before, 0 where there is no pair, and the gradient of the variables that are `free`: 1 where one
    may move against its gradient, 0 where it is at that end of the `box`, (2,).
    """
    failed, bad, no_pair = masks
    s, y, free_g = new[:, :, : x.shape[1]]
    torch.sub(x, known_x, out=s).masked_fill_(no_pair, 0)
    # Variables that could not move say nothing about the curvature along the step.
    torch.sub(g, known_g, out=y).mul_(free).masked_fill_(no_pair, 0)
    torch.where(failed, known_x, x, out=known_x)
    torch.where(bad, known_g, g, out=known_g)
    if box is None:
        free.fill_(1)
    else:
        torch.ne(known_x, torch.where(known_g > 0, *box), out=free)
    torch.mul(known_g, free, out=free_g)


def learn(
    inner: Tensor, slot: Tensor, masks: Tensor, gamma: Tensor, curved: Tensor, valid: Tensor,
    pairs: Tensor,
) -> None:  # fmt: skip
    """Keep what the pair at a `slot` (1,) of m has to say, from `inner`, (B, 2m + 1, 3): the inner
    products of all s, all P y and P g with its s, its y and g.

    Is it of good curvature, `gamma`, the scale of the inverse Hessian, follows it, and the picture
    is `curved`; one that failed is not, and has no `valid` pair, (B, m). `pairs`, (B, 2m, m), are
    the products of each s_i and P y_i with each y_j.
    """
    m, failed = pairs.shape[2], masks[0]
    s, y = inner.index_select(1, slot).squeeze(1), inner.index_select(1, slot + m).squeeze(1)
    ss, sy, yy = s[:, 0:1], s[:, 1:2], y[:, 1:2]
    ratio = sy / yy
    good = (sy > (ss * yy).sqrt_().mul_(CURVATURE)) & (ratio < torch.inf)
    torch.where(good, ratio, gamma, out=gamma)
    torch.gt(curved.logical_or_(good), failed, out=curved)
    valid.masked_fill_(failed, 0).index_copy_(1, slot, good.to(valid.dtype))
    pairs.index_copy_(2, slot, inner[:, :-1, 1:2])
    pairs[:, m:].index_copy_(1, slot, inner[:, m:-1, 1:2].mT)


def move(x: Tensor, way: Tensor, length: Tensor, free: Tensor, box: Tensor | None) -> Tensor:
    """The points x, moved against `way` / max(`length`, 1) where they are free, and brought into
    the box. Both are used up; rows of `way` may be longer than those of x."""
    way = way[:, : x.shape[1]].div_(length.clamp_(min=1))
    moved = torch.addcmul(x, way, free, value=-1)
    return moved if box is None else moved.clamp_(*box)
