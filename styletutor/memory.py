"""How much memory a descent needs, worked out before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import psutil
import torch

from styletutor.lbfgs import LBFGS
from styletutor.vgg import VGG

GIB = 2**30
FLOAT, INDEX = 4, 8  # bytes


def predict(
    vgg: VGG,
    size: Sequence[int],
    *,
    content_layers: Iterable[str] = (),
    style_layers: Iterable[str] = (),
    precision: str = "exact",
    optimiser: str = "lbfgs",
    batch: int | Mapping[str, int] = 1,
) -> int:
    """Bytes that a descent on pictures of `size` (H, W) adds to what the process has, at its peak.

    Counted as the core allocates: what the forward pass keeps, and three gradients at the deepest
    point of need; the targets; the optimiser's history. `batch` is the number of pictures, or how
    many of them each layer is needed for.
    """
    content, style = list(content_layers), list(style_layers)
    counts = batch if isinstance(batch, Mapping) else dict.fromkeys((*content, *style), batch)
    pictures = max(counts.values())
    picture = pictures * 3 * size[0] * size[1] * FLOAT
    evaluation, targets = _evaluation(vgg, size, content, style, counts, precision)
    if optimiser == "lbfgs":
        state, working = 2 * LBFGS().history + 1 + 3 + 3, 4
    else:
        state, working = 2, 4
    around = 5  # the picture, its gradient, the best one; the content picture and a style
    weights = sum(p.numel() for p in vgg.convolutions.parameters())
    copies = weights * FLOAT if precision == "fast" else 0  # two of half the size
    return (state + around) * picture + targets + copies + max(working * picture, evaluation)


def _evaluation(
    vgg: VGG,
    size: Sequence[int],
    content: list[str],
    style: list[str],
    counts: Mapping[str, int],
    precision: str,
) -> tuple[int, int]:
    """Bytes of one forward and backward pass at its peak, and of the targets."""
    width = FLOAT // 2 if precision == "fast" else FLOAT
    last = vgg.layers.index(vgg.deepest(counts))
    chain, kept, targets = vgg.layers[: last + 1], [], 0
    for place, layer in enumerate(chain):
        n = max(counts.get(row.name, 0) for row in chain[place:])
        values = n * layer.channels * (size[0] // layer.stride) * (size[1] // layer.stride)
        keeps = 0
        if layer.kind == "relu" or layer.name in counts:
            keeps += values * width
        if layer.kind == "pool" and vgg.pooling == "max":
            keeps += values * INDEX
        if layer.name in content:
            own = values // n * counts[layer.name]
            targets += values // n * FLOAT
            keeps += own * FLOAT * (2 if precision == "fast" else 1)  # the difference to the target
        if layer.name in style:
            targets += layer.channels**2 * FLOAT
        kept.append((values * width, keeps, layer.name in style))
    held = sum(keeps for _, keeps, _ in kept)
    peak = held + kept[-1][0]
    for place in range(last, 0, -1):
        gradient, keeps, in_style = kept[place]
        below = kept[place - 1][0]
        # The gradient that came, the one that passed the ReLU or was added to it, the next one.
        peak = max(peak, held + 2 * gradient + max(below, gradient * in_style))
        held -= keeps
    return peak, targets


def free_bytes(device: torch.device) -> int:
    """What is free on the device, as far as its system tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
