"""Kernels of our own, in Triton: do they serve on a device, and how they are launched."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from styletutor.machine import is_out_of_memory

Differences = Callable[[torch.device, torch.dtype], list[str]]


def serves(x: Tensor, differences: Differences) -> bool:
    """Do kernels serve where this tensor is? `differences` gives the names of those that do not
    compute what plain operations compute; each device is asked once."""
    return x.is_cuda and works(x.device, x.dtype, differences)


@cache
def works(device: torch.device, dtype: torch.dtype, differences: Differences) -> bool:
    """Do they compute what the plain operations compute? Else it is said, and those go on."""
    try:
        import triton  # noqa: F401
    except ImportError:  # as on Windows
        return False
    try:
        differ = differences(device, dtype)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        differ = [f"{type(error).__name__}: {reason}"]
    if differ:
        what = f"fused kernels do not serve here ({differ[0]}); going on without, slower"
        warnings.warn(what, stacklevel=2)
    return not differ


def launch(kernel: Any, grid: tuple[int, ...], *given: Tensor | float | int) -> None:
    """On the device of the first tensor."""
    with torch.cuda.device_of(given[0]):
        kernel[grid](*given)


def same(found: Tensor, expected: Tensor) -> bool:
    """To the bit, but for the sign of 0; NaN equals NaN."""
    return bool(torch.allclose(found.float(), expected.float(), rtol=0, atol=0, equal_nan=True))
