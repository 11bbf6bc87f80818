"""What this machine has, and what a transfer will cost on it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil
import torch

from styletutor.cookbook.published import recipes
from styletutor.descent import descend
from styletutor.descent.forecast import Room, largest_side, predict
from styletutor.descent.method import EVALUATIONS, Method
from styletutor.loss.objective import Objective
from styletutor.machine import GIB, free_bytes
from styletutor.network.vgg import VGG
from styletutor.network.weights import describe_vgg19
from styletutor.pictures.loading import load_image

SIZE, SIZES, TILE = 256, (256, 512), 512


def examine(vgg: VGG) -> Iterator[str]:
    """Lines of plain text: versions, device, memory, weights, then the forecast.

    The forecast times real evaluations at 256 pixels with `vgg`; work grows with the number of
    pixels, and memory is worked out. A network that stops early is judged by the layers it has.
    """
    yield f"Python      {platform.python_version()} on {platform.platform(terse=True)}"
    yield "packages    " + ", ".join(
        f"{name} {_version(name)}" for name in ("torch", "torchvision", "jupyterlab", "ipywidgets")
    )
    yield f"device      {_describe(vgg.device)}"
    free, total = free_bytes(torch.device("cpu")), psutil.virtual_memory().total
    yield f"memory      {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    yield f"weights     in use: {vgg.name} (trained on: {vgg.trained_on})"
    yield f"            vgg19: {describe_vgg19()}"
    seconds = measure(vgg)
    content, style = _layers(vgg)
    yield f"forecast    three evaluations at {SIZE}×{SIZE} pixels: {seconds:.2f} s each"
    how = {"precision": _method(vgg).precision}
    for size in SIZES:
        yield (
            f"            {EVALUATIONS} evaluations at {size}×{size}: "
            f"{_duration(EVALUATIONS * seconds * (size / SIZE) ** 2)}, "
            f"{predict(vgg, (size, size), content, style, **how) / GIB:.1f} GiB of memory"
        )
    free = free_bytes(vgg.device)
    whole = largest_side(vgg, (1, 1), free, content, style, **how)
    tiled = largest_side(vgg, (1, 1), free, content, style, room=Room(TILE), **how)
    yield f"            the largest square that fits in what is free: {whole}×{whole} pixels,"
    yield f"            in tiles of {TILE} pixels (--tile {TILE}) {tiled}×{tiled}"


def _layers(vgg: VGG) -> tuple[list[str], list[str]]:
    """The default recipe's content and style layers, as far as the network has them."""
    recipe, there = recipes["default"], vgg.layer_names
    style = [name for name in recipe.style_layers if name in there]
    return [name for name in recipe.content_layers if name in there] or style[-1:], style


def measure(vgg: VGG) -> float:
    """Seconds per evaluation at 256 × 256 pixels, the median of three."""
    content, style = _layers(vgg)
    picture = load_image("astronaut", SIZE).to(vgg.device)
    pictures = {"content": picture, "styles": [picture.flip(3)]}
    objective = Objective(vgg, content_layers=content, style_layers=style, **pictures)
    # The first prepares; the last of a fast descent is in full precision and does not count.
    laps, began = [], time.perf_counter()
    for step in descend(objective, picture, 6, method=_method(vgg)):
        step.losses["total"]  # wait for it
        laps.append(time.perf_counter() - began)
        began = time.perf_counter()
    return statistics.median(laps[1:4])


def _method(vgg: VGG) -> Method:
    method = recipes["default"].method(precision="auto")
    return method.settled(vgg.device, "content", (SIZE, SIZE))


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
