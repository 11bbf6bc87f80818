"""What a picture is moved downhill on: targets and weights in, loss terms per picture out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from styletutor.losses import gram_matrix, relative_error, total_variation
from styletutor.vgg import VGG

TERMS = ("content", "style", "tv")
Distance = Callable[[Tensor, Tensor], Tensor]
LayerWeights = Mapping[str, float] | Iterable[str] | str


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
        self.vgg, self.version = vgg, 0
        self.content_distance, self.style_distance = content_distance, style_distance
        content_shares = layer_shares(content_layers if content is not None else ())
        style_shares = layer_shares(style_layers if len(styles) else ())
        if not content_shares and not style_shares:
            raise ValueError("nothing to aim at: give a picture and at least one layer for it")
        self.content_targets = self._capture_content(content, content_shares)
        self.style_targets = self._capture_styles(styles, style_shares, blend)
        self.layers = tuple(dict.fromkeys((*content_shares, *style_shares)))
        self.weights: dict[str, Tensor] = {}
        self.set_weight("content", content_weight)
        self.set_weight("style", style_weight)
        self.set_weight("tv", tv_weight)
        for term, shares in (("content", content_shares), ("style", style_shares)):
            for layer, share in shares.items():
                self.set_weight(f"{term} {layer}", share)

    def set_weight(self, name: str, value: float | Sequence[float] | Tensor) -> None:
        """Turn a knob: `name` is a term ("content", "style", "tv") or a layer in one
        ("style relu1_1"), `value` one number ≥ 0 or one per picture of the batch.

        A descent under way takes it up at its next evaluation.
        """
        known = [*TERMS, *(f"content {n}" for n in self.content_targets)]
        known += [f"style {n}" for n in self.style_targets]
        if name not in known:
            raise ValueError(f"no weight is called {name!r}; there are {', '.join(known)}")
        try:
            weight = torch.as_tensor(value, dtype=torch.float32).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            weight = torch.full((1,), math.nan)
        if not (torch.isfinite(weight) & (weight >= 0)).all():
            raise ValueError(f"the weight of {name} is {value}; it must be a finite number ≥ 0")
        weight = weight.to(self.vgg.device)
        if name in self.weights and torch.equal(self.weights[name], weight):
            return
        self.weights[name] = weight
        self.uses_tv = bool(self.weights["tv"].any()) if "tv" in self.weights else False
        self.version += 1

    def weight_values(self) -> dict[str, list[float]]:
        """All weights as numbers, read back from the device: one each, or one per picture."""
        return {name: weight.tolist() for name, weight in self.weights.items()}

    def parts(self, images: Tensor) -> dict[str, Tensor]:
        """Every weighted part by itself, (B,) each: "content relu4_2", "style relu1_1", …, "tv".

        Their sum is the total. `images` is (B, 3, H, W) in [0, 1] on the network's device.
        """
        self._check_batch(images)
        features = self.vgg(images, self.layers)
        parts = {}
        for layer, target in self.content_targets.items():
            _check_fit(features[layer], target, layer)
            distance = self.content_distance(features[layer], target)
            parts[f"content {layer}"] = self._scaled("content", layer, distance)
        for layer, target in self.style_targets.items():
            distance = self.style_distance(gram_matrix(features[layer]), target)
            parts[f"style {layer}"] = self._scaled("style", layer, distance)
        if self.uses_tv:
            parts["tv"] = self.weights["tv"] * total_variation(images)
        return parts

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The weighted terms, (B,) each: "content", "style" and "tv" where used, and "total"."""
        return sum_terms(self.parts(images))

    def _check_batch(self, images: Tensor) -> None:
        sizes = {f"weight of {name}": len(weight) for name, weight in self.weights.items()}
        sizes |= {f"style at {name}": len(gram) for name, gram in self.style_targets.items()}
        for what, size in sizes.items():
            if size not in (1, len(images)):
                raise ValueError(f"{size} values for the {what}, but {len(images)} picture(s)")

    def _scaled(self, term: str, layer: str, distance: Tensor) -> Tensor:
        return self.weights[term] * self.weights[f"{term} {layer}"] * distance

    @torch.no_grad()
    def _capture_content(self, content: Tensor | None, layers: Iterable[str]) -> dict[str, Tensor]:
        return self.vgg(content, layers) if layers else {}

    @torch.no_grad()
    def _capture_styles(
        self, styles: Sequence[Tensor], layers: Iterable[str], blend: Sequence[float] | None
    ) -> dict[str, Tensor]:
        if not layers:
            return {}
        targets: dict[str, Tensor] = {}
        for share, style in zip(blend_shares(blend, len(styles)), styles, strict=True):
            for layer, features in self.vgg(style, layers).items():
                targets[layer] = targets.get(layer, 0) + share * gram_matrix(features)
        return targets

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


def layer_shares(layers: LayerWeights) -> dict[str, float]:
    """Layer names or a mapping name → weight, as shares that sum to 1.

    Raises ValueError for a negative or non-finite weight, or if all are 0.
    """
    if isinstance(layers, str):
        layers = [layers]
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    return dict(zip(weights, _shares(weights.values(), "layer weights"), strict=True))


def blend_shares(blend: Sequence[float] | None, styles: int) -> list[float]:
    """Shares of the style pictures that sum to 1; equal ones if `blend` is None."""
    blend = [1.0] * styles if blend is None else list(blend)
    if len(blend) != styles:
        raise ValueError(
            f"{len(blend)} blend weights for {styles} style picture(s); give one for each"
        )
    return _shares(blend, "blend weights")


def _shares(values: Iterable[float], what: str) -> list[float]:
    numbers = [float(value) for value in values]
    if any(not math.isfinite(n) or n < 0 for n in numbers):
        raise ValueError(f"the {what} are {numbers}; they must be finite numbers ≥ 0")
    total = sum(numbers)
    if numbers and total == 0:
        raise ValueError(f"the {what} are all 0; at least one must be positive")
    return [n / total for n in numbers]


def _check_fit(features: Tensor, target: Tensor, layer: str) -> None:
    if features.shape[1:] != target.shape[1:] or len(target) not in (1, len(features)):
        raise ValueError(
            f"at {layer} the pictures give features of shape {tuple(features.shape)} but the "
            f"content picture {tuple(target.shape)}; both must have the same height and width"
        )
