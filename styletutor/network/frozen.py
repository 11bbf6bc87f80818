"""Frozen convolutions: the picture's gradient passes through, and nothing is kept for weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletutor.network import fused


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
        self,
        x: Tensor,
        relu: bool = False,
        pooling: str | None = None,
        round_up: bool = False,
        twice: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, C, H, W) → (B, C', H, W), after a ReLU if `relu`; as by `pool` if `pooling`.

        With `pooling` ("max" or "avg") there is a ReLU in any case. All in one keeps less for the
        way back than one after the other: of a maximum, only which of the four it was. With `twice`
        the result comes two times, for two uses whose gradients are then added along with the
        ReLU's; that pays only where `fused.serves`.
        """
        relu = relu or pooling is not None
        if torch.is_grad_enabled() and x.requires_grad:
            given = self.weight, self.bias, self.turned, relu, pooling, round_up, twice
            return _Convolve.apply(x, *given)
        y = _convolve(x, self.weight, self.bias, relu)
        y = y if pooling is None else pool(y, pooling, round_up)
        return (y, y) if twice else y


def pool(x: Tensor, pooling: str, round_up: bool = False) -> Tensor:
    """Maximum or average over 2 × 2 positions; sides are halved, and rounded down or up.

    Rounded up, the last square of an odd side has fewer positions, and the average is over those.
    """
    if pooling == "max":
        return F.max_pool2d(x, 2, ceil_mode=round_up)
    return F.avg_pool2d(x, 2, ceil_mode=round_up)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    if relu and fused.serves(x):
        return fused.bias_relu(F.conv2d(x, weight, padding=1), bias)
    y = F.conv2d(x, weight, bias, padding=1)
    return y.relu_() if relu else y


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, turned, relu, pooling, round_up, twice):
        ctx.set_materialize_grads(not twice)  # of two uses one may ask for nothing
        ctx.relu, ctx.pooling, ctx.round_up = relu, pooling, round_up
        if pooling == "max" and fused.serves(x):
            y = F.conv2d(x, weight, padding=1)
            pooled, which = fused.bias_relu_pool(y, bias, round_up)
        else:
            y = _convolve(x, weight, bias, relu)
            if pooling == "max":
                pooled, which = F.max_pool2d(y, 2, ceil_mode=round_up, return_indices=True)
        ctx.shape, ctx.strides = y.shape, y.stride()
        if pooling == "max":
            ctx.save_for_backward(turned, pooled, which)
            y = pooled
        else:
            ctx.save_for_backward(turned, *([y] if relu else []))
            y = y if pooling is None else pool(y, pooling, round_up)
        return (y, y.detach()) if twice else y

    @staticmethod
    def backward(ctx, gradient, other=None):
        turned, *kept = ctx.saved_tensors
        threshold = torch.ops.aten.threshold_backward
        relu = ctx.relu and ctx.pooling is None
        if gradient is None:
            gradient = other
        elif other is not None and relu and fused.serves(gradient):
            gradient, relu = fused.add_mask(gradient, other, kept[0]), False
        elif other is not None:
            gradient = gradient + other
        if ctx.pooling == "max" and kept[1].dtype == torch.uint8:
            gradient = fused.unpool(gradient, *kept, ctx.shape)
        elif ctx.pooling == "max":
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
        elif relu:
            gradient = threshold(gradient, kept[0], 0)
        return F.conv2d(gradient, turned, padding=1), *[None] * 7
