"""The problems that all benchmarks share, and clocks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

import styletutor as st
from styletutor.cookbook.published import STYLE_LAYERS
from styletutor.descent import Step, descend
from styletutor.descent.starts import make_start
from styletutor.loss.objective import Objective
from styletutor.machine import _switch, default_device, full_float32, multiplies_bfloat16
from styletutor.network.layers import FULL_WIDTH
from styletutor.network.vgg import VGG
from styletutor.network.vgg19 import automatic
from styletutor.network.weights import untrained

PAIRS = (
    ("coffee", "swirling-strokes"),
    ("astronaut", "stained-glass"),
    ("chelsea", "impasto-field"),
)
FOREVER = 10**6
# "fast" without bfloat16 instructions would be measured for hours.
PRECISIONS = ("exact", "fast") if multiplies_bfloat16(default_device()) else ("exact",)
DEFAULT = st.recipes["default"]  # as a transfer without a word more


def network(weights: str | None) -> VGG:
    """A network by name or file; by default the published VGG-19, or its full width, untrained."""
    if weights is not None or automatic()[0] == "vgg19":
        return st.load_vgg(weights or "vgg19")
    vgg = untrained(FULL_WIDTH, name="VGG-19 at full width, untrained", pooling="max")
    return vgg.to(default_device())


def problem(
    vgg: VGG, side: int, start: str = "content", pair: tuple[str, str] = PAIRS[0]
) -> tuple[Objective, Tensor]:
    """A transfer at side × side pixels and its start; the layers that the network has."""
    content, style = (
        F.interpolate(st.load_image(name), (side, side), mode="area").to(vgg.device)
        for name in pair
    )
    there = set(vgg.layer_names)
    objective = Objective(
        vgg,
        content=content,
        styles=[style],
        content_layers="relu4_2" if "relu4_2" in there else "relu3_3",
        style_layers=[name for name in STYLE_LAYERS if name in there],
        style_weight=DEFAULT.style_weight,
    )
    return objective, make_start(start, content)


def ours(
    objective: Objective,
    start: Tensor,
    precision: str,
    evaluations: int = FOREVER,
    coarse_to_fine: bool = False,
) -> Iterator[Step]:
    """A descent in one precision, endless if nothing else is said."""
    method = DEFAULT.method(precision=precision, coarse_to_fine=coarse_to_fine)
    return descend(objective, start, evaluations, method=method)


@contextmanager
def float32_in(device: torch.device, precision: str, deterministic: bool = False) -> Iterator[None]:
    """How a GPU multiplies float32 numbers: "ieee" or "tf32"; ours cannot change it meanwhile."""
    with full_float32(device):  # only the outermost has a say
        before = _switch(precision, precision, deterministic)
        try:
            yield
        finally:
            _switch(*before)


def switched(
    loop: Iterator[object], device: torch.device, precision: str, deterministic: bool = False
) -> Iterator[object]:
    """A loop each of whose turns is made so."""
    while True:
        with float32_in(device, precision, deterministic):
            value = next(loop)
        yield value


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def medians(
    loops: Mapping[str, Iterator[object]], device: torch.device, turns: int, evaluations: int
) -> dict[str, float]:
    """Median seconds per evaluation of loops that take turns; a first turn of each warms up."""
    laps: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns + 1):
        for name, loop in loops.items():
            lap = seconds(lambda loop=loop: [next(loop) for _ in range(evaluations)], device)
            if turn:
                laps[name].append(lap / evaluations)
    return {name: statistics.median(values) for name, values in laps.items()}


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long some work takes, the device's part included."""
    wait_for(device)
    began = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - began
