"""Which kernels a recorded step consists of, and how long the device idles between them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity

from benchmarks.setting import seconds, wait_for

REPLAYS = 20
# By name; the first that fits.
CLASSES = {
    "fused here": r"^(bias_relu|bias_relu_pool|unpool|add_mask|judge|take_in|learn|move)",
    "Fourier transforms": "fft",
    "pooling": "pool",
    "convolutions": r"conv|cudnn|fprop|dgrad|implicit|winograd|nhwc",
    "matrix products": r"gemm|gemv|nvjet|cublas|cutlass|bmm|trsm|splitk|dot_kernel",
    "sums": r"reduce|sum",
    "copies": r"memcpy|memset|copy|cat|index|fill",
    "pixel by pixel": r"elementwise|vectorized|triton",
    "others": "",
}


def of(replay: Callable[[], None], device: torch.device) -> Iterator[dict]:
    """For each class of kernel how many there are in a step and their microseconds; then the whole.

    "gaps" are the share of a step in which no kernel runs, of a step without the profiler; "gaps
    seen" are those between the kernels under it, which makes them longer.
    """
    replay()
    whole = min(seconds(lambda: [replay() for _ in range(REPLAYS)], device) for _ in range(5))
    kinds = [ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(REPLAYS):
            replay()
        wait_for(device)
    spans = sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in profile.events()
        if event.device_type.name == device.type.upper() and event.cpu_parent is None
    )
    if not spans:
        raise RuntimeError("the profiler has seen no kernel")
    times: dict[str, list[float]] = defaultdict(list)
    busy, idle, last = 0.0, 0.0, spans[0][0]
    for start, end, name in spans:
        times[class_of(name)].append(end - start)
        idle, busy = idle + max(0.0, start - last), busy + max(0.0, end - max(start, last))
        last = max(last, end)
    for kind in sorted(times, key=lambda kind: -sum(times[kind])):
        count, spent = len(times[kind]) / REPLAYS, sum(times[kind]) / REPLAYS
        yield {"class": kind, "kernels": count, "µs": spent}
    yield {
        "kernels": len(spans) / REPLAYS,
        "µs": 1e6 * whole / REPLAYS,
        "gaps": max(0.0, 1 - busy / (1e6 * whole)),
        "gaps seen": idle / (idle + busy),
    }


def class_of(kernel: str) -> str:
    """The class of a kernel by its name."""
    return next(kind for kind, words in CLASSES.items() if re.search(words, kernel.lower()))
