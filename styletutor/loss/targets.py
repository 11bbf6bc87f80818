"""What an objective aims at: features of a content, statistics of styles, and how they count."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styletutor.loss.losses import or_one, squared_distance
from styletutor.loss.needs import Needs
from styletutor.loss.parts import Part
from styletutor.loss.pieces import look
from styletutor.loss.statistics import STATISTICS
from styletutor.loss.units import CONTENT_UNITS, SHARE, STYLE_UNITS, Factor, Place, Units
from styletutor.network.tiles import Tile, features_by_tiles
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
        tile: int | None,
    ) -> None:
        self.vgg, self.units, self.statistic = vgg, units, STATISTICS[units.statistic]
        self.masks: list[Tensor] | None = None  # styles are measured as wholes
        self._grids: dict[tuple[int, ...], list[Tensor]] = {}
        self._regions: dict[str, list[Tensor]] | None = None  # of a tile, by layer
        self._style_layers = tuple(style_layers)
        self._size = (styles[0] if content is None else content).shape[2:]
        self.content = (
            features_by_tiles(vgg, content, content_layers, tile) if content_layers else {}
        )
        self.style: dict[str, Tensor] = {}
        self.factors: dict[str, Tensor] = {}
        self._constants: dict[str, Tensor] = {}
        for layer, target in self.content.items():
            squares = torch.linalg.vector_norm(target, dim=(1, 2, 3)).square()  # makes no copy
            factor = self._factor(units.content, CONTENT_UNITS, layer, squares)
            self.factors[f"content {layer}"] = factor
        measured = [self._measure_style(style, style_layers, tile) for style in styles]
        self.masks = None if masks is None else [mask.to(vgg.mean) for mask in masks]
        for layer in style_layers:
            self._aim(layer, [of_style[layer] for of_style in measured], blend[layer])
        # Other factors than one for each picture are of a part's own sum.
        self._by_itself = {p for p, f in self.factors.items() if f.ndim > 1 or p in self._constants}
        rows = [torch.ones_like(f.flatten()[:1]) if p in self._by_itself else f
                for p, f in self.factors.items()]  # fmt: skip
        self.common = torch.stack(torch.broadcast_tensors(*rows))

    def measure(self, part: str, features: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """What the loss of a part needs to know of features (n, C, H, W).

        Of content Σ (F - P)², (n,), where `pick` chooses from targets (B, …) those of the n. Of a
        style its statistic, (n, C, …), or of regions (n, R, C, …); of a tile (`at`), whose own
        statistic would say nothing of the whole, the features as they are.
        """
        term, name = Part.of(part)
        if term == "content":
            target = self.content[name].to(features.device)
            _check_size(features, target, name)
            return squared_distance(features, pick(target), (1, 2, 3))
        if self._regions is not None and not self.adds_up(part):
            return features
        if self.masks is None:
            return self.statistic.measure(features, None)
        regions = self._regions[name] if self._regions else self._areas(features.shape[2:])
        found = [self.statistic.measure(features, weights.to(features)) for weights in regions]
        return torch.stack(found, 1)

    def at(self, tile: Tile) -> Targets:
        """What a tile is measured by: its own part of what these have, and nothing else."""
        other = copy.copy(self)
        other.content = {name: tile.of(self.vgg.layer(name), f) for name, f in self.content.items()}
        other._regions = {}
        for name in self._style_layers if self.masks else ():
            areas = self._areas(self.vgg.grid(name, tile.size))
            other._regions[name] = [tile.of(self.vgg.layer(name), area) for area in areas]
        other.masks = self.masks and []
        other.style, other.factors, other._constants, other._grids = {}, {}, {}, {}
        other.vgg = None
        return other

    def share(self, part: str, tile: Tile) -> float | Tensor:
        """How much of a style's statistic comes from a tile; of regions, (R, 1, 1)."""
        name = Part.of(part).layer
        layer, grid = self.vgg.layer(name), self.vgg.grid(name, tile.size)
        if self.masks is None:
            return tile.share(layer, grid)
        sums = [torch.stack([tile.of(layer, area).sum(), area.sum()]) for area in self._areas(grid)]
        own, whole = torch.stack(sums, 1)
        return (own / whole).view(-1, 1, 1)

    def adds_up(self, part: str) -> bool:
        """Is the value of a whole a mixture, or a sum, of those of its tiles?"""
        return Part.of(part).term == "content" or self.statistic.within is not None

    def losses(self, part: str, value: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """How far what was measured, (n, …), is from the target of a part, in its units but for its
        row of `common`: (n,).

        `pick` chooses from (B, …) those that belong to the n.
        """
        term, layer = Part.of(part)
        if term == "style":
            value = self.statistic.distance(value, pick(self.style[layer]))
        if part not in self._by_itself:
            return value
        losses = value * pick(self.factors[part])
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

    def _areas(self, grid: Sequence[int]) -> list[Tensor]:
        """The masks at a layer of so many rows and columns."""
        grid = tuple(grid)
        if grid not in self._grids:
            self._grids[grid] = [F.interpolate(mask, grid, mode="area") for mask in self.masks]
        return self._grids[grid]

    def _measure_style(
        self, style: Tensor, layers: Sequence[str], tile: int | None
    ) -> dict[str, Tensor]:
        """The statistic of each layer of a style, without regions."""
        if not layers:
            return {}
        uses = {f"style {layer}": [True] for layer in layers}
        needs = Needs.of(uses, self.vgg.layer_names, tv=False)
        found = [look(self, self.vgg, one, needs, tile) for one in style.split(1)]
        return {layer: torch.cat([one[f"style {layer}"] for one in found]) for layer in layers}


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


def _check_size(features: Tensor, target: Tensor, layer: str) -> None:
    if features.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"at {layer} the pictures give features of shape {tuple(features.shape)} but the "
            f"content picture {tuple(target.shape)}; both must have the same height and width"
        )


def _squares(values: Tensor) -> Tensor:
    return values.square().sum(-1)
