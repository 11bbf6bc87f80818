"""What the machine has, and how it computes: device, precision, memory."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

GIB = 2**30
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_lock = threading.Lock()
_inside = 0
_before: tuple[str, str, bool] | None = None


def default_device() -> torch.device:
    """The fastest kind of device that is there: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Does the device multiply bfloat16 numbers natively?"""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """No TF32 on a GPU: it would keep ten bits of a float32 number's twenty-three.

    The switches are the whole process's: the first thread to enter sets them, the last to leave
    puts back what was there. Only PyTorch's present ones (`fp32_precision`) are touched; whoever
    reads an older one (`allow_tf32`) meanwhile, in another thread, may be told that old and new
    are mixed.
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


@contextmanager
def usual_torch() -> Iterator[None]:
    """PyTorch without what a caller has chosen for all of a program; a decorator as well.

    Inference mode lets no gradient through, autocast rounds where exact numbers are promised, and
    another default type or device changes noise, weights and the numbers of knobs.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Is it what PyTorch raises when a device, or the computer itself, has no memory left?"""
    words = ("can't allocate memory", "not enough memory")
    by_words = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return by_words or isinstance(error, torch.OutOfMemoryError | MemoryError)


def shortage(error: BaseException) -> str | None:
    """What the machine lacks, "out of memory" say, if that and no bad file is behind an error."""
    if is_out_of_memory(error):
        return "out of memory"
    number, words = getattr(error, "errno", None), str(error)
    lacks = (
        os.strerror(each) for each in SHORTAGES if number == each or os.strerror(each) in words
    )
    return next(lacks, "").lower() or None


def give_back() -> None:
    """Let Linux's C library return to the system what was freed; nothing elsewhere."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)


def free_bytes(device: torch.device) -> int:
    """What is free on the device, as far as its system tells."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        number = torch.cuda.current_device() if device.index is None else device.index
        for segment in torch.cuda.memory_snapshot():
            # What a live CUDA graph keeps to itself is of no use to anybody else.
            if segment["device"] == number and segment["segment_pool_id"] == (0, 0):
                free += segment["total_size"] - segment["allocated_size"]
        return free
    import psutil  # late: an image for GPUs often has PyTorch and little else

    return psutil.virtual_memory().available


def _switch(products: str, convolutions: str, deterministic: bool) -> tuple[str, str, bool]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.deterministic
    matmul.fp32_precision, cudnn.conv.fp32_precision = products, convolutions
    cudnn.deterministic = deterministic
    return before
