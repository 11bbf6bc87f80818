"""The layers of VGG-19 (Simonyan & Zisserman 2014, configuration E): names, sizes, fields."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

CONVOLUTIONS_PER_BLOCK = (2, 2, 4, 4, 4)
FULL_WIDTH = (64, 128, 256, 512, 512)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row of the layer table.

    `stride` is how many picture pixels lie between neighbouring positions, `receptive_field` the
    side, in pixels, of the square that one position sees; `parameters` counts the layer's own.
    """

    name: str
    kind: str  # "conv", "relu" or "pool"
    block: int  # 1 to 5
    channels: int
    stride: int
    receptive_field: int
    parameters: int


def layer_table(widths: Sequence[int] = FULL_WIDTH) -> tuple[Layer, ...]:
    """All layers conv1_1 … pool5 in order, `widths` channels per block (5) or convolution (16).

    Stride and receptive field follow from the kernel size k and stride s of each layer: the field
    grows by (k - 1) times the stride so far, the stride by the factor s.
    """
    rows: list[Layer] = []
    stride, field, channels = 1, 1, 3

    def add(kind: str, block: int, number: str = "", parameters: int = 0) -> None:
        at = {"block": block, "channels": width, "stride": stride, "receptive_field": field}
        rows.append(Layer(name=f"{kind}{block}{number}", kind=kind, parameters=parameters, **at))

    if len(widths) == len(CONVOLUTIONS_PER_BLOCK):
        widths = [w for w, n in zip(widths, CONVOLUTIONS_PER_BLOCK, strict=True) for _ in range(n)]
    wide = iter(widths)
    for block, repeats in enumerate(CONVOLUTIONS_PER_BLOCK, start=1):
        for i in range(1, repeats + 1):
            width = next(wide)
            field += 2 * stride
            add("conv", block, f"_{i}", width * (channels * 9 + 1))
            add("relu", block, f"_{i}")
            channels = width
        field += stride
        stride *= 2
        add("pool", block)
    return tuple(rows)


def seen_by(layer: Layer, row: int, column: int) -> tuple[float, float, float]:
    """What a position of `layer` sees: left, top and side of a square, in pixels.

    It lies around the middle of the position's own `stride` × `stride` pixels: a 3 × 3 convolution
    with padding keeps the middle, and a 2 × 2 pooling takes that of the four. It may reach beyond
    the picture.
    """
    half = layer.receptive_field / 2
    left, top = ((place + 0.5) * layer.stride - half for place in (column, row))
    return left, top, layer.receptive_field


LAYER_NAMES = tuple(layer.name for layer in layer_table())
CONV_NAMES = tuple(layer.name for layer in layer_table() if layer.kind == "conv")


def check_layer(name: str, available: Sequence[str] = LAYER_NAMES) -> str:
    """`name` itself if it is a layer of VGG-19 and among `available`.

    Raises ValueError with the nearest names, or, for a layer beyond the end of a network that
    stops early, with the last layer that there is.
    """
    if name in available:
        return name
    if name in LAYER_NAMES:
        raise ValueError(
            f"layer {name!r} lies beyond the end of these weights, which stop at "
            f"{available[-1]!r}; choose an earlier layer or other weights"
        )
    digits = "_".join(re.findall(r"\d", str(name)))
    near = [n for n in available if digits and n.endswith(digits)]
    near = near or difflib.get_close_matches(str(name), available, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "layers are named conv1_1 … pool5"
    raise ValueError(f"unknown layer {name!r}; {hint}")
