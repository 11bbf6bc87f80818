"""Measure the core beside the plain loop: `make bench`. Writes a table, JSON and a figure."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

from benchmarks import figure_one as figure
from benchmarks import many, race
from benchmarks.rivals import plain_loop, tutorial_loop
from benchmarks.setting import (
    DEFAULT,
    PAIRS,
    PRECISIONS,
    medians,
    network,
    ours,
    problem,
    seconds,
    switched,
)
from styletutor.descent.lbfgs import LBFGS
from styletutor.network.vgg import VGG

PARTS = ("evaluation", "optimiser", "memory", "agreement", "race", "figure-one")
ON_REQUEST = ("tiles", "sweep", "crew")  # minutes each


def evaluation(vgg: VGG, turns: int) -> Iterator[dict]:
    """Seconds per evaluation of the loops, taking turns."""
    gpu = vgg.device.type == "cuda"
    for side in (256, 512, 1024):
        at_once = 50 if gpu else max(1, 4 * 256 // side)
        objective, start = problem(vgg, side)
        loops = {"plain": switched(plain_loop(objective, start), vgg.device, "ieee")}
        if gpu:  # where it is PyTorch's own choice for convolutions
            loops["plain in TF32"] = switched(plain_loop(objective, start), vgg.device, "tf32")
        if side == 256:
            loops["tutorial"] = tutorial_loop(objective, start)
        loops |= {name: ours(objective, start, name) for name in PRECISIONS}
        found = medians(loops, vgg.device, turns if side < 1024 else min(turns, 3), at_once)
        for name, value in found.items():
            ratio = value / found["plain"]
            yield {"what": f"{name}, {side} px: s per evaluation", "value": value, "ratio": ratio}


def optimiser(vgg: VGG, turns: int) -> Iterator[dict]:
    """What a step of L-BFGS costs beside the evaluation that it follows."""
    for side in (256, 1024):
        objective, start = problem(vgg, side)
        method, loss = (
            LBFGS(box=(0, 1), wavelength=DEFAULT.wavelength),
            torch.ones(1, device=vgg.device),
        )
        gradient = 1e-6 * torch.randn(start.shape).to(vgg.device)
        steps = range(20 if vgg.device.type == "cuda" else 5)

        def walk(method=method, start=start, loss=loss, gradient=gradient, steps=steps) -> None:
            for _ in steps:
                method.step(start, loss, gradient)

        walk()
        step = min(seconds(walk, vgg.device) for _ in range(turns)) / len(steps)
        loops = {name: ours(objective, start, name) for name in PRECISIONS}
        for name, whole in medians(loops, vgg.device, 2, 2).items():
            what = f"{name}, {side} px: s per step of the optimiser, and of the whole"
            yield {"what": what, "value": step, "ratio": step / whole}


def memory(weights: str | None, side: int = 1024) -> Iterator[dict]:
    """Peak memory of fresh processes, targets included; twelve evaluations each."""
    peaks = {}
    for name in ("plain", *PRECISIONS):
        command = [sys.executable, "-m", "benchmarks.peak", name, str(side), weights or ""]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = int(out.stdout.split()[-1]) / 2**20
        what = f"{name}, {side} px: MiB at the peak"
        yield {"what": what, "value": peaks[name], "ratio": peaks[name] / peaks["plain"]}


def agreement(vgg: VGG, evaluations: int = 100, side: int = 256) -> Iterator[dict]:
    """The loss after 100 evaluations, over the plain loop's, of the pictures as they are saved."""
    for pair in PAIRS:
        objective, start = problem(vgg, side, pair=pair)
        loop = plain_loop(objective, start)
        for _ in range(evaluations):
            image = next(loop)
        plain = race.loss_of(objective, image.clamp(0, 1))
        for name in PRECISIONS:
            *_, step = ours(objective, start, name, evaluations)
            loss = race.loss_of(objective, step.best)
            what = f"{name}, {' × '.join(pair)}: loss after {evaluations} evaluations"
            yield {"what": what, "value": loss, "ratio": loss / plain}


def figure_one(vgg: VGG, evaluations: int, side: int = 256) -> Iterator[dict]:
    batch, ten = figure.measure(vgg, evaluations, side)
    yield {"what": f"Figure 1 as a batch, {side} px: s", "value": batch, "ratio": batch / ten}


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS + ON_REQUEST, default=PARTS)
    parser.add_argument("--weights", help="a network by name or file (default: vgg19)")
    parser.add_argument("--turns", type=int, default=5, help="how often each loop runs")
    parser.add_argument("--evaluations", type=int, default=200, help="of the race")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/build"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    vgg = network(arguments.weights)
    parts = {
        "evaluation": lambda: evaluation(vgg, arguments.turns),
        "optimiser": lambda: optimiser(vgg, arguments.turns),
        "memory": lambda: memory(arguments.weights),
        "agreement": lambda: agreement(vgg),
        "race": lambda: race.run(vgg, arguments.evaluations, arguments.output),
        "figure-one": lambda: figure_one(vgg, arguments.evaluations),
        "tiles": lambda: many.tiles(vgg, min(arguments.turns, 3)),
        "sweep": lambda: many.sweep(arguments.weights),
        "crew": lambda: many.crew(vgg),
    }
    about = f"{vgg.name}; {_machine(vgg.device)}; torch {torch.__version__}"
    print(f"{about}\n\n| | | ratio |\n|---|---|---|", flush=True)
    rows = []
    for name in arguments.only:
        for row in parts[name]():
            rows.append({"part": name, **row})
            value, ratio = (
                "" if number is None else f"{number:{form}}"
                for number, form in ((row["value"], ".4g"), (row.get("ratio"), ".3f"))
            )
            print(f"| {row['what']} | {value or 'never'} | {ratio} |", flush=True)
    figures = {"about": about, "when": time.strftime("%Y-%m-%d"), "rows": rows}
    text = json.dumps(figures, indent=1)
    (arguments.output / "measured.json").write_text(text, encoding="utf-8")


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = torch.cpu.get_capabilities().get("cpu_name", "") if _has_capabilities() else ""
    cores = psutil.cpu_count(logical=False)
    return f"{platform.machine()} {name}, {torch.get_num_threads()} threads on {cores} cores"


def _has_capabilities() -> bool:
    return hasattr(torch.cpu, "get_capabilities")


if __name__ == "__main__":
    main()
