"""Full float32 on a GPU, whoever else computes there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_before: tuple[str, str, bool] | None = None


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """No TF32 on a GPU: it would keep ten bits of a float32 number's twenty-three.

    The switches are the whole process's: the first thread to enter sets them, the last to leave
    puts back what was there.
    """
    global _inside, _before
    if device.type != "cuda":
        yield
        return
    with _lock:
        if _inside == 0:
            _before = _switch("ieee", "ieee", True)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _switch(*_before)


def _switch(products: str, convolutions: str, deterministic: bool) -> tuple[str, str, bool]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.deterministic
    matmul.fp32_precision, cudnn.conv.fp32_precision = products, convolutions
    cudnn.deterministic = deterministic
    return before
