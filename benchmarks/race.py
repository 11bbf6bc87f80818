"""Loss against seconds: the plain loop and ours, from noise and from the content picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.rivals import plain_loop
from benchmarks.setting import problem, wait_for
from styletutor.descent import descend
from styletutor.objective import Objective
from styletutor.stages import fit
from styletutor.vgg import VGG

EVERY = 5
Curve = list[tuple[float, float]]


@torch.no_grad()
def loss_of(objective: Objective, image: Tensor) -> float:
    """The exact loss of a picture."""
    return float(objective(image)["total"])


def run(vgg: VGG, evaluations: int, folder: Path, side: int = 256) -> Iterator[dict]:
    """Seconds until ours has the loss that the plain loop has in the end; and the figure."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for place, start_name in enumerate(("noise", "content"), start=1):
        objective, start = problem(vgg, side, start_name)
        curves = {"plain loop": _plain(objective, start, evaluations)}
        for precision in ("exact", "fast"):
            how = {"precision": precision, "coarse_to_fine": start_name == "noise"}
            curves[precision] = _ours(objective, start, evaluations, how)
        end, goal = curves["plain loop"][-1]
        for name in ("exact", "fast"):
            there = next((s for s, loss in curves[name] if loss <= goal), float("nan"))
            what = f"{name}, from {start_name}, {side} px: s to the plain loop's last loss"
            yield {"what": what, "value": there, "ratio": there / end, "goal": goal}
        _draw(figure, place, f"from {start_name}, {side} px", curves)
    figure.savefig(folder / "race.png", dpi=100)


def _plain(objective: Objective, start: Tensor, evaluations: int) -> Curve:
    """Its pictures count as they are saved, in [0, 1]."""
    loop, spent, curve = plain_loop(objective, start), 0.0, []
    for evaluation in range(1, evaluations + 1):
        began = time.perf_counter()
        image = next(loop)
        wait_for(start.device)
        spent += time.perf_counter() - began
        if evaluation % EVERY == 0:
            curve.append((spent, loss_of(objective, image.clamp(0, 1))))
    return curve


def _ours(objective: Objective, start: Tensor, evaluations: int, how: dict) -> Curve:
    steps, spent, curve = descend(objective, start, evaluations, **how), 0.0, []
    for evaluation in range(1, evaluations + 1):
        began = time.perf_counter()
        step = next(steps)
        wait_for(start.device)
        spent += time.perf_counter() - began
        if evaluation % EVERY == 0:
            curve.append((spent, loss_of(objective, fit(step.best, start.shape[2:], 1))))
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
