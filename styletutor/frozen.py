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

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        """(B, C, H, W) → (B, C', H, W), after a ReLU if `relu`."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            y = F.conv2d(x, self.weight, self.bias, padding=1)
            return y.relu_() if relu else y
        return _Convolve.apply(x, self.weight, self.bias, self.turned, relu)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, turned, relu):
        y = F.conv2d(x, weight, bias, padding=1)
        if not relu:
            ctx.save_for_backward(turned)
            return y
        y.relu_()
        ctx.save_for_backward(turned, y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        turned, *passed = ctx.saved_tensors
        if passed:
            gradient = torch.ops.aten.threshold_backward(gradient, passed[0], 0)
        return F.conv2d(gradient, turned, padding=1), None, None, None, None
