"""Measure the core beside the plain loop: `make bench`. Writes a table, JSON and a figure."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import torch

import styletutor as st
from benchmarks import race
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
    wait_for,
)
from styletutor.descent.lbfgs import LBFGS
from styletutor.network.vgg import VGG
from styletutor.runs.reconstruct import CONTENT_LAYERS, STYLE_LAYERS

PARTS = ("evaluation", "optimiser", "memory", "agreement", "race", "figure-one", "gpu")


def evaluation(vgg: VGG, turns: int) -> Iterator[dict]:
    """Seconds per evaluation of the loops, taking turns."""
    gpu = vgg.device.type == "cuda"
    for side in (256, 512, 1024):
        at_once = 50 if gpu else max(1, 4 * 256 // side)
        objective, start = problem(vgg, side)
        loops = {"plain": plain_loop(objective, start)}
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
    """Figure 1 as a batch of ten, and as ten runs of our own."""
    photo, art = (st.load_image(name, side).to(vgg.device) for name in PAIRS[0])
    how = {"vgg": vgg, "evaluations": evaluations, "progress": False}

    def one_by_one() -> None:
        for depth in range(5):
            st.reconstruct_content(photo, CONTENT_LAYERS[depth], **how)
            st.reconstruct_style(art, STYLE_LAYERS[: depth + 1], **how)

    batch = seconds(lambda: st.figure_one(photo, art, **how), vgg.device)
    ten = seconds(one_by_one, vgg.device)
    yield {"what": f"Figure 1 as a batch, {side} px: s", "value": batch, "ratio": batch / ten}


def gpu(vgg: VGG) -> Iterator[dict]:
    """How near the device's matrix rate we come, and how long it idles between kernels."""
    from torch.profiler import ProfilerActivity, profile

    a = torch.randn(8192, 8192, device=vgg.device, dtype=torch.bfloat16)
    best = min(seconds(lambda: a @ a, vgg.device) for _ in range(20))
    rate = 2 * 8192**3 / best
    yield {"what": "bfloat16 matrix product, TFLOP/s", "value": rate / 1e12}
    objective, start = problem(vgg, 1024)
    lap = medians({"fast": ours(objective, start, "fast")}, vgg.device, 3, 30)["fast"]
    rows = vgg.layers[: vgg.layers.index(vgg.deepest(objective.layers)) + 1]
    work = sum(2 * 2 * row.parameters * (1024 // row.stride) ** 2 for row in rows)
    yield {"what": "fast, 1024 px: share of that rate", "value": work / lap / rate}
    objective, start = problem(vgg, 256)
    loop = ours(objective, start, "fast")
    for _ in range(20):
        next(loop)
    wait_for(vgg.device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(50):
            next(loop)
        wait_for(vgg.device)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiled.events()
        if event.device_type.name == "CUDA"
    )
    idle = sum(max(0, later[0] - earlier[1]) for earlier, later in pairwise(spans))
    yield {"what": "256 px: idle between kernels", "value": idle / (spans[-1][1] - spans[0][0])}


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
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
        "gpu": lambda: gpu(vgg) if vgg.device.type == "cuda" else (),
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
