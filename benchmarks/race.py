"""Loss against seconds: the plain loop and ours, from noise and from the content picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.rivals import plain_loop
from benchmarks.setting import PAIRS, PRECISIONS, ours, problem, wait_for
from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG
from styletutor.pictures.images import resample

EVERY = 5
Curve = list[tuple[float, float]]


@torch.no_grad()
def loss_of(objective: Objective, image: Tensor) -> float:
    """The exact loss of a picture."""
    return float(objective(image)["total"])


def run(vgg: VGG, evaluations: int, folder: Path, side: int = 256) -> Iterator[dict]:
    """Seconds until ours has the loss that the plain loop has in the end, for all pairs.

    The figure is of the first pair.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    starts = enumerate(("noise", "content"), start=1)
    for pair, (place, start_name) in product(PAIRS, starts):
        objective, start = problem(vgg, side, start_name, pair)
        size = start.shape[2:]
        plain = islice(plain_loop(objective, start), evaluations)
        curves = {"plain loop": _curve(plain, objective, size)}
        for precision in PRECISIONS:
            steps = ours(objective, start, precision, evaluations, start_name == "noise")
            curves[precision] = _curve((step.best for step in steps), objective, size)
        end, goal = curves["plain loop"][-1]
        for name in PRECISIONS:
            there = next((s for s, loss in curves[name] if loss <= goal), None)
            what = f"{name}, {' × '.join(pair)} from {start_name}: s to the plain loop's loss"
            ratio = None if there is None else there / end
            yield {"what": what, "value": there, "ratio": ratio, "goal": goal}
        if pair == PAIRS[0]:
            _draw(figure, place, f"from {start_name}, {side} px", curves)
    figure.savefig(folder / "race.png", dpi=100)


def _curve(pictures: Iterator[Tensor], objective: Objective, size: Sequence[int]) -> Curve:
    """Seconds spent in making the pictures, and the loss of each as it would be saved."""
    spent, curve, began = 0.0, [], time.perf_counter()
    for evaluation, image in enumerate(pictures, start=1):
        wait_for(image.device)
        spent += time.perf_counter() - began
        if evaluation % EVERY == 0:
            curve.append((spent, loss_of(objective, resample(image.clamp(0, 1), size))))
        began = time.perf_counter()
    return curve


def _draw(figure: Figure, place: int, title: str, curves: dict[str, Curve]) -> None:
    axes = figure.add_subplot(1, 2, place)
    styles = {"plain loop": ("#888888", "-"), "exact": ("#21618c", "--"), "fast": ("#d35400", "-")}
    for name, curve in curves.items():
        colour, line = styles[name]
        axes.plot(*zip(*curve, strict=True), line, color=colour, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("exact loss of the picture")
    axes.set_title(title, fontsize=10)
    axes.legend()
    axes.grid(alpha=0.3)
