"""VGG-19 (Simonyan & Zisserman 2014, configuration E) as a table of named layers.

`VGG` is the convolutional part only, frozen, and never runs past the deepest layer asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletutor.network import fused
from styletutor.network.batches import leading
from styletutor.network.frozen import FrozenConv, pool
from styletutor.network.layers import CONV_NAMES, Layer, check_layer, layer_table

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
POOLINGS = ("max", "avg")
EDGES = ("zero", "repeat")


class VGG(nn.Module):
    """The frozen network: pictures in, named features out.

    Built from `parameters`, a mapping conv name → (weight, bias) for an RGB picture in [0, 1] from
    which `mean` is subtracted; it may stop after any convolution. The mean is subtracted
    explicitly instead of being folded into a bias because the zero padding of conv1_1 stands for
    mean-coloured pixels: folding would change the border.

    `adapted` gives the same network with other habits: pooling, rounding, edges, input.
    `name`, `trained_on` and `sha256` say which network this is, wherever its pictures go, and
    `source` what to give to `load_vgg` to get it again. `level` is the mean activation of its
    ReLUs, if all have about the same.

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
        level: float | None = None,
    ) -> None:
        super().__init__()
        _check_choice("pooling", pooling, POOLINGS)
        self.name, self.trained_on, self.sha256, self.pooling = name, trained_on, sha256, pooling
        self.source, self.round_up, self.edge = source or name, False, "zero"
        self.level = level
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

    def adapted(
        self,
        *,
        pooling: str | None = None,
        round_up: bool = False,
        edge: str = "zero",
        gain: float | Sequence[float] = 1.0,
        white: float = 1.0,
        strength: float = 1.0,
    ) -> VGG:
        """The same filters with the habits of another program; None keeps the pooling.

        `round_up`: an odd side pools to the larger half, its last position alone. `edge`: around
        the picture there is "zero", the mean colour, or "repeat", its outermost pixels. Pixels are
        multiplied by `white` before the mean is subtracted, and by `gain` (one number, or one for
        each of R, G and B) after it. All features are `strength` times as strong: a ReLU passes a
        factor on, so that it takes no more than a stronger input and stronger biases.
        """
        _check_choice("pooling", pooling, (*POOLINGS, None))
        _check_choice("edge", edge, EDGES)
        other = copy.copy(self)
        other.pooling, other.round_up, other.edge = pooling or self.pooling, round_up, edge
        factor = torch.tensor(gain, dtype=torch.float64).expand(3) * white  # MPS has no float64
        factor = (factor * strength).view(1, 3, 1, 1)
        if (factor != 1).any():
            convolutions = nn.ModuleDict(self.convolutions.items())
            for name, conv in self.convolutions.items() if strength != 1 else ():
                convolutions[name] = FrozenConv(conv.weight, conv.bias * strength)
            first = convolutions["conv1_1"]
            weight = (first.weight.cpu().double() * factor).to(first.weight.dtype).to(self.device)
            convolutions["conv1_1"] = FrozenConv(weight, first.bias)
            convolutions.to(memory_format=torch.channels_last)
            other._modules = {**self._modules, "convolutions": convolutions}
            other._buffers = {**self._buffers, "mean": self.mean / white}
        return other

    def grid(self, name: str, size: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the layer `name` for a picture of `size` (H, W)."""
        poolings = self.layer(name).stride.bit_length() - 1
        height, width = size
        for _ in range(poolings):
            height, width = ((side + self.round_up) // 2 for side in (height, width))
        return height, width

    def forward(
        self,
        images: Tensor,
        layers: Iterable[str] | str,
        first: Mapping[str, int] | None = None,
        read: Callable[[str, Tensor], Any] | None = None,
    ) -> dict[str, Any]:
        """Features of `images` at the named `layers`, and no work beyond the deepest of them.

        `images` is (B, 3, H, W) in [0, 1] on the network's device; each feature map is
        (B, C, H / stride, W / stride), rounded down unless `adapted`; conv and relu are what their
        names say. Where `first` maps a layer to n, its features are of the first n pictures, and
        none is taken deeper than asked for. With `read`, what it makes of (name, features) comes in
        their place.
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
        working = self.convolutions["conv1_1"].weight.dtype
        x = _Enter.apply(images, self.mean, working)
        going_on = accumulate((counts.get(row.name, 0) for row in reversed(chain)), max)
        needed = dict(zip((row.name for row in reversed(chain)), going_on, strict=True))
        features: dict[str, Tensor] = {}
        for rows in in_one(chain, wanted):
            layer, last = rows[0], rows[-1]
            x = leading(x, needed[layer.name])
            other = None  # the same once more, for whoever asked
            if layer.kind == "conv":
                repeat = self.edge == "repeat" and layer.name == "conv1_1"
                x = F.pad(x, (1, 1, 1, 1), "replicate") if repeat else x
                pooling = self.pooling if last.kind == "pool" else None
                twice = last.name in counts and last is not chain[-1] and fused.serves(x)
                x = self.convolutions[layer.name](
                    x, len(rows) > 1, pooling, self.round_up, twice and not repeat
                )
                x, other = x if isinstance(x, tuple) else (x, None)
                x = x[:, :, 1:-1, 1:-1] if repeat else x
            else:
                relu = layer.kind == "relu"
                x = F.relu(x) if relu else pool(x, self.pooling, self.round_up)
            if last.name in counts:
                found = leading(x if other is None else other, counts[last.name])
                features[last.name] = found if read is None else read(last.name, found)
        return {name: features[name] for name in wanted}

    def __repr__(self) -> str:
        count = sum(layer.parameters for layer in self.layers)
        return (
            f"VGG({self.name!r}, trained on: {self.trained_on}; conv1_1 … {self.layer_names[-1]}, "
            f"{count / 1e6:.2f} M parameters, {self.pooling} pooling, on {self.device})"
        )


class _Enter(torch.autograd.Function):
    """Pictures less the mean, in the network's precision and layout, in one pass; and back."""

    @staticmethod
    def forward(ctx, images: Tensor, mean: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = images.dtype
        like = {"dtype": dtype, "memory_format": torch.channels_last}
        if images.is_mps:  # where it is not known to cast what it writes
            return (images - mean).to(**like)
        return torch.sub(images, mean, out=torch.empty_like(images, **like))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.to(ctx.dtype, memory_format=torch.contiguous_format), None, None


def in_one(chain: Sequence[Layer], wanted: Container[str]) -> Iterator[tuple[Layer, ...]]:
    """The layers of a chain in groups that are computed in one.

    What nobody asks for is done along with the convolution before it: the ReLU, and a pooling after
    that. The forecast of memory goes by the same groups.
    """
    group: list[Layer] = []
    for row in chain:
        along = row.kind != "conv" and group[0].kind == "conv" and group[-1].name not in wanted
        if group and not along:
            yield tuple(group)
            group = []
        group.append(row)
    yield tuple(group)


def _check_choice(what: str, given: object, choices: Sequence[object]) -> None:
    if given not in choices:
        names = ", ".join(str(choice) for choice in choices if choice is not None)
        raise ValueError(f"unknown {what} {given!r}; choose one of {names}")


def check_images(images: Tensor, smallest: int = 1, layer: str = "the network") -> None:
    """Raise ValueError unless `images` is a float (B, 3, H, W) of at least `smallest` a side."""
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"expected pictures of shape (B, 3, H, W), got {shape}")
    if not images.is_floating_point():
        raise ValueError(f"expected a float picture in [0, 1], got {images.dtype}; divide by 255")
    if not len(images):
        raise ValueError("expected at least one picture, got a batch of none")
    height, width = images.shape[2:]
    if min(height, width) < smallest:
        raise ValueError(
            f"a picture of {width}×{height} pixels is too small for {layer}, which needs at least "
            f"{smallest} pixels a side; use a larger picture or an earlier layer"
        )


def _check_parameters(parameters: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Layer, ...]:
    """The table's rows up to the last convolution given (and the relu and pooling after it)."""
    convolutions = [row for row in layer_table() if row.kind == "conv"]
    present = [row for row in convolutions if row.name in parameters]
    if not present or present != convolutions[: len(present)]:
        missing = next(name for name in CONV_NAMES if name not in parameters)
        raise ValueError(f"these weights have no {missing}; VGG-19 needs its layers from the first")
    widths = []
    for row in present:
        name, (weight, bias) = row.name, parameters[row.name]
        channels = widths[-1] if widths else 3
        expected = (len(weight) if weight.ndim else 0, channels, 3, 3)
        if tuple(weight.shape) != expected or tuple(bias.shape) != expected[:1]:
            raise ValueError(
                f"{name} has weights of shape {tuple(weight.shape)} and biases of shape "
                f"{tuple(bias.shape)}, expected {expected} and {expected[:1]}"
            )
        if not all(values.float().isfinite().all() for values in (weight, bias)):
            raise ValueError(
                f"{name} has weights that are no finite float32 numbers; the file is damaged"
            )
        widths.append(len(weight))
    table = layer_table(widths + widths[-1:] * (len(convolutions) - len(present)))
    end = [layer.name for layer in table].index(present[-1].name) + 2  # its relu belongs to it
    if end < len(table) and table[end].kind == "pool":
        end += 1
    return table[:end]
