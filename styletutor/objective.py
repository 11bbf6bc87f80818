"""What a picture is moved downhill on: targets and weights in, loss terms per picture out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from styletutor.knobs import Knobs, LayerWeights, Weight, blend_shares, layer_shares
from styletutor.losses import gram_matrix, relative_error, total_variation
from styletutor.stages import fit
from styletutor.structure import Structure
from styletutor.vgg import VGG

TERMS = ("content", "style", "tv")
Distance = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """α · content + β · style + γ · total variation, for each picture of a batch by itself.

    content is Σ_l w_l · distance(F_l, P_l) and style Σ_l w_l · distance(G_l, A_l) (Gatys et al.
    2016, Eqs. 1, 4, 5 and 7); the `distance` is by default `losses.relative_error`, a share of the
    target, and may be any function such as `losses.content_loss` and `losses.style_loss` (the
    paper's). Layers are given as names (equal weights) or as a mapping name → weight; the weights
    of a term are scaled to sum to 1.

    `content` is (1 or B, 3, H, W); `styles` are pictures (1 or B, 3, h, w) of any size, mixed by
    `blend` (shares, scaled to sum to 1; equal if not given): the target is the blend of their Gram
    matrices. With the paper's distance that has the gradient of the blended losses; with shares of
    the target it is a choice of its own, in which the style of stronger contrast counts for more.
    Pictures must be on the network's device. Targets are captured once, without a graph; nothing
    else is kept.

    >>> objective = Objective(vgg, content=photo, styles=[art],
    ...                       content_layers="relu4_2", style_layers=["relu1_1", "relu2_1"])
    >>> objective(images)["total"]                        # images: (B, 3, H, W)
    tensor([1.0021])

    Raises ValueError for an unknown layer, a negative or non-finite weight, layers without a
    picture, or as many blend weights as there are not styles.
    """

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
        blend: Sequence[float] | None = None,
        content_distance: Distance = relative_error,
        style_distance: Distance = relative_error,
    ) -> None:
        self.vgg, self.knobs = vgg, Knobs(vgg.device)
        self.content_distance, self.style_distance = content_distance, style_distance
        content_shares = layer_shares(content_layers if content is not None else ())
        style_shares = layer_shares(style_layers if len(styles) else ())
        if not content_shares and not style_shares:
            raise ValueError("nothing to aim at: give a picture and at least one layer for it")
        self.layers = tuple(dict.fromkeys((*content_shares, *style_shares)))
        self.content = None if content is None else content.detach()
        self.styles = tuple(style.detach() for style in styles)
        self._blend = blend_shares(blend, len(styles))
        self._capture(content_shares, style_shares)
        for name, value in zip(TERMS, (content_weight, style_weight, tv_weight), strict=True):
            self.set_weight(name, value)
        for term, shares in (("content", content_shares), ("style", style_shares)):
            for layer, share in shares.items():
                self.set_weight(f"{term} {layer}", share)
        self.knobs.sync()

    @property
    def version(self) -> int:
        """Grows whenever a weight changes."""
        return self.knobs.version

    def set_weight(self, name: str, value: Weight | Tensor) -> None:
        """Turn a knob: `name` is a term ("content", "style", "tv") or a layer in one
        ("style relu1_1"), `value` one number ≥ 0 or one per picture of the batch.

        A descent under way takes it up at its next evaluation. A layer that no picture gives any
        weight is not evaluated.
        """
        known = [*TERMS, *(f"content {n}" for n in self.content_targets)]
        known += [f"style {n}" for n in self.style_targets]
        if name not in known:
            raise ValueError(f"no weight is called {name!r}; there are {', '.join(known)}")
        self.knobs.set(name, value)

    def weight_values(self) -> dict[str, list[float]]:
        """All weights as numbers: one each, or one per picture."""
        return {name: list(values) for name, values in self.knobs.values.items()}

    def structure(self, batch: int) -> Structure:
        """Which pictures of a batch need which parts, as the weights are now."""
        parts = [f"content {layer}" for layer in self.content_targets]
        parts += [f"style {layer}" for layer in self.style_targets]
        uses = {part: self.knobs.uses(batch, part.split()[0], part) for part in parts}
        return Structure.of(uses, self.vgg.layer_names, any(self.knobs.uses(batch, "tv")))

    def parts(self, images: Tensor, network: VGG | None = None) -> dict[str, Tensor]:
        """Every weighted part by itself, (B,) each: "content relu4_2", "style relu1_1", …, "tv".

        Their sum is the total. `images` is (B, 3, H, W) in [0, 1] on the network's device.
        `network` may be a copy of it in another precision.
        """
        self.knobs.sync()
        self._check_batch(images)
        structure = self.structure(len(images))
        layers = structure.layers

        def read(layer: str, features: Tensor) -> tuple[Tensor | None, Tensor | None]:
            """What the content and the style term need to know of a layer.

            Read on the way in, and so forgotten on the way back as soon as it has served.
            """
            content = structure.read(f"content {layer}", features)
            style = structure.read(f"style {layer}", features)
            return content, None if style is None else gram_matrix(style)

        found = dict.fromkeys(self.layers, (None, None))
        if layers:
            images_in_order = structure.in_order(images)
            found |= (network or self.vgg)(images_in_order, layers, layers, read)
        parts = {}
        for layer, target in self.content_targets.items():
            value = found[layer][0]
            value = target[:0] if value is None else value.to(target.dtype)
            _check_fit(value, target, layer)
            name = f"content {layer}"
            parts[name] = self._part(name, self.content_distance, value, target, structure)
        for layer, target in self.style_targets.items():
            value = found[layer][1]
            value = target[:0] if value is None else value
            name = f"style {layer}"
            parts[name] = self._part(name, self.style_distance, value, target, structure)
        if structure.tv:
            parts["tv"] = self.knobs["tv"] * total_variation(images)
        return parts

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The weighted terms, (B,) each: "content", "style" and "tv" where used, and "total"."""
        return sum_terms(self.parts(images))

    def shrunk(self, shrink: int) -> Objective:
        """The same objective for a picture `shrink` times smaller, its knobs shared with this.

        Content and style pictures are shrunk alike, so that strokes keep their size in the picture.
        """
        other = copy.copy(self)
        if self.content is not None:
            other.content = fit(self.content, self.content.shape[2:], shrink)
        other.styles = tuple(fit(style, style.shape[2:], shrink) for style in self.styles)
        other._capture(self.content_targets, self.style_targets)
        return other

    def _check_batch(self, images: Tensor) -> None:
        sizes = {f"weight of {name}": len(v) for name, v in self.knobs.values.items()}
        sizes |= {
            f"content at {name}": len(target) for name, target in self.content_targets.items()
        }
        sizes |= {f"style at {name}": len(gram) for name, gram in self.style_targets.items()}
        for what, size in sizes.items():
            if size not in (1, len(images)):
                raise ValueError(f"{size} values for the {what}, but {len(images)} picture(s)")

    def _part(
        self, name: str, distance: Distance, value: Tensor, target: Tensor, structure: Structure
    ) -> Tensor:
        """The weighted distances (B,) of the pictures that have a value; 0 for the others."""
        if not len(value):
            return value.new_zeros(len(structure.order))
        weight = structure.pick(name, self.knobs[name.split()[0]] * self.knobs[name])
        losses = weight * distance(value, structure.pick(name, target))
        return structure.put_back(name, losses)

    @torch.no_grad()
    def _capture(self, content_layers: Mapping, style_layers: Mapping) -> None:
        """Set the targets; the features of one picture at a time are all that is ever held."""
        self.content_targets = self.vgg(self.content, content_layers) if content_layers else {}
        self.style_targets: dict[str, Tensor] = {}
        for share, style in zip(self._blend, self.styles, strict=True) if style_layers else ():
            grams = [self._grams(picture, style_layers) for picture in style.split(1)]
            for layer in style_layers:
                target = share * torch.cat([of_picture[layer] for of_picture in grams])
                self.style_targets[layer] = self.style_targets.get(layer, 0) + target

    def _grams(self, picture: Tensor, layers: Mapping) -> dict[str, Tensor]:
        return self.vgg(picture, layers, read=lambda _, features: gram_matrix(features))

    def __repr__(self) -> str:
        values = self.weight_values()
        rows = [f"{name}: {value}" for name, value in values.items() if name not in TERMS]
        terms = ", ".join(f"{term} × {values[term]}" for term in TERMS)
        return f"Objective({terms}; shares {'; '.join(rows)})"


def sum_terms(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parts such as "style relu1_1" added up by term, and "total": (B,) each."""
    terms: dict[str, Tensor] = {}
    for name, value in parts.items():
        term = name.split()[0]
        terms[term] = terms[term] + value if term in terms else value
    return {**terms, "total": sum(terms.values())}


def _check_fit(features: Tensor, target: Tensor, layer: str) -> None:
    if features.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"at {layer} the pictures give features of shape {tuple(features.shape)} but the "
            f"content picture {tuple(target.shape)}; both must have the same height and width"
        )
