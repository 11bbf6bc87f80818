"""The peak memory of one loop in a process of its own: python -m benchmarks.peak exact 1024."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import torch

from benchmarks.rivals import plain_loop
from benchmarks.setting import network, ours, problem

EVALUATIONS = 12


def peak_of(work: Callable[[], None], device: torch.device) -> int:
    """Bytes that the process (or the GPU) held at most, above what it held before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    import psutil

    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak - before


def main() -> None:
    name, side, weights = sys.argv[1], int(sys.argv[2]), sys.argv[3] or None
    vgg = network(weights)

    def work(side: int = side, evaluations: int = EVALUATIONS) -> None:
        objective, start = problem(vgg, side)
        if name == "plain":
            loop = plain_loop(objective, start)
            for _ in range(evaluations):
                next(loop)
        else:
            list(ours(objective, start, name, evaluations))

    work(64, 2)  # what libraries set up once is nobody's
    print(peak_of(work, vgg.device))


if __name__ == "__main__":
    main()
