"""VGG-19 (Simonyan & Zisserman 2014, configuration E) as a table of named layers.

`VGG` is the convolutional part only, frozen, and never runs past the deepest layer asked for.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletutor.frozen import FrozenConv, pool
from styletutor.structure import leading

CONVOLUTIONS_PER_BLOCK = (2, 2, 4, 4, 4)
FULL_WIDTH = (64, 128, 256, 512, 512)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
POOLINGS = ("max", "avg")


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    `stride` is how many picture pixels lie between neighbouring positions, `receptive_field` the
    side, in pixels, of the square that one position sees; `parameters` counts the layer's own.
    """

    name: str
    kind: str  # "conv", "relu" or "pool"
    channels: int
    stride: int
    receptive_field: int
    parameters: int


def layer_table(widths: Sequence[int] = FULL_WIDTH) -> tuple[Layer, ...]:
    """All layers conv1_1 … pool5 in order, for the given number of channels per block.

    Stride and receptive field follow from the kernel size k and stride s of each layer: the field
    grows by (k - 1) times the stride so far, the stride by the factor s.
    """
    rows, stride, field, channels = [], 1, 1, 3
    for block, (repeats, width) in enumerate(
        zip(CONVOLUTIONS_PER_BLOCK, widths, strict=True), start=1
    ):
        for i in range(1, repeats + 1):
            field += 2 * stride
            parameters = width * (channels * 9 + 1)
            channels = width
            rows.append(Layer(f"conv{block}_{i}", "conv", width, stride, field, parameters))
            rows.append(Layer(f"relu{block}_{i}", "relu", width, stride, field, 0))
        field += stride
        stride *= 2
        rows.append(Layer(f"pool{block}", "pool", width, stride, field, 0))
    return tuple(rows)


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


