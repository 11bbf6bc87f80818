"""Seconds per evaluation: our descent beside the plain loop that published systems amount to.

The plain loop is a truncated, frozen network in PyTorch's default layout, a closure that sums
mean-squared errors of features and Gram matrices, and torch.optim.LBFGS. Both do the same work:
full-width VGG-19 (random weights), style relu1_1 … relu5_1, content relu4_2. They take turns in
one process, so that a machine that slows down slows both; medians over the turns are compared.

    python benchmarks/evaluation.py --height 192 --width 256 --turns 7 --evaluations 10
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import styletutor as st
from styletutor.descent import descend
from styletutor.recipes import STYLE_LAYERS
from styletutor.vgg import FULL_WIDTH, VGG
from styletutor.weights import default_device, untrained

CONTENT_LAYER = "relu4_2"


def plain_loop(vgg: VGG, content: Tensor, style: Tensor) -> Iterator[None]:
    """One evaluation per item, as most tutorials and systems do it (weights frozen, truncated)."""
    modules, wanted = [], []
    for layer in vgg.layers[: vgg.layer_names.index(STYLE_LAYERS[-1]) + 1]:
        if layer.kind == "conv":
            ours = vgg.convolutions[layer.name]
            conv = nn.Conv2d(*ours.weight.shape[1::-1], 3, padding=1).requires_grad_(False)
            conv.weight.data = ours.weight.data.clone(memory_format=torch.contiguous_format)
            conv.bias.data = ours.bias.data.clone()
            modules.append(conv.to(vgg.device))
        else:
            modules.append(nn.ReLU() if layer.kind == "relu" else nn.MaxPool2d(2))
        wanted.append(layer.name if layer.name in (*STYLE_LAYERS, CONTENT_LAYER) else None)

    def features(x: Tensor) -> dict[str, Tensor]:
        x, found = x - vgg.mean, {}
        for module, name in zip(modules, wanted, strict=True):
            x = module(x)
            if name:
                found[name] = x
        return found

    def gram(f: Tensor) -> Tensor:
        flat = f.view(f.shape[1], -1)
        return flat @ flat.t() / flat.numel()

    with torch.no_grad():
        target = features(content)[CONTENT_LAYER]
        grams = {name: gram(f) for name, f in features(style).items() if name in STYLE_LAYERS}
    image = content.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([image], max_iter=1, history_size=100)

    def closure() -> Tensor:
        optimiser.zero_grad()
        found = features(image)
        loss = nn.functional.mse_loss(found[CONTENT_LAYER], target)
        for name in STYLE_LAYERS:
            loss = loss + 1e3 * nn.functional.mse_loss(gram(found[name]), grams[name])
        loss.backward()
        return loss

    while True:
        optimiser.step(closure)
        yield


def our_loop(vgg: VGG, content: Tensor, style: Tensor) -> Iterator[object]:
    """The same work by `descend`."""
    objective = st.recipes["default"].objective(vgg, content=content, styles=[style])
    return descend(objective, content, 10**6)


def seconds_per_evaluation(loop: Iterator[object], evaluations: int, wait: Callable) -> float:
    wait()
    began = time.perf_counter()
    for _ in range(evaluations):
        next(loop)
    wait()
    return (time.perf_counter() - began) / evaluations


def import_seconds(module: str) -> float:
    """Of three fresh interpreters, the median time that importing `module` takes."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True) for _ in range(3)]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--turns", type=int, default=7, help="how often each one runs")
    parser.add_argument("--evaluations", type=int, default=10, help="in each turn")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    arguments = parser.parse_args()

    vgg = untrained(FULL_WIDTH, name="full width", pooling="max").to(default_device())
    wait = torch.cuda.synchronize if vgg.device.type == "cuda" else lambda: None
    shape = (arguments.height, arguments.width)
    content, style = (
        nn.functional.interpolate(st.load_image(name), shape, mode="area").to(vgg.device)
        for name in ("coffee", "swirling-strokes")
    )
    loops = {"plain": plain_loop(vgg, content, style), "styletutor": our_loop(vgg, content, style)}
    laps: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(arguments.turns + 1):
        for name, loop in loops.items():
            lap = seconds_per_evaluation(loop, arguments.evaluations, wait)
            if turn:  # the first turn warms up
                laps[name].append(lap)
    medians = {name: statistics.median(values) for name, values in laps.items()}
    figures = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {vgg.device}",
        "torch": torch.__version__,
        "size": [arguments.height, arguments.width],
        "seconds per evaluation": {name: round(value, 5) for name, value in medians.items()},
        "ratio": round(medians["styletutor"] / medians["plain"], 3),
        "seconds to import": {m: round(import_seconds(m), 2) for m in ("torch", "styletutor")},
    }
    print(json.dumps(figures, indent=1))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
