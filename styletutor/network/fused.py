"""What comes between two convolutions, in one pass over memory where Triton is: on CUDA.

`frozen` has the plain operations, which say what is meant. On each device the kernels are held
against them once, before they serve.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from styletutor import fusing


def serves(x: Tensor) -> bool:
    """Are there such kernels where this tensor is?"""
    return fusing.serves(x, differences)


def bias_relu(y: Tensor, bias: Tensor) -> Tensor:
    """max(y + bias, 0) of (B, C, H, W), in the place of y."""
    y = y.contiguous(memory_format=torch.channels_last)
    rows, c = y.numel() // y.shape[1], y.shape[1]
    _launch("bias_relu", rows, c, y, bias)
    return y


def bias_relu_pool(y: Tensor, bias: Tensor, round_up: bool) -> tuple[Tensor, Tensor]:
    """The maximum of max(y + bias, 0) over 2 × 2 positions, and which of the four it was (uint8).

    Sides are halved, and rounded down or up; a square at the edge may have fewer positions.
    """
    y = y.contiguous(memory_format=torch.channels_last)
    (batch, c, *size), up = y.shape, int(round_up)
    small = [(side + up) // 2 for side in size]
    pooled = y.new_empty((batch, *small, c)).permute(0, 3, 1, 2)
    which = torch.empty_like(pooled, dtype=torch.uint8)
    given = (y, bias, pooled, which, *size, *small)
    _launch("bias_relu_pool", pooled.numel() // c, c, *given)
    return pooled, which


def unpool(gradient: Tensor, pooled: Tensor, which: Tensor, shape: torch.Size) -> Tensor:
    """The gradient before bias, ReLU and maximum, (B, C, H, W), from that after them."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    batch, c, *size = shape
    out = gradient.new_empty((batch, *size, c)).permute(0, 3, 1, 2)
    rows = batch * ((size[0] + 1) // 2) * ((size[1] + 1) // 2)
    _launch("unpool", rows, c, gradient, pooled, which, out, *size, *pooled.shape[2:])
    return out


def add_mask(one: Tensor, other: Tensor, y: Tensor) -> Tensor:
    """one + other where y > 0, else 0: two gradients of max(y, 0), on their way back."""
    given = [t.contiguous(memory_format=torch.channels_last) for t in (one, other, y)]
    out, c = torch.empty_like(given[0]), y.shape[1]
    _launch("add_mask", y.numel() // c, c, *given, out)
    return out


def _launch(name: str, rows: int, c: int, *given: Tensor | int) -> None:
    from styletutor.network import kernels

    tiles = kernels.ROWS, kernels.CHANNELS
    grid = -(-rows // tiles[0]), -(-c // tiles[1])
    fusing.launch(getattr(kernels, name), grid, *given, rows, c, *tiles)


def differences(device: torch.device, dtype: torch.dtype, c: int = 80) -> list[str]:
    """The names of the kernels that do not compute exactly what plain operations compute, on a
    small example with sides that are odd, equal values, zeros and NaN."""
    like = {"device": device, "dtype": dtype}
    numbers = torch.arange(2 * c * 7 * 9, device=device).view(2, 7, 9, c) * 7919 % 61
    y = ((numbers - 30) / 16).to(dtype).permute(0, 3, 1, 2)
    y[1, :, 3, 4:6] = torch.nan
    bias = (torch.arange(c, device=device) % 5 - 2).to(dtype) / 8
    after = (y + bias.view(-1, 1, 1)).relu_()
    same = fusing.same
    different = [] if same(bias_relu(y.clone(), bias), after) else ["bias_relu"]
    for round_up in (False, True):
        pooled, at = F.max_pool2d(after, 2, ceil_mode=round_up, return_indices=True)
        found, which = bias_relu_pool(y.clone(), bias, round_up)
        gradient = torch.arange(pooled.numel(), **like).view_as(pooled) % 17 - 8
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        masked = torch.ops.aten.threshold_backward(gradient, pooled, 0)
        before = torch.ops.aten.max_pool2d_with_indices_backward(
            masked, after, [2, 2], [2, 2], [0, 0], [1, 1], round_up, at
        )
        different += [] if same(found, pooled) else ["bias_relu_pool"]
        different += [] if same(unpool(gradient, found, which, y.shape), before) else ["unpool"]
    both = torch.ops.aten.threshold_backward(after + y, after, 0)
    different += [] if same(add_mask(after, y, after), both) else ["add_mask"]
    return different
