"""What an objective aims at: features of a content, statistics of styles, and how they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styletutor.loss.losses import or_one, squared_distance
from styletutor.loss.parts import Part
from styletutor.loss.statistics import STATISTICS
from styletutor.loss.units import CONTENT_UNITS, SHARE, STYLE_UNITS, Factor, Place, Units
from styletutor.network.vgg import VGG


class Targets:
    """Targets captured once, without a graph; the features of one picture are all that is held.

    `content` and `style` map layers to what is aimed at, (1 or B, …); `factors` map parts such as
    "style relu1_1" to what multiplies their distances: (1 or B,), or (1 or B, R) for R regions;
    `common` has those of all parts that are one for each picture, (P, 1 or B), and 1 for others.
    The arguments are those of `Objective`, with shares of the blend for each style layer.
    """

    @torch.no_grad()
    def __init__(
        self,
        vgg: VGG,
        units: Units,
        content: Tensor | None,
        styles: Sequence[Tensor],
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        blend: Mapping[str, Sequence[float]],
        masks: Sequence[Tensor] | None,
    ) -> None:
        self.vgg, self.units, self.statistic = vgg, units, STATISTICS[units.statistic]
        self.masks = None if masks is None else [mask.to(vgg.mean) for mask in masks]
        self._regions: dict[tuple[int, ...], list[Tensor]] = {}
        self._size = (styles[0] if content is None else content).shape[2:]
        self.content = vgg(content, content_layers) if content_layers else {}
        self.style: dict[str, Tensor] = {}
        self.factors: dict[str, Tensor] = {}
        self._constants: dict[str, Tensor] = {}
        for layer, target in self.content.items():
            factor = self._factor(units.content, CONTENT_UNITS, layer, _squares(target.flatten(1)))
            self.factors[f"content {layer}"] = factor
        measured = [self._measure_whole(style, style_layers) for style in styles]
        for layer in style_layers:
            self._aim(layer, [of_style[layer] for of_style in measured], blend[layer])
        # Other factors than one for each picture are of a part's own sum.
        self._by_itself = {p for p, f in self.factors.items() if f.ndim > 1 or p in self._constants}
        rows = [torch.ones_like(f.flatten()[:1]) if p in self._by_itself else f
                for p, f in self.factors.items()]  # fmt: skip
        self.common = torch.stack(torch.broadcast_tensors(*rows))

    def measure(self, features: Tensor) -> Tensor:
        """The style's statistic of features (B, C, H, W): (B, C, …), or of regions (B, R, C, …)."""
        if self.masks is None:
            return self.statistic.measure(features, None)
        size = tuple(features.shape[2:])
        if size not in self._regions:
            self._regions[size] = [F.interpolate(mask, size, mode="area") for mask in self.masks]
        regions = self._regions[size]
        return torch.stack([self.statistic.measure(features, weights) for weights in regions], 1)

    def losses(self, part: str, value: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """How far `value` (n, …) is from the target of a part, in its units but for its row of
        `common`: (n,).

        `pick` chooses from (B, …) those that belong to the n.
        """
        term, layer = Part.of(part)
        target, distance = self.style.get(layer), self.statistic.distance
        if term == "content":
            target, distance = self.content[layer], _of_features
        losses = distance(value, pick(target))
        if part not in self._by_itself:
            return losses
        losses = losses * pick(self.factors[part])
        if part in self._constants:
            losses = losses + pick(self._constants[part])
        return losses.sum(1) if losses.ndim == 2 else losses

    def _aim(self, layer: str, values: Sequence[Tensor], shares: Sequence[float]) -> None:
        together = torch.stack(values, 1) if self.masks else self.statistic.blend(values, shares)
        target = self.statistic.aim(together)
        squares = _squares(target.flatten(-2))
        factor = self._factor(self.units.style, STYLE_UNITS, layer, squares)
        if self.masks:
            counts = [len(shares) * s * m.mean() for s, m in zip(shares, self.masks, strict=True)]
            factor = factor * torch.stack(counts)
        elif self.units.blend_losses and len(values) > 1:
            pairs = zip(shares, values, strict=True)
            each = sum(share * _squares(value.flatten(-2)) for share, value in pairs)
            self._constants[f"style {layer}"] = factor * (each - squares)
        self.style[layer], self.factors[f"style {layer}"] = target, factor

    def _factor(
        self, unit: str, units: Mapping[str, Factor], layer: str, squares: Tensor
    ) -> Tensor:
        if unit == SHARE:  # a target that is zero everywhere counts as 1
            return 1 / or_one(squares)
        rows, columns = self.vgg.grid(layer, self._size)
        channels, pixels = self.vgg.layer(layer).channels, self._size[0] * self._size[1]
        return torch.full_like(squares, units[unit](Place(channels, rows * columns, pixels)))

    def _measure_whole(self, style: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        measure = self.statistic.measure
        found = [
            self.vgg(one, layers, read=lambda _, features: measure(features, None))
            for one in (style.split(1) if layers else ())
        ]
        return {layer: torch.cat([of_one[layer] for of_one in found]) for layer in layers}


def check_masks(masks: Sequence[Tensor], styles: int) -> list[Tensor]:
    """Masks (h, w) or (1, 1, h, w) as (1, 1, h, w). Raises ValueError as `Objective` does."""
    if len(masks) != styles:
        raise ValueError(f"{len(masks)} mask(s) for {styles} style picture(s); give one for each")
    checked = []
    for place, mask in enumerate(masks, start=1):
        if mask.ndim not in (2, 4) or (mask.ndim == 4 and mask.shape[:2] != (1, 1)):
            raise ValueError(f"mask {place} has shape {tuple(mask.shape)}, expected (h, w)")
        mask = mask.detach().float().view(1, 1, *mask.shape[-2:])
        if not (mask.numel() and mask.min() >= 0 and mask.max() <= 1):  # so that NaN fails as well
            raise ValueError(f"mask {place} has values outside [0, 1]; 1 is inside the region")
        if not mask.any():
            raise ValueError(f"mask {place} has no pixels: it is 0 everywhere; leave out its style")
        checked.append(mask)
    return checked


def _squares(values: Tensor) -> Tensor:
    return values.square().sum(-1)


def _of_features(value: Tensor, target: Tensor) -> Tensor:
    return squared_distance(value, target, (1, 2, 3))
