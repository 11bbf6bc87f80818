"""What the machine has, and how it computes; and warnings of it, which end no work."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from math import prod
from pathlib import Path

import numpy as np
import torch

GIB = 2**30
# Of control groups, in both versions: the bound, what is taken, and what of it is files that the
# system drops when it needs the room.
GROUPS_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
GROUPS_2 = ("memory.max", "memory.current", "inactive_file")
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_lock = threading.Lock()
_inside = {"ieee": 0, "tf32": 0}  # how many threads ask for it; the first with any holds
_before: tuple[str, str, bool] | None = None
_painting, _theirs = 0, torch.float32


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


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """No TF32 on a GPU: it would keep ten bits of a float32 number's twenty-three.

    The switches are the whole process's: the first thread to enter sets them, the last to leave
    puts back what was there. Only PyTorch's present ones (`fp32_precision`) are touched; whoever
    reads an older one (`allow_tf32`) meanwhile, in another thread, may be told that old and new
    are mixed.
    """
    return _as("ieee", device)


def tf32_convolutions(device: torch.device) -> AbstractContextManager[None]:
    """The same, but for convolutions, as long as no thread is in `full_float32`."""
    return _as("tf32", device)


@contextmanager
def _as(convolutions: str, device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    with _lock:
        _count(convolutions, 1)
    try:
        yield
    finally:
        with _lock:
            _count(convolutions, -1)


def _count(convolutions: str, more: int) -> None:
    """Count who is in; where that changes what holds, bring the switches there."""
    global _before
    held = _holds()
    _inside[convolutions] += more
    holds = _holds()
    if holds != held:
        found = _switch(*(_before if holds is None else ("ieee", holds, True)))
        _before = found if held is None else _before


def _holds() -> str | None:
    return next((each for each, threads in _inside.items() if threads), None)


@contextmanager
def usual_torch() -> Iterator[None]:
    """PyTorch without what a caller has chosen for all of a program; a decorator as well.

    Inference mode lets no gradient through, autocast rounds where exact numbers are promised, and
    another default type or device changes noise, weights and the numbers of knobs. The default type
    is the whole process's: it is float32 for all threads as long as one of them is inside, and the
    last to leave puts back what was there, unless somebody has chosen another one meanwhile.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        _take_default_dtype()
        stack.callback(_give_default_dtype_back)
        yield


def _take_default_dtype() -> None:
    global _painting, _theirs
    with _lock:
        _painting += 1
        if (dtype := torch.get_default_dtype()) != torch.float32:
            _theirs = dtype
            torch.set_default_dtype(torch.float32)


def _give_default_dtype_back() -> None:
    global _painting, _theirs
    with _lock:
        _painting -= 1
        if _painting == 0:
            if torch.get_default_dtype() == torch.float32:
                torch.set_default_dtype(_theirs)
            _theirs = torch.float32


def warn(message: str, stacklevel: int = 1) -> None:
    """A warning that ends no work: where warnings are made errors it is only shown."""
    try:
        warnings.warn(message, stacklevel=stacklevel + 1)
    except UserWarning as error:
        warnings.showwarning(error, UserWarning, __file__, 0)


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


def zeros_on_disk(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    """Zeros in a file without a name, which goes when they do.

    The system holds of it in memory what it has room for. Raises OSError if the disk has too
    little, since a hole in a file that cannot be filled would end the process.
    """
    needed, folder = prod(shape) * dtype.itemsize, tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{folder} has {free / GIB:.1f} GiB free, but {needed / GIB:.1f} are needed for what "
            "does not fit into memory; make room, set TMPDIR to another folder, or take a smaller "
            "size"
        )
    with tempfile.TemporaryFile() as file:
        file.truncate(needed)
        kind = str(dtype).removeprefix("torch.")
        return torch.from_numpy(np.memmap(file, kind, "r+", shape=shape))


def give_back() -> None:
    """Let Linux's C library return to the system what was freed; nothing elsewhere."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)


def free_bytes(device: torch.device) -> int:
    """What is free on the device, as far as its system tells, and in a container what it leaves."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        number = torch.cuda.current_device() if device.index is None else device.index
        for segment in torch.cuda.memory_snapshot():
            # What a live CUDA graph keeps to itself is of no use to anybody else.
            if segment["device"] == number and segment["segment_pool_id"] == (0, 0):
                free += segment["total_size"] - segment["allocated_size"]
        return free
    import psutil  # late: an image for GPUs often has PyTorch and little else

    return min(psutil.virtual_memory().available, *_free_in_groups())


def _free_in_groups(root: Path = Path("/")) -> list[int]:
    """What each control group of Linux that the process is in lets it still take: a container's
    bound, or a job's, of which the system's own figure knows nothing. None without a bound."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system
        return []
    found = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, names = root / "sys/fs/cgroup", GROUPS_2
        elif "memory" in kinds.split(","):
            top, names = root / "sys/fs/cgroup/memory", GROUPS_1
        else:
            continue
        group = top / path.lstrip("/")
        # In a container the path is often the host's, and of its folders only the top is there.
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                with suppress(OSError, ValueError):  # not there, or no bound: "max"
                    found.append(_free_in(folder, *names))
    return found


def _free_in(group: Path, limit: str, used: str, files: str) -> int:
    bound, taken = (int((group / name).read_text()) for name in (limit, used))
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return max(0, bound - taken + int(stat.get(files, 0)))


def _switch(products: str, convolutions: str, deterministic: bool) -> tuple[str, str, bool]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.deterministic
    matmul.fp32_precision, cudnn.conv.fp32_precision = products, convolutions
    cudnn.deterministic = deterministic
    return before
