"""What comes between two convolutions, in one pass over memory where Triton is (CUDA), else plain.

The plain operations say what is meant; `kernels` does the same, and is compared with them.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from styletutor.machine import is_out_of_memory

_usable = True  # until a kernel cannot be compiled, for want of a C compiler say


def serves(x: Tensor) -> bool:
    """Are there such kernels where this tensor is?"""
    return x.is_cuda and _usable and kernels() is not None


@cache
def kernels() -> ModuleType | None:
    """The module with them; None without Triton, which PyTorch brings along on Linux."""
    try:
        from styletutor.network import kernels

        return kernels
    except ImportError:
        return None


def bias_relu(y: Tensor, bias: Tensor) -> Tensor:
    """max(y + bias, 0) of (B, C, H, W), in the place of y."""
    if y.is_contiguous(memory_format=torch.channels_last):
        rows = y.numel() // y.shape[1]
        if _launch("bias_relu", _tiles(rows, y.shape[1]), y, bias, rows, y.shape[1]):
            return y
    return y.add_(bias.view(-1, 1, 1)).relu_()


def bias_relu_pool(y: Tensor, bias: Tensor, round_up: bool) -> tuple[Tensor, Tensor]:
    """The maximum of max(y + bias, 0) over 2 × 2 positions, and where it was, for `unpool`.

    `y` may be overwritten. The second is (B, C, H / 2, W / 2): which of the four, as uint8, or
    PyTorch's own indices.
    """
    if y.is_contiguous(memory_format=torch.channels_last):
        (batch, c, *size), up = y.shape, int(round_up)
        shape = batch, c, *((side + up) // 2 for side in size)
        pooled = y.new_empty(shape).contiguous(memory_format=torch.channels_last)
        which = torch.empty_like(pooled, dtype=torch.uint8)
        rows = pooled.numel() // c
        given = y, bias, pooled, which, rows, *size, *shape[2:], c
        if _launch("bias_relu_pool", _tiles(rows, c), *given):
            return pooled, which
    y = y.add_(bias.view(-1, 1, 1)).relu_()
    return F.max_pool2d(y, 2, ceil_mode=round_up, return_indices=True)


def unpool(
    gradient: Tensor, pooled: Tensor, which: Tensor, like: Tensor, round_up: bool
) -> Tensor:
    """The gradient before ReLU and maximum, from that after them; of `like` only shape and layout
    are asked for."""
    if which.dtype == torch.uint8:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        batch, c, height, width = like.shape
        rows = batch * ((height + 1) // 2) * ((width + 1) // 2)
        given = gradient, pooled, which, like, rows, height, width, *pooled.shape[2:], c
        if not _launch("unpool", _tiles(rows, c), *given):
            raise RuntimeError("a kernel that has run before cannot be run any more")
        return like
    gradient = torch.ops.aten.threshold_backward(gradient, pooled, 0)
    return torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, like, [2, 2], [2, 2], [0, 0], [1, 1], round_up, which
    )