class VGG(nn.Module):
    """The frozen network: pictures in, named features out.

    Built from `parameters`, a mapping conv name → (weight, bias) for an RGB picture in [0, 1] from
    which `mean` is subtracted; it may stop after any convolution. The mean is subtracted
    explicitly instead of being folded into a bias because the zero padding of conv1_1 stands for
    mean-coloured pixels: folding would change the border.

    `name`, `trained_on` and `sha256` say which network this is, wherever its pictures go, and
    `source` what to give to `load_vgg` to get it again.

    >>> vgg(photo, ["relu1_1", "relu4_2"])["relu4_2"].shape       # photo: (1, 3, 256, 256)
    torch.Size([1, 512, 32, 32])
    """

    def __init__(
        self,
        parameters: Mapping[str, tuple[Tensor, Tensor]],
        *,
        name: str,
        trained_on: str,
        sha256: str,
        mean: Sequence[float] = IMAGENET_MEAN,
        pooling: str = "max",
        source: str | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}; choose one of {', '.join(POOLINGS)}")
        self.name, self.trained_on, self.sha256, self.pooling = name, trained_on, sha256, pooling
        self.source = source or name
        self.layers = _check_parameters(parameters)
        self.convolutions = nn.ModuleDict()
        for conv in (layer.name for layer in self.layers if layer.kind == "conv"):
            weight, bias = parameters[conv]
            self.convolutions[conv] = FrozenConv(weight.float(), bias.float())
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        # Convolutions and Gram products both read channels-last features without a copy.
        self.to(memory_format=torch.channels_last)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where pictures have to be."""
        return self.mean.device

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all layers that this network has, in order."""
        return tuple(layer.name for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The table's row for `name`; ValueError with the nearest names if there is none."""
        return self.layers[self.layer_names.index(check_layer(name, self.layer_names))]

    def deepest(self, names: Iterable[str]) -> Layer:
        """The row of the deepest of `names`."""
        return max((self.layer(n) for n in names), key=self.layers.index)

    def low_precision(self) -> VGG:
        """The same network with bfloat16 weights and features, for pictures in float32 still."""
        other = copy.copy(self)
        other._modules = {**self._modules, "convolutions": copy.deepcopy(self.convolutions)}
        other.convolutions.bfloat16()
        return other

    def forward(
        self,
        images: Tensor,
        layers: Iterable[str] | str,
        first: Mapping[str, int] | None = None,
        read: Callable[[str, Tensor], Any] | None = None,
    ) -> dict[str, Any]:
        """Features of `images` at the named `layers`, and no work beyond the deepest of them.

        `images` is (B, 3, H, W) in [0, 1] on the network's device; each feature map is
        (B, C, H / stride, W / stride), rounded down; conv and relu are what their names say. Where
        `first` maps a layer to n, its features are of the first n pictures, and none is taken
        deeper than asked for. With `read`, what it makes of (name, features) comes in their place.
        Raises ValueError for an unknown layer, a tensor of another shape, or a picture too small.
        """
        wanted = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
        if not wanted:
            raise ValueError("no layer was asked for; name at least one, as 'relu4_2'")
        last = self.deepest(wanted)
        check_images(images, smallest=last.stride, layer=last.name)
        if images.dtype != self.mean.dtype:
            raise ValueError(f"the pictures are {images.dtype}, the network {self.mean.dtype}")
        counts = {name: len(images) for name in wanted} | dict(first or {})
        chain = self.layers[: self.layers.index(last) + 1]
        going_on = list(accumulate((counts.get(row.name, 0) for row in reversed(chain)), max))
        working = self.convolutions["conv1_1"].weight.dtype
        x = (images.contiguous(memory_format=torch.channels_last) - self.mean).to(working)
        features: dict[str, Tensor] = {}
        fused: set[str] = set()
        for place, (layer, n) in enumerate(zip(chain, reversed(going_on), strict=True)):
            x = leading(x, n)
            if layer.kind == "conv":
                # What nobody asks for is done in one: the ReLU, and a pooling after it.
                between = [row.name for row in chain[place : place + 3]]
                relu = len(between) > 1 and between[0] not in wanted
                ends = relu and between[1] not in wanted and between[-1][:4] == "pool"
                fused.update(between[1 : 1 + relu + ends])
                x = self.convolutions[layer.name](x, relu, self.pooling if ends else None)
            elif layer.name not in fused:
                x = F.relu(x) if layer.kind == "relu" else pool(x, self.pooling)
            if layer.name in wanted:
                found = leading(x, counts[layer.name])
                features[layer.name] = found if read is None else read(layer.name, found)
        return {name: features[name] for name in wanted}

    def __repr__(self) -> str:
        count = sum(layer.parameters for layer in self.layers)
        return (
            f"VGG({self.name!r}, trained on: {self.trained_on}; conv1_1 … {self.layer_names[-1]}, "
            f"{count / 1e6:.2f} M parameters, {self.pooling} pooling, on {self.device})"
        )


def check_images(images: Tensor, smallest: int = 1, layer: str = "the network") -> None:
    """Raise ValueError unless `images` is a float (B, 3, H, W) of at least `smallest` a side."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"expected pictures of shape (B, 3, H, W), got {shape}")
    if not images.is_floating_point():
        raise ValueError(f"expected a float picture in [0, 1], got {images.dtype}; divide by 255")
    height, width = images.shape[2:]
    if min(height, width) < smallest:
        raise ValueError(
            f"a picture of {width}×{height} pixels is too small for {layer}, which needs at least "
            f"{smallest} pixels a side; use a larger picture or an earlier layer"
        )


def _check_parameters(parameters: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Layer, ...]:
    """The table's rows up to the last convolution given (and the relu and pooling after it)."""
    present = [name for name in CONV_NAMES if name in parameters]
    if not present or present != list(CONV_NAMES[: len(present)]):
        missing = next(name for name in CONV_NAMES if name not in parameters)
        raise ValueError(f"these weights have no {missing}; VGG-19 needs its layers from the first")
    channels, widths = 3, list(FULL_WIDTH)
    for name in present:
        weight, bias = parameters[name]
        block = int(name[4]) - 1
        if name.endswith("_1"):
            widths[block] = len(weight) if weight.ndim else 0
        expected = (widths[block], channels, 3, 3)
        if tuple(weight.shape) != expected or tuple(bias.shape) != expected[:1]:
            raise ValueError(
                f"{name} has weights of shape {tuple(weight.shape)} and biases of shape "
                f"{tuple(bias.shape)}, expected {expected} and {expected[:1]}"
            )
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise ValueError(f"{name} has weights that are not finite numbers; the file is damaged")
        channels = widths[block]
    table = layer_table(widths)
    end = [layer.name for layer in table].index(present[-1]) + 2  # its relu belongs to it
    if end < len(table) and table[end].kind == "pool":
        end += 1
    return table[:end]
