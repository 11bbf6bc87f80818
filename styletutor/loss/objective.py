"""What a picture is moved downhill on: targets and weights in, loss terms per picture out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from styletutor.loss.knobs import Blend, Knobs, LayerWeights, Weight, blend_shares, layer_shares
from styletutor.loss.losses import total_variation
from styletutor.loss.needs import Needs
from styletutor.loss.parts import TERMS, Part
from styletutor.loss.pieces import look, one_after_another
from styletutor.loss.targets import Targets, check_masks
from styletutor.loss.units import SHARES, Units
from styletutor.machine import full_float32, usual_torch
from styletutor.network.vgg import VGG
from styletutor.pictures.images import resample


class Objective:
    """α · content + β · style + γ · total variation, for each picture of a batch by itself.

    content is Σ_l w_l u_l Σ (F_l - P_l)² and style Σ_l w_l u_l Σ (G_l - A_l)² (Gatys et al. 2016,
    Eqs. 1, 4, 5 and 7), where the `units` say what the factors u_l are and whether the weights w_l
    of a term are scaled to sum to 1. By default they are, and each loss is a share of its target's
    own sum of squares, as `losses.relative_error`. Layers are given as names (equal weights) or as
    a mapping name → weight.

    `content` is (1 or B, 3, H, W); `styles` are pictures (1 or B, 3, h, w) of any size. They are
    mixed by `blend`: shares, scaled to sum to 1 (equal if not given), or a mapping layer → shares.
    The target is the blend of their Gram matrices. In units that do not depend on the target that
    has the gradient of the blended losses; with shares of the target it is a choice of its own, in
    which the style of stronger contrast counts for more.

    With `masks`, one (h, w) in [0, 1] for each style, each style is for its own region only: the
    guided Gram matrices of Gatys et al. (2017). Edges may be soft. A region counts by its area, and
    more or less where its share of the blend is more or less than an equal one.

    With a `tile` in pixels, pictures are looked at in tiles of at most about that side, which takes
    their share of the memory and a second forward pass (`pieces`). Losses and gradients are the
    same up to rounding. Set `hands` to have the tiles looked at by others.

    Pictures must be on the network's device. Targets are captured once, without a graph; nothing
    else is kept.

    >>> objective = Objective(vgg, content=photo, styles=[art],
    ...                       content_layers="relu4_2", style_layers=["relu1_1", "relu2_1"])
    >>> objective(images)["total"]                        # images: (B, 3, H, W)
    tensor([1.0021])

    Raises ValueError for an unknown layer, a negative or non-finite weight, layers without a
    picture, as many blend weights or masks as there are not styles, or an empty mask.
    """

    @usual_torch()
    def __init__(
        self,
        vgg: VGG,
        *,
        content: Tensor | None = None,
        styles: Sequence[Tensor] = (),
        content_layers: LayerWeights = (),
        style_layers: LayerWeights = (),
        content_weight: float = 1.0,
        style_weight: float = 1.0,
        tv_weight: float = 0.0,
        blend: Blend = None,
        masks: Sequence[Tensor] | None = None,
        units: Units = SHARES,
        tile: int | None = None,
    ) -> None:
        self.vgg, self.units, self.knobs = vgg, units, Knobs(vgg.device)
        self.tile, self.hands = tile, one_after_another
        content_shares = layer_shares(content_layers if content is not None else (), units.average)
        style_shares = layer_shares(style_layers if len(styles) else (), units.average)
        if not content_shares and not style_shares:
            raise ValueError("nothing to aim at: give a picture and at least one layer for it")
        scale = torch.tensor(units.pixel_scale, device=vgg.device)
        self._pixel_scale = scale.expand(3).view(3, 1, 1)
        self.layers = tuple(dict.fromkeys((*content_shares, *style_shares)))
        self.content = None if content is None else content.detach()
        self.styles = tuple(style.detach() for style in styles)
        self.masks = None if masks is None else check_masks(masks, len(styles))
        self._blend = blend_shares(blend, len(styles), tuple(style_shares))
        self._capture(tuple(content_shares), tuple(style_shares))
        for name, value in zip(TERMS, (content_weight, style_weight, tv_weight), strict=True):
            self.set_weight(name, value)
        for term, shares in (("content", content_shares), ("style", style_shares)):
            for layer, share in shares.items():
                self.set_weight(str(Part(term, layer)), share)
        self.knobs.sync()

    def set_weight(self, name: str, value: Weight | Tensor) -> None:
        """Turn a knob: `name` is a term ("content", "style", "tv") or a layer in one
        ("style relu1_1"), `value` one number ≥ 0 or one per picture of the batch.

        A descent under way takes it up at its next evaluation. A layer that no picture gives any
        weight is not evaluated.
        """
        known = (*TERMS, *self.targets.factors)
        if name not in known:
            raise ValueError(f"no weight is called {name!r}; there are {', '.join(known)}")
        self.knobs.set(name, value)

    def weight_values(self, in_use: bool = False) -> dict[str, list[float]]:
        """All weights as numbers: one each, or one per picture; with `in_use` those that the last
        evaluation counted with, which may have been turned since."""
        values = self.knobs.in_use if in_use else self.knobs.values
        return {name: list(numbers) for name, numbers in values.items()}

    def needs(self, batch: int) -> Needs:
        """Which pictures of a batch need which parts, as the weights in use are."""
        self._check_batch(batch)
        uses = {
            part: self.knobs.uses(batch, Part.of(part).term, part) for part in self.targets.factors
        }
        return Needs.of(uses, self.vgg.layer_names, any(self.knobs.uses(batch, "tv")))

    def parts(
        self, images: Tensor, network: VGG | None = None, needs: Needs | None = None
    ) -> dict[str, Tensor]:
        """Every weighted part by itself, (B,) each: "content relu4_2", "style relu1_1", …, "tv".

        Their sum is the total. `images` is (B, 3, H, W) in [0, 1] on the network's device.
        `network` may be a copy of it in another precision, and `needs` what `needs` gave;
        without one the knobs are brought up to date.
        """
        if needs is None:
            self.knobs.sync()
            needs = self.needs(len(images))
        found = self._distances(images, network, needs)
        weights = (self.knobs.parts * self.targets.common).unbind()
        parts = {name: w * d for (name, d), w in zip(found.items(), weights, strict=True)}
        return parts | ({"tv": self._roughness(images)} if needs.tv else {})

    def table(self, images: Tensor, network: VGG, needs: Needs) -> Tensor:
        """The same as the rows of one tensor, (P, B): all weighted at once, for on a GPU each small
        step counts."""
        found = self._distances(images, network, needs)
        table = torch.stack(list(found.values())) * (self.knobs.parts * self.targets.common)
        return torch.cat([table, self._roughness(images)[None]]) if needs.tv else table

    def _roughness(self, images: Tensor) -> Tensor:
        rough = total_variation(images * self._pixel_scale, self.units.variation)
        return self.knobs["tv"] * rough

    def _distances(self, images: Tensor, network: VGG | None, needs: Needs) -> dict[str, Tensor]:
        """How far the pictures are from each target, (B,) each; 0 where a part is not in use."""
        found = look(self.targets, network or self.vgg, images, needs, self.tile, self.hands)
        return {part: self._part(part, found.get(part), needs) for part in self.targets.factors}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The weighted terms, (B,) each: "content", "style" and "tv" where used, and "total"."""
        with full_float32(self.vgg.device):
            return sum_terms(self.parts(images))

    def shrunk(self, shrink: int) -> Objective:
        """The same objective for a picture `shrink` times smaller, its knobs shared with this.

        Content and style pictures are shrunk alike, so that strokes keep their size in the picture.
        """
        other = copy.copy(self)
        if self.content is not None:
            other.content = resample(self.content, self.content.shape[2:], shrink)
        other.styles = tuple(resample(style, style.shape[2:], shrink) for style in self.styles)
        other._capture(tuple(self.content_targets), tuple(self.style_targets))
        return other

    @property
    def content_targets(self) -> dict[str, Tensor]:
        """Layer → features of the content picture, (1 or B, C, H, W)."""
        return self.targets.content

    @property
    def style_targets(self) -> dict[str, Tensor]:
        """Layer → blended Gram matrices, (1 or B, C, C), or what other units compare."""
        return self.targets.style

    def _capture(self, content_layers: Sequence[str], style_layers: Sequence[str]) -> None:
        with full_float32(self.vgg.device):
            self.targets = Targets(
                self.vgg, self.units, self.content, self.styles, content_layers, style_layers,
                self._blend, self.masks, self.tile,
            )  # fmt: skip

    def most_shrink(self) -> int:
        """How many times smaller the pictures may be and still reach all layers."""
        pairs = [(self.content, self.content_targets)] if self.content is not None else []
        pairs += [(style, self.style_targets) for style in self.styles]
        least = [
            min(picture.shape[2:]) // self.vgg.deepest(layers).stride
            for picture, layers in pairs
            if layers
        ]
        return min(least)

    def _check_batch(self, batch: int) -> None:
        sizes = {f"weight of {name}": len(v) for name, v in self.knobs.in_use.items()}
        sizes |= {f"content at {name}": len(aim) for name, aim in self.content_targets.items()}
        sizes |= {f"style at {name}": len(aim) for name, aim in self.style_targets.items()}
        for what, size in sizes.items():
            if size not in (1, batch):
                raise ValueError(f"{size} values for the {what}, but {batch} picture(s)")

    def _part(self, part: str, value: Tensor | None, needs: Needs) -> Tensor:
        """The losses (B,) of the pictures that have a value; 0 for the others."""
        if value is None:
            return self.targets.factors[part].new_zeros(len(needs.order))
        losses = self.targets.losses(part, value, lambda values: needs.pick(part, values))
        return needs.put_back(part, losses)

    def __repr__(self) -> str:
        values = self.weight_values()
        rows = [f"{name}: {value}" for name, value in values.items() if name not in TERMS]
        terms = ", ".join(f"{term} × {values[term]}" for term in TERMS)
        return f"Objective({terms}; layers {'; '.join(rows)})"


def sum_terms(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parts such as "style relu1_1" added up by term, and "total": (B,) each."""
    terms: dict[str, Tensor] = {}
    for name, value in parts.items():
        term = Part.of(name).term
        terms[term] = terms[term] + value if term in terms else value
    return {**terms, "total": sum(terms.values())}
