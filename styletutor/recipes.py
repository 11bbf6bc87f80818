"""Set-ups of a style transfer as data: layers, weights, optimiser and start."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from styletutor.knobs import LayerWeights
from styletutor.objective import Objective
from styletutor.vgg import VGG

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@dataclass(frozen=True)
class Recipe:
    """One set-up. Its weights multiply losses that are shares of the target (see `Objective`)."""

    name: str
    source: str
    content_layers: LayerWeights = field(default_factory=lambda: {"relu4_2": 1.0})
    style_layers: LayerWeights = field(default_factory=lambda: dict.fromkeys(STYLE_LAYERS, 1.0))
    content_weight: float = 1.0
    style_weight: float = 1.0
    tv_weight: float = 0.0
    optimiser: str = "lbfgs"
    start: str = "content"

    def objective(
        self,
        vgg: VGG,
        *,
        content: Tensor | None = None,
        styles: Sequence[Tensor] = (),
        blend: Sequence[float] | None = None,
    ) -> Objective:
        """This recipe's objective for the given pictures.

        Pictures are (1 or B, 3, H, W) in [0, 1] on the network's device; styles of any size. For
        other layers or weights: `dataclasses.replace(recipe, style_weight=…).objective(…)`.
        """
        return Objective(
            vgg,
            content=content,
            styles=styles,
            blend=blend,
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
        )


recipes: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in [
            Recipe(
                name="default",
                source="Gatys et al. (2016), style layers of Section 3; losses as shares; balance "
                "and a second content layer, for lines, chosen by looking",
                content_layers={"relu2_1": 1.0, "relu4_2": 1.0},
                style_weight=80.0,
            ),
        ]
    }
)


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; ValueError with the nearest names if there is none."""
    if name in recipes:
        return recipes[name]
    near = difflib.get_close_matches(str(name), recipes, n=3, cutoff=0.4) or list(recipes)
    raise ValueError(f"unknown recipe {name!r}; did you mean {', '.join(near)}?")
