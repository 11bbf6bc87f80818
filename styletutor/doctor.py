"""What this machine has, and what a transfer will cost on it."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import psutil
import torch

from styletutor.descent import descend
from styletutor.recipes import STYLE_LAYERS, recipes
from styletutor.samples import load_image
from styletutor.vgg import VGG
from styletutor.weights import find_vgg19

SIZE, SIZES, EVALUATIONS = 256, (256, 512), 300
GIB = 2**30


def examine(vgg: VGG) -> Iterator[str]:
    """Lines of plain text: versions, device, memory, weights, then the forecast.

    The forecast runs three real evaluations at 256 pixels with `vgg`; work and memory grow with
    the number of pixels. A network that stops early is timed on the layers that it has.
    """
    yield f"Python      {platform.python_version()} on {platform.platform(terse=True)}"
    yield "packages    " + ", ".join(
        f"{name} {_version(name)}" for name in ("torch", "torchvision", "jupyterlab", "ipywidgets")
    )
    yield f"device      {_describe(vgg.device)}"
    memory = psutil.virtual_memory()
    yield f"memory      {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    yield f"weights     in use: {vgg.name} (trained on: {vgg.trained_on})"
    yield f"            vgg19: {find_vgg19() or 'not on this machine (styletutor weights fetch)'}"
    seconds, peak = measure(vgg)
    yield f"forecast    three evaluations at {SIZE}×{SIZE} pixels: {seconds:.2f} s each"
    for size in SIZES:
        pixels = (size / SIZE) ** 2
        yield (
            f"            {EVALUATIONS} evaluations at {size}×{size}: "
            f"{_duration(EVALUATIONS * seconds * pixels)}, "
            f"{peak * pixels / GIB:.1f} GiB of {'GPU ' * vgg.device.type.count('cuda')}memory"
        )


def measure(vgg: VGG) -> tuple[float, int]:
    """Seconds per evaluation (median of three) and peak bytes used, at 256 × 256 pixels.

    On the CPU the bytes are what the process grew by, so they are right in a fresh process only.
    """
    names = vgg.layer_names
    style_layers = [name for name in STYLE_LAYERS if name in names]
    content_layers = "relu4_2" if "relu4_2" in names else style_layers[-1]
    picture = load_image("astronaut", SIZE).to(vgg.device)

    def three_evaluations() -> list[float]:
        recipe = replace(
            recipes["default"], content_layers=content_layers, style_layers=style_layers
        )
        objective = recipe.objective(vgg, content=picture, styles=[picture.flip(3)])
        laps, began = [], time.perf_counter()
        for step in descend(objective, picture, 3):
            step.parts["content " + next(iter(objective.content_targets))].item()  # wait for it
            laps.append(time.perf_counter() - began)
            began = time.perf_counter()
        return laps

    laps, peak = _with_peak_memory(three_evaluations, vgg.device)
    return sorted(laps)[1], peak


def _with_peak_memory(
    work: Callable[[], list[float]], device: torch.device
) -> tuple[list[float], int]:
    """The result of `work` and the most memory that it added, in bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        return work(), torch.cuda.max_memory_allocated(device) - before
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    return result, peak - before


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device}: {properties.name}, {properties.total_memory / GIB:.0f} GiB"
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    return f"{device}: {torch.get_num_threads()} threads on {cores} cores"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"
