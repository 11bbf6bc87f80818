"""Loops to be timed on a GPU: ours in all ways, and the plain one; clocks for them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch

from benchmarks.rivals import plain_loop
from benchmarks.setting import DEFAULT, FOREVER, network, problem, seconds, switched, wait_for
from styletutor.descent import Step, descend
from styletutor.descent.engine import Engine
from styletutor.loss.objective import Objective
from styletutor.machine import is_out_of_memory
from styletutor.network.vgg import VGG
from styletutor.network.weights import untrained

TINY = (4, 5, 6, 7, 8)
LAP = 1 / 3  # seconds
NO_TIME = {"why not": "no time was left"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where is measured, and until when; pictures are `shrink` times smaller than is said."""

    device: torch.device
    end: float
    shrink: int = 1

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def network(self) -> VGG:
        """The one that is measured."""
        return network(None) if self.shrink == 1 else untrained(TINY)

    def problem(self, vgg: VGG, side: int) -> tuple[Objective, torch.Tensor]:
        """A transfer, and its start."""
        return problem(vgg, side // self.shrink)


def plain(objective: Objective, start: torch.Tensor, precision: str) -> Iterator[torch.Tensor]:
    """The plain loop, with products and convolutions "ieee" or "tf32"."""
    return switched(plain_loop(objective, start), start.device, precision)


def ours(
    objective: Objective, start: torch.Tensor, optimiser: str, precision: str, recorded: bool = True
) -> Iterator[Step]:
    """An endless descent; in "tf32" an exact one that is not let be exact."""
    method = DEFAULT.method(
        optimiser=optimiser, precision="fast" if precision == "fast" else "exact"
    )
    loop = descend(objective, start, FOREVER, method=method)
    if precision == "tf32":
        loop = switched(loop, start.device, "tf32", deterministic=True)
    with _recording(recorded):
        yield next(loop)
    yield from loop


@contextmanager
def _recording(allowed: bool) -> Iterator[None]:
    """Engines that are made here record their steps only if they may."""
    usual = Engine.may_record
    if not allowed:
        Engine.may_record = staticmethod(lambda _: False)
    try:
        yield
    finally:
        Engine.may_record = staticmethod(usual)


def timed(make: Callable[[], Iterator], setting: Setting) -> dict:
    """Milliseconds per turn of the loop that `make` gives, the median of three laps; or why not."""
    if setting.left() < 4:
        return NO_TIME
    try:
        loop, engine = make(), None
        for turn in islice(loop, 6):
            engine = turn.engine() if isinstance(turn, Step) else None
            if setting.left() < 0:
                return NO_TIME
        turns = max(1, min(100, int(LAP / seconds(lambda: next(loop), setting.device))))
        laps = [seconds(lambda: list(islice(loop, turns)), setting.device) for _ in range(3)]
        recorded = engine is not None and engine.graph is not None
        return {"ms": 1000 * sorted(laps)[1] / turns, "graph": recorded}
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return {"why not": "out of memory"}


def best(work: Callable[[], object], device: torch.device) -> float:
    """The shortest of ten times, after three that warm up."""
    for _ in range(3):
        work()
    return min(seconds(work, device) for _ in range(10))


def in_graph(work: Callable[[], object], setting: Setting, times: int = 10) -> float:
    """Seconds of some work among others of its kind, launched by nobody."""
    for _ in range(3):
        work()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(setting.device)
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        for _ in range(times):
            work()
    return best(graph.replay, setting.device) / times


def clear(device: torch.device) -> None:
    """Give back what nobody holds."""
    gc.collect()
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.empty_cache()
