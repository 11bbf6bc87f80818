"""Frozen convolutions: the picture's gradient passes through, and nothing is kept for weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrozenConv(nn.Module):
    """A 3 × 3 convolution with zero padding whose `weight` and `bias` never learn.

    The gradient of a convolution with respect to its input is a convolution too, with the kernels
    turned by half a turn and input and output channels exchanged. They are turned once, here.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.register_buffer("turned", weight.detach().flip(2, 3).transpose(0, 1).contiguous())

    def forward(
        self, x: Tensor, relu: bool = False, pooling: str | None = None, round_up: bool = False
    ) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), after a ReLU if `relu`; as by `pool` if `pooling`.

        With `pooling` ("max" or "avg") there is a ReLU in any case. All in one keeps less for the
        way back than one after the other: of a maximum, only which of the four it was.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            relu = relu or pooling is not None
            return _Convolve.apply(x, self.weight, self.bias, self.turned, relu, pooling, round_up)
        y = F.conv2d(x, self.weight, self.bias, padding=1)
        y = y.relu_() if relu or pooling else y
        return y if pooling is None else pool(y, pooling, round_up)


def pool(x: Tensor, pooling: str, round_up: bool = False) -> Tensor:
    """Maximum or average over 2 × 2 positions; sides are halved, and rounded down or up.

    Rounded up, the last square of an odd side has fewer positions, and the average is over those.
    """
    if pooling == "max":
        return F.max_pool2d(x, 2, ceil_mode=round_up)
    return F.avg_pool2d(x, 2, ceil_mode=round_up)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, turned, relu, pooling, round_up):
        y = F.conv2d(x, weight, bias, padding=1)
        y = y.relu_() if relu else y
        ctx.relu, ctx.pooling, ctx.round_up = relu, pooling, round_up
        ctx.shape, ctx.strides = y.shape, y.stride()
        if pooling == "max":
            pooled, which = F.max_pool2d(y, 2, ceil_mode=round_up, return_indices=True)
            ctx.save_for_backward(turned, pooled, which)
            return pooled
        ctx.save_for_backward(turned, *([y] if relu else []))
        return y if pooling is None else pool(y, pooling, round_up)

    @staticmethod
    def backward(ctx, gradient):
        turned, *kept = ctx.saved_tensors
        threshold = torch.ops.aten.threshold_backward
        if ctx.pooling == "max":
            gradient = threshold(gradient, kept[0], 0)
            # Of the tensor that was pooled only shape and layout are asked for; this is not filled.
            like = torch.empty_strided(
                ctx.shape, ctx.strides, dtype=gradient.dtype, device=gradient.device
            )
            gradient = torch.ops.aten.max_pool2d_with_indices_backward(
                gradient, like, [2, 2], [2, 2], [0, 0], [1, 1], ctx.round_up, kept[1]
            )
            del like
        elif ctx.pooling == "avg":
            gradient = torch.ops.aten.avg_pool2d_backward(
                gradient, kept[0], [2, 2], [2, 2], [0, 0], ctx.round_up, True, None
            )
            gradient = threshold(gradient, kept[0], 0)
        elif ctx.relu:
            gradient = threshold(gradient, kept[0], 0)
        return F.conv2d(gradient, turned, padding=1), *[None] * 6
