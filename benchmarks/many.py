"""Large pictures in tiles, and two processes of one thread, beside one process with both."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import styletutor as st
from benchmarks.setting import DEFAULT, FOREVER, PAIRS, PRECISIONS, medians
from styletutor.descent import descend
from styletutor.network.vgg import VGG
from styletutor.pictures.images import resample

PHOTO, ART = PAIRS[1]  # the photograph is a square


def tiles(vgg: VGG, turns: int, side: int = 1024) -> Iterator[dict]:
    """Seconds per evaluation of a picture whole and in tiles, exact, taking turns."""
    content, style = (
        resample(st.load_image(name), (side, side)).to(vgg.device) for name in (PHOTO, ART)
    )
    method, loops = DEFAULT.method(precision="exact", coarse_to_fine=False), {}
    for tile in (None, side // 2, side // 4):
        objective = DEFAULT.objective(vgg, content=content, styles=[style], tile=tile)
        name = f"in tiles of {tile}" if tile else "whole"
        loops[name] = descend(objective, content, FOREVER, method=method)
    found = medians(loops, vgg.device, turns, 1)
    for name, value in found.items():
        what = f"exact, {side} px, {name}: s per evaluation"
        yield {"what": what, "value": value, "ratio": value / found["whole"]}


def sweep(weights: str | None, evaluations: int = 60, size: int = 128) -> Iterator[dict]:
    """Sixteen pictures; the ratio is of throughputs."""
    weights = weights or "auto"
    vgg = st.load_vgg(weights)
    how = {"size": size, "evaluations": evaluations, "progress": False}
    began = time.perf_counter()
    for seed in range(16):
        st.transfer(PHOTO, ART, vgg=vgg, seed=seed, **how)
    alone, arrived = time.perf_counter() - began, []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        st.sweep(
            PHOTO, ART, folder, vary={"seed": range(16)}, weights=weights, workers=2,
            on_picture=partial(_note, arrived), **how,
        )  # fmt: skip
        whole = time.perf_counter() - began
    steady = 16 / 14 * (arrived[-1] - arrived[1])  # without the processes' start
    what = f"sweep, 16 pictures of {size} px, {evaluations} evaluations: s"
    yield {"what": f"{what}, one after the other", "value": alone}
    yield {"what": f"{what}, two processes", "value": whole, "ratio": alone / whole}
    yield {"what": f"{what}, once they have started", "value": steady, "ratio": alone / steady}


def crew(vgg: VGG, evaluations: int = 4, side: int = 2048) -> Iterator[dict]:
    """Seconds per evaluation of a large picture in tiles of 512; the ratio is of throughputs."""
    how = {"width": side, "tile": 512, "precision": PRECISIONS[-1], "coarse_to_fine": False}
    how |= {"vgg": vgg, "evaluations": evaluations, "progress": False}
    times: dict[str, list[float]] = {"one process": [], "two processes": []}
    for taken, hands in zip(times.values(), (nullcontext(), st.crew(workers=2)), strict=True):
        with hands as crew:
            st.transfer(PHOTO, ART, crew=crew, on_step=partial(_note, taken), **how)
    # The last evaluation is exact, the first one sends the network.
    each = {name: (taken[-2] - taken[0]) / (evaluations - 2) for name, taken in times.items()}
    for name, value in each.items():
        what = f"{PRECISIONS[-1]}, {side} px in tiles of 512, {name}: s per evaluation"
        yield {"what": what, "value": value, "ratio": each["one process"] / value}


def _note(times: list[float], _: object) -> None:
    times.append(time.perf_counter())
